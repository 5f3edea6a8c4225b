"""Events and states as async iterators."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from corral.client.errors import ClientError, RequestTimeout
from corral.client.values import State, WatchEvent

if TYPE_CHECKING:
    from corral.client.aio import AsyncClient

T = TypeVar("T")
QUEUED_MAX: Final = 100_000


class Overrun(ClientError):
    """More happened than the reader of a stream took; what it has not seen is gone, the stream has ended."""


class _Stream(Generic[T]):
    def __init__(self) -> None:
        self._queue: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_overrun = False
        self._is_ended = False

    def _put(self, item: T) -> None:
        if self._is_overrun:
            return
        if len(self._queue) >= QUEUED_MAX:
            self._is_overrun = True
            self._queue.clear()
        else:
            self._queue.append(item)
        self._wake()

    def _end(self) -> None:
        self._is_ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self, timeout: float | None = None) -> T:
        """Return the next item. Raises RequestTimeout after `timeout` seconds, StopAsyncIteration at the end."""
        try:
            async with asyncio.timeout(timeout):
                await self.begin()
                return await self._take()
        except TimeoutError as error:
            raise RequestTimeout(f"nothing happened within {timeout} s") from error

    async def begin(self) -> None:
        """See to it that what happens from now on is seen."""

    async def close(self) -> None:
        """End it."""
        self._end()

    async def _take(self) -> T:
        while not self._queue:
            if self._is_overrun:
                raise Overrun(f"more than {QUEUED_MAX} events were waiting to be read")
            if self._is_ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._queue.popleft()


class EventStream(_Stream[WatchEvent]):
    """The events of a watch that stays, from the first `async for` or `async with` on."""

    def __init__(self, client: AsyncClient, path: str, recursive: bool) -> None:
        super().__init__()
        self._client = client
        self._path = path
        self._recursive = recursive
        self._forget: Callable[[], None] | None = None
        self._is_begun = False

    async def begin(self) -> None:
        """Set the watch, unless it is, or the stream has ended."""
        if self._is_begun or self._is_ended:
            return
        await self._client.add_watch(self._path, self._put, recursive=self._recursive)
        self._is_begun = True
        await self._begun()

    async def _begun(self) -> None:
        if self._is_ended:
            # Meanwhile; who ended it found no watch to remove.
            await self.close()
        elif self._forget is None:
            self._forget = self._client.on_state(self._look)

    def _look(self, state: State) -> None:
        if state is State.CLOSED:
            self._end()

    async def close(self) -> None:
        """End the watch."""
        self._end()
        if self._forget is not None:
            self._forget()
        if self._is_begun:
            self._is_begun = False
            await self._client.remove_watch(self._path, self._put, recursive=self._recursive)

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        await self.begin()
        return await self._take()


class StateStream(_Stream[State]):
    """The states of a client; it ends with CLOSED."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__()
        self._forget = client.on_state(self._look)
        self._look(client.state)

    def _look(self, state: State) -> None:
        self._put(state)
        if state is State.CLOSED:
            self._end()
            self._forget()

    async def close(self) -> None:
        """Hear of no more states."""
        self._end()
        self._forget()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> State:
        return await self._take()
