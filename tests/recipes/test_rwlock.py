"""Read/write locks: readers share, a writer is alone, and a writer may become a reader."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.loops import run, until
from tests.support.proxy import Proxy

import corral
from corral.recipes.errors import HoldLost, WouldDeadlock
from corral.recipes.lock import Scope
from corral.recipes.rwlock import ReadWriteLock, ReadWriteStyle
from corral.wire.opcodes import MULTI


async def _count(zk: corral.AsyncClient, path: str, count: int) -> bool:
    return await zk.exists(path) is not None and len(await zk.children(path)) == count


@pytest.mark.parametrize("style", ["curator", "kazoo"])
def test_readers_share_and_a_waiting_writer_blocks_later_readers(hosts: str, path: str, style: ReadWriteStyle) -> None:
    """Two readers hold together; the writer waits for both; the third reader waits for the writer."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            first = await ReadWriteLock(zk, path, style=style).read.acquire()
            second = await ReadWriteLock(zk, path, style=style).read.acquire()
            writer = asyncio.create_task(ReadWriteLock(zk, path, style=style).write.acquire())
            await until(lambda: _count(zk, path, 3))
            third = asyncio.create_task(ReadWriteLock(zk, path, style=style).read.acquire())
            await until(lambda: _count(zk, path, 4))

            await second.release()
            assert await ReadWriteLock(zk, path, style=style).read.try_acquire() is None
            assert not writer.done()
            await first.release()
            written = await writer
            assert not third.done()
            await written.release()

            assert (await third).is_held

    run(main())


@pytest.mark.parametrize("style", ["curator", "kazoo"])
def test_a_writer_reads_at_once_and_keeps_its_place(hosts: str, path: str, style: ReadWriteStyle) -> None:
    """After the downgrade a waiting writer waits on, a waiting reader goes in."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = ReadWriteLock(zk, path, style=style)
            written = await lock.write.acquire()
            writer = asyncio.create_task(ReadWriteLock(zk, path, style=style).write.acquire())
            await until(lambda: _count(zk, path, 2))

            read = await lock.read.acquire()
            await lock.write.release()

            assert read.is_held
            assert await read.still_held()
            assert written.fencing_token < read.fencing_token
            assert await ReadWriteLock(zk, path, style=style).write.try_acquire() is None
            assert not writer.done()
            await lock.read.release()
            assert (await writer).is_held

    run(main())


def test_a_downgrade_whose_reply_is_lost_makes_one_reader(hosts: str, path: str) -> None:
    """The transaction was carried out; the node is found by its name."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            lock = ReadWriteLock(zk, path)
            await lock.write.acquire()
            proxy.lose_reply(MULTI)

            await lock.read.acquire()

            assert proxy.lost == 1
            assert await _count(zk, path, 2)

    run(main())


def test_a_downgrade_of_a_lost_lock_is_refused(hosts: str, path: str) -> None:
    """No reader's node is made in the name of a writer's that is gone, though nobody was told yet."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            lock = ReadWriteLock(zk, path)
            written = await lock.write.acquire()
            proxy.hold()
            await other.delete(written.path)
            asyncio.get_running_loop().call_soon(proxy.flow)

            with pytest.raises(HoldLost):
                await lock.read.acquire()
            assert await _count(other, path, 0)

    run(main())


@pytest.mark.parametrize("scope", ["task", "object"])
def test_a_reader_that_wants_to_write_is_told(hosts: str, path: str, scope: Scope) -> None:
    """Curator waits for ever."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = ReadWriteLock(zk, path, scope=scope)
            async with lock.read:
                with pytest.raises(WouldDeadlock):
                    await lock.write.acquire()

            async with lock.write as held:
                assert held.is_held

    run(main())
