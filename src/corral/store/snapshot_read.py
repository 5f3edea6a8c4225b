"""Reading a snapshot into a tree, a chunk of the file at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final
from zlib import adler32

from corral.base.errors import StorageError, WireError
from corral.base.paths import ROOT
from corral.base.records import record
from corral.store.compression import GZIP, GZIP_MAGIC, SNAPPY, SNAPPY_MAGIC
from corral.store.snapshot_write import MAGIC, NOBODY, VERSION
from corral.store.window import Window
from corral.tree.access import AclList
from corral.tree.digest import DIGEST_VERSION
from corral.tree.node import EMPTY_CHILDREN, Node, is_session, to_int32
from corral.tree.tree import Tree
from corral.wire.data import StoredAcls
from corral.wire.schema import decoder

_decode_acls: Final = decoder(StoredAcls)
_INT: Final = struct.Struct(">i")
_HEAD: Final = struct.Struct(">iiqi")
_DIGEST_HEAD: Final = struct.Struct(">qi")
_LONG: Final = struct.Struct(">q")
_ZERO: Final = bytes(4)
_ZERO_8: Final = bytes(8)
_ZERO_16: Final = bytes(16)
_SEAL_END: Final = b"\0\0\0\1/"
_SEAL_BYTES: Final = 13
_ENDING_BYTES_MAX: Final = 4096


class UnknownVersion(StorageError):
    """A file of a later version: no reason to fall back to an older file, but to use the right software."""


@record
class Ending:
    """What a snapshot says besides its tree.

    digest_zxid, digest: of the tree when the file was finished, if `has_digest`. last_zxid: None in older files.
    unlisted: how many nodes had an access list that the file does not contain. Until a replay gives them one, they
    have a list that grants nothing; ZooKeeper writes such files when a list appears while it writes.
    """

    has_digest: bool
    digest_zxid: int
    digest: int
    last_zxid: int | None
    unlisted: int = 0


def is_complete(name: str, size: int, first: bytes, last: bytes) -> bool:
    """Tell by a file's first and last bytes whether it is worth reading at all."""
    if name.endswith(GZIP):
        return first[:2] == GZIP_MAGIC
    if name.endswith(SNAPPY):
        return first[:8] == SNAPPY_MAGIC
    return size >= 10 and last[-5:] == _SEAL_END


def read_snapshot(name: str, data: bytes | Iterable[bytes], tree: Tree) -> Ending:
    """Fill an empty tree from a snapshot's uncompressed bytes, whole or in chunks.

    What is derived from the nodes is left to `Tree.load_index` and `count_digest`. Raises StorageError if anything is
    wrong with the bytes (UnknownVersion for a file of the future); the tree is of no use then.
    """
    return _Reader(name, Window(data), tree).read()


class _Reader:
    def __init__(self, name: str, window: Window, tree: Tree) -> None:
        self._name = name
        self._window = window
        self._tree = tree
        self._at = 0
        self._unlisted = 0

    def read(self) -> Ending:
        self._sessions()
        self._nodes(self._acls())
        if ROOT not in self._tree.nodes:
            raise StorageError(f"{self._name}: the snapshot has no root")
        return self._ending()

    def _need(self, count: int) -> bytes:
        """Return the window's data with `count` bytes or more from `_at` on."""
        if self._at + count > len(self._window.data):
            is_there = self._window.move(self._at, count)
            self._at = 0
            if not is_there:
                raise StorageError(f"{self._name}: the snapshot is cut off at offset {self._end()}")
        return self._window.data

    def _end(self) -> int:
        return self._window.base + len(self._window.data)

    def _sessions(self) -> None:
        magic, version, _, count = _HEAD.unpack_from(self._need(_HEAD.size))
        if magic != MAGIC:
            raise StorageError(f"{self._name}: no snapshot: it starts with 0x{magic & 0xFFFFFFFF:08x}, not ZKSN")
        if version != VERSION:
            raise UnknownVersion(
                f"{self._name}: snapshot version {version} is unknown; this server reads version {VERSION}: use the "
                "software that wrote it, or a snapshot of this version"
            )
        if count < 0:
            raise StorageError(f"{self._name}: the snapshot claims {count} sessions")
        self._at = _HEAD.size
        data = self._need(count * 12)
        end = self._at + count * 12
        self._tree.sessions.update(struct.iter_unpack(">qi", memoryview(data)[self._at : end]))
        self._at = end

    def _acls(self) -> dict[bytes, AclList]:
        """Return the access lists by the bytes of their ids."""
        acls = self._tree.acls
        lists = {_LONG.pack(-1): acls.unsafe}
        (count,) = _INT.unpack_from(self._need(4), self._at)
        self._at += 4
        if count < 0:
            raise StorageError(f"{self._name}: the snapshot claims {count} access lists")
        need = 12
        while count:
            data = self._need(need)
            at = self._at
            try:
                entry, self._at = _decode_acls(data, at + 8, len(data))
            except WireError:
                # Cut off by the window's end, or damaged: then the file's end says so.
                need = len(data) - at + 1
                continue
            lists[data[at : at + 8]] = acls.intern(entry.acl)
            count -= 1
            need = 12
        return lists

    def _nodes(self, lists: dict[bytes, AclList]) -> None:
        """Read the nodes and their terminator; flat, as a million of them are read at a start."""
        nodes = self._tree.nodes
        parents: list[Node] = []
        last_parent = b""
        siblings: dict[bytes, None] = {}
        unpack = _INT.unpack_from
        data = self._window.data
        size = len(data)
        stop = start = self._at
        while True:
            # Until the node is known to be whole, `stop` is how far it reaches at least, and nothing is changed.
            start = stop
            stop += 4
            if stop <= size:
                (length,) = unpack(data, start)
                if length < 0:
                    raise self._bad_node(start, f"a path claims {length} bytes")
                at = stop + length
                path = data[stop:at]
                if path == b"/" and length == 1:
                    break
                stop = at if at > size else at + 4
                if stop <= size:
                    (length,) = unpack(data, at)
                    if length < -1:
                        raise self._bad_node(start, f"a node claims {length} bytes of data")
                    stat = stop + length if length > 0 else stop
                    stop = stat + 68
            if stop > size:
                self._at = start
                data = self._need(stop - start)
                size = len(data)
                stop = self._at
                continue
            acl = lists.get(data[stat : stat + 8])
            if acl is None:
                acl = self._nobody()
            if data[stat + 44 : stat + 60] == _ZERO_16:
                # cversion, aversion, owner: 0 here as for clients, whose stat differs only in having pzxid last.
                owner = 0
                body = b"".join(
                    (
                        data[at:stat],
                        data[stat + 8 : stat + 60],
                        data[at : at + 4] if length >= 0 else _ZERO,
                        _ZERO,
                        data[stat + 60 : stop],
                    )
                )
            else:
                owner = _LONG.unpack_from(data, stat + 52)[0]
                (creates,) = unpack(data, stat + 44)
                body = b"".join(
                    (
                        data[at:stat],
                        data[stat + 8 : stat + 44],
                        _INT.pack(to_int32(2 * creates)),
                        data[stat + 48 : stat + 52],
                        data[stat + 52 : stat + 60] if is_session(owner) else _ZERO_8,
                        data[at : at + 4] if length >= 0 else _ZERO,
                        _ZERO,
                        data[stat + 60 : stop],
                    )
                )
            node = Node(body, acl, owner)
            if not path:
                nodes[ROOT] = node
                continue
            nodes[path] = node
            parent_path = path[: path.rfind(b"/")] or ROOT
            if parent_path != last_parent:
                parent = nodes.get(parent_path)
                if parent is None:
                    raise self._bad_node(start, f"the node {path!r} stands before its parent")
                if parent.children is EMPTY_CHILDREN:
                    parent.children = {}
                    parents.append(parent)
                siblings = parent.children
                last_parent = parent_path
            siblings[path] = None
        self._at = at
        for node in parents:
            _count_children(node)

    def _nobody(self) -> AclList:
        self._unlisted += 1
        return self._tree.acls.intern(NOBODY)

    def _bad_node(self, at: int, why: str) -> StorageError:
        return StorageError(f"{self._name}: damaged at offset {self._window.base + at}: {why}")

    def _ending(self) -> Ending:
        """Read the parts after the nodes; which there are is told by how many bytes are left."""
        self._window.move(self._at, _ENDING_BYTES_MAX)
        self._at = 0
        self._seal()
        has_digest = False
        digest_zxid = digest = 0
        if self._left() >= _DIGEST_HEAD.size + 4 + _SEAL_BYTES:
            digest_zxid, version = _DIGEST_HEAD.unpack_from(self._need(_DIGEST_HEAD.size), self._at)
            self._at += _DIGEST_HEAD.size
            if version >= DIGEST_VERSION:
                (digest,) = _LONG.unpack_from(self._need(8), self._at)
                self._at += 8
                # A tree without transactions has no digest; a version that is not known has none for us.
                has_digest = digest_zxid != 0 and version == DIGEST_VERSION
            else:
                # A development version of 3.6 wrote it as text.
                self._at += 4 + max(0, _INT.unpack_from(self._need(4), self._at)[0])
            self._seal()
        last_zxid = None
        if self._left():
            (last_zxid,) = _LONG.unpack_from(self._need(8), self._at)
            self._at += 8
            self._seal()
        if self._left():
            raise StorageError(f"{self._name}: there are {self._left()} bytes after the snapshot's end")
        return Ending(has_digest, digest_zxid, digest & 0xFFFFFFFFFFFFFFFF, last_zxid, self._unlisted)

    def _left(self) -> int:
        return len(self._window.data) - self._at

    def _seal(self) -> None:
        """Check the checksum of everything before `_at`."""
        adler = adler32(memoryview(self._window.data)[: self._at], self._window.adler)
        data = self._need(_SEAL_BYTES)
        (expected,) = _LONG.unpack_from(data, self._at)
        if expected != adler or data[self._at + 8 : self._at + _SEAL_BYTES] != _SEAL_END:
            raise StorageError(
                f"{self._name}: the checksum at offset {self._window.base + self._at} is 0x{expected:x}, but the bytes "
                f"give 0x{adler:x}"
            )
        self._at += _SEAL_BYTES


def _count_children(node: Node) -> None:
    """Put the number of children into a node's body, of which the client's cversion is part."""
    body = node.body
    count = len(node.children)
    (doubled,) = _INT.unpack_from(body, len(body) - 32)
    node.body = b"".join((body[:-32], _INT.pack(to_int32(doubled - count)), body[-28:-12], _INT.pack(count), body[-8:]))
