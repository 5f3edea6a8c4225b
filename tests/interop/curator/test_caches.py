"""Caches: Curator's see what ours writes, and ours see what Curator writes."""

from __future__ import annotations

import pytest
from tests.support.curator import WAIT_MS, Actor, Curator
from tests.support.loops import run, until

import corral
from corral.recipes.cache import Cache
from corral.recipes.children_cache import ChildrenCache
from corral.recipes.node_cache import NodeCache
from corral.recipes.tree_cache import TreeCache

pytestmark = pytest.mark.interop


async def _told(theirs: Actor, recipe: str, path: str, *expected: str) -> None:
    """Expect these events next, with paths below `path`."""
    for each in expected:
        event, *node = (await theirs.tell(recipe, path, "next", WAIT_MS)).split(" ")
        assert " ".join([event, *(part.removeprefix(path) for part in node)]) == each


@pytest.mark.parametrize(
    ("recipe", "created", "changed", "deleted"),
    [
        ("cache", "NODE_CREATED", "NODE_CHANGED", "NODE_DELETED"),
        ("tree-cache", "NODE_ADDED", "NODE_UPDATED", "NODE_REMOVED"),
    ],
)
def test_curators_caches_see_what_ours_writes(
    hosts: str, path: str, curator: Curator, recipe: str, created: str, changed: str, deleted: str
) -> None:
    """All of the tree, one change after the other."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            await zk.create(path, b"root")
            await zk.create(f"{path}/a", b"1")
            await theirs.tell(recipe, path, "start")
            await _told(theirs, recipe, path, f"{created}  root", f"{created} /a 1", "INITIALIZED")

            await zk.create(f"{path}/a/b", b"2")
            await _told(theirs, recipe, path, f"{created} /a/b 2")
            await zk.set(f"{path}/a/b", b"3")
            await _told(theirs, recipe, path, f"{changed} /a/b 3")
            async with zk.transaction() as work:
                work.create(f"{path}/c", b"4")
            await _told(theirs, recipe, path, f"{created} /c 4")
            await zk.delete(f"{path}/a/b")
            await _told(theirs, recipe, path, f"{deleted} /a/b 3")
            await zk.create(f"{path}/e", b"5", ephemeral=True)
            await _told(theirs, recipe, path, f"{created} /e 5")

    run(main())


def test_curators_caches_of_a_node_and_of_children(hosts: str, path: str, curator: Curator) -> None:
    """The older ones, by plain watches; not on one node, as the one of children makes its node again once deleted."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            node, parent = f"{path}/node", f"{path}/parent"
            await zk.create(node, b"root", make_parents=True)
            await theirs.tell("node-cache", node, "start")
            await _told(theirs, "node-cache", node, "CHANGED  root")
            await zk.set(node, b"new")
            await _told(theirs, "node-cache", node, "CHANGED  new")
            await zk.delete(node)
            await _told(theirs, "node-cache", node, "GONE")

            await zk.create(parent)
            await theirs.tell("children-cache", parent, "start")
            await _told(theirs, "children-cache", parent, "INITIALIZED")
            await zk.create(f"{parent}/a", b"1")
            await _told(theirs, "children-cache", parent, "CHILD_ADDED /a 1")
            await zk.set(f"{parent}/a", b"2")
            await _told(theirs, "children-cache", parent, "CHILD_UPDATED /a 2")
            await zk.delete(f"{parent}/a")
            await _told(theirs, "children-cache", parent, "CHILD_REMOVED /a 2")

    run(main())


def test_our_caches_see_what_curator_writes(hosts: str, path: str, curator: Curator) -> None:
    """A node's, the children's and the tree's end as Curator has left it."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as theirs, NodeCache(zk, path) as node,
            ChildrenCache(zk, path) as children, TreeCache(zk, path) as tree,
        ):  # fmt: skip
            caches: list[Cache] = [node, children, tree]

            await theirs.tell("zk", f"{path}/a/b", "create", "1")
            await theirs.tell("zk", f"{path}/c", "create", "2")
            await theirs.tell("zk", f"{path}/c", "set", "3")
            await theirs.tell("zk", path, "set", "root")
            await until(lambda: node.data == b"root")
            await until(lambda: [(name, each.data) for name, each in children.children.items()][1:] == [("c", b"3")])
            await until(lambda: (found := tree.get(f"{path}/a/b")) is not None and found.data == b"1")

            for below in ("/c", "/a/b", "/a", ""):
                await theirs.tell("zk", f"{path}{below}", "delete")
            await until(lambda: node.node is None)
            await until(lambda: children.children == {} and len(tree) == 0)
            assert all(cache.is_in_step for cache in caches)

    run(main())
