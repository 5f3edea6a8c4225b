"""Double barriers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from kazoo.client import KazooClient
from tests.support.loops import give_up_session, run, until, until_children
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.client.aio import AsyncClient
from corral.recipes.double_barrier import BarrierBroken, DoubleBarrier
from corral.recipes.errors import RecipeError
from corral.wire import opcodes


async def _members(zk: AsyncClient, path: str) -> list[str]:
    return [name for name in await zk.children(path) if name != "ready"]


def test_all_begin_and_end_together(hosts: str, path: str) -> None:
    """Again and again with the same objects; nothing is left."""

    async def main() -> None:
        async with corral.connect(hosts) as a, corral.connect(hosts) as b:
            barriers = [DoubleBarrier(zk, path, 3) for zk in (a, b, b)]
            for _ in range(2):
                early = [asyncio.ensure_future(barrier.enter()) for barrier in barriers[:2]]
                await until(lambda: all(barrier._own for barrier in barriers[:2]))
                assert not any(task.done() for task in early)
                assert await barriers[2].enter()
                assert await asyncio.gather(*early) == [True, True]

                leaving = [asyncio.ensure_future(barrier.leave()) for barrier in barriers[:2]]
                await a.sync(path)
                assert not any(task.done() for task in leaving)
                assert await barriers[2].leave()
                assert await asyncio.gather(*leaving) == [True, True]
            await until(lambda: not a._tasks and not b._tasks)
            assert await a.children(path) == []

    run(main())


def test_a_timeout_leaves_no_member(hosts: str, path: str) -> None:
    """Curator's stays and counts."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            assert not await DoubleBarrier(zk, path, 2).enter(timeout=0.1)
            await until(lambda: not zk._tasks)

            assert await zk.children(path) == []
            assert len(zk._session.watches) == 0

    run(main())


def test_strangers_and_the_gate_do_not_count(hosts: str, path: str) -> None:
    """Only ephemerals do."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.ensure_path(path + "/stranger")

            assert not await DoubleBarrier(zk, path, 2).enter(timeout=0.1)

    run(main())


def test_a_gate_that_was_left_lets_nobody_through(hosts: str, path: str) -> None:
    """Its members are gone: Curator's and kazoo's pass at once."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.ensure_path(path + "/ready")

            assert not await DoubleBarrier(zk, path, 2).enter(timeout=0.1)

    run(main())


def test_a_member_of_the_next_round_is_not_waited_for(hosts: str, path: str) -> None:
    """It entered again before a slow one had seen it leave; Curator's and kazoo's wait for each other then."""

    async def main() -> None:
        async with (
            Proxy(hosts) as one, Proxy(hosts) as two, corral.connect(one.hosts) as a, corral.connect(two.hosts) as b
        ):  # fmt: skip
            barriers = [(DoubleBarrier(zk, path, 2), proxy) for zk, proxy in ((a, one), (b, two))]
            assert all(await asyncio.gather(*(barrier.enter() for barrier, _ in barriers)))
            # The lowest goes last.
            (quick, _), (slow, proxy) = sorted(barriers, key=lambda each: each[0]._own)
            async with corral.connect(hosts) as zk:
                leaving = asyncio.ensure_future(slow.leave())
                await until(lambda: _count(zk, path, 1))
                proxy.hold()
                assert await quick.leave()
                entering = asyncio.ensure_future(quick.enter())
                await until(lambda: _count(zk, path, 1))
                proxy.flow()

                assert await leaving
                assert await slow.enter()
                assert await entering

    async def _count(zk: corral.AsyncClient, path: str, count: int) -> bool:
        return len(await _members(zk, path)) == count

    run(main())


def test_a_lost_reply_makes_one_member(hosts: str, path: str) -> None:
    """Curator's throws NodeExists there."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            proxy.lose_reply(opcodes.CREATE)
            barrier = DoubleBarrier(zk, path, 1)

            assert await barrier.enter()

            assert len(await _members(zk, path)) == 1
            assert proxy.lost == 1

    run(main())


def test_a_member_without_a_node_is_told(hosts: str, path: str) -> None:
    """It was deleted, or its session ended."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            barrier = DoubleBarrier(zk, path, 2)
            entering = asyncio.ensure_future(barrier.enter())
            await until(lambda: barrier._czxid > 0)
            for name in await _members(other, path):
                await other.delete(f"{path}/{name}")
            with pytest.raises(BarrierBroken):
                await entering

            entering = asyncio.ensure_future(barrier.enter())
            await until(lambda: len(zk._session.watches) >= 2)
            await give_up_session(zk)
            with pytest.raises(BarrierBroken):
                await entering
            assert not barrier.is_inside

    run(main())


def test_cancelled_at_any_moment_it_leaves_no_member(hosts: str, path: str) -> None:
    """The node goes in the background."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            for turns in range(20):
                task = asyncio.ensure_future(DoubleBarrier(zk, path, 2).enter())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await until(lambda: not zk._tasks)

            assert await zk.children(path) == []

    run(main())


def test_to_enter_twice_or_leave_first_is_an_error(hosts: str, path: str) -> None:
    """The message says what to do."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            barrier = DoubleBarrier(zk, path, 1)
            with pytest.raises(RecipeError, match="enter first"):
                await barrier.leave()
            assert await barrier.enter()
            assert barrier.is_inside
            with pytest.raises(RecipeError, match="leave first"):
                await barrier.enter()

    run(main())


def test_a_gate_that_was_deleted_again_has_let_us_through(hosts: str, path: str) -> None:
    """kazoo's members delete it as they leave; made once more behind that, it would hold them up for ever."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            entering = asyncio.ensure_future(DoubleBarrier(zk, path, 2).enter())
            await until(lambda: len(zk._session.watches) >= 2)
            proxy.hold()
            await other.create(f"{path}/0", ephemeral=True)
            await other.create(f"{path}/ready")
            await other.delete(f"{path}/ready")
            proxy.flow()

            assert await entering
            assert len(await other.children(path)) == 2
            assert await other.exists(f"{path}/ready") is None

    run(main())


@pytest.mark.interop
def test_kazoo_is_a_member(hosts: str, path: str) -> None:
    """Both begin and end together."""

    def kazoo() -> None:
        client = KazooClient(hosts)
        client.start()
        try:
            barrier = client.DoubleBarrier(path, 2, "kazoo")
            barrier.enter()
            barrier.leave()
        finally:
            client.stop()
            client.close()

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            other = asyncio.ensure_future(asyncio.to_thread(kazoo))
            barrier = DoubleBarrier(zk, path, 2)
            assert await barrier.enter(timeout=10)
            assert await barrier.leave(timeout=10)
            await other

    run(main())


def test_who_enters_wakes_nobody_before_it_is_full(hosts: str, path: str) -> None:
    """One event each, for the gate: not one for each other member, who would all look at all of them."""

    async def main() -> None:
        count = 12
        async with Proxy(hosts) as proxy, AsyncExitStack() as stack:
            entering = []
            for n in range(count):
                zk = await stack.enter_async_context(corral.connect(proxy.hosts))
                entering.append(asyncio.ensure_future(DoubleBarrier(zk, path, count).enter()))
                await until_children(zk, path, n + 1 + (n == count - 1))

            assert all(await asyncio.gather(*entering))
            assert proxy.events <= count

    run(main())


def test_more_members_than_a_request_reads(hosts: str, path: str) -> None:
    """All of them count."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as others:
            await zk.create(path)
            await asyncio.gather(*(others.create(f"{path}/{n}", ephemeral=True) for n in range(1001)))

            assert not await DoubleBarrier(zk, path, 1003).enter(timeout=0.2)
            assert await DoubleBarrier(zk, path, 1002).enter()

    run(main())
