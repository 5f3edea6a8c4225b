"""Crowds of both libraries: whoever is in is counted here, where all of them are driven from."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until_children

import corral
from corral.recipes.election import Election
from corral.recipes.held import Held
from corral.recipes.lock import Lock
from corral.recipes.queue import Queue, QueueForm
from corral.recipes.rwlock import ReadWriteLock
from corral.recipes.semaphore import Semaphore

pytestmark = pytest.mark.interop
EACH = 3
ROUNDS = 6
STAYS = 20


class Room:
    """Counts who is in, and checks that it may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: list[str] = []
        self.visits = 0
        self.full = 0

    async def visit(self, zk: corral.AsyncClient, who: str) -> None:
        """Be in until another is, too, if one may be; for as long as the server takes to answer some questions."""
        self._inside.append(who)
        self.visits += 1
        self.full = max(self.full, len(self._inside))
        is_alone = who.endswith("write")
        assert len(self._inside) <= (1 if is_alone or self._inside[0].endswith("write") else self._most), self._inside
        for _ in range(STAYS):
            await zk.sync()
            if is_alone or len(self._inside) == min(self._most, 2):
                break
        self._inside.remove(who)


def test_one_of_a_crowd_has_the_lock(hosts: str, path: str, curator: Curator) -> None:
    """Three of ours, each with its own session, and three of Curator's."""

    async def main() -> None:
        room = Room(1)

        async def ours() -> None:
            async with corral.connect(hosts) as zk:
                for _ in range(ROUNDS):
                    async with Lock(zk, path):
                        await room.visit(zk, "ours")

        async def theirs(zk: corral.AsyncClient) -> None:
            async with curator.actor(hosts) as actor:
                for _ in range(ROUNDS):
                    assert await actor.does("mutex", path, "acquire", WAIT_MS)
                    await room.visit(zk, "theirs")
                    await actor.tell("mutex", path, "release")

        async with corral.connect(hosts) as zk:
            await asyncio.gather(*(work for _ in range(EACH) for work in (ours(), theirs(zk))))
            assert room.visits == 2 * EACH * ROUNDS

    run(main())


def test_a_crowd_of_readers_and_writers(hosts: str, path: str, curator: Curator) -> None:
    """Every third comes to write."""

    async def main() -> None:
        room = Room(2 * EACH)

        async def ours(n: int) -> None:
            async with corral.connect(hosts) as zk:
                lock = ReadWriteLock(zk, path)
                for number in range(ROUNDS):
                    kind = "write" if (number + n) % 3 == 0 else "read"
                    side: contextlib.AbstractAsyncContextManager[Held] = lock.write if kind == "write" else lock.read
                    async with side:
                        await room.visit(zk, kind)

        async def theirs(zk: corral.AsyncClient, n: int) -> None:
            async with curator.actor(hosts) as actor:
                for number in range(ROUNDS):
                    kind = "write" if (number + n) % 3 == 1 else "read"
                    assert await actor.does("rwlock", path, f"{kind}-acquire", WAIT_MS)
                    await room.visit(zk, kind)
                    await actor.tell("rwlock", path, f"{kind}-release")

        async with corral.connect(hosts) as zk:
            await asyncio.gather(*(work for n in range(EACH) for work in (ours(n), theirs(zk, n))))
            assert room.visits == 2 * EACH * ROUNDS
            assert room.full > 1

    run(main())


def test_a_crowd_that_shares_two_leases(hosts: str, path: str, curator: Curator) -> None:
    """At most two are in, and two are."""

    async def main() -> None:
        room = Room(2)

        async def ours() -> None:
            async with corral.connect(hosts) as zk:
                for _ in range(ROUNDS):
                    async with Semaphore(zk, path, limit=2):
                        await room.visit(zk, "ours")

        async def theirs(zk: corral.AsyncClient) -> None:
            async with curator.actor(hosts) as actor:
                for _ in range(ROUNDS):
                    assert await actor.tell("semaphore", path, "acquire", 2, WAIT_MS)
                    await room.visit(zk, "theirs")
                    await actor.tell("semaphore", path, "release")

        async with corral.connect(hosts) as zk:
            await asyncio.gather(*(work for _ in range(EACH) for work in (ours(), theirs(zk))))
            assert room.visits == 2 * EACH * ROUNDS
            assert room.full == 2

    run(main())


def test_one_of_a_crowd_leads(hosts: str, path: str, curator: Curator) -> None:
    """Each stands again after its term."""

    async def main() -> None:
        room = Room(1)

        async def ours() -> None:
            async with corral.connect(hosts) as zk:
                election = Election(zk, path)
                for _ in range(ROUNDS):
                    await election.run(lambda led: room.visit(zk, "ours"))

        async def theirs(zk: corral.AsyncClient) -> None:
            async with curator.actor(hosts) as actor:
                for number in range(ROUNDS):
                    await actor.tell("latch", path, "start", number)
                    assert await actor.does("latch", path, "await", WAIT_MS)
                    await room.visit(zk, "theirs")
                    await actor.tell("latch", path, "end")

        async with corral.connect(hosts) as zk:
            await asyncio.gather(*(work for _ in range(EACH) for work in (ours(), theirs(zk))))
            assert room.visits == 2 * EACH * ROUNDS

    run(main())


def test_a_crowd_that_works_off_a_queue(hosts: str, path: str, curator: Curator) -> None:
    """Claimed before they are worked on, by all: nothing is done twice, nothing stays."""
    count = 60
    locks = f"{path}-locks"

    async def main() -> None:
        done: list[str] = []

        async def ours() -> None:
            async with (
                corral.connect(hosts) as zk, Queue(zk, path, form=QueueForm.CURATOR, lock_path=locks) as items
            ):  # fmt: skip
                while len(done) < count:
                    claimed = await items.claim(timeout=0.05)
                    if claimed is not None:
                        await items.consume(claimed)
                        done.extend(each.decode() for each in claimed.items)

        async def theirs() -> None:
            async with curator.actor(hosts) as actor:
                await actor.tell("queue", path, "consume", locks)
                while len(done) < count:
                    taken = await actor.tell("queue", path, "take", 50)
                    done.extend([taken] if taken else [])

        async with corral.connect(hosts) as zk, Queue(zk, path, form=QueueForm.CURATOR) as items:

            async def put() -> None:
                for number in range(count):
                    await items.put(b"%d" % number)

            await asyncio.gather(put(), *(work for _ in range(2) for work in (ours(), theirs())))

            assert sorted(done, key=int) == [str(number) for number in range(count)]
            await until_children(zk, path, 0)
            await until_children(zk, locks, 0)

    run(main())
