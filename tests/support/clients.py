"""The client in both its forms, so that one test is played with either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import corral


class Style:
    """A form of the client: "async" or "blocking". A test says `await style.ask(zk.get, "/a")` to either."""

    def __init__(self, name: str) -> None:
        self.is_blocking = name == "blocking"

    async def ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method of a client that asks the server; return the answer."""
        if self.is_blocking:
            return await asyncio.to_thread(method, *args, **kwargs)
        result = method(*args, **kwargs)
        return await result

    @asynccontextmanager
    async def open(self, hosts: str, **options: Any) -> AsyncIterator[Any]:
        """Give a client that is connected."""
        zk: Any = corral.Client(hosts, **options) if self.is_blocking else corral.AsyncClient(hosts, **options)
        await self.ask(zk.start)
        try:
            yield zk
        finally:
            await self.ask(zk.close)
