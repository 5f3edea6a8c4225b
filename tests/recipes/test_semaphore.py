"""Semaphores: never more leases than the limit on the server, in order of arrival."""

from __future__ import annotations

import asyncio
import gc

import pytest
from tests.support.loops import expire, run, until
from tests.support.proxy import Proxy

import corral
from corral.base.errors import BadArguments
from corral.client.errors import ClientClosed
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout
from corral.recipes.semaphore import LimitDiffers, Semaphore
from corral.wire.opcodes import CREATE2


async def _leases(zk: corral.AsyncClient, path: str, count: int) -> bool:
    return len(await Semaphore(zk, path).holders()) == count


def test_never_more_than_the_limit(hosts: str, path: str) -> None:
    """Twelve contenders share three leases; all get one, and no four at once."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            inside = most = done = 0

            async def work(client: corral.AsyncClient) -> None:
                nonlocal inside, most, done
                async with Semaphore(client, path, limit=3, identifier=b"w"):
                    inside += 1
                    most = max(most, inside)
                    await client.sync()
                    inside -= 1
                    done += 1

            await asyncio.gather(*(work(client) for client in (zk, other) * 6))

            assert done == 12
            assert most <= 3
            assert (await zk.get(path))[0] == b"3"
            await until(lambda: _leases(zk, path, 0))

    run(main())


def test_a_look_that_is_refused_leaves_no_coroutine(hosts: str, path: str) -> None:
    """As a client refuses it whose close is under way; Python would warn of one that nobody awaits."""

    def refused(*_: object) -> None:
        raise ClientClosed("the client is closed")

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            await Semaphore(zk, path, limit=1).acquire()
            waiting = asyncio.ensure_future(Semaphore(zk, path, limit=1).acquire())
            await until(lambda: _leases(other, path, 2))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(zk, "children", refused)
                await other.set(path, (await other.get(path))[0])

                with pytest.raises(ClientClosed):
                    await waiting
            gc.collect()

    run(main())


def test_a_block_is_left_by_another_task_only_where_it_is_clear_which(hosts: str, path: str) -> None:
    """Of two open blocks neither is the leaver's; once a task has ended, its block is the one."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            semaphore = Semaphore(zk, path, limit=2)
            go = asyncio.Event()
            inside: list[object] = []

            async def work() -> None:
                async with semaphore as held:
                    inside.append(held)
                    await go.wait()

            tasks = [asyncio.create_task(work()) for _ in range(2)]
            await until(lambda: len(inside) == 2)
            with pytest.raises(NotHeld, match="leave it in the task that entered it"):
                await semaphore.__aexit__(None, None, None)
            go.set()
            await asyncio.gather(*tasks)

            for _ in range(2):
                await asyncio.create_task(semaphore.__aenter__())
            for _ in range(2):
                await semaphore.__aexit__(None, None, None)
            await until(lambda: _leases(zk, path, 0))

    run(main())


def test_one_of_kazoo_is_refused_at_the_root(hosts: str) -> None:
    """Its line would be a child of it, and counted as a lease."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            with pytest.raises(BadArguments, match="nothing is beside /"):
                Semaphore(zk, "/", limit=1, style="kazoo")

    run(main())


def test_several_leases_come_and_go_together(hosts: str, path: str) -> None:
    """Two of three are taken; two more have to wait, one does not."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            semaphore = Semaphore(zk, path, limit=3)
            two = await semaphore.acquire(2)

            assert await semaphore.try_acquire(2) is None
            await until(lambda: _leases(zk, path, 2))
            one = await semaphore.try_acquire()
            assert one is not None
            with pytest.raises(RecipeTimeout):
                await semaphore.acquire(timeout=0.05)
            await two.release()

            assert await _leases(zk, path, 1)
            assert await semaphore.try_acquire(2) is not None
            assert one.is_held

    run(main())


def test_the_limit_is_the_servers(hosts: str, path: str) -> None:
    """Another number is refused; a raised limit wakes who waits."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await Semaphore(zk, path, limit=1).acquire()
            with pytest.raises(LimitDiffers, match="limit 1 on the server, 2 was given"):
                await Semaphore(zk, path, limit=2).acquire()
            with pytest.raises(LimitDiffers, match="is not there"):
                await Semaphore(zk, f"{path}-other").acquire()
            waiting = asyncio.create_task(Semaphore(zk, path).acquire())
            await until(lambda: _leases(zk, path, 2))

            await Semaphore(zk, path).set_limit(2)

            assert (await waiting).is_held
            assert await Semaphore(zk, path).limit() == 2

    run(main())


def test_strangers_among_the_leases_do_not_count(hosts: str, path: str) -> None:
    """Curator and kazoo count every child."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(f"{path}/leases/README", make_parents=True)

            assert await Semaphore(zk, path, limit=1).try_acquire() is not None

    run(main())


def test_a_lost_reply_makes_no_second_lease(hosts: str, path: str) -> None:
    """Both the turn and the lease are found again."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            semaphore = Semaphore(zk, path, limit=1)
            await (await semaphore.acquire()).release()
            proxy.lose_reply(CREATE2)
            proxy.lose_reply(CREATE2)

            held = await semaphore.acquire()

            assert proxy.lost == 2
            assert [each.path for each in await semaphore.holders()] == [held.path]

    run(main())


def test_a_lease_ends_with_its_session_and_its_block_with_it(hosts: str, path: str) -> None:
    """CURATOR-595: the holder is told."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            inside = asyncio.Event()

            async def hold() -> None:
                async with Semaphore(zk, path, limit=1):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(hold())
            await inside.wait()

            await expire(zk, hosts)

            with pytest.raises(HoldLost):
                await task
            assert await Semaphore(other, path).try_acquire() is not None

    run(main())


def test_cancelled_anywhere_leaves_nothing(hosts: str, path: str) -> None:
    """An acquire is cancelled after ever more turns of the loop; each time the next one gets through."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            await (await Semaphore(zk, path, limit=1).acquire()).release()
            for turns in range(0, 60, 2):
                task = asyncio.create_task(Semaphore(zk, path).acquire())
                for _ in range(turns):
                    await asyncio.sleep(0.0002 if turns % 4 else 0)
                task.cancel()
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]
                if not isinstance(outcome, BaseException):
                    await outcome.release()

                assert await (await Semaphore(other, path).acquire()).release()

    run(main())
