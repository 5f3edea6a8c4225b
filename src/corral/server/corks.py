"""When replies leave: those of one turn of the loop together, once all of its requests are answered.

To answer one request after the other and then write one reply after the other is quicker than to take turns at both,
above all where a client that a reply wakes takes the processor for it. A connection that is alone for some turns is
written to at once; now and then one of its turns shows whether it still is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

TOGETHER_MAX: Final = 32
"""How many connections' replies wait for each other."""
TURNS_ALONE: Final = 8
"""After how many turns with one connection it is written to at once."""
LOOKS_APART: Final = 64
"""How often it is, until a turn is looked at again."""


class Sender(Protocol):
    """Who has replies to write."""

    def send(self) -> None:
        """Write them."""


class Corks:
    """Decides when senders send. call_soon: has something done at the end of this turn."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._waiting: list[Sender] = []
        self._alone = 0

    def send(self, sender: Sender) -> None:
        """Have `sender` send, in this turn."""
        waiting = self._waiting
        if waiting:
            waiting.append(sender)
            if len(waiting) >= TOGETHER_MAX:
                self._alone = 0
                self._pull()
        elif self._alone < TURNS_ALONE:
            waiting.append(sender)
            self._call_soon(self._turn_is_over)
        else:
            self._alone += 1
            if self._alone == TURNS_ALONE + LOOKS_APART:
                self._alone = TURNS_ALONE - 1
            sender.send()

    def _turn_is_over(self) -> None:
        count = len(self._waiting)
        if count == 1:
            self._alone += 1
        elif count:
            self._alone = 0
        self._pull()

    def _pull(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.send()
