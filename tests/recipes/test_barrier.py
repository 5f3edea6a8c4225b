"""Barriers."""

from __future__ import annotations

import asyncio

import pytest
from kazoo.client import KazooClient
from tests.support.loops import expire, run, until
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.recipes.barrier import Barrier
from corral.wire import opcodes


def test_a_barrier_keeps_waiting_until_it_is_removed(hosts: str, path: str) -> None:
    """Parents are made; to make and to remove it twice does no harm."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            barrier = Barrier(zk, path + "/deep")
            assert await barrier.wait()
            assert await barrier.create()
            assert not await barrier.create()
            assert not await barrier.wait(timeout=0.02)
            waiting = asyncio.ensure_future(barrier.wait())

            assert await Barrier(other, path + "/deep").remove()

            assert await waiting
            assert not await barrier.remove()

    run(main())


def test_a_timeout_leaves_no_watch(hosts: str, path: str) -> None:
    """Curator's leaves one for each wait (CURATOR-654)."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            barrier = Barrier(zk, path)
            await barrier.create()

            for _ in range(3):
                assert not await barrier.wait(timeout=0.01)

            assert len(zk._session.watches) == 0

    run(main())


def test_a_timeout_before_the_answer_leaves_no_watch(hosts: str, path: str) -> None:
    """Nor does its answer, when it comes."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            barrier = Barrier(zk, path)
            await barrier.create()
            proxy.hold()

            assert not await barrier.wait(timeout=0.01)

            proxy.flow()
            await zk.sync()
            assert len(zk._session.watches) == 0

    run(main())


@pytest.mark.parametrize("is_expired", [True, False])
def test_a_waiter_whose_connection_went_is_woken(hosts: str, path: str, is_expired: bool) -> None:
    """kazoo's is not: its watch went with the connection."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            await Barrier(other, path).create()
            waiting = asyncio.ensure_future(Barrier(zk, path).wait())
            await until(lambda: len(zk._session.watches) > 0)

            if is_expired:
                await expire(zk, hosts)
                await Barrier(other, path).remove()
            else:
                proxy.shut()
                await Barrier(other, path).remove()
                proxy.open()

            assert await waiting

    run(main())


def test_lost_replies_do_no_harm(hosts: str, path: str) -> None:
    """What was done though its reply was lost is found done."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            barrier = Barrier(zk, path)
            proxy.lose_reply(opcodes.CREATE)
            await barrier.create()
            assert await zk.exists(path)
            proxy.lose_reply(opcodes.DELETE)
            await barrier.remove()
            assert not await zk.exists(path)
            assert proxy.lost == 2

    run(main())


@pytest.mark.interop
def test_kazoo_opens_ours(hosts: str, path: str) -> None:
    """And waits at ours."""

    def kazoo() -> bool:
        client = KazooClient(hosts)
        client.start()
        try:
            barrier = client.Barrier(path)
            is_open: bool = barrier.wait(0.01)
            barrier.remove()
            return is_open
        finally:
            client.stop()
            client.close()

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            barrier = Barrier(zk, path)
            await barrier.create()
            waiting = asyncio.ensure_future(barrier.wait())
            assert not await asyncio.to_thread(kazoo)
            assert await waiting

    run(main())


@pytest.mark.interop
def test_ours_opens_kazoos(hosts: str, path: str) -> None:
    """And waits at kazoo's."""

    async def main() -> None:
        kazoo = KazooClient(hosts)
        await asyncio.to_thread(kazoo.start)
        try:
            async with corral.connect(hosts) as zk:
                barrier = Barrier(zk, path)
                await asyncio.to_thread(kazoo.Barrier(path).create)
                assert not await barrier.create()
                assert not await barrier.wait(0.01)
                waiting = asyncio.ensure_future(barrier.wait())
                theirs = asyncio.ensure_future(asyncio.to_thread(kazoo.Barrier(path).wait, 10))
                await zk.sync()
                assert await barrier.remove()
                assert await waiting
                assert await theirs
        finally:
            await asyncio.to_thread(kazoo.stop)
            await asyncio.to_thread(kazoo.close)

    run(main())
