"""A double barrier: a number of members begin together and end together.

On the wire as Curator's DistributedDoubleBarrier and kazoo's DoubleBarrier: an ephemeral member `<path>/<name>` each,
and the gate `<path>/ready`, made by who finds the barrier full. Members are ephemerals alone: `ready` does not count,
nor do nodes that nobody owns. A gate that was left by members who are all gone is removed before the first one enters.

    OUTSIDE --enter: own node, then `ready` or enough members--> INSIDE --leave: the others gone--> OUTSIDE
    any     --its session ends, or its node is deleted--> OUTSIDE, by BarrierBroken
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Final

from corral.base.errors import NodeExists, NoNode
from corral.client.aio import AsyncClient
from corral.client.values import EventType, WatchEvent, ZnodeStat
from corral.client.watches import Listener
from corral.recipes.asking import Bell, ensure, remove_beside, steadily, with_parents, within
from corral.recipes.errors import RecipeError, RecipeTimeout
from corral.wire.data import ACL

READY: Final = "ready"
READS_MAX: Final = 256
"""How many members are asked for in one request."""


class BarrierBroken(RecipeError):
    """A member's node is gone, so that the others do not wait for it any more."""


class DoubleBarrier:
    """A barrier at `path` for `members` members. identifier: what the member's node has as its data."""

    def __init__(
        self, zk: AsyncClient, path: str, members: int, *, identifier: bytes = b"", acl: Sequence[ACL] | None = None
    ) -> None:
        if members < 1:
            raise ValueError(f"members {members}: must be at least 1")
        self._zk = zk
        self.path = path
        self.members = members
        self._identifier = identifier
        self._acl = acl
        self._base = path.rstrip("/")
        self._ready = f"{self._base}/{READY}"
        self._own = ""
        self._czxid = 0
        self._session_id = 0
        self._watched: set[tuple[str, Listener]] = set()
        self._lock = asyncio.Lock()

    @property
    def is_inside(self) -> bool:
        """Whether this member has entered and not left, in a session that goes on."""
        return bool(self._own) and self._session_id == self._zk.session_id

    async def enter(self, timeout: float | None = None) -> bool:
        """Wait until all members are here; return False if they are not in `timeout` seconds: then it is outside.

        Raises BarrierBroken if the own node goes meanwhile, RecipeError if it is inside.
        """
        async with self._lock:
            if self._own:
                raise RecipeError(f"{self._own} is inside {self.path} already: leave first")
            bell = Bell(self._zk)
            try:
                async with within(timeout, f"{self.path} was not full"):
                    await self._join()
                    await self._await_full(bell)
            except RecipeTimeout:
                self._withdraw()
                return False
            except BaseException:
                self._withdraw()
                raise
            finally:
                self._forget()
            return True

    async def leave(self, timeout: float | None = None) -> bool:
        """Wait until all who are inside leave; return False if they have not in `timeout` seconds: then it is outside.

        Raises RecipeError if it is outside.
        """
        async with self._lock:
            if not self._own:
                raise RecipeError(f"not inside {self.path}: enter first")
            bell = Bell(self._zk)
            try:
                async with within(timeout, f"the members of {self.path} did not leave"):
                    await self._await_empty(bell)
            except RecipeTimeout:
                return False
            finally:
                self._forget()
                self._withdraw()
            return True

    # Entering.

    async def _join(self) -> None:
        if not await self._others():
            # Left by a round whose members are gone: it would let this one through alone.
            await self._open_no_more()
        path = f"{self._base}/{uuid.uuid4()}"
        self._own = path

        async def create() -> None:
            try:
                await self._zk.create(path, self._identifier, acl=self._acl, ephemeral=True)
            except NodeExists:
                # Made by an attempt whose reply was lost.
                pass

        while True:
            await with_parents(self._zk, path, lambda: steadily(self._zk, create), self._acl)
            stat = await steadily(self._zk, lambda: self._zk.exists(path))
            if stat is not None and stat.ephemeral_owner == self._zk.session_id:
                break
            if stat is not None:
                # Of a session that ended meanwhile.
                await self._delete(path)
        self._czxid = stat.czxid
        self._session_id = stat.ephemeral_owner

    async def _await_full(self, bell: Bell) -> None:
        """Wait for the gate, or make it; one that was made and is gone again let us through too.

        kazoo's members delete it as soon as they leave. To make it once more behind that would hold them up: they wait
        for every child to go, the gate as well.
        """
        was_made = False

        def on_gate(event: WatchEvent) -> None:
            nonlocal was_made
            was_made = was_made or event.type is EventType.CREATED
            bell.on_event(event)

        while not was_made:
            bell.clear()
            if await self._look_at(self._ready, on_gate) is not None:
                break
            await self._verify(bell)
            # Not watched: who makes it full has listed the others behind its own creation, and so sees that.
            if len(await self._others()) + 1 >= self.members:
                if not was_made:
                    await ensure(self._zk, self._ready, acl=self._acl)
                return
            await bell.wait()
        await self._verify(bell)

    async def _verify(self, bell: Bell) -> None:
        own = self._own
        stat = await self._look_at(own, bell.on_event)
        if not self._is_ours(stat):
            raise BarrierBroken(f"{own} is gone: the members of {self.path} do not wait for it")

    def _is_ours(self, stat: ZnodeStat | None) -> bool:
        return (
            stat is not None
            and stat.czxid == self._czxid
            and stat.ephemeral_owner == self._session_id == self._zk.session_id
        )

    # Leaving.

    async def _await_empty(self, bell: Bell) -> None:
        """Go the order of names: the lowest goes last, waiting for the highest; the others go, then wait for it.

        Who enters later is not waited for. The schedule that this is for:

        1. We go. The lowest sees it, goes, and enters again, as the first of the next round.
        2. We look, see its new node, and would wait for that to go, as it waits for us to enter.
        """
        own = self._own.rpartition("/")[2]
        inside: dict[str, int] | None = None
        while True:
            bell.clear()
            found = await self._others()
            if inside is None:
                inside = found
            others = [name for name, czxid in found.items() if inside.get(name) == czxid]
            if not others:
                await self._delete(self._own)
                await self._open_no_more()
                return
            if own < others[0]:
                awaited = others[-1]
            else:
                awaited = others[0]
                await self._delete(self._own)
            if await self._look_at(f"{self._base}/{awaited}", bell.on_event) is not None:
                await bell.wait()

    async def _look_at(self, path: str, listener: Listener) -> ZnodeStat | None:
        self._watched.add((path, listener))
        return await steadily(self._zk, lambda: self._zk.exists(path, listener))

    async def _open_no_more(self) -> None:
        await self._delete(self._ready)

    # Both.

    async def _others(self) -> dict[str, int]:
        """Return the names of the other members, sorted, and their czxids; strangers, which nobody owns, are none."""
        try:
            names = await steadily(self._zk, lambda: self._zk.children(self.path))
        except NoNode:
            return {}
        own = self._own.rpartition("/")[2]
        names = sorted(name for name in names if name not in (READY, own))
        found: dict[str, int] = {}
        for at in range(0, len(names), READS_MAX):
            some = names[at : at + READS_MAX]
            for name, answer in zip(some, await self._read([f"{self._base}/{name}" for name in some]), strict=True):
                if isinstance(answer, tuple) and answer[1].ephemeral_owner:
                    found[name] = answer[1].czxid
        return found

    async def _read(self, paths: list[str]) -> list[Any]:
        return await steadily(self._zk, lambda: self._zk.multi_read(paths))

    async def _delete(self, path: str) -> None:
        try:
            await steadily(self._zk, lambda: self._zk.delete(path))
        except NoNode:
            pass

    def _withdraw(self) -> None:
        own, self._own = self._own, ""
        if own:
            remove_beside(self._zk, own)

    def _forget(self) -> None:
        for path, listener in self._watched:
            self._zk.forget_watch(path, listener)
        self._watched.clear()
