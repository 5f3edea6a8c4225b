"""getChildren, getChildren2 and getAllChildrenNumber."""

from __future__ import annotations

import struct
from typing import Any, Final

from corral.base.errors import NoAuth, NoNode
from corral.base.paths import ROOT
from corral.ops.base import ReadOp, Serving
from corral.ops.data import path_and_watch
from corral.tree.node import Node, stat_of
from corral.wire.client import PathRequest
from corral.wire.opcodes import GET_ALL_CHILDREN_NUMBER, GET_CHILDREN, GET_CHILDREN2, READ
from corral.wire.schema import decoder

_INT: Final = struct.Struct(">i")
_CACHED_MIN: Final = 16
_decode_path: Final = decoder(PathRequest)


def readable(cx: Serving, caller: Any, path: bytes) -> Node:
    """Return the node if it exists and the caller may read it. Raises NoNode, NoAuth."""
    node = cx.nodes.get(path) or cx.root(path)
    if node is None:
        raise NoNode(path)
    if not cx.allows(node.acl, READ, caller):
        raise NoAuth(path)
    return node


def encoded_children(cx: Serving, path: bytes, node: Node) -> bytes:
    """Return the vector of the children's names; long ones are kept until the node changes."""
    children = node.children
    if len(children) < _CACHED_MIN:
        return _encode(path, children)
    kept = cx.last_children.get(path)
    # Every change of the children makes a new body, so the same body means the same children.
    if kept is not None and kept[0] is node.body:
        return kept[1]
    encoded = _encode(path, children)
    if cx.options.children_cached_max > 0:
        if len(cx.last_children) >= cx.options.children_cached_max:
            cx.last_children.clear()
        cx.last_children[path] = (node.body, encoded)
    return encoded


def _encode(path: bytes, children: dict[bytes, None]) -> bytes:
    start = 1 if path == ROOT else len(path) + 1
    parts = [_INT.pack(len(children))]
    for child in children:
        parts.append(_INT.pack(len(child) - start))
        parts.append(child[start:])
    return b"".join(parts)


class GetChildren(ReadOp):
    """Both forms; the second adds the parent's Stat."""

    def __init__(self, code: int, has_stat: bool) -> None:
        self.code = code
        self.name = "getChildren2" if has_stat else "getChildren"
        self.lop = "GETC"
        self.has_stat = has_stat

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        path, watch = path_and_watch(buf, at, end)
        node = readable(cx, caller, path)
        if watch:
            cx.watches.watch_children(path, caller)
        encoded = encoded_children(cx, path or ROOT, node)
        return encoded + stat_of(node.body) if self.has_stat else encoded


class GetAllChildrenNumber(ReadOp):
    code = GET_ALL_CHILDREN_NUMBER
    name = "getAllChildrenNumber"
    lop = "GETACN"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        path = _decode_path(buf, at, end)[0].path
        readable(cx, caller, path)
        if not path:
            return _INT.pack(len(cx.nodes))
        return _INT.pack(len(cx.nodes) - 1 if path == ROOT else len(cx.tree.below(path)))


def children_operations() -> tuple[ReadOp, ...]:
    """Return the reads of children."""
    return (GetChildren(GET_CHILDREN, False), GetChildren(GET_CHILDREN2, True), GetAllChildrenNumber())
