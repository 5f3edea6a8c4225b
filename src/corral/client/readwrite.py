"""Looking for a server with a quorum while the one at hand has none: whom to ask next, and when.

Servers are asked one at a time, each once a round, the one at hand too: it may be the first to have a quorum again. The
pauses grow, and stay long until a session with a quorum is there: a server that says it has one and grants no session
is not run after. They carry jitter, so that the clients of an ensemble do not all move in one instant.
Source: ZooKeeper ClientCnxn.pingRwServer and its timing.
"""

from __future__ import annotations

from typing import Final

from corral.client.hosts import Host, Rng

QUESTION_MS_MAX: Final = 1000
"""How long a server may take to answer."""
PAUSE_MS_FIRST: Final = 100
PAUSE_MS_MAX: Final = 60_000


class ReadWriteSearch:
    """One search after the other. due: when to ask next, in monotonic ms, while `is_asking` is not true."""

    def __init__(self, hosts: tuple[Host, ...], rng: Rng) -> None:
        self._hosts = hosts
        self._rng = rng
        self._left: list[Host] = []
        self._pause_ms = PAUSE_MS_FIRST
        self.due = 0
        self.is_asking = False

    def begin(self, now: int) -> None:
        """Start: there is a session without a quorum."""
        self._wait(now)

    def found(self) -> None:
        """End: there is a session with a quorum."""
        self._pause_ms = PAUSE_MS_FIRST

    def ask(self) -> Host:
        """Return the server to ask now."""
        if not self._left:
            self._left = list(self._hosts)
            self._rng.shuffle(self._left)
        self.is_asking = True
        return self._left.pop()

    def answered(self, now: int) -> None:
        """Note that the server that was asked has answered, or could not be asked."""
        self.is_asking = False
        self._wait(now)

    def _wait(self, now: int) -> None:
        self.due = now + int(self._pause_ms * (0.5 + 0.5 * self._rng.random()))
        self._pause_ms = min(2 * self._pause_ms, PAUSE_MS_MAX)
