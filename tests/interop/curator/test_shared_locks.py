"""Read/write locks and semaphores on one path with Curator's."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until_children

import corral
from corral.recipes.rwlock import ReadWriteLock
from corral.recipes.semaphore import Semaphore

pytestmark = pytest.mark.interop


def test_readers_share_and_a_writer_is_alone(hosts: str, path: str, curator: Curator) -> None:
    """Over both libraries, in each place."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            lock = ReadWriteLock(zk, path)
            async with lock.read:
                assert await theirs.does("rwlock", path, "read-acquire", 0)
                await theirs.tell("rwlock", path, "read-release")
                assert not await theirs.does("rwlock", path, "write-acquire", 0)
            async with lock.write:
                assert not await theirs.does("rwlock", path, "read-acquire", 0)
                assert not await theirs.does("rwlock", path, "write-acquire", 0)

            assert await theirs.does("rwlock", path, "read-acquire", WAIT_MS)
            assert await lock.write.try_acquire() is None
            async with lock.read:
                pass
            await theirs.tell("rwlock", path, "read-release")
            assert await theirs.does("rwlock", path, "write-acquire", WAIT_MS)
            assert await lock.read.try_acquire() is None
            assert await lock.write.try_acquire() is None
            await theirs.tell("rwlock", path, "write-release")

            async with lock.write:
                pass

    run(main())


def test_a_waiting_writer_goes_before_later_readers(hosts: str, path: str, curator: Curator) -> None:
    """Curator's writer before our reader, and ours before Curator's."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as a, curator.actor(hosts) as b:
            lock = ReadWriteLock(zk, path, scope="object")
            other = ReadWriteLock(zk, path, scope="object")
            order: list[str] = []

            async def ours(name: str, kind: str) -> None:
                async with getattr(lock, kind):
                    order.append(name)

            async def theirs(name: str, kind: str) -> None:
                assert await (a if name == "2" else b).does("rwlock", path, f"{kind}-acquire", WAIT_MS)
                order.append(name)
                await (a if name == "2" else b).tell("rwlock", path, f"{kind}-release")

            await other.read.acquire()
            tasks = []
            line = [(theirs, "write"), (ours, "read"), (ours, "write"), (theirs, "read")]
            for number, (who, kind) in enumerate(line, 2):
                tasks.append(asyncio.create_task(who(str(number), kind)))
                await until_children(zk, path, number)
            await other.read.release()
            await asyncio.gather(*tasks)

            assert order == ["2", "3", "4", "5"]

    run(main())


def test_a_writer_that_reads_keeps_its_place(hosts: str, path: str, curator: Curator) -> None:
    """No writer of Curator's comes between. Curator's own writer keeps its place from 5.5 on (CURATOR-621)."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as a, curator.actor(hosts) as b:
            lock = ReadWriteLock(zk, path, scope="object")
            await lock.write.acquire()
            writing = asyncio.create_task(a.does("rwlock", path, "write-acquire", WAIT_MS))
            await until_children(zk, path, 2)
            await lock.read.acquire()
            await lock.write.release()
            assert not await b.does("rwlock", path, "read-acquire", 0)
            assert not writing.done()
            await lock.read.release()
            assert await writing

    run(main())


def test_leases_of_both_count(hosts: str, path: str, curator: Curator) -> None:
    """Two leases, whoever has them; the third waits for either's end."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            semaphore = Semaphore(zk, path, limit=2)
            node = await theirs.tell("semaphore", path, "acquire", 2, WAIT_MS)
            ours = await semaphore.acquire()
            holders = [each.path.rpartition("/")[2] for each in await semaphore.holders()]
            assert holders == [node, ours.node.name]
            assert not await theirs.tell("semaphore", path, "acquire", 2, 0)
            assert await semaphore.try_acquire() is None

            waiting = asyncio.create_task(semaphore.acquire())
            await until_children(zk, f"{path}/leases", 3)
            await theirs.tell("semaphore", path, "release")
            second = await waiting
            waits = asyncio.create_task(theirs.tell("semaphore", path, "acquire", 2, WAIT_MS))
            await until_children(zk, f"{path}/leases", 3)
            await ours.release()
            assert await waits
            assert second.is_held

    run(main())


def test_who_waits_for_a_lease_keeps_its_place(hosts: str, path: str, curator: Curator) -> None:
    """The line at `locks` is one for both: two of ours do not go before Curator's one."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            semaphore = Semaphore(zk, path, limit=2)
            both = await semaphore.acquire(2)
            await until_children(zk, f"{path}/locks", 0)
            first = asyncio.create_task(semaphore.acquire(2))
            await until_children(zk, f"{path}/locks", 1)
            second = asyncio.create_task(theirs.tell("semaphore", path, "acquire", 2, WAIT_MS))
            await until_children(zk, f"{path}/locks", 2)
            third = asyncio.create_task(semaphore.acquire())
            await until_children(zk, f"{path}/locks", 3)
            await both.release()
            held = await first
            assert not second.done()
            assert not third.done()
            await held.release()
            assert await second
            assert (await third).is_held
            assert await semaphore.try_acquire() is None

    run(main())
