"""In the place of `Wakefulness`: keeps nobody awake, and notes each begin, and since when something was due."""

from __future__ import annotations

from collections.abc import Callable


class RecordedWakefulness:
    """begun: what was due at each `begin`, since when, in seconds. due_since: of the one that was made last."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.due_since: Callable[[], float] = lambda: 0.0

    def __call__(self, due_since: Callable[[], float], *_: object) -> RecordedWakefulness:
        """Be made, in the place of the class."""
        self.due_since = due_since
        return self

    def begin(self) -> None:
        """Take note."""
        self.begun.append(self.due_since())
