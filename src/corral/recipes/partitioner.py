"""A set of items shared out among all members: each item is held by one of them at a time.

    async with Partitioner(zk, "/work", ["a", "b", "c", "d"]) as work:
        async for held in work.shares():
            print(held)          # the items that are ours now
            await work.release()  # those that go to another, once nothing is done for them any more

Members stand in `<path>/party`, each item has a lock in `<path>/locks/<item>`: the form of kazoo's SetPartitioner, with
which it shares a path. Who gets what is computed from the members' names; that an item has one holder is its lock's
promise alone, with a fencing token each. A change of members moves only the items that have to move: the others stay
held, where kazoo releases all.

    an item: wanted --lock acquired--> held --no longer ours--> leaving --release()--> free
                                       held --session over----> lost, and wanted again
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import BadVersion, CorralError, NodeExists, NoNode, ZooKeeperError
from corral.base.liblog import LibraryLog
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ClientError
from corral.client.transaction import TransactionFailed
from corral.client.values import EventType, State, WatchEvent
from corral.recipes.asking import make_directory, remove_beside, within
from corral.recipes.errors import NotHeld
from corral.recipes.held import Held, HoldState
from corral.recipes.lock import Lock
from corral.wire.data import ACL

QUIET_S: Final = 5.0
_PAUSE_S: Final = (0.05, 5.0)


def share_of(items: Sequence[str], members: Sequence[str], member: str) -> list[str]:
    """Return the items that are a member's: of the sorted items every n-th, from its place among the sorted members.

    None if it is no member. Source: kazoo's SetPartitioner.
    """
    order = sorted(members)
    return sorted(items)[order.index(member) :: len(order)] if member in order else []


class Partitioner:
    """See the module.

    items: the set, the same for all members; none may contain a slash. identifier: of this member, unique; kazoo sorts
    by it. quiet: seconds without a change of members before items are taken or given up, so that a rolling restart does
    not move them back and forth. acl: of the nodes, and of parents that are made.
    """

    def __init__(
        self, zk: AsyncClient, path: str, items: Sequence[str], *, identifier: str = "", quiet: float = QUIET_S,
        acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        bad = [item for item in items if not item or "/" in item]
        if bad or "/" in identifier:
            raise ValueError(f"{bad[0] if bad else identifier!r}: items and identifiers become names of znodes")
        if quiet < 0:
            raise ValueError(f"quiet {quiet}: must not be negative")
        self.path = path
        self.identifier = identifier or uuid.uuid4().hex
        self.items = sorted(set(items))
        self._zk = zk
        self._base = path.rstrip("/")
        self._party = f"{self._base}/party"
        self._node = f"{self._party}/{uuid.uuid4().hex}-{self.identifier}"
        self._quiet = quiet
        self._acl = acl
        self._log: Any = LibraryLog("corral.recipes").bind(partitioner=path, member=self.identifier)
        self._members: list[str] = []
        self._quiet_at = 0.0
        self._share: set[str] | None = None
        self._held: dict[str, Held] = {}
        self._holders: dict[str, asyncio.Task[None]] = {}
        self._listeners: dict[Callable[[], object], None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._forget: Callable[[], None] | None = None
        self._failure: Exception | None = None
        self._is_closed = False
        self._saw = self._on_event

    # Its life.

    async def start(self, timeout: float | None = None) -> Self:
        """Join the members. timeout: seconds until RecipeTimeout. Raises what the server refuses it with."""
        self._check_open()
        if self._task is None:
            self._forget = self._zk.on_state(self._on_state)
            self._task = asyncio.get_running_loop().create_task(self._keep())
        try:
            await self._until(lambda: self.identifier in self._members, "joined", timeout)
        except BaseException:
            self._end()
            raise
        return self

    async def close(self, timeout: float = 5.0) -> None:
        """Leave, and release everything; `timeout`: seconds to wait for the server's word, which comes in any case."""
        held = list(self._held.values())
        leaving = self._end()
        waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(each.release()) for each in held]
        if leaving is not None:
            waiting.append(leaving)
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What is asked of it.

    @property
    def members(self) -> list[str]:
        """The members' identifiers, sorted, as they were seen last."""
        return list(self._members)

    @property
    def held(self) -> dict[str, Held]:
        """What is held for certain at this moment, and is to stay so, by item."""
        share = self._share or set()
        return {item: each for item, each in sorted(self._held.items()) if item in share and each.is_held}

    @property
    def leaving(self) -> list[str]:
        """The items that another member waits for; `release` gives them up."""
        share = self._share if self._share is not None else set(self._held)
        return sorted(item for item in self._held if item not in share)

    @property
    def is_complete(self) -> bool:
        """Whether all of our share is held, and nothing else."""
        return self._share is not None and set(self.held) == self._share and not self.leaving

    def on_change(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have `listener()` called, on the loop, when `held` or `leaving` may be others; return what ends that."""
        self._listeners[listener] = None

        def forget() -> None:
            self._listeners.pop(listener, None)

        return forget

    async def wait_complete(self, timeout: float | None = None) -> list[str]:
        """Wait until all of our share is held; return its items. Raises RecipeTimeout, NotHeld if it is closed."""
        await self._until(lambda: self.is_complete, "complete", timeout)
        return sorted(self.held)

    async def release(self, timeout: float | None = None) -> list[str]:
        """Give up the items that are `leaving`; return them. Nothing may be done for them from the call on.

        timeout: seconds to wait for the server's word; they are given up in any case.
        """
        items = self.leaving
        gone = [self._held.pop(item) for item in items]
        for item in items:
            if item in self._holders:
                self._holders.pop(item).cancel()
        self._tell()
        await asyncio.gather(*(each.release(timeout) for each in gone))
        return items

    async def shares(self) -> AsyncIterator[dict[str, Held]]:
        """Yield what is held, now and after each change of `held` or `leaving`; ends when it is closed."""
        changed = asyncio.Event()
        forget = self.on_change(changed.set)
        seen: tuple[list[str], list[str]] | None = None
        try:
            while not self._is_closed:
                changed.clear()
                now = (sorted(self.held), self.leaving)
                if now != seen:
                    seen = now
                    yield self.held
                else:
                    await changed.wait()
        finally:
            forget()

    async def _until(self, is_true: Callable[[], bool], what: str, timeout: float | None) -> None:
        changed = asyncio.Event()
        forget = self.on_change(changed.set)
        try:
            async with within(timeout, f"{self.path} was not {what}"):
                while not is_true():
                    self._check_open()
                    changed.clear()
                    await changed.wait()
        finally:
            forget()

    def _check_open(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise NotHeld(f"the partitioner of {self.path} is closed: make a new one")

    # How it follows the members.

    def _on_state(self, state: State) -> None:
        if state is State.CLOSED:
            self._end()
        self._wake.set()
        self._tell()

    def _on_event(self, event: WatchEvent) -> None:
        if event.type is not EventType.NONE:
            self._wake.set()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            try:
                listener()
            except Exception as error:  # noqa: BLE001  # A listener's fault is no reason to share out nothing more.
                self._log.error("a listener failed", listener=repr(listener), why=repr(error))

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._follow()
                failures = 0
            except ClientClosed:
                self._end()
            except ClientError as error:
                self._log.debug("following the members was interrupted", why=str(error))
                failures += 1
            except ZooKeeperError as error:
                self._log.warning("cannot follow the members", why=str(error))
                failures += 1
                if not self._members:
                    self._failure = error
                    self._end()
            if failures:
                shortest, longest = _PAUSE_S
                await asyncio.sleep(min(shortest * 2 ** min(failures, 16), longest))

    async def _follow(self) -> None:
        """Look who is there; when that has not changed for long enough, share out."""
        self._wake.clear()
        members = await self._look()
        if members is None:
            return
        if members != self._members:
            self._members = members
            self._quiet_at = asyncio.get_running_loop().time() + self._quiet
            self._tell()
        left = self._quiet_at - asyncio.get_running_loop().time()
        if left <= 0:
            self._allot(set(share_of(self.items, members, self.identifier)))
        try:
            async with asyncio.timeout(left if left > 0 else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _look(self) -> list[str] | None:
        """Return the members, ourselves among them; None to look again."""
        names = await self._names()
        mine = await self._zk.exists(self._node, self._saw)
        session = self._zk.session_id
        if mine is not None and mine.ephemeral_owner == session:
            # Of kazoo's form: 32 hex digits, a dash, the identifier; anything else is a stranger.
            return sorted(name[33:] for name in names if len(name) > 33 and name[32] == "-")
        work = self._zk.transaction()
        if mine is not None:
            # Of an earlier session of ours; the name is nobody else's.
            work.delete(self._node, mine.version)
        work.create(self._node, self.identifier.encode(), acl=self._acl, ephemeral=True)
        try:
            await work.commit()
        except TransactionFailed as failed:
            if not isinstance(failed.error, BadVersion | NoNode | NodeExists):
                raise failed.error from failed
        return None

    async def _names(self) -> list[str]:
        while True:
            try:
                return await self._zk.children(self._party, self._saw)
            except NoNode:
                await make_directory(self._zk, self._party, self._acl)

    def _allot(self, share: set[str]) -> None:
        self._share = share
        for item in [item for item in self._holders if item not in share and item not in self._held]:
            self._holders.pop(item).cancel()
        for item in sorted(share):
            if item not in self._holders:
                self._holders[item] = asyncio.get_running_loop().create_task(self._hold(item))
        self._tell()

    async def _hold(self, item: str) -> None:
        """Acquire an item's lock, and again whenever it is lost."""
        lock = Lock(
            self._zk, f"{self._base}/locks/{item}", identifier=self.identifier.encode(), style="kazoo", scope="object",
            cancel_on_loss=False, acl=self._acl,
        )  # fmt: skip
        while True:
            try:
                held = await lock.acquire()
            except ClientClosed:
                return
            except CorralError as error:
                self._log.warning("cannot acquire", item=item, why=str(error))
                await asyncio.sleep(_PAUSE_S[1])
                continue
            self._held[item] = held
            forget = held.on_change(self._on_hold)
            self._tell()
            try:
                await held.wait_lost()
            finally:
                forget()
            if self._held.get(item) is held:
                del self._held[item]
            self._tell()
            if self._share is None or item not in self._share:
                self._holders.pop(item, None)
                return

    def _on_hold(self, state: HoldState) -> None:
        self._tell()

    # Its end.

    def _end(self) -> asyncio.Task[None] | None:
        if self._is_closed:
            return None
        self._is_closed = True
        if self._forget is not None:
            self._forget()
        holders, self._holders = self._holders, {}
        for task in holders.values():
            task.cancel()
        held, self._held = self._held, {}
        leaving = None
        if self._task is not None:
            self._task.cancel()
            self._zk.forget_watch(self._party, self._saw)
            self._zk.forget_watch(self._node, self._saw)
            if self._zk.state is not State.CLOSED:
                for each in held.values():
                    self._zk.spawn(each.release())
                leaving = remove_beside(self._zk, self._node)
        self._tell()
        return leaving
