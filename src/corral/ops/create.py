"""create, create2, createContainer and createTTL."""

from __future__ import annotations

import struct
from typing import Any, Final

from corral.base.errors import (
    BadArguments,
    NoChildrenForEphemerals,
    NodeExists,
    NoNode,
    Unimplemented,
    WireError,
)
from corral.base.paths import ROOT, match_plain_name, validate_path
from corral.ops.base import Preparing, Stamp, View, WriteOp
from corral.ops.limits import check_quota
from corral.tree.node import (
    CONTAINER_OWNER,
    TTL_MAX,
    Node,
    creates_of,
    is_session,
    new_body,
    sized,
    stat_of,
    ttl_owner,
    with_child_added,
    with_child_created,
    with_creates_raised,
)
from corral.wire.client import CreateRequest, CreateTtlRequest
from corral.wire.data import ACL, OPEN_ACL, StoredAcls
from corral.wire.opcodes import CREATE, CREATE2, CREATE_CONTAINER, CREATE_PERM, CREATE_TTL
from corral.wire.schema import encode, unpacker
from corral.wire.txns import CreateContainerTxn, CreateTtlTxn, CreateTxn, TxnBody

_pack_int: Final = struct.Struct(">i").pack
_unpack_int: Final = struct.Struct(">i").unpack_from
_pack_end: Final = struct.Struct(">?i").pack
_unpack_request: Final = unpacker(CreateRequest)
_unpack_txn: Final = unpacker(CreateTxn)

# How a create with the usual list ends, and its flags: none, ephemeral, sequential, both.
_OPEN_TAILS: Final = {encode(StoredAcls(OPEN_ACL)) + _pack_int(flags): flags for flags in range(4)}
_TAIL_BYTES: Final = len(encode(StoredAcls(OPEN_ACL))) + 4
EPHEMERAL_FLAGS: Final = (1, 3)
SEQUENTIAL_FLAGS: Final = (2, 3, 6)
TTL_FLAGS: Final = (5, 6)


class CreateOp(WriteOp[Any]):
    """The four creates. The code, not the flags, decides whether a container or TTL node is made."""

    request: type[Any] = CreateRequest
    in_multi = True

    def __init__(self, code: int, name: str, body: type, has_stat: bool) -> None:
        self.code = code
        self.name = name
        self.lop = "CREA"
        self.txns = {code: body}
        self.has_stat = has_stat
        self.result = CREATE2 if has_stat else CREATE
        self.is_plain = body is CreateTxn and code != CREATE_TTL
        if code == CREATE_TTL:
            self.request = CreateTtlRequest
        super().__init__()

    def take(self, cx: Preparing, buf: bytes, at: int, end: int) -> tuple[int, bytes, bytes]:
        if not self.is_plain:
            return super().take(cx, buf, at, end)
        middle = at + 4 + _unpack_int(buf, at)[0]
        tail = end - _TAIL_BYTES
        flags = _OPEN_TAILS.get(buf[tail:end], -1) if at + 4 < middle <= tail - 4 else -1
        acls: list[ACL] | None = OPEN_ACL
        if flags >= 0 and _unpack_int(buf, middle)[0] == tail - middle - 4:
            # As nearly every request is; it need not be taken apart.
            asked, data = buf[at + 4 : middle], buf[middle:tail]
        else:
            asked, raw, acls, flags, _ = _unpack_request(buf, at, end)
            middle = at + 4 + len(asked)
            data = sized(raw)
        path, parent_path, parent, changed, stored, creates = self._check(cx, asked, len(data) - 4, acls, flags, -1)
        is_ephemeral = flags in EPHEMERAL_FLAGS
        owner = cx.client_id if is_ephemeral else 0
        cx.type = self.code
        view = cx.view
        acl = view.acls.open if stored is OPEN_ACL else view.acls.intern(stored)
        shown = buf[at:middle] if path is asked else _pack_int(len(path)) + path
        node = Node(new_body(data, cx.zxid, cx.time, owner), acl, owner)
        view.add(path, node, parent_path, parent, changed)
        body = b"".join((shown, data, acl.encoded, _pack_end(is_ephemeral, creates)))
        return self.code, body, shown + node.body[-68:] if self.has_stat else shown

    def prepare(self, cx: Preparing, request: CreateRequest | CreateTtlRequest) -> tuple[int, TxnBody]:
        flags = request.flags
        ttl = request.ttl if isinstance(request, CreateTtlRequest) else -1
        data = request.data
        path, _, _, _, acl, creates = self._check(cx, request.path, len(data or b""), request.acl, flags, ttl)
        if self.code == CREATE_CONTAINER:
            return self.code, CreateContainerTxn(path, data, acl, creates)
        if self.code == CREATE_TTL and flags in TTL_FLAGS:
            return self.code, CreateTtlTxn(path, data, acl, creates, ttl)
        kind = CREATE2 if self.code == CREATE_TTL else self.code
        return kind, CreateTxn(path, data, acl, flags in EPHEMERAL_FLAGS, creates)

    def _check(
        self, cx: Preparing, path: bytes, size: int, acls: list[ACL] | None, flags: int, ttl: int
    ) -> tuple[bytes, bytes, Node, bytes, list[ACL], int]:
        """Return the node's path, its parent's, the parent, its body after it, the list to store, the creates after it.

        size: of its data. Raises ZooKeeperError.
        """
        if flags:
            _check_mode(cx, flags, ttl)
        elif ttl >= 0:
            raise BadArguments(f"TTL {ttl} for a node without TTL")
        slash = path.rfind(b"/")
        if slash < 0 or b"\0" in path:
            raise BadArguments(f"invalid path {path!r}")
        acl = acls if acls is OPEN_ACL else cx.access.fix_up(acls, cx.identities)
        parent_path = path[:slash] or ROOT
        view = cx.view
        parent = view.get(parent_path)
        if parent is None:
            raise NoNode(f"the parent of {path!r} does not exist")
        if not parent.acl.world & CREATE_PERM:
            cx.require(parent.acl, CREATE_PERM, parent_path)
        changed, before, creates = with_child_created(parent.body, cx.zxid)
        if flags in SEQUENTIAL_FLAGS:
            path += b"%010d" % before
        # The parent is there, so its path is good, but for that of //name, whose parent is not the root.
        if slash == 1 or match_plain_name(path, slash + 1) is None:
            validate_path(path)
        if view.get(path) is not None:
            raise NodeExists(f"{path!r} exists")
        if parent.owner and is_session(parent.owner):
            raise NoChildrenForEphemerals(f"{parent_path!r} is ephemeral")
        if cx.options.enforce_quota:
            check_quota(cx, path, 1, size)
        return path, parent_path, parent, changed, acl, creates

    def apply(self, view: View, stamp: Stamp, body: Any) -> Node | None:
        return apply_create(view, stamp, body)

    def redo(self, view: View, stamp: Stamp, buf: bytes, at: int) -> int:
        if not self.is_plain:
            return -1
        try:
            path, data, acl, is_ephemeral, creates, at = _unpack_txn(buf, at, len(buf))
        except (WireError, struct.error):
            # Maybe the form of old logs.
            return -1
        _apply(view, stamp, path, data, acl, stamp.client_id if is_ephemeral else 0, creates)
        return at

    def respond(self, body: Any, node: Node | None) -> bytes:
        path: bytes = body.path
        reply = _pack_int(len(path)) + path
        return reply + stat_of(node.body) if self.has_stat and node is not None else reply


def _check_mode(cx: Preparing, flags: int, ttl: int) -> None:
    if not 0 <= flags <= 6:
        raise BadArguments(f"create flags {flags}: must be 0 to 6")
    if flags in TTL_FLAGS:
        if not cx.options.extended_types:
            raise Unimplemented("TTL nodes need extendedTypesEnabled=true")
        if not 1 <= ttl <= TTL_MAX:
            raise BadArguments(f"TTL {ttl}: must be 1 to {TTL_MAX} ms")
    elif ttl >= 0:
        raise BadArguments(f"TTL {ttl} for a node without TTL")


def apply_create(view: View, stamp: Stamp, body: CreateTxn | CreateTtlTxn | CreateContainerTxn) -> Node | None:
    """Make the node unless it is there; return it. Source: ZooKeeper DataTree.createNode."""
    owner = 0
    if isinstance(body, CreateTxn):
        if body.ephemeral:
            owner = stamp.client_id
    elif isinstance(body, CreateTtlTxn):
        owner = ttl_owner(body.ttl)
    else:
        owner = CONTAINER_OWNER
    return _apply(view, stamp, body.path, body.data, body.acl, owner, body.parent_cversion)


def _apply(
    view: View, stamp: Stamp, path: bytes, data: bytes | None, acls: list[ACL] | None, owner: int, creates: int
) -> Node | None:
    parent_path = path[: path.rfind(b"/")] or ROOT
    parent = view.get(parent_path)
    if parent is None:
        return None
    zxid = stamp.zxid
    if creates == -1:
        creates = creates_of(parent.body) + 1
    known = view.get(path)
    acl = view.acls.intern(acls)
    if known is not None:
        view.set_acl(path, known, known.body, acl)
        if stamp.type == CREATE:
            view.set_body(parent_path, parent, with_creates_raised(parent.body, creates, zxid))
        return known
    node = Node(new_body(sized(data), zxid, stamp.time, owner), acl, owner)
    view.add(path, node, parent_path, parent, with_child_added(parent.body, creates, zxid))
    return node


def create_operations() -> tuple[WriteOp[Any], ...]:
    """Return the four creates."""
    return (
        CreateOp(CREATE, "create", CreateTxn, has_stat=False),
        CreateOp(CREATE2, "create2", CreateTxn, has_stat=True),
        CreateOp(CREATE_CONTAINER, "createContainer", CreateContainerTxn, has_stat=True),
        CreateOp(CREATE_TTL, "createTTL", CreateTtlTxn, has_stat=True),
    )
