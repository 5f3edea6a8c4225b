"""Connections that end together are closed a few each turn, in order, each once."""

from __future__ import annotations

from collections.abc import Callable

from corral.server.closings import CLOSED_PER_TURN, Closings


class Ended:
    def __init__(self, name: int, closed: list[int]) -> None:
        self._name = name
        self._closed = closed

    def close(self) -> None:
        self._closed.append(self._name)


def test_a_few_are_closed_each_turn_in_order() -> None:
    soon: list[Callable[[], None]] = []
    closed: list[int] = []
    closings = Closings(soon.append)
    count = 2 * CLOSED_PER_TURN + 1

    for name in range(count):
        closings.add(Ended(name, closed))
    turns = []
    while soon:
        assert len(soon) == 1
        before = len(closed)
        soon.pop()()
        turns.append(len(closed) - before)
        if len(turns) == 2:
            # One more while others still wait.
            closings.add(Ended(count, closed))

    assert turns == [CLOSED_PER_TURN, CLOSED_PER_TURN, 2]
    assert closed == list(range(count + 1))
    closings.add(Ended(-1, closed))
    assert len(soon) == 1
