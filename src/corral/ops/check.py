"""check: a version's condition, inside a multi only."""

from __future__ import annotations

from corral.base.errors import NoNode
from corral.base.paths import validate_path
from corral.ops.base import Preparing, Stamp, View, WriteOp
from corral.ops.delete import check_version
from corral.tree.node import Node, next_version, version_of
from corral.wire.client import CheckVersionRequest
from corral.wire.opcodes import CHECK, READ
from corral.wire.txns import CheckVersionTxn, TxnBody


class Check(WriteOp[CheckVersionRequest]):
    """Changes nothing; its transaction carries the version after the one seen, as ZooKeeper's does."""

    code = CHECK
    name = "check"
    lop = "CHEC"
    request = CheckVersionRequest
    txns = {CHECK: CheckVersionTxn}
    in_multi = True
    result = CHECK

    def prepare(self, cx: Preparing, request: CheckVersionRequest) -> tuple[int, TxnBody]:
        path = request.path
        validate_path(path)
        node = cx.view.get(path)
        if node is None:
            raise NoNode(f"{path!r} does not exist")
        cx.require(node.acl, READ, path)
        version = version_of(node.body)
        check_version(path, request.version, version)
        return CHECK, CheckVersionTxn(path, next_version(version))

    def apply(self, view: View, stamp: Stamp, body: CheckVersionTxn) -> Node | None:
        return view.get(body.path)
