"""Numbers and values on one path with Curator's: sums are exact, and each sees what the other writes."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until

import corral
from corral.recipes.atomic import AtomicNumber
from corral.recipes.counter import Counter, NumberForm
from corral.recipes.shared_value import SharedValue

pytestmark = pytest.mark.interop
TIMES = 40


def test_a_sum_is_exact(hosts: str, path: str, curator: Curator) -> None:
    """Two of ours and two of Curator's add at once, one of each begins without a node."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as a, curator.actor(hosts) as b,
            AtomicNumber(zk, path) as one, AtomicNumber(zk, path) as two,
        ):  # fmt: skip

            async def add(number: AtomicNumber) -> None:
                for _ in range(TIMES):
                    assert (await number.add(3)).is_done

            await asyncio.gather(
                add(one), add(two), a.tell("long", path, "add", 5, TIMES), b.tell("long", path, "add", -7, TIMES)
            )

            assert await one.get() == TIMES * (3 + 3 + 5 - 7)
            assert await a.tell("long", path, "get") == str(TIMES * 4)
            assert len((await zk.get(path))[0]) == 8

    run(main())


@pytest.mark.parametrize("value", [0, -1, 2**63 - 1, -(2**63)])
def test_a_long_is_read_as_it_was_written(hosts: str, path: str, curator: Curator, value: int) -> None:
    """To both ends of what it holds; and compared with."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs, AtomicNumber(zk, path) as ours:
            await ours.set(value)
            assert await theirs.tell("long", path, "get") == str(value)
            assert not await theirs.does("long", path, "swap", value ^ 1, 0)
            assert await theirs.does("long", path, "swap", value, 17)
            assert (await ours.compare_and_set(17, value)).is_done
            assert not (await ours.compare_and_set(17, 0)).is_done

    run(main())


def test_a_counter_of_four_bytes(hosts: str, path: str, curator: Curator) -> None:
    """Curator's SharedCount and DistributedAtomicInteger, and our Counter, on one number."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as theirs,
            Counter(zk, path, form=NumberForm.INT32) as ours,
        ):  # fmt: skip
            await theirs.tell("count", path, "start", -5)
            assert await ours.add(15) == 10
            assert await theirs.tell("integer", path, "add", 7) == "17"

            async def is_seen() -> bool:
                return await theirs.tell("count", path, "get") == "17"

            await until(is_seen)
            assert await theirs.does("count", path, "try", 40)
            assert await ours.value() == 40
            await theirs.tell("count", path, "set", -40)
            assert await ours.subtract(2) == -42

    run(main())


def test_a_value_that_both_follow(hosts: str, path: str, curator: Curator) -> None:
    """Each is told what the other writes; a write upon an old value is refused either way."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as theirs, SharedValue(zk, path, b"seed") as ours,
        ):  # fmt: skip
            await theirs.tell("value", path, "start", "other-seed")
            assert await theirs.tell("value", path, "get") == "seed"

            first = await ours.set(b"ours")
            told = await theirs.tell("value", path, "next", WAIT_MS)
            if told == "seed":
                # Curator also tells, once, what was there when its client had connected.
                told = await theirs.tell("value", path, "next", WAIT_MS)
            assert told == "ours"
            assert await theirs.does("value", path, "try", "theirs")
            seen = await ours.wait_change(first, 10)
            assert seen.data == b"theirs"
            assert not await ours.try_set(first, b"late")
            assert await ours.try_set(seen, b"in-time")
            await theirs.tell("value", path, "set", "last")
            await until(lambda: ours.value == b"last")

    run(main())
