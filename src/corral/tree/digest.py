"""The running digest of a tree: the sum of its nodes' digests, so that each change costs only what it touches.

The digests of nodes changed lately are remembered: the next change of the same node, and every create under the same
parent, need the old one again.
"""

from __future__ import annotations

from typing import Final

from corral.tree.node import Node, leaf_digest, node_digest, parent_digest

DIGEST_VERSION: Final = 2
_REMEMBERED_MAX: Final = 16384
_MASK: Final = 0xFFFFFFFFFFFFFFFF


class Digest:
    """The sum, as an unsigned 64-bit integer; counting nothing while `enabled` is false."""

    __slots__ = ("_known", "enabled", "value")

    def __init__(self, enabled: bool, value: int = 0) -> None:
        self.enabled = enabled
        self.value = value
        self._known: dict[bytes, int] = {}

    def added(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None:
        """Count a new node, and its parent's change to `parent_body`."""
        if self.enabled:
            known = self._known
            old = known.get(parent_path, -1)
            if old < 0:
                old = node_digest(parent_path, parent.body, parent.owner)
                if len(known) >= _REMEMBERED_MAX:
                    known.clear()
            # The new node's is not remembered: most of many new nodes are not changed soon.
            known[parent_path] = new = parent_digest(parent_path, parent_body, parent.owner)
            self.value = (self.value + leaf_digest(path, node.body, node.owner) + new - old) & _MASK

    def removed(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None:
        """Uncount a node, and count its parent's change to `parent_body`."""
        if self.enabled:
            digest = self._known.pop(path, -1)
            if digest < 0:
                digest = node_digest(path, node.body, node.owner)
            self.value = (self.value - digest) & _MASK
            self.changed(parent_path, parent, parent_body)

    def changed(self, path: bytes, node: Node, body: bytes) -> None:
        """Count a node's change from its body to `body`."""
        if self.enabled:
            known = self._known
            old = known.get(path, -1)
            if old < 0:
                old = node_digest(path, node.body, node.owner)
                if len(known) >= _REMEMBERED_MAX:
                    known.clear()
            known[path] = new = node_digest(path, body, node.owner)
            self.value = (self.value + new - old) & _MASK

    def forget(self) -> None:
        """Drop what is remembered: the nodes changed behind this object's back, or a change was taken back."""
        self._known.clear()


def tree_digest(nodes: dict[bytes, Node]) -> int:
    """Compute the digest of a whole tree from scratch."""
    total = 0
    for path, node in nodes.items():
        total += node_digest(path, node.body, node.owner)
    return total & _MASK
