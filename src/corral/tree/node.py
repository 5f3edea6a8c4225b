"""A znode and the arithmetic of its stat.

`Node.body` is the reply of getData as it goes on the wire: int32 length and data (length -1 for null), then the
68-byte Stat as a client sees it. So a read is one dictionary look-up and a concatenation, and a node of 100 bytes
costs one bytes object for data and stat together. Bodies are values: a change makes a new one.

Offsets of the Stat, from the end of the body: czxid -68, mzxid -60, ctime -52, mtime -44, version -36, cversion -32,
aversion -28, ephemeralOwner -24, dataLength -16, numChildren -12, pzxid -8.

Two fields differ from what is persisted. The client's cversion is `2 * creates - numChildren`, and creates (the
persisted one, which numbers sequential nodes) is computed back from it. ephemeralOwner is hidden for containers and
TTL nodes; `Node.owner` has the true one.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

from corral.base.compiled import mypyc_attr
from corral.base.paths import ROOT
from corral.tree.access import AclList

EMPTY_CHILDREN: Final[dict[bytes, None]] = {}

CONTAINER_OWNER: Final = -(1 << 63)
TTL_MAX: Final = (1 << 40) - 1
_TTL_MARK: Final = 0xFF << 56

_INT: Final = struct.Struct(">i")
_TIMES: Final = struct.Struct(">qqq")
_MASK: Final = 0xFFFFFFFF
_DATA_HEAD: Final = struct.Struct(">qqqqi")
_STAT: Final = struct.Struct(">qqqqiiiqiiq")
# From cversion on; aversion, ephemeralOwner and dataLength as they are.
_PARENT: Final = struct.Struct(">I16siq")
_COUNTS: Final = struct.Struct(">I16xi")
# The same, and aversion as it is; then what is persisted of it.
_VERSIONS: Final = struct.Struct(">I4s12xi")
_COUNTERS: Final = struct.Struct(">I4sq")
_NONE: Final = b"\0\0\0\0"
_NULL: Final = b"\xff\xff\xff\xff"
_INT_MAX: Final = 0x7FFFFFFF
_SYSTEM: Final = b"/zookeeper/"
_pack_int: Final = _INT.pack
_pack_stat: Final = _STAT.pack
_pack_parent: Final = _PARENT.pack
_pack_data_head: Final = _DATA_HEAD.pack
_pack_counters: Final = _COUNTERS.pack
_unpack_int: Final = _INT.unpack_from
_unpack_times: Final = _TIMES.unpack_from
_unpack_parent: Final = _PARENT.unpack_from
_unpack_versions: Final = _VERSIONS.unpack_from


@mypyc_attr(acyclic=True)
class Node:
    """One znode.

    children: the paths of its children in order of creation, shared with the tree's keys; `EMPTY_CHILDREN` until the
    first. owner: the session of an ephemeral, a mark for containers and TTL nodes, else 0. Nothing that a node refers
    to leads back to it, so a compiled one needs no room for the cycle collector.
    """

    __slots__ = ("acl", "body", "children", "owner")

    def __init__(self, body: bytes, acl: AclList, owner: int) -> None:
        self.body = body
        self.acl = acl
        self.owner = owner
        self.children = EMPTY_CHILDREN


def to_int32(value: int) -> int:
    """Wrap as Java's int does."""
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def to_int64(value: int) -> int:
    """Wrap as Java's long does."""
    return (value + 0x8000000000000000 & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000


def next_version(version: int) -> int:
    """Return the version after `version`; -1 is left out, as it means "any" in requests."""
    if -1 <= version < _INT_MAX:
        return version + 1
    version = to_int32(version + 1)
    return 0 if version == -1 else version


def new_body(data: bytes, zxid: int, time: int, owner: int) -> bytes:
    """Make the body of a node created by `zxid` at `time` (ms).

    data: behind its length, as on the wire. owner: the true one; only a session is shown.
    """
    shown = owner if owner and is_session(owner) else 0
    return data + _pack_stat(zxid, zxid, time, time, 0, 0, 0, shown, len(data) - 4, 0, zxid)


def with_data(body: bytes, data: bytes, version: int, zxid: int, time: int) -> bytes:
    """Return the body after a setData. data: behind its length, as on the wire."""
    czxid, _, ctime = _unpack_times(body, len(body) - 68)
    if len(data) == len(body) - 68:
        return b"".join((data, _pack_data_head(czxid, zxid, ctime, time, version), body[-32:]))
    head = _pack_data_head(czxid, zxid, ctime, time, version)
    return b"".join((data, head, body[-32:-16], _pack_int(len(data) - 4), body[-12:]))


def sized(data: bytes | None) -> bytes:
    """Return data behind its length, as on the wire."""
    return _NULL if data is None else _pack_int(len(data)) + data


def with_raw_data(body: bytes, data: bytes) -> bytes:
    """Return the body with other data and its stat as it was: how quota statistics change."""
    size = _INT.pack(len(data))
    return b"".join((size, data, body[-68:-16], size, body[-12:]))


def with_aversion(body: bytes, aversion: int) -> bytes:
    """Return the body after a setACL."""
    return b"".join((body[:-28], _pack_int(aversion), body[-24:]))


def with_hidden_owner(body: bytes) -> bytes:
    """Return the body of a node that no session owns."""
    return b"".join((body[:-24], bytes(8), body[-16:]))


def with_child_added(body: bytes, creates: int, zxid: int) -> bytes:
    """Return a parent's body after a create under it.

    creates: the parent's count of creates after it, as the transaction carries it; counts and pzxid only ever rise,
    so that applying a transaction again changes nothing.
    """
    cversion, middle, children, pzxid = _unpack_parent(body, len(body) - 32)
    before = (cversion + children & _MASK) >> 1
    children += 1
    if creates > before:
        before = creates
        pzxid = zxid
    return body[:-32] + _pack_parent(2 * before - children & _MASK, middle, children, pzxid)


def with_child_created(body: bytes, zxid: int) -> tuple[bytes, int, int]:
    """Return a parent's body after a new create under it, and its count of creates before and after that."""
    cversion, middle, children, _ = _unpack_parent(body, len(body) - 32)
    creates: int = (cversion + children & _MASK) >> 1
    if creates == _INT_MAX:
        # The count wraps as Java's does, and what only rises stays as it is.
        return with_child_added(body, -creates - 1, zxid), creates, -creates - 1
    made: bytes = body[:-32] + _pack_parent(cversion + 1 & _MASK, middle, children + 1, zxid)
    return made, creates, creates + 1


def with_child_removed(body: bytes, zxid: int) -> bytes:
    """Return a parent's body after a delete under it."""
    cversion, middle, children, pzxid = _unpack_parent(body, len(body) - 32)
    return body[:-32] + _pack_parent(cversion + 1 & _MASK, middle, children - 1, max(pzxid, zxid))


def with_creates_raised(body: bytes, creates: int, zxid: int) -> bytes:
    """Return a parent's body after a create under it was applied again: counts rise, the children do not."""
    cversion, middle, children, pzxid = _unpack_parent(body, len(body) - 32)
    if creates <= (cversion + children & _MASK) >> 1:
        return body
    return body[:-32] + _pack_parent(2 * creates - children & _MASK, middle, children, max(pzxid, zxid))


def with_pzxid_raised(body: bytes, zxid: int) -> bytes:
    """Return a parent's body after a delete under it was applied again."""
    return body if zxid <= pzxid_of(body) else body[:-8] + zxid.to_bytes(8, "big", signed=True)


def data_of(body: bytes) -> bytes | None:
    """Return the data, None if null."""
    return None if body[0] == 0xFF else body[4:-68]


def data_length(body: bytes) -> int:
    """Return the number of data bytes, 0 for null."""
    return len(body) - 72


def stat_of(body: bytes) -> bytes:
    """Return the packed Stat."""
    return body[-68:]


def version_of(body: bytes) -> int:
    """Return the data version."""
    value: int = _INT.unpack_from(body, len(body) - 36)[0]
    return value


def aversion_of(body: bytes) -> int:
    """Return the ACL version."""
    value: int = _INT.unpack_from(body, len(body) - 28)[0]
    return value


def children_of(body: bytes) -> int:
    """Return the number of children."""
    value: int = _INT.unpack_from(body, len(body) - 12)[0]
    return value


def creates_of(body: bytes) -> int:
    """Return how many children were ever created: the persisted cversion, and the next sequence number."""
    cversion: int
    children: int
    cversion, children = _COUNTS.unpack_from(body, len(body) - 32)
    return (cversion + children & _MASK) >> 1


def czxid_of(body: bytes) -> int:
    """Return the zxid of the creation."""
    return int.from_bytes(body[-68:-60], "big", signed=True)


def mzxid_of(body: bytes) -> int:
    """Return the zxid of the last setData."""
    return int.from_bytes(body[-60:-52], "big", signed=True)


def mtime_of(body: bytes) -> int:
    """Return the wall-clock ms of the last setData."""
    return int.from_bytes(body[-44:-36], "big", signed=True)


def ctime_of(body: bytes) -> int:
    """Return the wall-clock ms of the creation."""
    return int.from_bytes(body[-52:-44], "big", signed=True)


def pzxid_of(body: bytes) -> int:
    """Return the zxid of the last create or delete of a child."""
    return int.from_bytes(body[-8:], "big", signed=True)


def is_container(owner: int) -> bool:
    """Tell whether an owner is the mark of a container."""
    return owner == CONTAINER_OWNER


def is_ttl(owner: int) -> bool:
    """Tell whether an owner is the mark of a TTL node."""
    return owner < 0 and (owner >> 56) & 0xFF == 0xFF


def is_session(owner: int) -> bool:
    """Tell whether an owner is a session: the node is a normal ephemeral."""
    return owner != 0 and owner != CONTAINER_OWNER and not is_ttl(owner)


def ttl_owner(ttl: int) -> int:
    """Return the mark of a TTL node of `ttl` ms."""
    return (_TTL_MARK | ttl) - (1 << 64)


def ttl_of(owner: int) -> int:
    """Return the ms of a TTL node's mark."""
    return owner & TTL_MAX


def node_digest(path: bytes, body: bytes, owner: int) -> int:
    """Return a node's share of the tree's digest, 0 below /zookeeper.

    Source: ZooKeeper DigestCalculator, version 2.
    """
    if owner or body[-12:-8] != _NONE or body[-32:-28] != _NONE or path.startswith(_SYSTEM):
        return parent_digest(path, body, owner)
    return crc32(b"".join((path, body[4:-52], body[-8:], body[-52:-16])))


def leaf_digest(path: bytes, body: bytes, owner: int) -> int:
    """Return the digest of a node that never had children: what is persisted of it is what is shown."""
    if owner or path.startswith(_SYSTEM):
        return parent_digest(path, body, owner)
    return crc32(b"".join((path, body[4:-52], body[-8:], body[-52:-16])))


def parent_digest(path: bytes, body: bytes, owner: int) -> int:
    """Return the digest of any node."""
    if path.startswith(_SYSTEM):
        return 0
    cversion, aversion, children = _unpack_versions(body, len(body) - 32)
    counters = _pack_counters((cversion + children & _MASK) >> 1, aversion, owner)
    return crc32(b"".join((path if path != ROOT else b"", body[4:-52], body[-8:], body[-52:-32], counters)))
