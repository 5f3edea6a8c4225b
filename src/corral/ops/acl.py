"""getACL and setACL."""

from __future__ import annotations

from typing import Any, Final

from corral.base.errors import NoAuth, NoNode
from corral.base.paths import validate_path
from corral.ops.base import Preparing, ReadOp, Serving, Stamp, View, WriteOp
from corral.ops.delete import check_version
from corral.tree.node import Node, aversion_of, next_version, stat_of, with_aversion
from corral.wire.client import GetAclResponse, PathRequest, SetAclRequest
from corral.wire.data import ACL, Stat
from corral.wire.opcodes import ADMIN, GET_ACL, READ, SET_ACL
from corral.wire.schema import decode, decoder, encode
from corral.wire.txns import SetAclTxn, TxnBody

_decode_path: Final = decoder(PathRequest)


class GetAcl(ReadOp):
    """The list; who may not change it sees no digest's hash."""

    code = GET_ACL
    name = "getACL"
    lop = "GETA"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        path = _decode_path(buf, at, end)[0].path
        node = cx.nodes.get(path) or cx.root(path)
        if node is None:
            raise NoNode(path)
        if not cx.allows(node.acl, READ | ADMIN, caller):
            raise NoAuth(path)
        shown = node.acl.entries
        if not cx.allows(node.acl, ADMIN, caller):
            shown = tuple((p, s, i.split(":")[0] + ":x" if s == "digest" else i) for p, s, i in shown)
        stat = decode(Stat, stat_of(node.body))
        return encode(GetAclResponse([ACL(p, s, i) for p, s, i in shown], stat))


class SetAcl(WriteOp[SetAclRequest]):
    code = SET_ACL
    name = "setACL"
    lop = "SETA"
    request = SetAclRequest
    txns = {SET_ACL: SetAclTxn}

    def prepare(self, cx: Preparing, request: SetAclRequest) -> tuple[int, TxnBody]:
        path = request.path
        validate_path(path)
        acl = cx.access.fix_up(request.acl, cx.identities)
        node = cx.view.get(path)
        if node is None:
            raise NoNode(f"{path!r} does not exist")
        cx.require(node.acl, ADMIN, path)
        version = aversion_of(node.body)
        check_version(path, request.version, version)
        return SET_ACL, SetAclTxn(path, acl, next_version(version))

    def apply(self, view: View, stamp: Stamp, body: SetAclTxn) -> Node | None:
        node = view.get(body.path)
        if node is None:
            return None
        return view.set_acl(body.path, node, with_aversion(node.body, body.version), view.acls.intern(body.acl))

    def respond(self, body: SetAclTxn, node: Node | None) -> bytes:
        assert node is not None
        return stat_of(node.body)
