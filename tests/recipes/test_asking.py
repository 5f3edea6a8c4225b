"""What all recipes make and remove their nodes with."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.loops import run
from tests.support.proxy import Proxy

import corral
from corral.client.errors import RequestTimeout
from corral.recipes.asking import remove_beside, remove_owned, within
from corral.recipes.barrier import Barrier
from corral.recipes.counter import Counter
from corral.recipes.errors import RecipeTimeout
from corral.recipes.lock import Lock
from corral.recipes.semaphore import Semaphore
from corral.wire.opcodes import DELETE, MULTI


def test_below_a_chroot_that_is_not_there_the_chroot_is_made(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(f"{hosts}{path}/counters") as zk:
            assert await Counter(zk, "/number").add() == 1
        async with corral.connect(f"{hosts}{path}/barriers") as zk:
            assert await Barrier(zk, "/barrier").create()
        async with corral.connect(f"{hosts}{path}/semaphores") as zk:
            await (await Semaphore(zk, "/semaphore", limit=1).acquire()).release()
        async with corral.connect(f"{hosts}{path}/lock") as zk:
            await (await Lock(zk, "/").acquire()).release()

    run(main())


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_removed_is_asked_for_until_it_is_gone(hosts: str, path: str, count: int) -> None:
    """A request is lost, then a reply; what else is there stays."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            paths = [f"{path}/{number}" for number in range(count)]
            for each in [*paths, f"{path}/stranger"]:
                await zk.create(each, make_parents=True)
            op = DELETE if count == 1 else MULTI
            proxy.lose_request(op)
            proxy.lose_reply(op)

            await remove_beside(zk, *paths)

            assert proxy.lost == 2
            assert await zk.children(path) == ["stranger"]

    run(main())


def test_nodes_of_which_one_is_gone_are_removed_all_the_same(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(f"{path}/there", make_parents=True)

            await remove_beside(zk, f"{path}/gone", f"{path}/there")

            assert await zk.children(path) == []

    run(main())


def test_a_node_of_another_session_is_left_alone(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path, ephemeral=True)

            await remove_owned(zk, path, zk.session_id + 1)
            assert await zk.exists(path) is not None

            await remove_owned(zk, path, zk.session_id)
            assert await zk.exists(path) is None
            await remove_owned(zk, path, zk.session_id)

    run(main())


def test_a_bound_answers_for_its_own_time_alone() -> None:
    async def main() -> None:
        with pytest.raises(RecipeTimeout, match="it was not done within 0"):
            async with within(0.0, "it was not done"):
                await asyncio.Event().wait()
        with pytest.raises(RequestTimeout, match="another's"):
            async with within(10.0, "it was not done"):
                raise RequestTimeout("another's")

    run(main())
