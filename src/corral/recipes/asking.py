"""Asking a server until it answers, waiting for what it tells, making nodes whose parents may go again, and removing
them for certain.

What is asked here may be asked twice. Timeouts cover a whole call: `async with within(...)` around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from corral.base.errors import NodeExists, NoNode, Unimplemented
from corral.client import retry
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed
from corral.client.transaction import TransactionFailed
from corral.client.values import State, WatchEvent
from corral.recipes.errors import ParentsVanish, RecipeTimeout
from corral.wire.data import ACL

T = TypeVar("T")
PARENTS_MADE_MAX: Final = 8
"""How often parents that vanish again are made before a creation fails."""
_STEADILY: Final = retry.forever(0.02, 2.0)


async def steadily(zk: AsyncClient, ask: Callable[[], Awaitable[T]]) -> T:
    """Await `ask()`, again after each failure of the connection; it has to be something that may be done twice."""
    return await zk.retry(_STEADILY, ask, is_idempotent=True)


@asynccontextmanager
async def within(timeout: float | None, what: str) -> AsyncIterator[None]:
    """Bound what is done inside. Raises RecipeTimeout, saying `what`, after `timeout` seconds."""
    bound = asyncio.timeout(timeout)
    try:
        async with bound:
            yield
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise RecipeTimeout(f"{what} within {timeout} s") from error


async def outlasting(task: asyncio.Task[T]) -> T:
    """Await what goes on beside, also where whoever awaits it is cancelled.

    Raises ClientClosed if the client's end has cancelled it: nobody cancelled whoever awaits it.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if task.cancelled() and current is not None and not current.cancelling():
            raise ClientClosed("the client is closed") from None
        raise


class Bell:
    """A listener that somebody waits for: rung by events of any kind, also by the end of a session or of the client.

    Clear it before looking, wait after: what happens in between is not missed. Who looks again after the client's end
    gets ClientClosed.
    """

    def __init__(self, zk: AsyncClient) -> None:
        self._zk = zk
        self._rung = asyncio.Event()

    @property
    def is_rung(self) -> bool:
        """Whether something has happened since it was cleared."""
        return self._rung.is_set()

    def ring(self, event: object = None) -> None:
        """Wake whoever waits."""
        self._rung.set()

    def on_event(self, event: WatchEvent) -> None:
        """Ring for a watch."""
        self._rung.set()

    def clear(self) -> None:
        """Forget what has happened so far."""
        self._rung.clear()

    async def wait(self) -> None:
        """Wait until it is rung."""
        # The client's end is no event of any watch.
        forget = self._zk.on_state(self._on_state)
        self._on_state(self._zk.state)
        try:
            await self._rung.wait()
        finally:
            forget()

    def _on_state(self, state: State) -> None:
        if state is State.CLOSED:
            self.ring()


async def with_parents(
    zk: AsyncClient, path: str, create: Callable[[], Awaitable[T]], acl: Sequence[ACL] | None = None
) -> T:
    """Await `create()`, which makes `path`; make its parents whenever they are missing. Raises ParentsVanish."""
    for _ in range(PARENTS_MADE_MAX):
        try:
            return await create()
        except NoNode:
            await make_parents(zk, path, acl)
    raise ParentsVanish(f"the parents of {path} were made {PARENTS_MADE_MAX} times, and were gone again each time")


async def make_parents(zk: AsyncClient, path: str, acl: Sequence[ACL] | None = None) -> None:
    """Make what is missing above a znode, as `make_directory` does."""
    await make_directory(zk, path[: path.rfind("/")] or "/", acl)


async def make_directory(zk: AsyncClient, path: str, acl: Sequence[ACL] | None = None) -> None:
    """Make a znode and all above it, as far as they are missing: containers, where the server has them."""
    try:
        await steadily(zk, lambda: zk.ensure_path(path, acl=acl, container=True))
    except Unimplemented:
        await steadily(zk, lambda: zk.ensure_path(path, acl=acl))


async def ensure(zk: AsyncClient, path: str, data: bytes = b"", acl: Sequence[ACL] | None = None) -> bool:
    """Make a persistent znode; return False if it was there, which a lost reply may also look like."""
    try:
        await with_parents(zk, path, lambda: steadily(zk, lambda: zk.create(path, data, acl=acl)), acl)
    except NodeExists:
        return False
    return True


def remove_beside(zk: AsyncClient, *paths: str) -> asyncio.Task[None]:
    """Delete znodes in the background, until the server says that they are gone or the client is closed.

    The task is for who wants to wait for that.
    """
    task: asyncio.Task[None] = zk.spawn(remove(zk, *paths))
    return task


async def remove(zk: AsyncClient, *paths: str) -> None:
    """Delete znodes, together if they are all there, however often that has to be asked; see `remove_beside`."""

    async def delete() -> None:
        if len(paths) == 1:
            await zk.delete(paths[0])
            return
        work = zk.transaction()
        for path in paths:
            work.delete(path)
        await work.commit()

    try:
        await steadily(zk, delete)
    except TransactionFailed:
        # One of them is gone already.
        for path in paths:
            await remove(zk, path)
    except (NoNode, ClientClosed):
        # With a client that is closed, its session goes, or has gone.
        pass


async def remove_owned(zk: AsyncClient, path: str, session_id: int) -> None:
    """Delete a znode if a session owns it, however often that has to be asked."""

    async def delete() -> None:
        stat = await zk.exists(path)
        if stat is not None and stat.ephemeral_owner == session_id:
            await zk.delete(path)

    try:
        await steadily(zk, delete)
    except (NoNode, ClientClosed):
        pass
