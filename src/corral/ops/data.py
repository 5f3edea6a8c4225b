"""getData and setData."""

from __future__ import annotations

import struct
from typing import Any, Final

from corral.base.errors import NoAuth, NoNode, WireError
from corral.base.paths import validate_path
from corral.ops.base import Preparing, ReadOp, Serving, Stamp, View, WriteOp
from corral.ops.delete import check_version
from corral.ops.limits import check_quota
from corral.tree.node import Node, data_length, next_version, sized, stat_of, version_of, with_data
from corral.wire.client import SetDataRequest
from corral.wire.opcodes import GET_DATA, READ, SET_DATA, WRITE
from corral.wire.schema import unpacker
from corral.wire.txns import SetDataTxn, TxnBody

_unpack_int: Final = struct.Struct(">i").unpack_from
_pack_int: Final = struct.Struct(">i").pack
_unpack_request: Final = unpacker(SetDataRequest)
_unpack_txn: Final = unpacker(SetDataTxn)


def path_and_watch(buf: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Read a path and a watch flag: the request of all plain reads. Raises WireError, struct.error."""
    size = _unpack_int(buf, at)[0]
    at += 4
    if size < 0:
        size = 0 if size == -1 else end
    stop = at + size
    if stop >= end:
        raise WireError(f"Unreasonable length = {size}")
    return buf[at:stop], buf[stop]


class GetData(ReadOp):
    code = GET_DATA
    name = "getData"
    lop = "GETD"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        if 0 <= _unpack_int(buf, at)[0] == end - at - 5:
            path, watch = buf[at + 4 : end - 1], buf[end - 1]
        else:
            path, watch = path_and_watch(buf, at, end)
        node = cx.nodes.get(path) or cx.root(path)
        if node is None:
            raise NoNode(path)
        if not node.acl.world & READ and not cx.allows(node.acl, READ, caller):
            raise NoAuth(path)
        if watch:
            cx.watches.watch_data(path, caller)
        return node.body


class SetData(WriteOp[SetDataRequest]):
    code = SET_DATA
    name = "setData"
    lop = "SETD"
    request = SetDataRequest
    txns = {SET_DATA: SetDataTxn}
    in_multi = True
    result = SET_DATA

    def take(self, cx: Preparing, buf: bytes, at: int, end: int) -> tuple[int, bytes, bytes]:
        # The transaction is the request with the new version for the expected one: its bytes serve for both.
        middle = at + 4 + _unpack_int(buf, at)[0]
        if at + 4 < middle <= end - 8 and _unpack_int(buf, middle)[0] == end - middle - 8:
            path = buf[at + 4 : middle]
            data = buf[middle : end - 4]
            expected = _unpack_int(buf, end - 4)[0]
        else:
            path, raw, expected, end = _unpack_request(buf, at, end)
            data = sized(raw)
        node, version = self._check(cx, path, len(data) - 4, expected)
        body = with_data(node.body, data, version, cx.zxid, cx.time)
        cx.view.set_data(path, node, body)
        return SET_DATA, buf[at : end - 4] + _pack_int(version), body[-68:]

    def prepare(self, cx: Preparing, request: SetDataRequest) -> tuple[int, TxnBody]:
        _, version = self._check(cx, request.path, len(request.data or b""), request.version)
        return SET_DATA, SetDataTxn(request.path, request.data, version)

    def _check(self, cx: Preparing, path: bytes, size: int, expected: int) -> tuple[Node, int]:
        """Return the node that may be changed, and its new version. size: of the data. Raises ZooKeeperError."""
        node: Node | None = cx.view.get(path)
        if node is None:
            validate_path(path)
            raise NoNode(f"{path!r} does not exist")
        if not node.acl.world & WRITE:
            cx.require(node.acl, WRITE, path)
        if cx.options.enforce_quota:
            check_quota(cx, path, 0, size - data_length(node.body))
        version = version_of(node.body)
        if expected != -1:
            check_version(path, expected, version)
        return node, next_version(version)

    def apply(self, view: View, stamp: Stamp, body: SetDataTxn) -> Node | None:
        return _apply(view, stamp, body.path, body.data, body.version)

    def redo(self, view: View, stamp: Stamp, buf: bytes, at: int) -> int:
        try:
            path, data, version, at = _unpack_txn(buf, at, len(buf))
        except (WireError, struct.error):
            return -1
        _apply(view, stamp, path, data, version)
        return at

    def respond(self, body: SetDataTxn, node: Node | None) -> bytes:
        assert node is not None
        return stat_of(node.body)


def _apply(view: View, stamp: Stamp, path: bytes, data: bytes | None, version: int) -> Node | None:
    node = view.get(path)
    if node is None:
        return None
    return view.set_data(path, node, with_data(node.body, sized(data), version, stamp.zxid, stamp.time))
