"""Callers that are answered together: woken in a row, heard again together, and never left waiting for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from corral.client.crowd import AWAKE, CROWD_MIN, PATIENCE_S, QUICK_S, Crowd
from corral.client.errors import RequestTimeout
from corral.client.portal import Portal

COUNT = CROWD_MIN + 4
WAIT_S = 20


class Timer:
    def __init__(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Turns:
    """A crowd on a loop that turns by hand. woken: the numbers of who was woken, in order. taken: how often it took."""

    def __init__(self) -> None:
        self.now = 100.0
        self.woken: list[int] = []
        self.taken = 0
        self.timers: list[Timer] = []
        self._soon: list[Callable[[], None]] = []
        loop: Any = self
        self.crowd = Crowd(loop, self._take, lambda: self.now)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay_s, callback))
        return self.timers[-1]

    def _take(self) -> None:
        self.taken += 1
        self.crowd.heard()

    def answer(self, count: int) -> list[int]:
        """Answer so many in one turn; return who was woken by the end of it."""
        self.woken.clear()
        for number in range(count):
            self.crowd.answered(partial(self.woken.append, number))
        assert self.woken == []
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()
        return list(self.woken)

    def ask_again(self, after_s: float) -> None:
        """Have the last of them ask again, which wakes the loop."""
        self.now += after_s
        self._take()


def test_a_few_are_woken_together_and_not_waited_for() -> None:
    turns = Turns()

    assert turns.answer(CROWD_MIN - 1) == list(range(CROWD_MIN - 1))
    assert turns.crowd.expected == 0
    assert turns.timers == []


def test_many_wake_each_other_in_a_row() -> None:
    turns = Turns()

    assert turns.answer(COUNT) == list(range(AWAKE))
    assert turns.crowd.expected == COUNT
    for _ in range(COUNT - AWAKE):
        turns.crowd.pass_on()
    assert turns.woken == list(range(COUNT))
    turns.crowd.pass_on()
    assert len(turns.woken) == COUNT


def test_they_are_waited_for_as_long_as_they_come_back_quickly() -> None:
    turns = Turns()
    for _ in range(3):
        turns.answer(COUNT)
        assert turns.crowd.expected == COUNT
        turns.ask_again(0.9 * COUNT * QUICK_S)
        assert turns.crowd.expected == 0
        assert turns.timers[-1].is_cancelled


def test_who_takes_time_is_not_waited_for_the_next_time() -> None:
    turns = Turns()
    turns.answer(COUNT)
    turns.ask_again(1.1 * COUNT * QUICK_S)

    assert turns.answer(COUNT) == list(range(COUNT))
    assert turns.crowd.expected == 0
    assert turns.answer(COUNT) == list(range(AWAKE))


def test_the_loop_takes_what_was_asked_when_the_last_ones_do_not_come() -> None:
    turns = Turns()
    turns.answer(COUNT)
    taken = turns.taken

    turns.timers[-1].callback()

    assert turns.woken == list(range(COUNT))
    assert turns.crowd.expected == 0
    assert turns.taken == taken + 1
    assert turns.answer(COUNT) == list(range(COUNT))


def test_the_patience_grows_with_the_crowd() -> None:
    turns = Turns()
    many = int(2 * PATIENCE_S / QUICK_S)

    turns.answer(COUNT)
    turns.ask_again(0.0)
    turns.answer(many)

    assert [timer.delay_s for timer in turns.timers] == [PATIENCE_S, many * QUICK_S]


def test_what_was_asked_meanwhile_is_taken_before_anybody_is_woken() -> None:
    turns = Turns()
    turns.answer(COUNT)
    taken = turns.taken

    # Answers to others, while the first ones are still being woken.
    turns.answer(CROWD_MIN)

    assert turns.taken == taken + 1
    assert turns.crowd.expected == CROWD_MIN
    assert turns.woken[: COUNT - AWAKE] == list(range(AWAKE, COUNT))


def test_the_end_wakes_everybody() -> None:
    turns = Turns()
    turns.answer(COUNT)
    turns.crowd.answered(partial(turns.woken.append, -1))

    turns.crowd.finish()

    assert turns.woken == [*range(COUNT), -1]
    assert turns.crowd.expected == 0
    assert turns.timers[-1].is_cancelled


# With threads.


def run_at_once(portal: Portal, work: Callable[[int], None], count: int) -> None:
    """Have so many threads do `work`, each with its number, and stop the portal behind them."""
    try:
        threads = [threading.Thread(target=work, args=(at,)) for at in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    finally:
        portal.stop()


@pytest.mark.parametrize("count", [2, CROWD_MIN, 24])
def test_all_calls_of_many_threads_return(count: int) -> None:
    portal = Portal("test")
    sums = [0] * count

    def work(at: int) -> None:
        for number in range(300):
            sums[at] += portal.call(WAIT_S, lambda n=number: n)

    run_at_once(portal, work, count)

    assert sums == [sum(range(300))] * count


def test_who_gives_up_takes_nobody_along() -> None:
    portal = Portal("test")
    given_up = [0] * COUNT
    returned = [0] * COUNT

    def never() -> Any:
        return portal.sink()

    def work(at: int) -> None:
        for number in range(40):
            if (number + at) % 5 == 0:
                with pytest.raises(RequestTimeout):
                    portal.call(0.0005, never)
                given_up[at] += 1
            else:
                returned[at] += portal.call(WAIT_S, lambda: 1)

    run_at_once(portal, work, COUNT)

    assert given_up == [8] * COUNT
    assert returned == [32] * COUNT
