"""What a cache tells its listeners: each has a queue of its own, so that a slow one holds up nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from corral.recipes.mirror import Change, ChangeType


class Feed:
    """The changes of a cache as an async iterator; it ends when the cache is closed.

    limit: how many changes wait to be taken. When there are more, all that wait are dropped and one OVERRUN stands for
    them; what comes after it is complete again. waiting_max: the most that have waited so far.
    """

    def __init__(self, path: str, limit: int, forget: Callable[[Feed], None]) -> None:
        if limit < 1:
            raise ValueError(f"backlog {limit}: at least one change has to have room")
        self.waiting_max = 0
        self._path = path
        self._limit = limit
        self._forget = forget
        self._queue: deque[Change] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_ended = False

    @property
    def waiting(self) -> int:
        """How many changes have not been taken yet."""
        return len(self._queue)

    def put(self, change: Change) -> None:
        """Add a change."""
        queue = self._queue
        if len(queue) >= self._limit:
            lost = sum(each.lost if each.type is ChangeType.OVERRUN else 1 for each in queue) + 1
            queue.clear()
            change = Change(ChangeType.OVERRUN, self._path, lost=lost)
        queue.append(change)
        self.waiting_max = max(self.waiting_max, len(queue))
        self._wake()

    def end(self) -> None:
        """Let the iteration end when everything has been taken."""
        self._is_ended = True
        self._wake()

    def close(self) -> None:
        """Want no more changes."""
        self._queue.clear()
        self.end()
        self._forget(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._queue:
            if self._is_ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._queue.popleft()
