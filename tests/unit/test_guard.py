"""Steps of work, each with a look before it: a loss that the look finds ends the work where it waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from corral.recipes.guard import Steps


class Holding:
    """Something held that is lost at look number `lost_at`, counted from 1; 0: never."""

    def __init__(self, lost_at: int = 0) -> None:
        self.lost_at = lost_at
        self.looks = 0

    def look(self) -> None:
        """Do as a Held with a guard does."""
        self.looks += 1
        if self.looks == self.lost_at:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()


def steps(work: Any, *held: Any) -> Steps[Any]:
    return Steps(work, *held)


@pytest.mark.parametrize("lost_at", [1, 2, 3])
def test_a_loss_comes_in_the_place_of_the_step_it_was_seen_before(lost_at: int) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("begun")
        await asyncio.sleep(0)
        done.append("once")
        await asyncio.sleep(0)
        done.append("twice")

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await steps(work(), Holding(lost_at))

    asyncio.run(main())
    assert done == ["begun", "once", "twice"][: lost_at - 1]


def test_work_may_clean_up_after_a_loss() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            done.append("cleaned up")

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await steps(work(), Holding(2))

    asyncio.run(main())
    assert done == ["cleaned up"]


def test_a_step_that_failed_is_looked_at_like_one_that_did_not() -> None:
    async def work() -> None:
        failing = asyncio.get_running_loop().create_future()
        failing.set_exception(ConnectionError("the test says so"))
        try:
            await asyncio.gather(failing)
        except ConnectionError:
            pytest.fail("it went on")

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await steps(work(), Holding(2))

    asyncio.run(main())


def test_results_errors_and_cancellations_of_others_pass() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("the test says so")

    async def main() -> None:
        holding = Holding()
        assert await steps(answer(), holding, holding) == 42
        assert holding.looks == 4
        assert await steps(asyncio.ensure_future(answer())) == 42
        with pytest.raises(KeyError, match="the test says so"):
            await steps(fail())

        waiting = asyncio.ensure_future(steps(asyncio.Event().wait(), holding))
        await asyncio.sleep(0)
        waiting.cancel("the test says so")
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_work_whose_awaiter_is_closed_is_closed() -> None:
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def main() -> None:
        awaiter = steps(work(), Holding()).__await__()
        next(awaiter)
        awaiter.close()

    asyncio.run(main())
    assert closed == [True]
