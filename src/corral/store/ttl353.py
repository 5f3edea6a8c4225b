"""TTL nodes as ZooKeeper 3.5.3 wrote them: the owner is the time to live in ms with the highest bit set.

Read as it stands, such an owner is a session that no longer exists, and its nodes would be deleted at the start.
ZooKeeper keeps the owner and reads it both ways for as long as emulate353TTLNodes is set. Deviation: here the nodes get
the owner that TTL nodes have since, so the next snapshot is an ordinary one.
"""

from __future__ import annotations

from corral.tree.node import TTL_MAX, ttl_owner, with_hidden_owner
from corral.tree.tree import Tree

_TTL_BITS = (1 << 63) - 1


def adopt_353_ttls(tree: Tree) -> int:
    """Give TTL nodes of 3.5.3 their owner of today; return how many there were.

    tree: as a snapshot left it, with its index. A session that is alive is none of them, though its id may be negative;
    ZooKeeper takes its ephemerals for TTL nodes too. The digest is no longer that of the snapshot then.
    """
    adopted = 0
    for owner in [owner for owner in tree.ephemerals if owner < 0 and owner not in tree.sessions]:
        mark = ttl_owner(min(owner & _TTL_BITS, TTL_MAX))
        for path in tree.ephemerals.pop(owner):
            node = tree.nodes[path]
            node.owner = mark
            node.body = with_hidden_owner(node.body)
            tree.ttls[path] = None
            adopted += 1
    return adopted
