"""Queues: what is put in comes out once, in order, by priority or when it is due.

ZooKeeper is a poor place for long queues: every item is a znode, and a listing must fit one packet.

Putting and taking are made exactly once, though replies get lost: see `corral.recipes.once`. `get` takes an item for
good. `claim` keeps it from others for as long as this session lives: whoever dies leaves it to the next one, and
`consume` takes it only while the claim is there, by the server's word.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from corral.base.errors import BadArguments, BadVersion, NodeExists, NoNode
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed
from corral.client.transaction import Transaction, TransactionFailed
from corral.recipes.asking import (
    Bell,
    make_directory,
    outlasting,
    remove_owned,
    steadily,
    with_parents,
    within,
)
from corral.recipes.errors import NotHeld, RecipeTimeout
from corral.recipes.fence import Fence
from corral.recipes.once import PERMITS, Once
from corral.recipes.queue_items import FRAMED, BadItem, Item, frame, in_order, item_name, unframe
from corral.recipes.queue_items import Claimed as Claimed
from corral.recipes.queue_items import QueueForm as QueueForm
from corral.wire.data import ACL

T = TypeVar("T")
PRIORITY: Final = 100
BATCH_MAX: Final = 1000
"""How many items are put by one transaction."""


class Queue:
    """A queue at `path`. form: on the wire. lock_path: where claims are, `<path>-locks` unless given.

    clock: seconds since 1970, for items that are due later. Raises BadArguments for a path that cannot be a queue's.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, form: QueueForm = QueueForm.KAZOO, lock_path: str = "",
        acl: Sequence[ACL] | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._zk = zk
        self.path = path
        self.form = form
        self._acl = acl
        self._clock = clock
        base = path.rstrip("/")
        is_locking = form is QueueForm.KAZOO_LOCKING
        if not base and not is_locking:
            raise BadArguments(f"a queue at {path!r}: claims and permits are beside a queue, and nothing is beside /")
        self._items = f"{base}/entries" if is_locking else base
        self._claims = f"{base}/taken" if is_locking else lock_path or f"{base}-locks"
        permits = f"{base or '/'}{PERMITS}"
        self._once = Once(zk, permits, acl)
        self._rest: list[bytes] = []
        self._bad: set[str] = set()
        self._fence = Fence(zk, permits, acl)
        self._getting = asyncio.Lock()
        self._getters: set[Bell] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing of this object at the server; the items stay."""
        self._once.close()
        self._fence.close()

    # Putting.

    async def put(
        self, data: bytes, *, priority: int | None = None, due: float | None = None, timeout: float | None = None
    ) -> None:
        """Put an item in, exactly once; see `put_all`."""
        await self.put_all([data], priority=priority, due=due, timeout=timeout)

    async def put_all(
        self, items: Sequence[bytes], *, priority: int | None = None, due: float | None = None,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Put items in, all or none, exactly once, in their order.

        priority: lower ones come out first; for KAZOO (100 unless given) and CURATOR_PRIORITY (0). due: for
        CURATOR_DELAY, when they may come out, in seconds since 1970. Raises RecipeTimeout: they are in once, or not at
        all; OutcomeUnknown; ValueError.
        """
        if len(items) > BATCH_MAX:
            raise ValueError(f"{len(items)} items at once: at most {BATCH_MAX}")
        name = f"{self._items}/{item_name(self.form, self._rank(priority, due))}"
        framed = [frame([item]) for item in items] if self.form in FRAMED else list(items)

        def fill(work: Transaction) -> None:
            for data in framed:
                work.create(name, data, acl=self._acl, sequence=True)

        async def commit() -> None:
            try:
                await self._once.commit(fill)
            except TransactionFailed as failed:
                raise failed.error from failed

        async with within(timeout, f"{len(items)} items were not put into {self.path}"):
            if items:
                await with_parents(self._zk, name, commit, self._acl)

    def _rank(self, priority: int | None, due: float | None) -> int:
        if due is not None:
            if self.form is not QueueForm.CURATOR_DELAY:
                raise ValueError(f"due {due}: a {self.form.value} queue has no delays")
            return int(due * 1000)
        if self.form is QueueForm.CURATOR_DELAY:
            return int(self._clock() * 1000)
        if self.form in (QueueForm.KAZOO, QueueForm.KAZOO_LOCKING):
            return PRIORITY if priority is None else priority
        if priority is not None and self.form is not QueueForm.CURATOR_PRIORITY:
            raise ValueError(f"priority {priority}: a {self.form.value} queue has none")
        return priority or 0

    # Looking.

    async def size(self, timeout: float | None = None) -> int:
        """Return how many items are in, due or not. Raises RecipeTimeout."""
        async with within(timeout, f"the items of {self.path} were not counted"):
            try:
                names = await steadily(self._zk, lambda: self._zk.children(self._items))
            except NoNode:
                return 0
            return len(in_order(names, self.form))

    async def _list(self, bell: Bell) -> list[Item]:
        return in_order(await self._names(self._items, bell), self.form)

    # Taking.

    async def get(self, timeout: float | None = None) -> bytes | None:
        """Take the first item for good, exactly once; None if none came in `timeout` seconds (0: only look).

        Items that others have claimed are left to them. One that is taken while the call is cancelled comes with the
        next call.
        """
        # One of an object's callers waits for a change, so that not all of them look; who only looks waits for nobody.
        turn = nullcontext() if timeout == 0 else self._getting
        found: bytes | None = await self._first(timeout, self._get, turn)
        return found

    async def claim(self, timeout: float | None = None) -> Claimed | None:
        """Keep the first item that nobody has from all others; None if none came in `timeout` seconds (0: only look).

        It is to be given to `consume` or `release`; if the session ends before, others have it.
        """
        found: Claimed | None = await self._first(
            timeout, lambda bell: self._pass(self._claim, lambda claimed: self._drop(claimed.name), bell), nullcontext()
        )
        return found

    async def consume(self, claimed: Claimed, timeout: float | None = None) -> None:
        """Take a claimed item for good, exactly once.

        Raises NotHeld, and changes nothing, if the claim or the item is gone or the session that claimed it has ended;
        RecipeTimeout: it was taken once, or not at all.
        """
        if claimed.session_id != self._zk.session_id:
            raise NotHeld(f"{claimed.name} was claimed in a session that has ended")

        def fill(work: Transaction) -> None:
            # The claim's name is everybody's; that the session which made it goes on, this tells.
            work.check(claimed.fence)
            work.delete(f"{self._claims}/{claimed.name}")
            work.delete(f"{self._items}/{claimed.name}", claimed.version)

        async with within(timeout, f"{claimed.name} was not consumed"):
            try:
                await self._once.commit(fill)
            except TransactionFailed as failed:
                if not isinstance(failed.error, BadVersion | NoNode):
                    raise failed.error from failed
                raise NotHeld(f"{claimed.name} is not claimed any more: {failed}") from failed

    async def release(self, claimed: Claimed, timeout: float | None = None) -> None:
        """Leave a claimed item to others. Raises RecipeTimeout: it is released in the background."""
        if claimed.session_id != self._zk.session_id:
            return
        async with within(timeout, f"{claimed.name} was not released"):
            # With a client that is closed, its session goes, and the claim.
            with suppress(ClientClosed):
                await outlasting(self._drop(claimed.name))

    # Inside.

    async def _first(
        self, timeout: float | None, look: Callable[[Bell], Awaitable[tuple[Any, int | None]]],
        turn: AbstractAsyncContextManager[None],
    ) -> Any:  # fmt: skip
        """Return the first thing that `look` finds in its `turn`; if there is none, it says when one is due."""
        bell = Bell(self._zk)
        try:
            async with within(timeout or None, f"nothing came out of {self.path}"), turn:
                while True:
                    bell.clear()
                    taken, next_ms = await look(bell)
                    if taken is not None or timeout == 0:
                        return taken
                    await self._await_change(bell, next_ms)
        except RecipeTimeout:
            return None
        finally:
            self._getters.discard(bell)
            for path in (self._items, self._claims):
                self._zk.forget_watch(path, bell.on_event)

    async def _get(self, bell: Bell) -> tuple[bytes | None, int | None]:
        """Take an item, or one that was taken before for nobody."""
        if self._rest:
            return self._rest.pop(0), None
        self._getters.add(bell)
        items, next_ms = await self._pass(self._take, self._keep, bell)
        if not items:
            return (self._rest.pop(0), None) if self._rest else (None, next_ms)
        self._keep(items[1:])
        return items[0], None

    def _keep(self, items: list[bytes] | None) -> None:
        """Have items that were taken for whoever gets next."""
        if items:
            self._rest.extend(items)
            for bell in self._getters:
                bell.ring()

    async def _pass(
        self, take: Callable[[Item], Coroutine[Any, Any, T | None]], keep: Callable[[T], object], bell: Bell
    ) -> tuple[T | None, int | None]:
        """Return what `take` makes of the first item that it can; `keep` has what comes too late."""
        claims = set(await self._names(self._claims, bell))
        items = await self._list(bell)
        if self._bad:
            self._bad.intersection_update(item.name for item in items)
        for item in items:
            if item.name in claims or item.name in self._bad:
                continue
            if self.form is QueueForm.CURATOR_DELAY and item.rank > self._clock() * 1000:
                return None, item.rank
            taken = await self._unhurt(take(item), keep)
            if taken is not None:
                return taken, None
        return None, None

    async def _unhurt(self, work: Coroutine[Any, Any, T | None], keep: Callable[[T], object]) -> T | None:
        """Await something that goes on to its end when we are cancelled; `keep` has its result then."""
        task: asyncio.Task[T | None] = self._zk.spawn(work)

        def on_late(done: asyncio.Task[T | None]) -> None:
            if not done.cancelled() and done.exception() is None:
                result = done.result()
                if result is not None:
                    keep(result)

        try:
            return await outlasting(task)
        except asyncio.CancelledError:
            task.add_done_callback(on_late)
            raise

    async def _await_change(self, bell: Bell, next_ms: int | None) -> None:
        wait_s = None if next_ms is None else max(0.0, next_ms / 1000 - self._clock())
        try:
            async with asyncio.timeout(wait_s):
                await bell.wait()
        except TimeoutError:
            # An item is due.
            pass

    async def _names(self, path: str, bell: Bell) -> list[str]:
        while True:
            try:
                return await steadily(self._zk, lambda: self._zk.children(path, bell.on_event))
            except NoNode:
                await make_directory(self._zk, path, self._acl)

    async def _take(self, item: Item) -> list[bytes] | None:
        path = f"{self._items}/{item.name}"
        claim = f"{self._claims}/{item.name}"
        while True:
            try:
                data, stat = await steadily(self._zk, lambda: self._zk.get(path))
            except NoNode:
                return None
            items = self._unpack(item, data)
            if items is None:
                return None
            try:
                await self._once.commit(partial(self._fill_take, path, claim, stat.version))
            except TransactionFailed as failed:
                if isinstance(failed.error, BadVersion):
                    # Somebody has written into it.
                    continue
                if isinstance(failed.error, NoNode) and not failed.index:
                    # The directory of the claims, a container, was removed for being empty.
                    await make_directory(self._zk, self._claims, self._acl)
                    continue
                if not isinstance(failed.error, NodeExists | NoNode):
                    raise failed.error from failed
                return None
            return items

    def _fill_take(self, path: str, claim: str, version: int, work: Transaction) -> None:
        # Refused if somebody has claimed it.
        work.create(claim, acl=self._acl)
        work.delete(claim)
        work.delete(path, version)

    def _unpack(self, item: Item, data: bytes) -> list[bytes] | None:
        if self.form not in FRAMED:
            return [data]
        try:
            return unframe(data) or [b""]
        except BadItem:
            # Left where it is, for somebody to look at.
            self._bad.add(item.name)
            return None

    @property
    def bad_items(self) -> list[str]:
        """The names of items that were seen, could not be read and were left where they are for good."""
        return sorted(self._bad)

    async def _claim(self, item: Item) -> Claimed | None:
        claim = f"{self._claims}/{item.name}"
        fence = await self._fence.path()
        token = uuid.uuid4().hex.encode()
        try:
            await with_parents(
                self._zk,
                claim,
                lambda: steadily(self._zk, lambda: self._zk.create(claim, token, acl=self._acl, ephemeral=True)),
                self._acl,
            )
        except NodeExists:
            # It may be ours, made by an attempt whose reply was lost.
            pass
        try:
            found, stat = await steadily(self._zk, lambda: self._zk.get(claim))
        except NoNode:
            return None
        if found != token:
            return None
        if stat.ephemeral_owner != self._zk.session_id or not self._fence.is_standing:
            self._drop(item.name)
            return None
        try:
            data, item_stat = await steadily(self._zk, lambda: self._zk.get(f"{self._items}/{item.name}"))
        except NoNode:
            self._drop(item.name)
            return None
        items = self._unpack(item, data)
        if items is None:
            self._drop(item.name)
            return None
        return Claimed(item.name, items, item_stat.version, stat.czxid, stat.ephemeral_owner, fence)

    def _drop(self, name: str) -> asyncio.Task[Any]:
        """Remove a claim of this session's in the background."""
        work: Any = remove_owned(self._zk, f"{self._claims}/{name}", self._zk.session_id)
        return self._zk.spawn(work)
