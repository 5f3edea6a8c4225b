"""From log entries to the tree: how a restart, a follower and the tools apply transactions."""

from __future__ import annotations

import struct
from collections.abc import Callable

from corral.base.errors import StorageError, WireError
from corral.ops.delete import apply_delete
from corral.ops.registry import Registry
from corral.tree.node import to_int64
from corral.tree.tree import Tree
from corral.wire.schema import decoder
from corral.wire.txns import TxnDigest, TxnHeader

_decode_header = decoder(TxnHeader)
_decode_digest = decoder(TxnDigest)


class Replay:
    """Applies entries to a tree in order.

    fuzzy_until, fuzzy_digest: the zxid and tree digest that a fuzzy snapshot recorded at its end; until a transaction
    of that zxid is applied the tree is a mixture and its digest unknown. on_mismatch: told (zxid, expected, got).
    """

    def __init__(
        self, tree: Tree, registry: Registry, fuzzy_until: int = 0, fuzzy_digest: int = 0,
        on_mismatch: Callable[[int, int, int], None] | None = None,
    ) -> None:  # fmt: skip
        self._tree = tree
        self._registry = registry
        self._fuzzy_until = fuzzy_until
        self._fuzzy_digest = fuzzy_digest
        self._on_mismatch = on_mismatch
        self._enabled = tree.digest.enabled
        self.applied = 0
        if fuzzy_until > tree.zxid:
            tree.digest.enabled = False

    def apply(self, entry: bytes) -> None:
        """Apply one entry. Raises StorageError if it is no transaction."""
        tree = self._tree
        try:
            header, at = _decode_header(entry, 0, len(entry))
            body, at = self._registry.decode_txn(header.type, entry, at)
            digest = _decode_digest(entry, at, len(entry))[0] if len(entry) - at >= 12 else None
        except (WireError, struct.error) as error:
            raise StorageError(f"an entry of the log cannot be decoded: {error}") from error
        if not tree.digest.enabled and self._enabled and header.zxid > self._fuzzy_until:
            self._leave_fuzzy()
        tree.zxid = max(tree.zxid, header.zxid)
        self._registry.by_txn[header.type].apply(tree, header, body)
        self.applied += 1
        if tree.digest.enabled and digest is not None and digest.version == 2:
            self._compare(header.zxid, digest.tree_digest)

    def finish(self) -> None:
        """End the replay: the digest is counted again from here, ephemerals without a session are deleted."""
        if not self._tree.digest.enabled and self._enabled:
            self._leave_fuzzy()
        delete_orphans(self._tree)

    def _leave_fuzzy(self) -> None:
        tree = self._tree
        tree.digest.enabled = True
        if tree.zxid == self._fuzzy_until:
            tree.digest.value = self._fuzzy_digest
            tree.digest.forget()
        else:
            tree.count_digest()

    def _compare(self, zxid: int, expected: int) -> None:
        got = to_int64(self._tree.digest.value)
        if got != expected and self._on_mismatch is not None:
            self._on_mismatch(zxid, expected, got)


def delete_orphans(tree: Tree) -> None:
    """Delete the ephemerals whose session is not there."""
    for session in list(tree.ephemerals):
        if session not in tree.sessions:
            for path in tree.ephemerals_of(session):
                apply_delete(tree, tree.zxid, path)
