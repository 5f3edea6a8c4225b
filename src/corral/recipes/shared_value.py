"""One value, in one znode, that many clients see and change.

Curator's SharedValue, and with `NumberForm.INT32` its SharedCount. The local copy moves forward only, by the zxid of
its last change: versions begin anew when the znode is deleted and made again, which is seen as the change it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import BadVersion, NodeExists, NoNode, ZooKeeperError
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ClientError
from corral.client.transaction import Transaction, TransactionFailed
from corral.client.values import State, ZnodeStat
from corral.recipes.asking import Bell, ensure, make_parents, steadily, within
from corral.recipes.once import PERMITS, Once
from corral.wire.data import ACL

PAUSE_S: Final = 0.05
PAUSE_MAX_S: Final = 5.0


@record
class Versioned:
    """A value as it was read. mzxid: of the transaction that wrote it. version: the znode's, -1 if there is none."""

    data: bytes
    version: int
    mzxid: int


MISSING: Final = Versioned(b"", -1, -1)


class SharedValue:
    """A value that is followed from `start` on. seed: what the znode is made with if there is none.

    is_current: whether the copy is of a server that could be asked; False while the connection is in doubt, or the
    server refuses to tell.
    """

    def __init__(self, zk: AsyncClient, path: str, seed: bytes = b"", *, acl: Sequence[ACL] | None = None) -> None:
        self._zk = zk
        self.path = path
        self._seed = seed
        self._acl = acl
        self._bell = Bell(zk)
        self._known: Versioned = MISSING
        self._seen_zxid = -1
        self._listeners: dict[Callable[[Versioned], object], None] = {}
        self._follower: asyncio.Task[Any] | None = None
        self._forget: Callable[[], None] | None = None
        self._changed = asyncio.Event()
        self._is_current = False
        self._once = Once(zk, path + PERMITS, acl)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, timeout: float | None = None) -> None:
        """Make the znode if it is missing, read it, and follow it. Raises RecipeTimeout."""
        if self._follower is not None:
            return
        async with within(timeout, f"the value {self.path} was not read"):
            await ensure(self._zk, self.path, self._seed, self._acl)
            await self._look()
        self._forget = self._zk.on_state(self._on_state)
        self._follower = self._zk.spawn(self._follow())

    async def stop(self) -> None:
        """Follow it no more; the znode stays."""
        follower, self._follower = self._follower, None
        if self._forget is not None:
            self._forget()
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
            self._zk.forget_watch(self.path, self._bell.on_event)
        self._once.close()

    @property
    def value(self) -> bytes:
        """The value as it was seen last."""
        return self._known.data

    @property
    def versioned(self) -> Versioned:
        """The value as it was seen last, with what `try_set` wants to know."""
        return self._known

    @property
    def is_current(self) -> bool:
        """Whether the value is followed at this moment; False while the connection is in doubt or reading refused."""
        return self._is_current and self._zk.state.is_connected

    def on_change(self, listener: Callable[[Versioned], object]) -> Callable[[], None]:
        """Have `listener(versioned)` called, on the loop, at each change that is seen; return what ends that."""
        self._listeners[listener] = None

        def forget() -> None:
            self._listeners.pop(listener, None)

        return forget

    async def wait_change(self, after: Versioned, timeout: float | None = None) -> Versioned:
        """Wait until the value is another one than `after`; return it. Raises RecipeTimeout, ClientClosed."""
        async with within(timeout, f"{self.path} did not change"):
            while self._known.mzxid == after.mzxid:
                if self._zk.state is State.CLOSED:
                    raise ClientClosed(f"{self.path} is not followed any more: the client is closed")
                self._changed.clear()
                await self._changed.wait()
        return self._known

    async def set(self, data: bytes, timeout: float | None = None) -> Versioned:
        """Write a value, whatever is there; make the znode if it is missing. Raises RecipeTimeout."""
        async with within(timeout, f"{self.path} was not written"):
            while True:
                await self._look()
                if await self.try_set(self._known, data):
                    return self._known

    async def try_set(self, previous: Versioned, data: bytes, timeout: float | None = None) -> bool:
        """Write a value if the znode is as `previous` says; return whether that was so, by the server's word.

        Made exactly once, also if a reply gets lost. Raises RecipeTimeout, OutcomeUnknown.
        """
        if previous.mzxid != self._known.mzxid:
            return False

        def fill(work: Transaction) -> None:
            if previous.version < 0:
                work.create(self.path, data, acl=self._acl)
            else:
                work.set(self.path, data, previous.version)

        async with within(timeout, f"{self.path} was not written"):
            try:
                results = await self._once.commit(fill)
            except TransactionFailed as failed:
                if isinstance(failed.error, NoNode) and previous.version < 0:
                    await make_parents(self._zk, self.path, self._acl)
                elif not isinstance(failed.error, BadVersion | NodeExists | NoNode):
                    raise failed.error from failed
                await self._look()
                return False
            if results and isinstance(results[0], ZnodeStat):
                self._take(Versioned(data, results[0].version, results[0].mzxid))
            else:
                await self._look()
        return True

    # Inside.

    def _on_state(self, state: State) -> None:
        self._is_current = False
        self._bell.ring()
        if state is State.CLOSED:
            self._changed.set()

    async def _follow(self) -> None:
        """Look whenever something may have changed: one task, so that no answer overtakes another."""
        pause = PAUSE_S
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._look()
                pause = PAUSE_S
                continue
            except ClientClosed:
                return
            except ClientError:
                pass
            except ZooKeeperError as error:
                # What may not be read may not be watched, either.
                self._is_current = False
                self._zk.log.warning("cannot read a shared value", path=self.path, why=str(error))
            self._bell.ring()
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MAX_S)

    async def _look(self) -> None:
        while True:
            try:
                data, stat = await steadily(self._zk, lambda: self._zk.get(self.path, self._bell.on_event))
            except NoNode:
                # Its return has to be seen, too.
                stat_or_none = await steadily(self._zk, lambda: self._zk.exists(self.path, self._bell.on_event))
                if stat_or_none is not None:
                    continue
                self._is_current = True
                if self._known.version >= 0:
                    self._become(MISSING)
                return
            self._is_current = True
            self._take(Versioned(data, stat.version, stat.mzxid))
            return

    def _take(self, found: Versioned) -> None:
        if found.mzxid > self._seen_zxid:
            self._seen_zxid = found.mzxid
            self._become(found)

    def _become(self, found: Versioned) -> None:
        self._known = found
        self._changed.set()
        for listener in list(self._listeners):
            try:
                listener(found)
            except Exception as error:  # noqa: BLE001  # A listener's fault is no reason to follow it no more.
                self._zk.log.error("a listener failed", listener=repr(listener), told=str(found), why=repr(error))
