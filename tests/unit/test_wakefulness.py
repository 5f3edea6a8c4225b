"""The loop stays awake while something is due soon, and sleeps where that takes long."""

from __future__ import annotations

from collections.abc import Callable

from corral.base.spin import PAUSE_MAX
from corral.base.wakefulness import Wakefulness

SPAN_S = 5.0


class Loop:
    """A loop whose turns take a second each, in which nothing else is done."""

    def __init__(self, span_s: float = SPAN_S) -> None:
        self.now = 100.0
        self.due_since = 0.0
        self.calls: list[Callable[[], None]] = []
        self.rests = 0
        self.wakefulness = Wakefulness(lambda: self.due_since, self.calls.append, self.rest, lambda: self.now, span_s)

    def rest(self) -> None:
        self.rests += 1

    def expect(self) -> None:
        if not self.due_since:
            self.due_since = self.now
        self.wakefulness.begin()

    def turn(self) -> None:
        self.now += 1
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()

    def turns_until_it_sleeps(self) -> int:
        turns = 0
        while self.calls:
            self.turn()
            turns += 1
        return turns


def test_the_loop_takes_turns_until_what_is_due_is_there() -> None:
    loop = Loop()

    loop.expect()
    loop.turn()
    loop.turn()
    assert loop.calls
    assert loop.rests == 2
    loop.due_since = 0.0
    assert loop.turns_until_it_sleeps() == 1


def test_more_that_becomes_due_needs_no_turns_of_its_own() -> None:
    loop = Loop()

    loop.expect()
    loop.turn()
    loop.expect()

    assert len(loop.calls) == 1


def test_it_stays_awake_as_long_as_each_comes_in_time() -> None:
    loop = Loop()

    loop.expect()
    for _ in range(20):
        loop.turn()
        loop.due_since = loop.now

    assert loop.calls


def test_it_sleeps_when_something_takes_too_long() -> None:
    loop = Loop()

    loop.expect()

    assert loop.turns_until_it_sleeps() == SPAN_S + 1


def test_what_never_comes_in_time_is_waited_for_ever_less_often() -> None:
    loop = Loop()
    begun = []

    for number in range(100):
        loop.due_since = 0.0
        loop.expect()
        if loop.calls:
            begun.append(number)
        loop.turns_until_it_sleeps()

    assert begun == [0, 2, 6, 14, 30, 62]


def test_once_something_comes_in_time_again_it_is_waited_for_each_time() -> None:
    loop = Loop()
    for _ in range(3 * PAUSE_MAX):
        loop.due_since = 0.0
        loop.expect()
        loop.turns_until_it_sleeps()
    while not loop.calls:
        loop.due_since = 0.0
        loop.expect()
    loop.due_since = 0.0
    loop.turn()

    for _ in range(5):
        loop.expect()
        assert loop.calls
        loop.due_since = 0.0
        loop.turn()


def test_a_span_of_nothing_keeps_no_loop_awake() -> None:
    loop = Loop(span_s=0.0)

    loop.expect()

    assert not loop.calls
