"""The znodes of one server: the committed state, and nothing that is not.

Operations change a tree only through its verbs (`add`, `remove`, `set_data`, `set_acl`, `set_body`,
`open_session`, `close_session`). The same verbs exist on the overlay that a leader prepares transactions on. A leader
records them there and `install`s the record here on commit; a follower and a replay run the operations on the tree
itself. Both end in the same state: tests hold them against each other.

Invariants: every node but the root has its parent in `nodes`, earlier in its order; `ephemerals` has exactly the
nodes owned by sessions; `digest` is the digest of `nodes` while enabled.
"""

from __future__ import annotations

from typing import Final

from corral.base.paths import CONFIG, QUOTA, ROOT, ZOOKEEPER, parent_of
from corral.tree.access import AclList, AclTable
from corral.tree.digest import Digest, tree_digest
from corral.tree.node import (
    EMPTY_CHILDREN,
    Node,
    data_length,
    is_container,
    is_session,
    is_ttl,
    new_body,
    sized,
    with_aversion,
    with_child_added,
    with_raw_data,
)
from corral.tree.quota import Quotas, format_stats, quota_of_limits, quota_of_stats, stats_path
from corral.tree.watches import EventSink, Watches
from corral.wire.data import ACL

ADD: Final = 0
REMOVE: Final = 1
SET_DATA: Final = 2
SET_ACL: Final = 3
OPEN_SESSION: Final = 4
CLOSE_SESSION: Final = 5

Change = tuple[int, bytes, Node, Node | None, bytes, bytes, Node | None]
"""A recorded verb: which, the node's path, its state after, what the overlay had there before; the parent's path and
body after (empty if unchanged), and what the overlay had there before."""

SessionChange = tuple[int, int, int]


class Tree:
    """The nodes, the sessions' timeouts (ms) and the watches on one server."""

    def __init__(self, sink: EventSink, digest_enabled: bool = True) -> None:
        self.nodes: dict[bytes, Node] = {}
        self.sessions: dict[int, int] = {}
        self.ephemerals: dict[int, dict[bytes, None]] = {}
        self.containers: dict[bytes, None] = {}
        self.ttls: dict[bytes, None] = {}
        self.acls = AclTable()
        self.watches = Watches(sink)
        self.quotas = Quotas()
        self.digest = Digest(digest_enabled)
        self.zxid = 0
        self.data_bytes = 0

    def populate(self) -> None:
        """Make the nodes of a fresh database."""
        unsafe = self.acls.unsafe
        root = Node(new_body(sized(b""), 0, 0, 0), unsafe, 0)
        self.nodes[ROOT] = root
        for path in (ZOOKEEPER, CONFIG, QUOTA):
            acl = self.acls.intern([ACL(1, "world", "anyone")]) if path == CONFIG else unsafe
            node = Node(new_body(sized(b""), 0, 0, 0), acl, 0)
            if path == CONFIG:
                node.body = with_aversion(node.body, -1)
            parent = self.nodes[parent_of(path)]
            self.install_added(path, node, parent_of(path), with_child_added(parent.body, 0, 0))
        self.data_bytes = sum(len(path) for path in self.nodes)
        self.count_digest()

    def count_digest(self) -> None:
        """Compute the digest anew, from all nodes."""
        self.digest.forget()
        if self.digest.enabled:
            self.digest.value = tree_digest(self.nodes)

    def get(self, path: bytes) -> Node | None:
        """Return the node at `path`."""
        return self.nodes.get(path)

    # The verbs, for operations applied to the tree itself.

    def add(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None:
        """Put a new node; its parent gets `parent_body`."""
        self.digest.added(path, node, parent_path, parent, parent_body)
        self.install_added(path, node, parent_path, parent_body)

    def remove(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None:
        """Take a node away; its parent gets `parent_body`.

        In a replay over a fuzzy snapshot it may have children: they are of a later node at that path, from transactions
        that are still to come. They go with it, as they would otherwise hang in the air, and are made again in time.
        """
        if node.children:
            for below in reversed(self.below(path)):
                above = parent_of(below)
                parent_of_it = self.nodes[above]
                self.digest.removed(below, self.nodes[below], above, parent_of_it, parent_of_it.body)
                self.install_removed(below, above, parent_of_it.body)
        self.digest.removed(path, node, parent_path, parent, parent_body)
        self.install_removed(path, parent_path, parent_body)

    def set_data(self, path: bytes, node: Node, body: bytes) -> Node:
        """Give a node new data and tell its watchers; return the node as it is now."""
        self.digest.changed(path, node, body)
        self.install_data(path, body)
        return node

    def set_acl(self, path: bytes, node: Node, body: bytes, acl: AclList) -> Node:
        """Give a node a new access list; nobody is told. Return the node as it is now."""
        self.digest.changed(path, node, body)
        node.body = body
        node.acl = acl
        return node

    def set_body(self, path: bytes, node: Node, body: bytes) -> None:
        """Correct a node's counters without telling anyone."""
        self.digest.changed(path, node, body)
        node.body = body

    def open_session(self, session: int, timeout: int) -> None:
        """Enter a session with its timeout in ms."""
        self.sessions[session] = timeout

    def close_session(self, session: int) -> None:
        """Strike a session out; its ephemerals are deleted by verbs of their own, before."""
        self.sessions.pop(session, None)

    def ephemerals_of(self, session: int) -> list[bytes]:
        """Return the paths of a session's ephemerals, in order of creation."""
        return list(self.ephemerals.get(session, ()))

    # The other way in: what an overlay has recorded of a committed transaction. The digest comes along on its own, and
    # the transaction's zxid is the tree's already.

    def install_sessions(self, sessions: list[SessionChange]) -> None:
        """Take over what a committed transaction does to sessions, in order."""
        for verb, session, timeout in sessions:
            if verb == OPEN_SESSION:
                self.open_session(session, timeout)
            else:
                self.close_session(session)

    def install_added(self, path: bytes, node: Node, parent_path: bytes, parent_body: bytes) -> None:
        """Put a new node and tell its watchers; its parent gets `parent_body`."""
        parent = self.nodes[parent_path]
        parent.body = parent_body
        if parent.children is EMPTY_CHILDREN:
            parent.children = {}
        parent.children[path] = None
        self.nodes[path] = node
        self.data_bytes += len(path) + len(node.body) - 72
        if node.owner:
            self._index_owner(path, node.owner)
        if self.quotas.active or path.startswith(b"/zookeeper/"):
            self._count(path, 1, data_length(node.body))
            self._quota_node_added(path)
        if self.watches.any:
            self.watches.created(path, node.acl, parent_path, parent.acl, self.zxid)

    def install_removed(self, path: bytes, parent_path: bytes, parent_body: bytes) -> None:
        """Take a node away and tell its watchers; its parent gets `parent_body`."""
        parent = self.nodes[parent_path]
        parent.body = parent_body
        del parent.children[path]
        if not parent.children:
            parent.children = EMPTY_CHILDREN
        node = self.nodes.pop(path)
        self.data_bytes -= len(path) + data_length(node.body)
        if node.owner:
            self._unindex_owner(path, node.owner)
        if self.quotas.active:
            limited = quota_of_limits(path)
            if limited is not None:
                self.quotas.active.pop(limited, None)
            self._count(path, -1, -data_length(node.body))
        if self.watches.any:
            self.watches.deleted(path, node.acl, parent_path, parent.acl, self.zxid)

    def install_data(self, path: bytes, body: bytes) -> None:
        """Give a node a body with new data and tell its watchers."""
        node = self.nodes[path]
        difference = len(body) - len(node.body)
        node.body = body
        if difference:
            self.data_bytes += difference
            if self.quotas.active:
                self._count(path, 0, difference)
        if self.watches.any:
            self.watches.data_changed(path, node.acl, self.zxid)

    def install_acl(self, path: bytes, changed: Node) -> None:
        """Give a node the access list and the counters of `changed`; nobody is told."""
        node = self.nodes[path]
        node.body = changed.body
        node.acl = changed.acl

    def _index_owner(self, path: bytes, owner: int) -> None:
        if is_session(owner):
            self.ephemerals.setdefault(owner, {})[path] = None
        elif is_container(owner):
            self.containers[path] = None
        elif is_ttl(owner):
            self.ttls[path] = None

    def _unindex_owner(self, path: bytes, owner: int) -> None:
        if is_session(owner):
            owned = self.ephemerals[owner]
            del owned[path]
            if not owned:
                del self.ephemerals[owner]
        elif is_container(owner):
            del self.containers[path]
        elif is_ttl(owner):
            del self.ttls[path]

    # Quotas: statistics are counted here, in the data of ordinary nodes, without transactions.

    def load_index(self) -> None:
        """Build what is derived from the nodes after they were put in without verbs: owners, quotas, sizes."""
        self.data_bytes = 0
        for path, node in self.nodes.items():
            self.data_bytes += len(path) + len(node.body) - 72
            if node.owner:
                self._index_owner(path, node.owner)
        for path in self.below(QUOTA):
            self._quota_node_added(path)

    def below(self, path: bytes) -> list[bytes]:
        """Return the paths of all descendants of a node, parents first."""
        found: list[bytes] = []
        node = self.nodes.get(path)
        waiting = list(node.children) if node else []
        while waiting:
            path = waiting.pop()
            found.append(path)
            waiting.extend(self.nodes[path].children)
        return found

    def _quota_node_added(self, path: bytes) -> None:
        limited = quota_of_limits(path)
        if limited is not None:
            self._activate(limited)
            return
        counted = quota_of_stats(path)
        if counted is not None:
            usage = self.quotas.active.get(counted) or self._usage(counted)
            self._show(counted, usage)

    def _activate(self, path: bytes) -> None:
        usage = self._usage(path)
        self.quotas.active[path] = usage
        self._show(path, usage)

    def _usage(self, path: bytes) -> list[int]:
        node = self.nodes.get(path)
        if node is None:
            return [0, 0]
        paths = self.below(path)
        return [
            len(paths) + 1,
            data_length(node.body) + sum(data_length(self.nodes[p].body) for p in paths),
        ]

    def _count(self, path: bytes, nodes: int, size: int) -> None:
        limited = self.quotas.governing(path)
        if limited is None:
            return
        usage = self.quotas.active[limited]
        usage[0] += nodes
        usage[1] += size
        self._show(limited, usage)

    def _show(self, path: bytes, usage: list[int]) -> None:
        stats = self.nodes.get(stats_path(path))
        if stats is not None:
            body = with_raw_data(stats.body, format_stats(usage[0], usage[1]))
            self.data_bytes += len(body) - len(stats.body)
            stats.body = body
