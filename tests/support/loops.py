"""Coroutines in tests: run to the end or fail, and wait for what must come without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from corral.client.aio import AsyncClient
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


async def expire(zk: AsyncClient, hosts: str) -> None:
    """End a client's session behind its back, as the server does when its time is over; await its next one.

    Apache ends a session's earlier connection when it comes back on another: the two may take it from each other, and
    the close be lost; so it is tried until the client has noticed.
    """
    old = zk.session_id
    while zk.session_id == old:
        other = AsyncClient(hosts)
        other._session.id = old
        other._session.password = zk._session.password
        other._session.zxid = zk._session.zxid
        await other.start()
        await other.close()
        await until(lambda: zk.session_id != old or zk.state is State.CONNECTED)
    if zk.session_id == old and zk.state is State.CONNECTED:
        # It was back just before the end. Apache tells such a connection nothing, the next one all.
        zk._session._break("the test says so", zk._transport.clock())
        zk._obey()
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
