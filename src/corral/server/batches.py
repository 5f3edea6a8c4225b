"""How many writes go to the log's disk together, where many come: half of them, so that both sides have work.

While the disk syncs one half, the loop answers the other half's clients and takes what they ask next. Left to itself
it comes to something else: the first write that arrives goes alone, all others wait until that is on disk, and while
they are synced together the loop has nothing to do.

So a batch goes as soon as it is half of what is outstanding; and clients that have just been answered are given a
moment to ask again before fewer go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

HALVED_MIN: Final = 8
"""How many writes have to be outstanding to be worth two fsyncs in place of one."""
PATIENCE_S: Final = 100e-6
"""How long it is waited for one more write: a client may have to be woken, and to wait for a processor, to send it."""
FADES: Final = 8
"""After how many smaller batches, about, a larger crowd of writers is forgotten."""


class Batches:
    """Decides when the writes that wait go to the disk. clock: monotonic seconds.

    size: of a batch, in writes; 0 while too few are outstanding to be halved.
    """

    __slots__ = ("_clock", "_crowd", "_is_expecting", "_seen", "_since", "size")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._crowd = 0.0
        self._is_expecting = False
        self._seen = 0
        self._since = 0.0
        self.size = 0

    def is_early(self, waiting: int, has_answered: bool) -> bool:
        """Tell whether so many waiting writes should wait for others. has_answered: whether clients were, just now."""
        if has_answered:
            self._is_expecting = True
        if not (self._is_expecting and 0 < waiting < self.size):
            return False
        now = self._clock()
        if has_answered or waiting > self._seen:
            self._seen = waiting
            self._since = now
        return now - self._since < PATIENCE_S

    def handed(self, outstanding: int, has_answered: bool) -> None:
        """Learn that what waited goes to the disk now, so many writes being outstanding with it."""
        self._is_expecting = has_answered
        self._seen = 0
        crowd = self._crowd
        self._crowd = crowd = outstanding if outstanding > crowd else crowd + (outstanding - crowd) / FADES
        self.size = int(crowd) // 2 if crowd >= HALVED_MIN else 0
