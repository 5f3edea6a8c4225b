"""The caches' core: it ends equal to the tree, and what it reports adds up to that, in whatever order things come."""

from __future__ import annotations

import random

import pytest

from corral.client.values import EventType, WatchEvent, ZnodeStat
from corral.recipes.mirror import Batch, Change, ChangeType, Found, Listing, Mirror


class World:
    """A tree with the watches of one mirror; its events are seen at once, or not at all while it is `cut`."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.zxid = 0
        self.nodes: dict[str, tuple[bytes, ZnodeStat]] = {}
        self.is_cut = False

    def create(self, path: str) -> None:
        self.zxid += 1
        stat = ZnodeStat(self.zxid, self.zxid, 0, 0, 0, 0, 0, 0, 0, 0, self.zxid)
        self.nodes[path] = (b"%d" % self.zxid, stat)
        self._child(path, 1)
        self._tell(EventType.CREATED, path)

    def set(self, path: str) -> None:
        self.zxid += 1
        self.nodes[path] = (b"%d" % self.zxid, self.nodes[path][1]._replace(mzxid=self.zxid))
        self._tell(EventType.CHANGED, path)

    def delete(self, path: str) -> None:
        self.zxid += 1
        del self.nodes[path]
        self._child(path, -1)
        self._tell(EventType.DELETED, path)

    def _child(self, path: str, by: int) -> None:
        parent = path[: path.rfind("/")] or "/"
        if parent in self.nodes:
            data, stat = self.nodes[parent]
            self.nodes[parent] = (data, stat._replace(pzxid=self.zxid, num_children=stat.num_children + by))

    def _tell(self, kind: EventType, path: str) -> None:
        if not self.is_cut:
            self.mirror.saw(WatchEvent(kind, path))

    def children(self, path: str) -> list[str]:
        return [each.rsplit("/", 1)[1] for each in self.nodes if each.rsplit("/", 1)[0] == path]

    def read(self, batch: Batch) -> tuple[list[Found], list[Listing]]:
        names = [self.children(path) if path in self.nodes else None for path in batch.names]
        return [self.nodes.get(path) for path in batch.data], list(names)


def settle(world: World) -> None:
    """Read until there is nothing to read."""
    while (batch := world.mirror.take(3)) is not None:
        world.mirror.took(batch, *world.read(batch))


def test_the_copy_ends_equal_and_its_reports_add_up() -> None:
    """Two hundred seeds of random operations, lost events, reloads and replies that come late."""
    for seed in range(200):
        rng = random.Random(seed)
        mirror = Mirror("/a")
        world = World(mirror)
        mirror.reload()
        late: list[tuple[Batch, list[Found], list[Listing]]] = []
        for _ in range(120):
            _step(rng, world, late)
        for each in late:
            mirror.took(*each)
        world.is_cut = False
        mirror.stale()
        mirror.reload()
        settle(world)

        assert {node.path: (node.data, node.stat.czxid) for node in mirror} == {
            path: (data, stat.czxid) for path, (data, stat) in world.nodes.items()
        }, seed
        assert _added_up(mirror.changes) == {path: data for path, (data, _) in world.nodes.items()}, seed
        assert mirror.is_in_step


def _step(rng: random.Random, world: World, late: list[tuple[Batch, list[Found], list[Listing]]]) -> None:
    path = "/a" + "".join(rng.choice(("/x", "/y")) for _ in range(rng.randrange(4)))
    act = rng.random()
    if act < 0.5:
        if path not in world.nodes:
            if path == "/a" or path.rsplit("/", 1)[0] in world.nodes:
                world.create(path)
        elif rng.random() < 0.5 and not world.children(path):
            world.delete(path)
        else:
            world.set(path)
    elif act < 0.75:
        batch = world.mirror.take(3) if not late else None
        if batch is not None:
            late.append((batch, *world.read(batch)))
    elif act < 0.95:
        if late:
            world.mirror.took(*late.pop())
    else:
        world.is_cut = not world.is_cut
        world.mirror.stale()
        if not world.is_cut:
            world.mirror.reload()


def _added_up(changes: list[Change]) -> dict[str, bytes]:
    """Return what a listener has that does what it is told; every report has to fit what was reported before."""
    known: dict[str, bytes] = {}
    for change in changes:
        if change.type is ChangeType.CREATED:
            assert change.path not in known
            assert change.node is not None
            known[change.path] = change.node.data
        elif change.type is ChangeType.CHANGED:
            assert change.node is not None
            assert known[change.path] != change.node.data
            known[change.path] = change.node.data
        elif change.type is ChangeType.DELETED:
            del known[change.path]
    return known


def test_a_znode_made_anew_is_deleted_and_created_even_with_the_same_version() -> None:
    """Its czxid tells, and the creation says what was there before."""
    mirror = Mirror("/a")
    world = World(mirror)
    world.create("/a")
    mirror.reload()
    settle(world)
    old = mirror.get("/a")
    world.is_cut = True
    world.delete("/a")
    world.create("/a")
    mirror.changes.clear()

    mirror.reload()
    settle(world)

    assert [change.type for change in mirror.changes] == [
        ChangeType.DELETED, ChangeType.CREATED, ChangeType.IN_STEP,
    ]  # fmt: skip
    assert mirror.changes[1].before == old


def test_it_is_in_step_although_something_changes_all_the_time() -> None:
    """A znode that is dirty again whenever it has been read holds up nothing."""
    mirror = Mirror("/a")
    world = World(mirror)
    world.create("/a")
    mirror.reload()

    batch = mirror.take(10)
    assert batch is not None
    found = world.read(batch)
    world.set("/a")
    mirror.took(batch, *found)

    assert mirror.is_in_step
    assert mirror.take(10) == Batch(1, ["/a"], [])


def test_what_was_read_for_an_earlier_reload_is_not_taken() -> None:
    """A reply that comes after the next reload began is older than that."""
    mirror = Mirror("/a")
    world = World(mirror)
    world.create("/a")
    mirror.reload()
    batch = mirror.take(10)
    assert batch is not None
    found = world.read(batch)

    mirror.reload()
    mirror.took(batch, *found)

    assert mirror.get("/a") is None
    assert not mirror.is_in_step


def test_an_unreadable_znode_is_named_and_hides_nothing_else() -> None:
    """The others are read, and the copy is in step."""
    mirror = Mirror("/a")
    world = World(mirror)
    for path in ("/a", "/a/b", "/a/c"):
        world.create(path)
    mirror.reload()
    while (batch := mirror.take(10)) is not None:
        data, names = world.read(batch)
        pairs = zip(batch.data, data, strict=True)
        refused: list[Found] = ["NoAuth" if path == "/a/b" else found for path, found in pairs]
        mirror.took(batch, refused, names)

    assert mirror.unreadable == {"/a/b": "NoAuth"}
    assert mirror.children("/a") == ["c"]
    assert mirror.is_in_step


@pytest.mark.parametrize(("depth", "kept"), [(0, 1), (1, 2), (2, 3), (None, 4)])
def test_only_what_is_within_the_depth_is_read(depth: int | None, kept: int) -> None:
    """Neither a listing nor an event brings what is deeper."""
    mirror = Mirror("/a", depth)
    world = World(mirror)
    for path in ("/a", "/a/b", "/a/b/c", "/a/b/c/d"):
        world.create(path)
    mirror.reload()
    settle(world)
    world.set("/a/b/c/d")
    settle(world)

    assert len(mirror) == kept
