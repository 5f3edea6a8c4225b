"""Writing a snapshot, a slice at a time, while the tree changes between the slices.

The file's zxid is that of the tree when the writer was made; what a later slice shows of later transactions is put
right when the log is replayed over it. Nodes come depth first; a node deleted meanwhile is left out, one made meanwhile
may be in or not.

The table of access lists stands before the nodes, so a list may appear that it lacks. Then the node was given the list
by a transaction after the file's zxid, which is replayed. If the node was made by one, it is left out with all below
it, as the replay makes it; else it is written with a list that grants nothing, which the replay of the setACL replaces.
So an access list is right after a replay, and never too generous before it. (ZooKeeper writes an id that the table
lacks.) Source: reference "Snapshot file".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final
from zlib import adler32

from corral.base.paths import ROOT
from corral.tree.access import AclList
from corral.tree.digest import DIGEST_VERSION
from corral.tree.node import EMPTY_CHILDREN, Node, creates_of, czxid_of, to_int32, to_int64
from corral.tree.tree import Tree
from corral.wire.data import ACL

MAGIC: Final = 0x5A4B534E
VERSION: Final = 2
NULL_ACL: Final = struct.pack(">q", -1)
NOBODY: Final = [ACL(0, "world", "anyone")]
"""A list that grants nothing."""

_SMALL_NODES: Final = 1000
_CHUNK_BYTES_MAX: Final = 1 << 20

_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")
_SEAL_END: Final = b"\0\0\0\1/"
_ZERO: Final = b"\0\0\0\0"
_LENGTHS: Final = tuple(_INT.pack(length) for length in range(1024))


class SnapshotWriter:
    """The bytes of one snapshot of `tree`, in pieces.

    has_digest, has_zxid: whether the parts that newer servers expect are written. zxid: the one for the file's name.
    """

    def __init__(self, tree: Tree, has_digest: bool = True, has_zxid: bool = True) -> None:
        self.zxid = tree.zxid
        self._tree = tree
        self._has_digest = has_digest
        self._has_zxid = has_zxid
        self._adler = 1
        self._sessions = list(tree.sessions.items())
        # By address: the lists are kept alive here, so that no other can take the place of one.
        self._lists: list[AclList] = []
        self._acl_ids = {id(tree.acls.unsafe): NULL_ACL}
        self._nobody: bytes | None = None
        self._pending = [ROOT]
        self._is_started = False
        self._is_ended = False
        # The zxid and digest that the tail says: of the end, or of the only moment that a small tree's nodes show.
        self._ending: tuple[int, int] | None = None

    def next_chunk(self, nodes: int) -> bytes | None:
        """Return the next bytes of the file, with up to `nodes` nodes in them; None after the last.

        A chunk ends early at a mebibyte of data. A small tree comes whole in the first chunk, so is never fuzzy, and
        only the lists that its nodes have are written.
        """
        if not self._is_started:
            self._is_started = True
            tree = self._tree
            if len(tree.nodes) <= _SMALL_NODES and tree.data_bytes < _CHUNK_BYTES_MAX // 2:
                self._ending = tree.zxid, tree.digest.value
                self._enter({id(node.acl): node.acl for node in tree.nodes.values()}.values())
                return self._summed(self._head() + self._nodes(_SMALL_NODES))
            self._enter(tree.acls.lists())
            nobody = tree.acls.intern(NOBODY)
            self._enter((nobody,))
            self._nobody = self._acl_ids[id(nobody)]
            return self._summed(self._head())
        # Nodes that are gone leave nothing to write; a chunk is never empty.
        while self._pending:
            data = self._nodes(nodes)
            if data:
                return self._summed(data)
        if not self._is_ended:
            self._is_ended = True
            return self._tail()
        return None

    def _enter(self, lists: Iterable[AclList]) -> None:
        for acl in lists:
            if id(acl) not in self._acl_ids:
                self._lists.append(acl)
                self._acl_ids[id(acl)] = _LONG.pack(len(self._lists))

    def _summed(self, data: bytes) -> bytes:
        self._adler = adler32(data, self._adler)
        return data

    def _head(self) -> bytes:
        parts = [struct.pack(">iiqi", MAGIC, VERSION, -1, len(self._sessions))]
        parts += [struct.pack(">qi", session, timeout) for session, timeout in self._sessions]
        parts.append(_INT.pack(len(self._lists)))
        for acl in self._lists:
            parts += (self._acl_ids[id(acl)], acl.encoded)
        return b"".join(parts)

    def _nodes(self, count: int) -> bytes:
        """Write up to `count` nodes; flat, as a million of them are written beside the traffic."""
        get = self._tree.nodes.get
        acl_ids = self._acl_ids
        pending = self._pending
        parts: list[bytes] = []
        room = _CHUNK_BYTES_MAX
        for _ in range(count):
            if not pending or room <= 0:
                break
            path = pending.pop()
            node = get(path)
            if node is None:
                continue
            body = node.body
            acl = acl_ids.get(id(node.acl))
            if acl is None:
                acl = self._unlisted(node)
                if acl is None:
                    continue
            room -= len(body)
            if node.children is EMPTY_CHILDREN and not node.owner and body[-32:-28] == _ZERO:
                # cversion is 0 on disk as in the body; so the stat is all there, in order, but for two counts.
                size = len(path)
                parts += (
                    _LENGTHS[size] if size < 1024 else _INT.pack(size), path, body[:-68], acl, body[-68:-16], body[-8:],
                )  # fmt: skip
                continue
            if node.children:
                pending.extend(reversed(node.children))
            shown = path if path != ROOT else b""
            parts += (
                _INT.pack(len(shown)),
                shown,
                body[:-68],
                acl,
                body[-68:-32],
                _INT.pack(to_int32(creates_of(body))),
                body[-28:-24],
                _LONG.pack(node.owner),
                body[-8:],
            )
        return b"".join(parts)

    def _unlisted(self, node: Node) -> bytes | None:
        """Return the id for a list that has none, None if the node is to be left out."""
        return None if czxid_of(node.body) > self.zxid else self._nobody

    def _tail(self) -> bytes:
        out = [self._summed(_SEAL_END), self._seal()]
        zxid, value = self._ending or (self._tree.zxid, self._tree.digest.value)
        if self._has_digest:
            # No transaction yet: ZooKeeper has no digest of that state and writes 0.
            digest = to_int64(value) if zxid else 0
            out += (self._summed(struct.pack(">qiq", zxid, DIGEST_VERSION, digest)), self._seal())
        if self._has_zxid:
            out += (self._summed(_LONG.pack(zxid)), self._seal())
        return b"".join(out)

    def _seal(self) -> bytes:
        return self._summed(_LONG.pack(self._adler) + _SEAL_END)
