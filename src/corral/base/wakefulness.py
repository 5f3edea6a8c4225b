"""Keeping the loop awake while something is due very soon: it takes turns, and serves who comes, until that is there.

Why is said in `corral.base.spin`, which is the same for who has nothing else to do.
"""

from __future__ import annotations

from collections.abc import Callable

from corral.base.spin import Worth


class Wakefulness:
    """Has turns taken, for up to `span_s`, while something is due; 0 for never.

    due_since: since when, by `clock`; 0 if nothing is due. call_soon: has something done in the loop's next turn.
    rest: lets others have the processor between two turns. clock: monotonic seconds.
    """

    def __init__(
        self,
        due_since: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        rest: Callable[[], object],
        clock: Callable[[], float],
        span_s: float,
    ) -> None:
        self._due_since = due_since
        self._call_soon = call_soon
        self._rest = rest
        self._clock = clock
        self._span_s = span_s
        self._worth = Worth()
        self._is_awake = False

    def begin(self) -> None:
        """Learn that something is due now."""
        if not self._is_awake and self._span_s and self._worth.trying():
            self._is_awake = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        since = self._due_since()
        is_late = bool(since) and self._clock() - since > self._span_s
        if since and not is_late:
            self._rest()
            self._call_soon(self._turn)
        else:
            self._is_awake = False
            self._worth.found(not is_late)
