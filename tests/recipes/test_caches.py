"""Caches against real servers: they follow, over lost connections and sessions too, and tell what happened."""

from __future__ import annotations

import asyncio

import pytest
from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache as KazooTreeCache
from tests.support.loops import expire, give_up_session, run, until
from tests.support.proxy import Proxy

import corral
from corral.base.errors import Unimplemented
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed
from corral.client.values import EventType, State, WatchEvent, digest_acl
from corral.recipes.cache import Cache
from corral.recipes.children_cache import ChildrenCache
from corral.recipes.errors import RecipeTimeout
from corral.recipes.feed import Feed
from corral.recipes.mirror import Change, ChangeType
from corral.recipes.node_cache import NodeCache
from corral.recipes.tree_cache import TreeCache
from corral.wire.opcodes import ADD_WATCH, GET_CHILDREN2, GET_DATA, MULTI_READ

CREATED, CHANGED, DELETED = ChangeType.CREATED, ChangeType.CHANGED, ChangeType.DELETED
staying = pytest.mark.parametrize("has_staying_watch", [True, False], ids=["staying watch", "plain watches"])


def names(change: Change) -> tuple[str, str]:
    """Tell what a change is about."""
    return change.type.value, change.path.rsplit("/", 1)[-1]


async def until_type(feed: Feed, kind: ChangeType) -> list[Change]:
    """Take changes up to and without one of a kind."""
    taken = []
    async for change in feed:
        if change.type is kind:
            return taken
        taken.append(change)
    raise AssertionError(f"the feed ended before {kind}")


@staying
def test_a_node_cache_follows_a_znode_through_its_life(hosts: str, path: str, has_staying_watch: bool) -> None:
    """Missing, made, changed, deleted."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk,
            NodeCache(zk, path, has_staying_watch=has_staying_watch) as cache,
        ):
            feed = cache.changes()
            assert cache.is_in_step
            assert cache.node is None

            await zk.create(path, b"1")
            first = await anext(feed)
            await zk.set(path, b"2")
            second = await anext(feed)
            await zk.delete(path)
            third = await anext(feed)

            assert [first.type, second.type, third.type] == [CREATED, CHANGED, DELETED]
            assert second.before is not None
            assert second.before.data == b"1"
            assert second.node is not None
            assert second.node.data == b"2"
            assert cache.data is None

    run(main())


@staying
def test_a_children_cache_has_the_children_and_nothing_below(hosts: str, path: str, has_staying_watch: bool) -> None:
    """A grandchild is not kept."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            await zk.create(f"{path}/b", b"b")
            await zk.create(f"{path}/b/below")
            async with ChildrenCache(zk, path, has_staying_watch=has_staying_watch) as cache:
                feed = cache.changes()
                assert list(cache.children) == ["b"]

                await zk.create(f"{path}/a", b"a")
                await zk.create(f"{path}/b/more")
                await zk.set(f"{path}/a", b"A")
                await zk.delete(f"{path}/a")
                await zk.create(f"{path}/last")
                seen = [change async for change in _through(feed, "last")]

                assert list(cache.children) == ["b", "last"]
                assert names(seen[-1]) == ("CREATED", "last")
                assert not [change for change in seen if "more" in change.path]

    run(main())


async def _through(feed: Feed, name: str):  # type: ignore[no-untyped-def]
    async for change in feed:
        yield change
        if change.path.endswith(f"/{name}"):
            return


@staying
def test_a_tree_cache_follows_the_tree(hosts: str, path: str, has_staying_watch: bool) -> None:
    """Everything that another client does arrives; the copy ends equal to the tree."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            await zk.create(path)
            async with TreeCache(zk, path, has_staying_watch=has_staying_watch) as cache:
                for name in ("a", "a/b", "a/b/c", "a/b/d", "e"):
                    await other.create(f"{path}/{name}", name.encode())
                await until(lambda: cache.get(f"{path}/e") is not None and len(cache) == 6)
                await other.set(f"{path}/a/b/c", b"new")
                await other.delete_tree(f"{path}/a/b/d")
                await other.delete(f"{path}/e")
                await until(lambda: len(cache) == 4)

                node = cache.get(f"{path}/a/b/c")
                assert node is not None
                await until(lambda: cache.get(f"{path}/a/b/c").data == b"new")  # type: ignore[union-attr]
                assert cache.children(f"{path}/a/b") == ["c"]

                await other.delete_tree(path)
                await until(lambda: len(cache) == 0)

    run(main())


def test_a_tree_cache_stops_at_its_depth(hosts: str, path: str) -> None:
    """Two levels below the root are kept, the third is not."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(f"{path}/1/2/3", make_parents=True)
            async with TreeCache(zk, path, depth=2) as cache:
                assert sorted(node.path for node in cache) == [path, f"{path}/1", f"{path}/1/2"]

    run(main())


def test_a_cache_can_keep_stats_alone(hosts: str, path: str) -> None:
    """Data is read to compare, and not kept."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path, b"12345")
            async with TreeCache(zk, path, keep_data=False) as cache:
                node = cache.get(path)
                assert node is not None
                assert (node.data, node.stat.data_length) == (b"", 5)

    run(main())


@staying
@pytest.mark.parametrize("how", ["connection", "given up", "expired"])
def test_what_happened_meanwhile_is_reported_once(hosts: str, path: str, has_staying_watch: bool, how: str) -> None:
    """Made, changed, deleted and replaced while the cache could not see: STALE, each once, IN_STEP.

    The replaced znode has the version of the one before it, which Curator's cache takes for no change.
    """

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as other, corral.connect(proxy.hosts) as zk:
            for name in ("", "/same", "/changed", "/gone", "/gone/child", "/replaced"):
                await other.create(path + name, b"old")
            await zk.create(f"{path}-session", ephemeral=True)
            async with TreeCache(zk, path, has_staying_watch=has_staying_watch, spread=0) as cache:
                feed = cache.changes()
                proxy.shut()
                await until(lambda: zk.state is not State.CONNECTED)
                assert not cache.is_in_step
                await other.set(f"{path}/changed", b"new")
                await other.delete_tree(f"{path}/gone")
                await other.delete(f"{path}/replaced")
                await other.create(f"{path}/replaced", b"new")
                await other.create(f"{path}/made")
                replaced = asyncio.ensure_future(_replace_session(zk, how, hosts))
                if how == "expired":
                    await until(lambda: _is_gone(other, f"{path}-session"))
                elif how == "given up":
                    await until(lambda: zk.session_id == 0)
                proxy.open()
                await replaced

                before = await until_type(feed, ChangeType.STALE)
                seen = await until_type(feed, ChangeType.IN_STEP)

                assert before == []
                told = [names(change) for change in seen]
                assert sorted(told) == [
                    ("CHANGED", "changed"), ("CREATED", "made"), ("CREATED", "replaced"), ("DELETED", "child"),
                    ("DELETED", "gone"), ("DELETED", "replaced"),
                ]  # fmt: skip
                assert told.index(("DELETED", "child")) < told.index(("DELETED", "gone"))
                assert told.index(("DELETED", "replaced")) < told.index(("CREATED", "replaced"))
                assert cache.is_in_step

                # It follows again.
                await other.set(f"{path}/same", b"again")
                assert names(await anext(feed)) == ("CHANGED", "same")

    run(main())


async def _replace_session(zk: AsyncClient, how: str, hosts: str) -> None:
    if how == "given up":
        await give_up_session(zk)
    elif how == "expired":
        await expire(zk, hosts)


async def _is_gone(zk: AsyncClient, path: str) -> bool:
    return await zk.exists(path) is None


def test_a_thousand_znodes_are_read_in_few_requests(hosts: str, path: str) -> None:
    """One watch, and thirty-two znodes a request."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as other, corral.connect(proxy.hosts) as zk:
            await other.create(path)
            await asyncio.gather(*(other.create(f"{path}/{n}") for n in range(1000)))
            async with TreeCache(zk, path) as cache:
                assert len(cache) == 1001
                assert proxy.requests[ADD_WATCH] == 1
                assert proxy.requests[MULTI_READ] <= 1000 / 32 + 10
                assert proxy.requests[GET_DATA] == 0

    run(main())


@pytest.mark.parametrize("op", [ADD_WATCH, MULTI_READ])
def test_a_start_survives_a_lost_reply(hosts: str, path: str, op: int) -> None:
    """The connection breaks in the middle of the start; the cache ends complete, with a working watch."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as other, corral.connect(proxy.hosts) as zk:
            await other.create(path, b"1")
            proxy.lose_reply(op)
            async with NodeCache(zk, path, spread=0) as cache:
                assert cache.data == b"1"
                await other.set(path, b"2")
                await until(lambda: cache.data == b"2")

    run(main())


def test_a_slow_listener_is_told_what_it_lost_and_holds_up_nobody(hosts: str, path: str) -> None:
    """One listener waits at its first change; another sees everything meanwhile."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            async with NodeCache(zk, path, backlog=5) as cache:
                gate = asyncio.Event()
                slow: list[Change] = []
                quick: list[Change] = []

                async def wait(change: Change) -> None:
                    slow.append(change)
                    await gate.wait()

                def fail(change: Change) -> None:
                    quick.append(change)
                    raise ValueError("a listener's own fault")

                cache.listen(wait)
                cache.listen(fail)
                for n in range(20):
                    await zk.set(path, str(n).encode())
                    await until(lambda n=n: cache.data == str(n).encode() and len(quick) == n + 1)  # type: ignore[misc]
                gate.set()
                await until(lambda: len(slow) + sum(max(each.lost - 1, 0) for each in slow) == 20)

                assert any(each.type is ChangeType.OVERRUN for each in slow)
                last = slow[-1].node
                assert last is not None
                assert last.data == b"19"

    run(main())


def test_starting_takes_one_total_time_and_leaves_nothing(hosts: str, path: str) -> None:
    """Nothing answers: RecipeTimeout, and no watch is left when the server answers again."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            proxy.hold()
            cache = TreeCache(zk, path)

            with pytest.raises(RecipeTimeout, match=r"was not in step within 0\.05 s"):
                await cache.start(timeout=0.05)

            proxy.flow()
            await zk.exists(path)
            await until(lambda: len(zk._session.watches) == 0)
            with pytest.raises(ClientClosed):
                await cache.start()

    run(main())


@staying
@pytest.mark.parametrize("turns", range(12))
def test_a_start_may_be_cancelled_at_any_await(hosts: str, path: str, has_staying_watch: bool, turns: int) -> None:
    """Cancelled after so many turns of the loop, it leaves no watch at the client."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            cache = TreeCache(zk, path, has_staying_watch=has_staying_watch)
            task = asyncio.ensure_future(cache.start())
            for _ in range(turns):
                await asyncio.sleep(0)

            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await cache.close()
            await zk.exists(path)

            await until(lambda: len(zk._session.watches) == 0)

    run(main())


def test_a_closed_client_ends_the_feeds(hosts: str, path: str) -> None:
    """`async for` over the changes ends when the client is closed."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            cache: Cache = await NodeCache(zk, path).start()
            feed = cache.changes()
        assert [change.type async for change in feed] == [ChangeType.STALE]
        with pytest.raises(ClientClosed):
            await cache.in_step()

    run(main())


@staying
def test_what_may_not_be_read_is_named_and_hides_nothing(hosts: str, path: str, has_staying_watch: bool) -> None:
    """It comes back when it may be read and something happens to it."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts, auth=[("digest", b"a:b")]) as owner:
            await zk.create(path)
            await owner.create(f"{path}/secret", b"s", acl=[digest_acl("a", "b")])
            await zk.create(f"{path}/open")
            async with TreeCache(zk, path, has_staying_watch=has_staying_watch) as cache:
                assert list(cache.unreadable) == [f"{path}/secret"]
                assert cache.children(path) == ["open"]

                await zk.add_auth("digest", b"a:b")
                if has_staying_watch:
                    await owner.set(f"{path}/secret", b"t")
                else:
                    await owner.create(f"{path}/beside")
                await until(lambda: "secret" in cache.children(path))

                assert cache.unreadable == {}

    run(main())


def test_a_server_without_newer_requests_is_enough(hosts: str, path: str) -> None:
    """Neither watches that stay nor reads of several: plain watches and single reads."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as other, corral.connect(proxy.hosts) as zk:

            async def refuse(*args: object, **kwargs: object) -> None:
                raise Unimplemented("this server is old")

            zk.add_watch = refuse  # type: ignore[method-assign, assignment]
            zk.multi_read = refuse  # type: ignore[method-assign, assignment]
            await other.create(f"{path}/a", make_parents=True)
            async with TreeCache(zk, path, spread=0) as cache:
                assert cache.children(path) == ["a"]
                proxy.cut()
                await other.create(f"{path}/b")
                await until(lambda: cache.children(path) == ["a", "b"])

    run(main())


def test_reads_of_several_may_be_missing_alone(hosts: str, path: str) -> None:
    """The watch stays, and each znode is read by itself."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:

            async def refuse(*args: object, **kwargs: object) -> None:
                raise Unimplemented("this server is old")

            zk.multi_read = refuse  # type: ignore[method-assign, assignment]
            await zk.create(f"{path}/a", b"1", make_parents=True)
            async with TreeCache(zk, path) as cache:
                assert cache.children(path) == ["a"]

    run(main())


def test_a_reload_waits_for_its_moment(hosts: str, path: str) -> None:
    """The connection is back; the cache stays stale until its part of `spread` has passed, and closes at once."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            async with NodeCache(zk, path, spread=3600, seed=1) as cache:
                states: list[State] = []
                zk.on_state(states.append)
                proxy.cut()
                await until(lambda: states == [State.SUSPENDED, State.CONNECTED])

                with pytest.raises(RecipeTimeout, match=r"not in step within 0\.01 s"):
                    await cache.in_step(0.01)
                assert cache.data == b""

    run(main())


def test_a_reload_is_all_that_a_reconnect_costs(hosts: str, path: str) -> None:
    """The client does not look for what the cache's watch missed, but does so for another watch at the same path."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as other, corral.connect(proxy.hosts) as zk:
            await other.create(path)
            async with TreeCache(zk, path, spread=0) as cache:
                feed = cache.changes()
                proxy.cut()
                await other.set(path, b"1")
                await until_type(feed, ChangeType.IN_STEP)
                assert proxy.requests[GET_CHILDREN2] == 0

                seen: list[WatchEvent] = []
                await zk.add_watch(path, seen.append, recursive=True)
                proxy.shut()
                await until(lambda: zk.state is not State.CONNECTED)
                await other.set(path, b"2")
                proxy.open()
                await until_type(feed, ChangeType.IN_STEP)

                await until(lambda: [event.type for event in seen] == [EventType.CHANGED])
                assert cache.get(path).data == b"2"  # type: ignore[union-attr]

    run(main())


def test_too_many_changes_become_one_that_counts_them() -> None:
    """What comes after it is complete again; a second overrun adds to the first."""
    feed = Feed("/a", 3, lambda feed: None)
    for n in range(5):
        feed.put(Change(CREATED, f"/a/{n}"))
    for n in range(5, 8):
        feed.put(Change(CREATED, f"/a/{n}"))
    feed.end()

    async def rest() -> list[Change]:
        return [change async for change in feed]

    taken = run(rest())

    assert taken[0].type is ChangeType.OVERRUN
    assert taken[0].lost + len(taken) - 1 == 8
    assert feed.waiting_max == 3


@pytest.mark.interop
def test_what_kazoo_writes_is_followed(hosts: str, path: str) -> None:
    """Both clients on one path."""

    async def main() -> None:
        kazoo = KazooClient(hosts)
        await asyncio.to_thread(kazoo.start)
        try:
            async with corral.connect(hosts) as zk, TreeCache(zk, path) as cache:
                await asyncio.to_thread(kazoo.create, f"{path}/a/b", b"x", makepath=True)
                await until(lambda: len(cache) == 3)
        finally:
            await asyncio.to_thread(kazoo.stop)
            await asyncio.to_thread(kazoo.close)

    run(main())


@pytest.mark.interop
def test_kazoo_follows_what_ours_writes(hosts: str, path: str) -> None:
    """Its cache of a tree, and its watches of data and of children."""

    async def main() -> None:
        kazoo = KazooClient(hosts)
        await asyncio.to_thread(kazoo.start)
        try:
            async with corral.connect(hosts) as zk:
                await zk.create(path, b"root")
                data: list[bytes] = []
                names: list[list[str]] = []
                cache = KazooTreeCache(kazoo, path)
                await asyncio.to_thread(cache.start)
                await asyncio.to_thread(kazoo.DataWatch, path, lambda found, stat: data.append(found))
                await asyncio.to_thread(kazoo.ChildrenWatch, path, lambda found: names.append(found))

                await zk.create(f"{path}/a", b"1")
                await until(lambda: names == [[], ["a"]])
                await zk.set(path, b"new")
                await until(lambda: data == [b"root", b"new"])
                await zk.create(f"{path}/a/b", b"2")
                await until(lambda: (found := cache.get_data(f"{path}/a/b")) is not None and found.data == b"2")
                await zk.delete_tree(f"{path}/a")
                await until(lambda: names == [[], ["a"], []] and cache.get_data(f"{path}/a") is None)
                await asyncio.to_thread(cache.close)
        finally:
            await asyncio.to_thread(kazoo.stop)
            await asyncio.to_thread(kazoo.close)

    run(main())
