"""Several locks at once: all or none, and no deadlock by order."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.loops import expire, run
from tests.support.proxy import Proxy

import corral
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout
from corral.recipes.held import HoldState
from corral.recipes.lock import Lock
from corral.recipes.multilock import MultiLock


def _both(zk: corral.AsyncClient, path: str, *names: str) -> MultiLock:
    return MultiLock([Lock(zk, f"{path}/{name}") for name in names])


def test_opposite_orders_do_not_deadlock(hosts: str, path: str) -> None:
    """Curator acquires in the given order, and two with opposite ones wait for each other."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:

            async def work(client: corral.AsyncClient, *names: str) -> None:
                for _ in range(10):
                    async with _both(client, path, *names) as held:
                        assert [each.path.split("/")[2] for each in held] == list(names)

            await asyncio.gather(work(zk, "a", "b"), work(other, "b", "a"))

    run(main())


def test_a_block_that_is_left_in_another_task_releases_all(hosts: str, path: str) -> None:
    """Each lock gives back what the entering task holds."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            both = _both(zk, path, "a", "b")
            first, second = await asyncio.create_task(both.__aenter__())
            await both.__aexit__(None, None, None)
            assert (first.state, second.state) == (HoldState.RELEASED, HoldState.RELEASED)
            async with both:
                pass

    run(main())


def test_a_timeout_is_for_all_and_leaves_none_held(hosts: str, path: str) -> None:
    """The second lock is taken: the first is given back."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            taken = await Lock(other, f"{path}/b").acquire()
            both = _both(zk, path, "a", "b")

            with pytest.raises(RecipeTimeout):
                await both.acquire(timeout=0.1)
            assert await both.try_acquire() is None

            first = await Lock(other, f"{path}/a").acquire()
            with pytest.raises(NotHeld):
                await both.release()
            await taken.release()
            await first.release()
            assert await both.try_acquire() is not None
            assert await both.release()

    run(main())


def test_a_block_ends_when_one_of_them_is_lost(hosts: str, path: str) -> None:
    """All go with the session; the block ends once, and the task is not left cancelled."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            one_lost = _both(zk, path, "a", "b", "c")

            async def lose_one() -> None:
                async with one_lost as held:
                    await other.delete(held[1].path)
                    await asyncio.Event().wait()

            async def lose_all() -> None:
                async with one_lost:
                    await expire(zk, hosts)
                    await asyncio.Event().wait()

            with pytest.raises(HoldLost):
                await lose_one()
            with pytest.raises(HoldLost):
                await lose_all()

            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert await _both(other, path, "a", "b", "c").try_acquire() is not None

    run(main())


@pytest.mark.parametrize("is_block", [True, False])
def test_a_release_that_is_cancelled_leaves_none_held(hosts: str, path: str, is_block: bool) -> None:
    """While the server's word is awaited for one of them, the others are given up already."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            both = _both(zk, path, "a", "b")
            is_held = asyncio.Event()

            async def work() -> None:
                if is_block:
                    async with both:
                        proxy.hold()
                        is_held.set()
                else:
                    await both.acquire()
                    proxy.hold()
                    is_held.set()
                    await both.release()

            working = asyncio.ensure_future(work())
            await is_held.wait()
            await asyncio.sleep(0)
            working.cancel()
            await asyncio.wait({working})
            proxy.flow()

            async with _both(other, path, "a", "b"):
                assert working.cancelled()

    run(main())
