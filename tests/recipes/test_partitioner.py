"""Items shared out among members: each held once, and moved only when they have to be."""

from __future__ import annotations

import asyncio

import pytest
from kazoo.client import KazooClient
from kazoo.recipe.partitioner import SetPartitioner
from tests.support.loops import expire, run, until
from tests.support.proxy import Proxy

import corral
from corral.base.errors import NoAuth
from corral.client.values import READ_ONLY_ACL
from corral.recipes.errors import NotHeld, RecipeTimeout
from corral.recipes.partitioner import Partitioner, share_of

ITEMS = ["a", "b", "c", "d", "e"]


def test_shares_are_disjoint_and_whole() -> None:
    """Whatever the order of members and items; who is no member gets nothing."""
    shares = [share_of(["c", "a", "b", "e", "d"], ["y", "x"], member) for member in ("x", "y")]

    assert shares == [["a", "c", "e"], ["b", "d"]]
    assert share_of(ITEMS, ["x"], "z") == []


def test_items_move_as_members_come_and_go(hosts: str, path: str) -> None:
    """Each step: nobody takes what another has not released; what need not move stays held."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk,
            corral.connect(hosts) as other,
            Partitioner(zk, path, ITEMS, identifier="x", quiet=0) as first,
        ):
            assert await first.wait_complete() == ITEMS
            tokens = {item: held.fencing_token for item, held in first.held.items()}
            async with Partitioner(other, path, ITEMS, identifier="y", quiet=0) as second:
                await until(lambda: first.leaving == ["b", "d"])
                assert second.held == {}

                assert await first.release() == ["b", "d"]

                assert await second.wait_complete() == ["b", "d"]
                assert first.is_complete
                assert {item: held.fencing_token for item, held in first.held.items()} == {
                    item: tokens[item] for item in ("a", "c", "e")
                }
                assert second.held["b"].fencing_token > tokens["b"]
                assert first.members == second.members == ["x", "y"]

            await until(lambda: list(first.held) == ITEMS)

    run(main())


def test_a_lost_session_loses_all_and_joins_again(hosts: str, path: str) -> None:
    """The old holds are over; new ones with higher tokens follow by themselves."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Partitioner(zk, path, ITEMS, quiet=0) as work:
            await work.wait_complete()
            old = dict(work.held)

            await expire(zk, hosts)

            assert not [item for item, held in old.items() if held.is_held]
            await work.wait_complete()
            assert work.held["a"].fencing_token > old["a"].fencing_token
            assert work.members == [work.identifier]

    run(main())


def test_members_that_come_one_after_another_move_items_once(hosts: str, path: str) -> None:
    """Nothing is asked for before it has been quiet for long enough."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk,
            Partitioner(zk, path, ITEMS, identifier="x", quiet=3600) as work,
        ):
            assert work.members == ["x"]
            assert not work.is_complete

            with pytest.raises(RecipeTimeout, match=r"not complete within 0\.01 s"):
                await work.wait_complete(0.01)

            assert await zk.exists(f"{path}/locks") is None

    run(main())


def test_shares_are_told_and_end_at_the_close(hosts: str, path: str) -> None:
    """An iteration over them sees the items come."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            work = await Partitioner(zk, path, ["a"], quiet=0).start()
            seen: list[list[str]] = []
            async for held in work.shares():
                seen.append(list(held))
                if held:
                    await work.close()

            assert seen in ([[], ["a"]], [["a"]])
            with pytest.raises(NotHeld, match="is closed"):
                await work.start()
            await until(lambda: _is_empty(zk, f"{path}/locks/a"))
            assert await zk.children(f"{path}/party") == []

    run(main())


async def _is_empty(zk: corral.AsyncClient, path: str) -> bool:
    return await zk.children(path) == []


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 21, 34])
def test_it_may_be_cancelled_at_any_await(hosts: str, path: str, turns: int) -> None:
    """Nothing is left of the member and its locks."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            for name in ("party", "locks/a"):
                await zk.create(f"{path}/{name}", make_parents=True)
            work = Partitioner(zk, path, ["a"], quiet=0)
            task = asyncio.ensure_future(work.start())
            for _ in range(turns):
                await zk.exists(path) if turns > 5 else await asyncio.sleep(0)

            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await work.close()

            await until(lambda: not zk._tasks)
            for name in ("party", "locks/a"):
                assert await zk.children(f"{path}/{name}") == []

    run(main())


def test_a_refusal_is_raised_and_a_silent_server_times_out(hosts: str, path: str) -> None:
    """NoAuth at once; RecipeTimeout after the time given."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            await zk.create(f"{path}/party", acl=READ_ONLY_ACL)
            with pytest.raises(NoAuth):
                await Partitioner(zk, path, ITEMS).start()
            proxy.hold()
            with pytest.raises(RecipeTimeout, match=r"not joined within 0\.05 s"):
                await Partitioner(zk, f"{path}/b", ITEMS).start(0.05)
            proxy.flow()

    run(main())


@pytest.mark.interop
def test_kazoos_partitioner_is_another_member(hosts: str, path: str) -> None:
    """Between them they hold every item once."""

    async def main() -> None:
        kazoo = KazooClient(hosts)
        await asyncio.to_thread(kazoo.start)
        try:
            async with corral.connect(hosts) as zk, Partitioner(zk, path, ITEMS, identifier="m", quiet=0) as work:
                await work.wait_complete()
                theirs = SetPartitioner(kazoo, path, set(ITEMS), identifier="n", time_boundary=0.01)
                await until(lambda: work.members == ["m", "n"])
                await until(lambda: bool(work.leaving))
                await work.release()

                await asyncio.to_thread(theirs.wait_for_acquire, 10)

                assert theirs.acquired
                assert sorted([*theirs, *work.held]) == ITEMS
                await asyncio.to_thread(theirs.finish)
                await until(lambda: list(work.held) == ITEMS)
        finally:
            await asyncio.to_thread(kazoo.stop)
            await asyncio.to_thread(kazoo.close)

    run(main())
