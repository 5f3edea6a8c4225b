"""delete, and deleteContainer, with which the server reaps containers and TTL nodes."""

from __future__ import annotations

from typing import Any

from corral.base.errors import BadArguments, BadVersion, NoAuth, NoNode, NotEmpty
from corral.base.paths import SYSTEM_PATHS, parent_of
from corral.ops.base import Preparing, Stamp, View, WriteOp
from corral.tree.node import (
    Node,
    children_of,
    is_session,
    version_of,
    with_child_removed,
    with_pzxid_raised,
)
from corral.wire.client import DeleteRequest, PathRequest
from corral.wire.opcodes import DELETE, DELETE_CONTAINER, DELETE_PERM
from corral.wire.txns import DeleteTxn, TxnBody


class Delete(WriteOp[DeleteRequest]):
    code = DELETE
    name = "delete"
    lop = "DELE"
    request = DeleteRequest
    txns = {DELETE: DeleteTxn}
    in_multi = True
    result = DELETE

    def prepare(self, cx: Preparing, request: DeleteRequest) -> tuple[int, TxnBody]:
        path = request.path
        check_deletable(path)
        parent_path = parent_of(path)
        parent = cx.view.get(parent_path)
        if parent is None:
            raise NoNode(f"the parent of {path!r} does not exist")
        cx.require(parent.acl, DELETE_PERM, parent_path)
        node = cx.view.get(path)
        if node is None:
            raise NoNode(f"{path!r} does not exist")
        check_version(path, request.version, version_of(node.body))
        if children_of(node.body):
            raise NotEmpty(f"{path!r} has children")
        return DELETE, DeleteTxn(path)

    def apply(self, view: View, stamp: Stamp, body: DeleteTxn) -> Node | None:
        return apply_delete(view, stamp.zxid, body.path)


class DeleteContainer(WriteOp[PathRequest]):
    """The server's own delete of an empty container or expired TTL node.

    Deviation: ZooKeeper takes it from any client, without any check of rights; here only from the server itself.
    """

    code = DELETE_CONTAINER
    name = "deleteContainer"
    lop = "DELE"
    request = PathRequest
    txns = {DELETE_CONTAINER: DeleteTxn}

    def prepare(self, cx: Preparing, request: PathRequest) -> tuple[int, TxnBody]:
        path = request.path
        if not cx.is_internal:
            raise NoAuth("deleteContainer is the server's own")
        check_deletable(path)
        node = cx.view.get(path)
        if node is None:
            raise NoNode(f"{path!r} does not exist")
        if children_of(node.body):
            raise NotEmpty(f"{path!r} has children")
        if is_session(node.owner):
            raise BadVersion(f"{path!r} is ephemeral")
        return DELETE_CONTAINER, DeleteTxn(path)

    def apply(self, view: View, stamp: Stamp, body: DeleteTxn) -> Node | None:
        return apply_delete(view, stamp.zxid, body.path)


def check_deletable(path: bytes) -> None:
    """Refuse what is no path, and the system's nodes. Raises BadArguments."""
    if b"/" not in path or b"\0" in path or path in SYSTEM_PATHS:
        raise BadArguments(f"{path!r} cannot be deleted")


def check_version(path: bytes, expected: int, version: int) -> None:
    """Refuse another version than the expected one; -1 expects any. Raises BadVersion."""
    if expected not in (-1, version):
        raise BadVersion(f"{path!r} has version {version}, not {expected}")


def apply_delete(view: View, zxid: int, path: bytes) -> Node | None:
    """Delete a node if it is there. Source: ZooKeeper DataTree.deleteNode."""
    parent_path = parent_of(path)
    parent = view.get(parent_path)
    if parent is None:
        return None
    node = view.get(path)
    if node is None:
        body = with_pzxid_raised(parent.body, zxid)
        if body is not parent.body:
            view.set_body(parent_path, parent, body)
        return None
    view.remove(path, node, parent_path, parent, with_child_removed(parent.body, zxid))
    return None


def delete_operations() -> tuple[WriteOp[Any], ...]:
    """Return both deletes."""
    return (Delete(), DeleteContainer())
