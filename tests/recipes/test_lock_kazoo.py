"""Locks and leases beside kazoo's on the same path."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.support.loops import run, until, until_children

import corral
from corral.recipes.lease import NonBlockingLease
from corral.recipes.lock import Lock, Style
from corral.recipes.rwlock import ReadWriteLock
from corral.recipes.semaphore import LimitDiffers, Semaphore

kazoo_client = pytest.importorskip("kazoo.client")


@pytest.fixture
def kazoo(hosts: str) -> Iterator[object]:
    """Give a started kazoo client."""
    client = kazoo_client.KazooClient(hosts)
    client.start(10)
    yield client
    client.stop()
    client.close()


@pytest.mark.parametrize(
    ("style", "patterns"), [("kazoo", []), ("bridge", []), ("curator", ["lock-"]), ("bridge", ["lock-"])]
)
def test_kazoo_waits_for_us_and_we_for_kazoo(
    hosts: str, path: str, kazoo: kazoo_client.KazooClient, style: Style, patterns: list[str]
) -> None:
    """Either way nobody takes a held lock, and who waits gets it at the release."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            theirs = kazoo.Lock(path, "theirs", extra_lock_patterns=patterns)
            async with Lock(zk, path, style=style, identifier=b"ours"):
                assert not await asyncio.to_thread(theirs.acquire, blocking=False)
                got = threading.Event()
                waiting = asyncio.create_task(asyncio.to_thread(lambda: theirs.acquire(timeout=10) and got.set()))

                async def is_waiting() -> bool:
                    return any(each.identifier == b"theirs" for each in await Lock(zk, path).contenders())

                await until(is_waiting)
                assert not got.is_set()
            await waiting
            assert got.is_set()

            assert await Lock(zk, path, style=style).try_acquire() is None
            ours = asyncio.create_task(Lock(zk, path, style=style).acquire())
            await zk.sync()
            await asyncio.to_thread(theirs.release)
            assert (await ours).is_held

    run(main())


def test_a_kazoo_that_is_killed_leaves_its_lock(hosts: str, path: str) -> None:
    """Ours has it when the session of the killed process is over."""

    async def main(theirs: subprocess.Popen[bytes]) -> None:
        async with corral.connect(hosts) as zk:
            await until_children(zk, path, 1)
            ours = asyncio.create_task(Lock(zk, path, style="kazoo").acquire())
            await until_children(zk, path, 2)

            theirs.kill()

            assert (await ours).is_held
            assert await zk.children(path) == [(await ours).node.name]

    program = (
        "import sys; from kazoo.client import KazooClient; client = KazooClient(sys.argv[1], timeout=1.0);"
        "client.start(); client.Lock(sys.argv[2]).acquire(); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, hosts, path], stdin=subprocess.PIPE) as theirs:
        run(main(theirs))


def test_read_and_write_locks_of_kazoo(hosts: str, path: str, kazoo: kazoo_client.KazooClient) -> None:
    """kazoo's readers share with ours, its writer does not."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = ReadWriteLock(zk, path, style="kazoo")
            reader, writer = kazoo.ReadLock(path, "r"), kazoo.WriteLock(path, "w")
            async with lock.read:
                assert await asyncio.to_thread(reader.acquire, blocking=False)
                assert not await asyncio.to_thread(writer.acquire, blocking=False)
            assert await lock.write.try_acquire() is None
            await asyncio.to_thread(reader.release)
            async with lock.write:
                assert not await asyncio.to_thread(reader.acquire, blocking=False)
            assert await asyncio.to_thread(writer.acquire, timeout=10)
            assert await lock.read.try_acquire() is None
            await asyncio.to_thread(writer.release)

    run(main())


def test_leases_of_kazoo(hosts: str, path: str, kazoo: kazoo_client.KazooClient) -> None:
    """A lease of either is the other's, too."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            hour = timedelta(hours=1)
            assert await asyncio.to_thread(lambda: bool(kazoo.NonBlockingLease(path, hour, "theirs")))
            assert not await NonBlockingLease(zk, path, hour, identifier="ours").obtain()
            assert await NonBlockingLease(zk, f"{path}-2", hour, identifier="ours").obtain()
            assert not await asyncio.to_thread(lambda: bool(kazoo.NonBlockingLease(f"{path}-2", hour, "theirs")))

    run(main())


def test_leases_of_both_count(hosts: str, path: str, kazoo: kazoo_client.KazooClient) -> None:
    """Neither takes a lease beyond the limit, and who waits gets one when the other gives it back."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            ours = Semaphore(zk, path, limit=2, style="kazoo", identifier=b"ours")
            theirs = [kazoo.Semaphore(path, "theirs", max_leases=2) for _ in range(2)]
            held = await ours.acquire()
            assert await asyncio.to_thread(theirs[0].acquire)
            assert await ours.try_acquire() is None
            assert not await asyncio.to_thread(theirs[1].acquire, blocking=False)
            assert sorted(theirs[0].lease_holders()) == ["ours", "theirs"]
            assert [each.identifier for each in await ours.holders()] == [b"ours", b"theirs"]

            waiting = asyncio.create_task(asyncio.to_thread(theirs[1].acquire, timeout=10))
            await until_children(zk, f"{path}-__lock__", 1)
            await held.release()
            assert await waiting

            second = asyncio.create_task(ours.acquire(timeout=10))
            await until_children(zk, f"{path}-__lock__", 1)
            await asyncio.to_thread(theirs[0].release)
            held = await second
            assert held.is_held
            await held.release()
            await asyncio.to_thread(theirs[1].release)
            assert await ours.holders() == []

    run(main())


def test_a_limit_of_kazoo_is_taken_and_defended(hosts: str, path: str, kazoo: kazoo_client.KazooClient) -> None:
    """The limit stands where kazoo has it, for either side to see."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            theirs = kazoo.Semaphore(path, max_leases=3)
            assert await asyncio.to_thread(theirs.acquire)
            assert await Semaphore(zk, path, style="kazoo").limit() == 3
            with pytest.raises(LimitDiffers, match="3"):
                await Semaphore(zk, path, limit=4, style="kazoo").acquire(timeout=10)
            await asyncio.to_thread(theirs.release)
            with pytest.raises(ValueError, match="Inconsistent"):
                await asyncio.to_thread(kazoo.Semaphore(path, max_leases=5).acquire)

    run(main())
