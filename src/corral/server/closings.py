"""Closing connections at a measured pace.

To close a socket takes the system longer than to answer a request. When thousands of clients go at once, as with the
machine or the switch that they stand behind, all others would wait until the last one is closed. Here a turn of the
loop closes a few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

CLOSED_PER_TURN: Final = 64


class Closable(Protocol):
    """What can be closed, even twice."""

    def close(self) -> None:
        """Close it."""


class Closings:
    """Closes what has ended, in order. call_soon: has something done in the next turn."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._waiting: deque[Closable] = deque()

    def add(self, ended: Closable) -> None:
        """Have something closed soon."""
        if not self._waiting:
            self._call_soon(self._close_some)
        self._waiting.append(ended)

    def _close_some(self) -> None:
        waiting = self._waiting
        for _ in range(min(len(waiting), CLOSED_PER_TURN)):
            waiting.popleft().close()
        if waiting:
            self._call_soon(self._close_some)
