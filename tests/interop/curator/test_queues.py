"""Queues on one path with Curator's: what either puts the other takes, once."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until_children

import corral
from corral.recipes.queue import Queue, QueueForm

pytestmark = pytest.mark.interop


def test_items_come_out_in_order(hosts: str, path: str, curator: Curator) -> None:
    """Of a plain queue, in both directions."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as putter, curator.actor(hosts) as taker,
            Queue(zk, path, form=QueueForm.CURATOR) as ours,
        ):  # fmt: skip
            await putter.tell("queue", path, "open")
            for item in ("one", "two"):
                await putter.tell("queue", path, "put", item)
            assert await ours.size() == 2
            assert [await ours.get(5), await ours.get(5)] == [b"one", b"two"]

            await ours.put_all([b"three", b"four"])
            await taker.tell("queue", path, "consume")
            assert await taker.tell("queue", path, "take", WAIT_MS) == "three"
            assert await taker.tell("queue", path, "take", WAIT_MS) == "four"

    run(main())


def test_a_claimed_item_is_left_alone(hosts: str, path: str, curator: Curator) -> None:
    """Curator's consumer with a lock path takes what is not claimed, and the rest when it is given back."""
    locks = f"{path}-locks"

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as theirs,
            Queue(zk, path, form=QueueForm.CURATOR, lock_path=locks) as ours,
        ):  # fmt: skip
            await ours.put_all([b"one", b"two", b"three"])
            first = await ours.claim()
            second = await ours.claim()
            assert first is not None
            assert second is not None
            await theirs.tell("queue", path, "consume", locks)
            assert await theirs.tell("queue", path, "take", WAIT_MS) == "three"
            await until_children(zk, path, 2)
            await ours.consume(first)
            await ours.release(second)
            await ours.put(b"four")
            taken = {await theirs.tell("queue", path, "take", WAIT_MS) for _ in range(2)}
            assert taken == {"two", "four"}
            await until_children(zk, path, 0)
            assert await theirs.tell("queue", path, "take", 0) == ""

    run(main())


def test_priorities(hosts: str, path: str, curator: Curator) -> None:
    """The lowest first, below zero too."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as putter, curator.actor(hosts) as taker,
            Queue(zk, path, form=QueueForm.CURATOR_PRIORITY) as ours,
        ):  # fmt: skip
            await putter.tell("priority-queue", path, "open")
            for item, priority in (("c", 5), ("a", -7), ("d", 2**31 - 1)):
                await putter.tell("priority-queue", path, "put", item, priority)
            await ours.put(b"b", priority=-6)
            assert [await ours.get(5) for _ in range(4)] == [b"a", b"b", b"c", b"d"]

            for item, priority in ((b"y", 0), (b"z", 1), (b"x", -(2**31))):
                await ours.put(item, priority=priority)
            await taker.tell("priority-queue", path, "consume")
            assert [await taker.tell("priority-queue", path, "take", WAIT_MS) for _ in range(3)] == ["x", "y", "z"]

    run(main())


def test_delays(hosts: str, path: str, curator: Curator) -> None:
    """What is due comes out first, what is not stays in."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as putter, curator.actor(hosts) as taker,
            Queue(zk, path, form=QueueForm.CURATOR_DELAY) as ours,
        ):  # fmt: skip
            now = time.time()
            await putter.tell("delay-queue", path, "open")
            for item, due in (("tomorrow", now + 86400), ("b", now - 1), ("a", now - 2)):
                await putter.tell("delay-queue", path, "put", item, int(due * 1000))
            assert [await ours.get(5), await ours.get(5), await ours.get(0)] == [b"a", b"b", None]

            await ours.put(b"d", due=now - 1)
            await ours.put(b"c", due=now - 2)
            await taker.tell("delay-queue", path, "consume")
            assert [await taker.tell("delay-queue", path, "take", WAIT_MS) for _ in range(2)] == ["c", "d"]
            assert await ours.size() == 1

    run(main())


def test_the_simple_queue(hosts: str, path: str, curator: Curator) -> None:
    """Both take at once; everything comes out, and nothing twice."""
    count = 20

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as putter, curator.actor(hosts) as taker,
            Queue(zk, path, form=QueueForm.SIMPLE) as ours,
        ):  # fmt: skip

            async def put() -> None:
                for number in range(count):
                    await putter.tell("simple-queue", path, "put", f"theirs-{number}")
                    await ours.put(b"ours-%d" % number)

            async def theirs_takes() -> list[str]:
                return [await taker.tell("simple-queue", path, "take", WAIT_MS) for _ in range(count)]

            async def ours_takes() -> list[str]:
                return [(await ours.get(5) or b"").decode() for _ in range(count)]

            _, *taken = await asyncio.gather(put(), theirs_takes(), ours_takes())

            expected = [f"{who}-{number}" for who in ("ours", "theirs") for number in range(count)]
            assert sorted(taken[0] + taken[1]) == sorted(expected)
            assert await ours.size() == 0

    run(main())
