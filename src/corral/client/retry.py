"""When a request that failed is made again: policies as values.

A failure whose outcome is unknown is repeated only for what may be done twice, unless the caller says otherwise. A
refusal of the server is no failure of the connection and is never repeated.
"""

from __future__ import annotations

from typing import Final, Protocol

from corral.base.errors import Outcome
from corral.base.records import record
from corral.client.errors import ClientError, ConnectionLoss, RequestTimeout, SessionLost

ATTEMPTS_MAX: Final = 1 << 62


class Chance(Protocol):
    """Where jitter comes from."""

    def random(self) -> float: ...


@record
class Retry:
    """How often, for how long and after which pauses.

    attempts: in all. delay_s: before the second; each later pause is `factor` times longer, up to `delay_max_s`.
    jitter: how much of a pause is drawn by chance, 0 to 1. total_s: after which no new attempt begins, nor one
    waits for a server any longer to begin with. unknown: whether to repeat, too, what may have taken effect.
    """

    attempts: int = ATTEMPTS_MAX
    delay_s: float = 0.05
    factor: float = 2.0
    delay_max_s: float = 10.0
    jitter: float = 0.5
    total_s: float = float("inf")
    unknown: bool = False

    def pause(self, attempt: int, spent_s: float, error: Exception, is_idempotent: bool, rng: Chance) -> float | None:
        """Return the seconds to wait after failed attempt number `attempt` (from 1); None: raise the error."""
        if not isinstance(error, ConnectionLoss | SessionLost | RequestTimeout):
            return None
        if _is_unknown(error) and not is_idempotent and not self.unknown:
            return None
        delay = min(self.delay_s * self.factor ** min(attempt - 1, 64), self.delay_max_s)
        delay *= 1 - self.jitter * rng.random()
        if attempt >= self.attempts or spent_s + delay > self.total_s:
            return None
        return delay


def _is_unknown(error: ClientError) -> bool:
    return error.outcome is Outcome.UNKNOWN


def never() -> Retry:
    """Never again."""
    return Retry(attempts=1)


def forever(delay_s: float = 0.05, delay_max_s: float = 10.0) -> Retry:
    """Until it works."""
    return Retry(delay_s=delay_s, delay_max_s=delay_max_s)


def times(attempts: int, delay_s: float = 0.05) -> Retry:
    """So many attempts in all."""
    return Retry(attempts=attempts, delay_s=delay_s)


def until(total_s: float, delay_s: float = 0.05) -> Retry:
    """For so many seconds."""
    return Retry(total_s=total_s, delay_s=delay_s)
