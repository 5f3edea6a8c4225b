"""Admission: a token bucket that lets a stampede in, in order, at a pace the server can keep.

Source: ZooKeeper BlueThrottle, without its probabilistic drop, which makes a herd longer instead of shorter.
"""

from __future__ import annotations


class TokenBucket:
    """Tokens refill by `fill_count` each `fill_time` ms up to `tokens_max`; 0 of `tokens_max` switches it off."""

    __slots__ = ("_filled_at", "_tokens", "fill_count", "fill_time", "tokens_max")

    def __init__(self, tokens_max: int, fill_time: int, fill_count: int, now: int = 0) -> None:
        self.tokens_max = tokens_max
        self.fill_time = max(1, fill_time)
        self.fill_count = fill_count
        self._tokens = tokens_max
        self._filled_at = now

    def take(self, now: int, need: int = 1) -> bool:
        """Take `need` tokens if they are there."""
        if self.tokens_max <= 0:
            return True
        self._fill(now)
        if self._tokens < need:
            return False
        self._tokens -= need
        return True

    def deficit(self) -> int:
        """Return how many tokens are missing from a full bucket."""
        return max(0, self.tokens_max - self._tokens)

    def _fill(self, now: int) -> None:
        periods = (now - self._filled_at) // self.fill_time
        if periods > 0:
            self._tokens = min(self.tokens_max, self._tokens + periods * self.fill_count)
            self._filled_at += periods * self.fill_time
