"""A server made of a function, for clients to be tried on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self


class BadServer:
    """Listens on 127.0.0.1 and treats each connection with `behaviour(reader, writer)`; used as `async with`.

    taken: how many connections there have been; open: how many are.
    """

    def __init__(self, behaviour: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.taken = self.open = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.hosts = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.taken += 1
        self.open += 1
        try:
            await self._behaviour(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.transport.abort()


async def frame(reader: asyncio.StreamReader) -> bytes:
    """Read one packet, without its length."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
