"""Waiting for what comes very soon, by looking for it again and again.

To be woken takes longer than somebody near by takes to answer, above all on a virtual machine. So it is worth a look
for a while first: as long as that finds what it waits for. Where it does not, it is tried ever less often.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final

PAUSE_MAX: Final = 1023
"""How many waits go by without a look, at most."""
PROCESSORS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Spin:
    """Looks whether a descriptor has something to read, each time for up to `span_ns`; 0 for never.

    Where there is one processor it never does: who it waits for needs that.
    """

    def __init__(self, fd: int, span_ns: int) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self.poll = poll.poll
        self._span_ns = span_ns if PROCESSORS > 1 else 0
        self._pause = self._left_out = 0

    def finds(self) -> bool:
        """Look; tell whether something came. False as well where that is left out this time."""
        if self._left_out:
            self._left_out -= 1
            return False
        if not self._span_ns:
            return False
        poll = self.poll
        now = time.monotonic_ns
        until = now() + self._span_ns
        while now() < until:
            if poll(0):
                self._pause = 0
                return True
            # Others may need this processor.
            os.sched_yield()
        self._left_out = self._pause = min(2 * self._pause + 1, PAUSE_MAX)
        return False
