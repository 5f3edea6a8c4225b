"""The tree as it will be once every prepared transaction is committed.

A leader checks each request here, so that pipelined requests see the ones before them. The verbs are those of the
tree; they leave it alone and are recorded instead, to be installed on commit. `get` returns nodes that nobody may
change in place.

Invariants: `_nodes[path]` is the newest uncommitted state of a path, a node without body if deleted; an entry goes
when the very object it holds has been committed. `_ephemerals[session][path]` is how many outstanding creates of that
path are the session's. `digest` is the digest of this view.
"""

from __future__ import annotations

from corral.tree.access import AclList
from corral.tree.digest import Digest
from corral.tree.node import Node, is_session
from corral.tree.tree import (
    ADD,
    CLOSE_SESSION,
    OPEN_SESSION,
    REMOVE,
    SET_ACL,
    SET_DATA,
    Change,
    SessionChange,
    Tree,
)


class Overlay:
    """Outstanding changes on top of a tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._nodes: dict[bytes, Node] = {}
        self._sessions: dict[int, int] = {}
        self._ephemerals: dict[int, dict[bytes, int]] = {}
        self.acls = tree.acls
        self.digest = Digest(tree.digest.enabled, tree.digest.value)
        self.changes: list[Change] = []
        self.session_changes: list[SessionChange] = []

    def get(self, path: bytes) -> Node | None:
        """Return the newest state of the node at `path`."""
        node = self._nodes.get(path)
        if node is None:
            return self._tree.nodes.get(path)
        return node if node.body else None

    def begin(self) -> None:
        """Start recording a transaction."""
        self.changes = []
        if self.session_changes:
            self.session_changes = []

    def rollback(self, digest: int) -> None:
        """Take back all since `begin`, when the digest was `digest`: a multi has failed."""
        for verb, path, node, before, parent_path, _, parent_before in reversed(self.changes):
            if parent_path:
                self._put_back(parent_path, parent_before)
            self._put_back(path, before)
            if verb == ADD and is_session(node.owner):
                self._forget_ephemeral(node.owner, path)
        self.begin()
        self.digest.forget()
        self.digest.value = digest

    def commit(self, changes: list[Change], sessions: list[SessionChange], zxid: int, digest: int) -> None:
        """Have the tree take over a transaction, and drop what it has itself. digest: of the whole tree after it."""
        tree = self._tree
        tree.zxid = zxid
        nodes = self._nodes
        for verb, path, node, _, parent_path, parent_body, _ in changes:
            if verb == ADD:
                tree.install_added(path, node, parent_path, parent_body)
            elif verb == SET_DATA:
                tree.install_data(path, node.body)
            elif verb == REMOVE:
                tree.install_removed(path, parent_path, parent_body)
            else:
                tree.install_acl(path, node)
            if nodes.get(path) is node:
                del nodes[path]
            if parent_path:
                known = nodes.get(parent_path)
                if known is not None and known.body is parent_body:
                    del nodes[parent_path]
                if verb == ADD and node.owner and is_session(node.owner):
                    self._forget_ephemeral(node.owner, path)
        if sessions:
            tree.install_sessions(sessions)
        tree.digest.value = digest

    def add(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None:
        """Put a new node; its parent gets `parent_body`."""
        self.digest.added(path, node, parent_path, parent, parent_body)
        nodes = self._nodes
        self.changes.append((ADD, path, node, nodes.get(path), parent_path, parent_body, nodes.get(parent_path)))
        nodes[path] = node
        nodes[parent_path] = Node(parent_body, parent.acl, parent.owner)
        if node.owner and is_session(node.owner):
            paths = self._ephemerals.setdefault(node.owner, {})
            paths[path] = paths.get(path, 0) + 1

    def remove(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None:
        """Take a node away; its parent gets `parent_body`."""
        self.digest.removed(path, node, parent_path, parent, parent_body)
        tombstone = Node(b"", node.acl, node.owner)
        nodes = self._nodes
        self.changes.append(
            (REMOVE, path, tombstone, nodes.get(path), parent_path, parent_body, nodes.get(parent_path))
        )
        nodes[path] = tombstone
        nodes[parent_path] = Node(parent_body, parent.acl, parent.owner)

    def set_data(self, path: bytes, node: Node, body: bytes) -> Node:
        """Give a node new data; return the node as it will be."""
        # As `_replace`, written out for what most writes are.
        self.digest.changed(path, node, body)
        changed = Node(body, node.acl, node.owner)
        nodes = self._nodes
        self.changes.append((SET_DATA, path, changed, nodes.get(path), b"", b"", None))
        nodes[path] = changed
        return changed

    def set_acl(self, path: bytes, node: Node, body: bytes, acl: AclList) -> Node:
        """Give a node a new access list; return the node as it will be."""
        return self._replace(SET_ACL, path, node, body, acl)

    def set_body(self, path: bytes, node: Node, body: bytes) -> None:
        """Correct a node's counters without telling anyone."""
        self._replace(SET_ACL, path, node, body, node.acl)

    def open_session(self, session: int, timeout: int) -> None:
        """Enter a session with its timeout in ms."""
        self.session_changes.append((OPEN_SESSION, session, timeout))

    def close_session(self, session: int) -> None:
        """Strike a session out."""
        self.session_changes.append((CLOSE_SESSION, session, 0))

    def ephemerals_of(self, session: int) -> list[bytes]:
        """Return the paths of a session's ephemerals as they will be, in order of creation."""
        found = []
        for path in {**self._tree.ephemerals.get(session, {}), **self._ephemerals.get(session, {})}:
            node = self.get(path)
            if node is not None and node.owner == session:
                found.append(path)
        return found

    def _replace(self, verb: int, path: bytes, node: Node, body: bytes, acl: AclList) -> Node:
        self.digest.changed(path, node, body)
        changed = Node(body, acl, node.owner)
        nodes = self._nodes
        self.changes.append((verb, path, changed, nodes.get(path), b"", b"", None))
        nodes[path] = changed
        return changed

    def _put_back(self, path: bytes, before: Node | None) -> None:
        if before is None:
            self._nodes.pop(path, None)
        else:
            self._nodes[path] = before

    def _forget_ephemeral(self, session: int, path: bytes) -> None:
        paths = self._ephemerals[session]
        if paths[path] > 1:
            paths[path] -= 1
            return
        del paths[path]
        if not paths:
            del self._ephemerals[session]
