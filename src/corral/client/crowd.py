"""Callers whose answers come together: they are woken in a row, and heard again together.

The threads of one interpreter take turns. When sixteen are woken at once, fifteen fight for the turn, and so does the
loop's own thread as soon as the first one asks again: most of what their calls take goes into that. So two are woken,
each of them wakes another one before it goes on, and the loop sleeps until as many have asked again as were answered.

Who does not ask again keeps nobody waiting for long: after `PATIENCE_S` all are woken, and what was asked is taken. And
where they take their time, because they do more than to ask, this is left out, and tried ever less often.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from operator import call
from typing import Final

from corral.base.spin import Worth

CROWD_MIN: Final = 6
"""How many callers make a crowd: fewer hardly get in each other's way."""
AWAKE: Final = 2
"""How many are awake at a time: one has its turn, and the next one is there when it ends."""
QUICK_S: Final = 50e-6
"""How long a caller may take to ask again, on average, for it to be worth waiting for all of them."""
PATIENCE_S: Final = 0.002
"""How long it is waited for the last one, at least."""

Release = Callable[[], object]


class Crowd:
    """The callers of one loop. take: takes the requests that wait; it tells `heard` first. clock: monotonic seconds.

    expected: how many requests have to wait before the loop is woken for them; 0 if any does.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[], None], clock: Callable[[], float]) -> None:
        self.expected = 0
        self._loop = loop
        self._take = take
        self._clock = clock
        self._answered: list[Release] = []
        self._row: Iterator[object] = iter(())
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._worth = Worth()

    # On the loop.

    def answered(self, release: Release) -> None:
        """Have a caller woken, by `release`, together with the others of this turn."""
        if not self._answered:
            self._loop.call_soon(self._wake)
        self._answered.append(release)

    def heard(self) -> None:
        """Learn that the requests that wait are being taken."""
        if self.expected:
            self._end(self._clock() - self._since <= self.expected * QUICK_S)

    def finish(self) -> None:
        """Wake everybody: the loop ends."""
        if self.expected:
            self._end(False)
        answered, self._answered = self._answered, []
        for release in answered:
            release()

    def _wake(self) -> None:
        # What has been asked meanwhile need not wait for those who are answered now.
        self._take()
        answered, self._answered = self._answered, []
        count = len(answered)
        # To take the next one and to wake it is one step for the interpreter: no signal's handler comes in between.
        row = map(call, answered)
        if count >= CROWD_MIN and self._worth.trying():
            self._since = self._clock()
            self._timer = self._loop.call_later(max(PATIENCE_S, count * QUICK_S), self._late)
            self._row = row
            self.expected = count
            for _ in range(AWAKE):
                next(row)
        else:
            deque(row, maxlen=0)

    def _late(self) -> None:
        self._end(False)
        self._take()

    def _end(self, was_quick: bool) -> None:
        """Expect nobody any more."""
        self.expected = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deque(self._row, maxlen=0)
        self._worth.found(was_quick)

    # On a caller's thread.

    def pass_on(self) -> None:
        """Wake the next one of the row. Whoever was to be woken does so, in whichever way its waiting ends."""
        next(self._row, None)
