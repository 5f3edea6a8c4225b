"""A semaphore: at most so many leases at a time, in order of arrival, with the limit kept on the server.

    semaphore = Semaphore(zk, "/limits/uploads", limit=3)
    async with semaphore as lease:
        ...

The limit stands in the semaphore's own node as digits, so that all clients have the same one. The nodes are Curator's:
who is next in line at `<path>/locks` puts its leases into `<path>/leases`, and waits there until no more are there than
the limit. Other children are strangers and do not count. kazoo's leases are the semaphore's own children, all of which
count, and its line is at `<path>-__lock__`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Literal, TypeVar, get_args

from corral.base.errors import BadArguments, BadVersion, NodeExists, NoNode
from corral.client.aio import AsyncClient
from corral.client.errors import ConnectionLoss, SessionLost
from corral.client.values import WatchEvent
from corral.recipes import sequence
from corral.recipes.asking import make_parents, within
from corral.recipes.contender import Contender
from corral.recipes.errors import RecipeError
from corral.recipes.guard import Blocks, Guard, Steps
from corral.recipes.held import Held
from corral.recipes.line import Place, before_writer
from corral.recipes.lock import RELEASE_S, Waiting
from corral.wire.data import ACL

T = TypeVar("T")
SemaphoreStyle = Literal["curator", "kazoo"]
"""Whom a path is shared with."""
_MARKERS: Final = (sequence.LEASE,)


class LimitDiffers(RecipeError, ValueError):
    """The semaphore on the server has another limit than the one that was given, or none where none was."""


class Semaphore:
    """A semaphore at `path`, which is made if it is missing.

    limit: how many leases there may be; it must be what the server has, and becomes it if the server has none. None:
    what the server has. identifier: the data of our leases, for others to see. style: whose nodes they are; all clients
    of one path need the same. cancel_on_loss: whether `async with` ends its block with HoldLost when the lease is lost.
    acl: of the nodes, and of parents that are made.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, limit: int | None = None, identifier: bytes = b"",
        style: SemaphoreStyle = "curator", cancel_on_loss: bool = True, acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if style not in get_args(SemaphoreStyle):
            raise ValueError(f"style {style!r}: must be one of {', '.join(get_args(SemaphoreStyle))}")
        if limit is not None and limit < 0:
            raise ValueError(f"limit {limit}: must not be negative")
        self._zk = zk
        self.path = path
        self.identifier = identifier
        self._asked = limit
        self._cancel_on_loss = cancel_on_loss
        self._acl = acl
        base = path.rstrip("/")
        self._is_kazoo = style == "kazoo"
        if self._is_kazoo and not base:
            raise BadArguments(f"kazoo's semaphore at {path!r}: its line is beside it, and nothing is beside /")
        self._locks = f"{path}-__lock__" if self._is_kazoo else f"{base}/locks"
        self._leases = path if self._is_kazoo else f"{base}/leases"
        self._blocks: Blocks[Guard] = Blocks()

    async def acquire(self, count: int = 1, timeout: float | None = None) -> Held:
        """Wait until there is room for `count` leases; return them as one thing that is held, and released together.

        timeout: seconds for all of it; None: as long as it takes, for ever if `count` stays above the limit.
        Raises RecipeTimeout, which leaves nothing behind, and LimitDiffers.
        """
        if count < 1:
            raise ValueError(f"count {count}: must be at least 1")
        async with within(timeout, f"{count} of {self.path} were not acquired"):
            held = await self._acquire(count, wait=True)
        assert held is not None
        return held

    async def try_acquire(self, count: int = 1, timeout: float | None = None) -> Held | None:
        """Acquire `count` leases if there is room and nobody is before us; else None."""
        if count < 1:
            raise ValueError(f"count {count}: must be at least 1")
        async with within(timeout, f"nothing was heard of {self.path}"):
            return await self._acquire(count, wait=False)

    async def limit(self) -> int:
        """Return the limit that the server has. Raises LimitDiffers if it has none, or another than was given."""
        while True:
            try:
                data, stat = await self._zk.get(self.path)
                if data == b"" and self._asked is not None:
                    await self._zk.set(self.path, b"%d" % self._asked, stat.version)
                    continue
            except NoNode:
                if self._asked is None:
                    raise LimitDiffers(f"{self.path} is not there, and no limit was given to make it with") from None
                await self._make(self._asked)
                continue
            except BadVersion:
                continue
            limit = _read(self.path, data)
            if self._asked is not None and limit != self._asked:
                raise LimitDiffers(f"{self.path} has the limit {limit} on the server, {self._asked} was given")
            return limit

    async def set_limit(self, limit: int) -> None:
        """Change the limit for all clients; leases that are held stay, also above a lower limit."""
        if limit < 0:
            raise ValueError(f"limit {limit}: must not be negative")
        try:
            await self._zk.set(self.path, b"%d" % limit)
        except NoNode:
            await self._make(limit)
            await self._zk.set(self.path, b"%d" % limit)
        if self._asked is not None:
            self._asked = limit

    async def holders(self) -> list[Waiting]:
        """Return the leases that there are, the oldest first."""
        try:
            names = await self._zk.children(self._leases)
        except NoNode:
            return []
        found = []
        for name in self._among(names):
            path = f"{self._leases.rstrip('/')}/{name}"
            try:
                data, stat = await self._zk.get(path)
            except NoNode:
                continue
            found.append(Waiting(path, data, sequence.LEASE, stat.czxid))
        return sorted(found, key=lambda each: each.czxid)

    async def run(self, work: Callable[[Held], Awaitable[T]]) -> T:
        """Wait for a lease, await `work(held)`, release; see `Lock.run`."""
        async with self as held:
            return await Steps(work(held), held)

    async def __aenter__(self) -> Held:
        held = await self.acquire()
        self._blocks.enter(Guard(held, cancels=self._cancel_on_loss))
        return held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        guard = self._blocks.leave()
        try:
            await guard.end(error)
        finally:
            await guard.held.release(RELEASE_S)

    # Inside.

    def _among(self, names: Sequence[str]) -> list[str]:
        """Return the leases among some nodes' names, the oldest first as far as names tell."""
        return list(names) if self._is_kazoo else [each.name for each in sequence.in_order(names, _MARKERS)]

    async def _make(self, limit: int) -> None:
        await make_parents(self._zk, self.path, self._acl)
        try:
            await self._zk.create(self.path, b"%d" % limit, acl=self._acl)
        except (NodeExists, NoNode):
            # Another was first, or the parents are gone again: who asked looks once more.
            pass

    async def _acquire(self, count: int, *, wait: bool) -> Held | None:
        while True:
            try:
                await self.limit()
            except (ConnectionLoss, SessionLost):
                continue
            marker = sequence.KAZOO_LOCK if self._is_kazoo else sequence.LOCK
            turn = Contender(
                self._zk, self._locks, (marker,), self.identifier, self._acl, is_hex=self._is_kazoo
            )  # fmt: skip
            first = await Place(self._zk, turn, before_writer, self.identifier).take(wait=wait)
            if first is None:
                return None
            try:
                held, is_over = await self._put(count, first, wait)
            finally:
                # Not waited for: the next in line learns it all the same.
                first.abandon()
            if is_over:
                return held

    async def _put(self, count: int, turn: Held, wait: bool) -> tuple[Held | None, bool]:
        """Put leases and wait for room, as the first in line; the flag is False if the turn was lost on the way."""
        leases = Contender(self._zk, self._leases, (sequence.LEASE,) * count, self.identifier, self._acl)
        box: list[Held] = []
        wake = asyncio.Event()

        def on_event(event: WatchEvent) -> None:
            if box:
                box[0].on_event(event)
            wake.set()

        forget = turn.on_change(lambda state: wake.set())
        try:
            while not turn.state.is_over:
                if not leases.nodes:
                    await leases.create()
                wake.clear()
                try:
                    # The coroutine last: one made before what a closed client refuses would never be awaited.
                    names, (data, _), is_ours = await asyncio.gather(
                        self._zk.children(self._leases, on_event),
                        self._zk.get(self.path, on_event),
                        leases.verify(on_event),
                    )
                except (ConnectionLoss, SessionLost):
                    continue
                except NoNode:
                    is_ours, names, data = False, [], b""
                if not is_ours:
                    break
                if wake.is_set():
                    # Something happened since the server answered, maybe to our own leases.
                    continue
                if len(self._among(names)) <= _read(self.path, data):
                    box.append(Held(self._zk, leases, self.identifier, on_event))
                    return box[0], True
                if not wait:
                    leases.remove()
                    return None, True
                await wake.wait()
            leases.remove()
            return None, False
        except BaseException:
            leases.remove()
            raise
        finally:
            forget()
            self._zk.forget_watch(self._leases, on_event)
            self._zk.forget_watch(self.path, on_event)


def _read(path: str, data: bytes) -> int:
    if not data.isdigit():
        raise LimitDiffers(f"{path} has no limit on the server, but the data {data[:40]!r}")
    return int(data)
