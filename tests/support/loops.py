"""Coroutines in tests: run to the end or fail, and wait for what must come without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from corral.base.errors import ZooKeeperError
from corral.client.aio import AsyncClient
from corral.client.errors import ClientError
from corral.client.values import State

T = TypeVar("T")
PATIENCE_S = 20.0


def run(main: Coroutine[Any, Any, T], timeout: float = PATIENCE_S) -> T:
    """Run a coroutine on a loop of its own; fails after `timeout` seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await main

    return asyncio.run(bounded())


async def until(is_true: Callable[[], bool | Awaitable[bool]]) -> None:
    """Give the loop its turns until something is true; the runner's patience bounds it."""
    while True:
        found = is_true()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.001)


async def until_children(zk: AsyncClient, path: str, count: int) -> None:
    """Wait until a znode is there, and has so many children."""

    async def is_so() -> bool:
        stat = await zk.exists(path)
        return stat is not None and stat.num_children == count

    await until(is_so)


async def expire(zk: AsyncClient, hosts: str) -> None:
    """End a client's session behind its back, as the server does when its time is over; await its next one."""
    old, password = zk.session_id, zk._session.password
    while zk.session_id == old:
        other = AsyncClient(hosts)
        other._session.id, other._session.password, other._session.zxid = old, password, zk._session.zxid
        await other.start()
        await other.close()
        try:
            # A write is refused where a server has not cut the connection of a session that is over. One that is not
            # refused shows that the client took its session back before the other could close it.
            async with asyncio.timeout(1.0):
                await zk.delete("/there-is-no-such-node")
        except (ClientError, ZooKeeperError, TimeoutError):
            pass
    await until(lambda: zk.session_id not in (0, old) and zk.state is State.CONNECTED)


async def give_up_session(zk: AsyncClient) -> int:
    """Have a client take its session for lost while the server still keeps it; return its id, in its next session.

    That is what a client sees whose clock said "over" before the server's did.
    """
    old = zk.session_id
    zk._session._lose_connection("the test says so", zk._transport.clock())
    zk._obey()
    await until(lambda: zk.session_id not in (0, old) and zk.state is State.CONNECTED)
    return old
