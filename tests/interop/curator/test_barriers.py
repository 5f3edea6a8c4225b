"""Barriers on one path with Curator's."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until, until_children

import corral
from corral.recipes.barrier import Barrier
from corral.recipes.double_barrier import DoubleBarrier

pytestmark = pytest.mark.interop


def test_who_closes_a_barrier_stops_the_other(hosts: str, path: str, curator: Curator) -> None:
    """And whoever opens it lets both through."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs, curator.actor(hosts) as opener:
            ours = Barrier(zk, path)
            assert await ours.create()
            assert not await theirs.does("barrier", path, "wait", 1)
            waiting = asyncio.create_task(theirs.does("barrier", path, "wait", WAIT_MS))
            assert await ours.remove()
            assert await waiting

            await opener.tell("barrier", path, "set")
            assert not await ours.create()
            assert not await ours.wait(0.01)
            waits = asyncio.create_task(ours.wait(10))
            await opener.tell("barrier", path, "remove")
            assert await waits
            assert not await ours.remove()

    run(main())


@pytest.mark.parametrize("is_first_ours", [True, False])
def test_members_of_both_begin_and_end_together(hosts: str, path: str, curator: Curator, is_first_ours: bool) -> None:
    """Two of each, three rounds: nobody is inside before all are there, nor out before all leave."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as a, curator.actor(hosts) as b:
            ours = [DoubleBarrier(zk, path, 4) for _ in range(2)]
            for _ in range(3):
                done: list[str] = []

                async def enter(n: int, done: list[str] = done) -> None:
                    if n % 2 == is_first_ours:
                        assert await (a if n < 2 else b).does("double-barrier", path, "enter", 4, WAIT_MS)
                    else:
                        assert await ours[n // 2].enter(10)
                    done.append("in")

                async def leave(n: int, done: list[str] = done) -> None:
                    if n % 2 == is_first_ours:
                        assert await (a if n < 2 else b).does("double-barrier", path, "leave", WAIT_MS)
                    else:
                        assert await ours[n // 2].leave(10)
                    done.append("out")

                tasks = []
                for n in range(3):
                    tasks.append(asyncio.create_task(enter(n)))
                    await until_children(zk, path, n + 1)
                assert done == []
                await asyncio.gather(enter(3), *tasks)
                assert done == ["in"] * 4

                tasks = [asyncio.create_task(leave(n)) for n in range(3)]
                # All but the lowest go at once, and wait for the others.
                await until(lambda: _members(zk, path, 2))
                assert done == ["in"] * 4
                await asyncio.gather(leave(3), *tasks)
                assert done == ["in"] * 4 + ["out"] * 4
                await until(lambda: _members(zk, path, 0))

    async def _members(zk: corral.AsyncClient, path: str, most: int) -> bool:
        names = [] if await zk.exists(path) is None else await zk.children(path)
        return len([name for name in names if name != "ready"]) <= most

    run(main())


def test_a_member_that_does_not_come_lets_nobody_in(hosts: str, path: str, curator: Curator) -> None:
    """Ours is outside after its time, and does not count for Curator's."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            ours = DoubleBarrier(zk, path, 2)
            assert not await ours.enter(0.05)
            await until_children(zk, path, 0)
            waiting = asyncio.create_task(theirs.does("double-barrier", path, "enter", 2, WAIT_MS))
            await until_children(zk, path, 1)
            assert not waiting.done()
            assert await ours.enter(10)
            assert await waiting

    run(main())
