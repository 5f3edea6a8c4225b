"""From log entries to the tree: how a restart, a follower and the tools apply transactions."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from corral.base.errors import StorageError, WireError
from corral.ops.delete import apply_delete
from corral.ops.registry import Registry
from corral.tree.digest import DIGEST_VERSION
from corral.tree.node import to_int64
from corral.tree.tree import Tree

# TxnHeader and TxnDigest, without a record each: a start reads hundreds of thousands.
_HEADER: Final = struct.Struct(">qiqqi")
_DIGEST: Final = struct.Struct(">iq")
_HEADER_BYTES: Final = _HEADER.size
_DIGEST_BYTES: Final = _DIGEST.size
_unpack_header: Final = _HEADER.unpack_from
_unpack_digest: Final = _DIGEST.unpack_from


class LogStamp:
    """The stamp of the entry that is being applied; see `Stamp`."""

    __slots__ = ("client_id", "time", "type", "zxid")

    client_id: int
    zxid: int
    time: int
    type: int


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
        self._by_txn = registry.by_txn
        self._stamp = LogStamp()
        self._fuzzy_until = fuzzy_until
        self._fuzzy_digest = fuzzy_digest
        self._on_mismatch = on_mismatch
        self._enabled = tree.digest.enabled
        self.applied = 0
        self._has_differed = False
        self._is_fuzzy = self._enabled and fuzzy_until > tree.zxid
        if self._is_fuzzy:
            tree.digest.enabled = False

    def apply(self, entry: bytes) -> None:
        """Apply one entry. Raises StorageError if it is no transaction."""
        tree = self._tree
        stamp = self._stamp
        try:
            stamp.client_id, _, zxid, stamp.time, kind = _unpack_header(entry)
            stamp.zxid = zxid
            stamp.type = kind
            if self._is_fuzzy and zxid > self._fuzzy_until:
                self._leave_fuzzy()
            if zxid > tree.zxid:
                tree.zxid = zxid
            op = self._by_txn.get(kind)
            at = op.redo(tree, stamp, entry, _HEADER_BYTES) if op is not None else -1
            if at < 0:
                body, at = self._registry.decode_txn(kind, entry, _HEADER_BYTES)
                self._by_txn[kind].apply(tree, stamp, body)
        except (WireError, struct.error) as error:
            raise StorageError(f"an entry of the log cannot be decoded: {error}") from error
        self.applied += 1
        if not self._is_fuzzy and self._enabled and len(entry) - at >= _DIGEST_BYTES:
            version, expected = _unpack_digest(entry, at)
            if version == DIGEST_VERSION and expected != to_int64(tree.digest.value):
                self._tell(zxid, expected)

    def finish(self) -> int:
        """End the replay: the digest is counted again from here, ephemerals without a session are deleted.

        Returns how many of these there were. No transaction deletes them, so nothing may be appended before a snapshot
        without them is on disk: with the next start they would be back, and in the way of what was made in their place.

        A digest that has differed is that of the nodes again: it may have come with a snapshot that showed half a
        transaction, and what is written from now on must not carry the difference on.
        """
        if self._is_fuzzy:
            self._leave_fuzzy()
        if self._has_differed:
            self._tree.count_digest()
        return delete_orphans(self._tree)

    def _leave_fuzzy(self) -> None:
        tree = self._tree
        self._is_fuzzy = False
        tree.digest.enabled = True
        if tree.zxid == self._fuzzy_until:
            tree.digest.value = self._fuzzy_digest
            tree.digest.forget()
        else:
            tree.count_digest()

    def _tell(self, zxid: int, expected: int) -> None:
        self._has_differed = True
        if self._on_mismatch is not None:
            self._on_mismatch(zxid, expected, to_int64(self._tree.digest.value))


def delete_orphans(tree: Tree) -> int:
    """Delete the ephemerals whose session is not there; return how many."""
    deleted = 0
    for session in list(tree.ephemerals):
        if session not in tree.sessions:
            for path in tree.ephemerals_of(session):
                apply_delete(tree, tree.zxid, path)
                deleted += 1
    return deleted
