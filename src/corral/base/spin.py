"""Waiting for what comes very soon, by looking for it again and again.

To be woken takes longer than somebody near by takes to answer, above all on a virtual machine. So it is worth a look
for a while first: as long as that finds what it waits for. Where it does not, it is tried ever less often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PAUSE_MAX: Final = 1023
"""How many waits go by without a look, at most."""


class Worth:
    """Whether it is worth looking: always while that finds something, and ever less often while it does not."""

    def __init__(self) -> None:
        self._pause = self._left_out = 0

    def trying(self) -> bool:
        """Tell whether to look this time. Who does so says how it ended: `found`."""
        if self._left_out:
            self._left_out -= 1
            return False
        return True

    def found(self, it_came: bool) -> None:
        """Learn how a look ended."""
        self._left_out = self._pause = 0 if it_came else min(2 * self._pause + 1, PAUSE_MAX)


class Spin:
    """Looks for something, each time for up to `span_ns`; 0 for never.

    look: whether it is there. rest: lets others have the processor between two looks. clock: monotonic ns.
    """

    def __init__(
        self, look: Callable[[], object], rest: Callable[[], object], clock: Callable[[], int], span_ns: int
    ) -> None:
        self._look = look
        self._rest = rest
        self._clock = clock
        self._span_ns = span_ns
        self._worth = Worth()

    def finds(self) -> bool:
        """Look; tell whether it came. False as well where that is left out this time."""
        if not self._span_ns or not self._worth.trying():
            return False
        look, rest, clock = self._look, self._rest, self._clock
        until = clock() + self._span_ns
        while clock() < until:
            if look():
                self._worth.found(True)
                return True
            rest()
        self._worth.found(False)
        return False
