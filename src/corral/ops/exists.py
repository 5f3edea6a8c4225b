"""exists."""

from __future__ import annotations

from typing import Any

from corral.base.errors import BadArguments, NoAuth, NoNode
from corral.ops.base import ReadOp, Serving
from corral.ops.data import path_and_watch
from corral.wire.opcodes import EXISTS, READ


class Exists(ReadOp):
    """The one read that watches what is not there."""

    code = EXISTS
    name = "exists"
    lop = "EXIS"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        path, watch = path_and_watch(buf, at, end)
        node = cx.nodes.get(path) or cx.root(path)
        if node is None:
            if b"\0" in path:
                raise BadArguments(path)
            if watch:
                cx.watches.watch_data(path, caller)
            raise NoNode(path)
        if not node.acl.world & READ and not cx.allows(node.acl, READ, caller):
            raise NoAuth(path)
        if watch:
            cx.watches.watch_data(path, caller)
        return node.body[-68:]
