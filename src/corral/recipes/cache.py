"""The shell of every cache: it watches, reads in batches what its core (`mirror`) asks for, and tells listeners.

Where the server has watches that stay (3.6 and later), one is enough; else every znode has plain ones. After each loss
of the connection everything is read again and compared, so that nothing is missed for good; caches that lost their
connection together wait for a moment drawn by chance before they do so (`spread`).
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import NoAuth, NoNode, Unimplemented, ZooKeeperError
from corral.base.liblog import LibraryLog
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ClientError
from corral.client.values import State, WatchEvent
from corral.recipes.asking import within
from corral.recipes.feed import Feed
from corral.recipes.mirror import Batch, Change, Found, Listing, Mirror

READ_MAX: Final = 32
"""How many znodes one request reads: at a server's default limit of 1 MB a znode the answer stays in bounds."""
ROUND_MAX: Final = 128
"""How many znodes are asked for before the first is answered."""
BACKLOG: Final = 10_000
SPREAD_S: Final = 1.0
_RETRY_S: Final = (0.05, 5.0)


class Cache:
    """What all caches have in common; use NodeCache, ChildrenCache or TreeCache.

    spread: seconds; after a reconnect the znodes are read again within a random part of it. backlog: how many changes
    wait for one listener before they are dropped for an OVERRUN. has_staying_watch: False to use plain watches although
    the server may have others. seed: of what is drawn by chance.
    """

    def __init__(
        self, zk: AsyncClient, path: str, depth: int | None, *, keep_data: bool, spread: float, backlog: int,
        has_staying_watch: bool, seed: int | None,
    ) -> None:  # fmt: skip
        if spread < 0:
            raise ValueError(f"spread {spread}: must not be negative")
        self.path = path
        self._zk = zk
        self._mirror = Mirror(path, depth, not has_staying_watch, keep_data)
        self._is_recursive = depth != 0
        self._spread = spread
        self._backlog = backlog
        self._rng = random.Random(seed)
        self._log: Any = LibraryLog("corral.recipes").bind(cache=path)
        self._feeds: dict[Feed, None] = {}
        self._tellers: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._forget_state: Callable[[], None] | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._failure: Exception | None = None
        self._adding: asyncio.Future[None] | None = None
        self._asked: set[str] = set()
        self._is_watching = False
        self._losses = 0
        self._loaded_at = -1
        self._has_multi_read = has_staying_watch
        self._saw = self._on_event

    # Its life.

    async def start(self, timeout: float | None = None) -> Self:
        """Read everything and keep it up to date from then on.

        timeout: seconds until RecipeTimeout, None: as long as it takes. Raises what the server refuses the watch with.
        """
        if self._task is None:
            if self._failure is not None:
                raise ClientClosed(f"the cache of {self.path} is closed: make a new one")
            self._forget_state = self._zk.on_state(self._on_state)
            self._task = asyncio.get_running_loop().create_task(self._keep())
            self._task.add_done_callback(self._ended)
        try:
            await self.in_step(timeout)
        except BaseException:
            self._stop()
            raise
        return self

    async def close(self, timeout: float = 5.0) -> None:
        """End it; listeners have `timeout` seconds to take what waits for them. The copy stays as it is."""
        self._stop()
        tellers = {task for task in self._tellers if task is not asyncio.current_task()}
        if tellers:
            _, late = await asyncio.wait(tellers, timeout=timeout)
            for task in late:
                task.cancel()

    def _stop(self, why: Exception | None = None) -> None:
        self._failure = self._failure or why or ClientClosed(f"the cache of {self.path} is closed")
        self._settled.set()
        if self._forget_state is not None:
            self._forget_state()
            self._forget_state = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
            if self._zk.state is not State.CLOSED:
                # Beside, so that nothing here waits for a connection.
                self._zk.spawn(self._unwatch())
        self._mirror.stale()
        self._tell()
        for feed in self._feeds:
            feed.end()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What users ask.

    @property
    def is_in_step(self) -> bool:
        """Whether the copy follows the server; if not, it may be older than the time since the connection was lost."""
        return self._mirror.is_in_step and self._zk.state.is_connected

    @property
    def unreadable(self) -> dict[str, str]:
        """The znodes that could not be read when they were tried last, by path, with the reason."""
        return dict(self._mirror.unreadable)

    async def in_step(self, timeout: float | None = None) -> None:
        """Wait until everything has been read, for the first time or after a reconnect.

        timeout: in seconds. Raises RecipeTimeout, ClientClosed, and what the server refused the watch with.
        """
        async with within(timeout, f"the cache of {self.path} was not in step"):
            await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def changes(self) -> Feed:
        """Return the changes from now on, as an async iterator; `close` it when it is no longer read."""
        feed = Feed(self.path, self._backlog, self._drop_feed)
        self._feeds[feed] = None
        if self._failure is not None:
            feed.end()
        return feed

    def listen(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Have `listener(change)` called for each change from now on, in order; return what ends that.

        It may be a coroutine function; the next change waits for it, the cache and the connection do not. What it
        raises is logged.
        """
        feed = self.changes()
        task = asyncio.get_running_loop().create_task(self._call(listener, feed))
        self._tellers.add(task)
        task.add_done_callback(self._tellers.discard)
        return feed.close

    async def _call(self, listener: Callable[[Change], object], feed: Feed) -> None:
        async for change in feed:
            try:
                result = listener(change)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:  # noqa: BLE001  # A listener's fault is no reason to tell it nothing more.
                self._log.error("a listener failed", listener=repr(listener), told=str(change), why=repr(error))

    def _drop_feed(self, feed: Feed) -> None:
        self._feeds.pop(feed, None)

    # How it follows.

    def _on_event(self, event: WatchEvent) -> None:
        self._mirror.saw(event)
        self._wake.set()

    def _on_state(self, state: State) -> None:
        if state is State.CLOSED:
            self._stop(ClientClosed(f"the cache of {self.path} is closed: its client is"))
            return
        if not state.is_connected:
            self._losses += 1
            self._settled.clear()
            self._mirror.stale()
            self._tell()
        self._wake.set()

    def _tell(self) -> None:
        changes, self._mirror.changes = self._mirror.changes, []
        for change in changes:
            for feed in self._feeds:
                feed.put(change)
        if self._mirror.is_in_step:
            self._settled.set()

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._follow()
                failures = 0
            except ClientClosed as error:
                self._stop(error)
            except ClientError as error:
                # A new connection reads everything again.
                self._log.debug("reading was interrupted", why=str(error))
                await self._pause(failures)
                failures += 1
            except ZooKeeperError as error:
                if not self._is_watching:
                    self._stop(error)
                self._log.warning("cannot read", why=str(error))
                await self._pause(failures)
                failures += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._log.error("the cache has failed", why=repr(error))
            self._stop(error)

    async def _pause(self, failures: int) -> None:
        shortest, longest = _RETRY_S
        await asyncio.sleep(min(shortest * 2 ** min(failures, 16), longest) * (0.5 + self._rng.random() / 2))

    async def _follow(self) -> None:
        """Do what there is to do, or wait until there is something."""
        self._wake.clear()
        if not self._zk.state.is_connected:
            await self._wake.wait()
            return
        if not self._is_watching and not self._mirror.is_one_shot:
            await self._watch()
        if self._loaded_at != self._losses:
            if self._loaded_at >= 0:
                await asyncio.sleep(self._spread * self._rng.random())
            self._loaded_at = self._losses
            self._mirror.reload()
        batch = self._mirror.take(ROUND_MAX)
        if batch is None:
            await self._wake.wait()
            return
        losses = self._losses
        try:
            data, names = await self._read(batch)
        except BaseException:
            self._mirror.put_back(batch)
            raise
        if losses != self._losses:
            self._mirror.put_back(batch)
            return
        self._mirror.took(batch, data, names)
        self._tell()

    async def _watch(self) -> None:
        added = self._zk.add_watch(self.path, self._saw, recursive=self._is_recursive, catch_up=False)
        self._adding = asyncio.ensure_future(added)
        # Where nobody waits any more, its failure is the client's end.
        self._adding.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            # Not cancelled with the rest: a watch that is under way can only be removed once it is there.
            await asyncio.shield(self._adding)
        except Unimplemented:
            self._log.info("the server has no watches that stay; every znode gets its own")
            self._mirror.is_one_shot = True
            self._has_multi_read = False
        else:
            self._is_watching = True

    async def _unwatch(self) -> None:
        if self._adding is not None:
            await asyncio.wait([self._adding])
        if not self._mirror.is_one_shot:
            await self._zk.remove_watch(self.path, self._saw, recursive=self._is_recursive)
            return
        try:
            # Answered after all reads that are under way, whose watches are there then.
            await self._zk.exists(self.path)
        except ClientError:
            pass
        for path in {self.path, *self._asked, *(node.path for node in self._mirror)}:
            self._zk.forget_watch(path, self._saw)

    # How it reads.

    async def _read(self, batch: Batch) -> tuple[list[Found], list[Listing]]:
        if self._mirror.is_one_shot:
            self._asked = {*batch.data, *batch.names}
            found = await _all([self._get(path) for path in batch.data] + [self._list(path) for path in batch.names])
        elif self._has_multi_read:
            asked = [(path, True) for path in batch.data] + [(path, False) for path in batch.names]
            parts = [asked[at : at + READ_MAX] for at in range(0, len(asked), READ_MAX)]
            answers = await _all([self._multi_read(part) for part in parts])
            found = [each for answer in answers for each in _understood(answer)]
        else:
            found = await _all(
                [self._zk.get(path) for path in batch.data] + [self._zk.children(path) for path in batch.names]
            )
        known = [_understood(each) for each in found]
        return known[: len(batch.data)], known[len(batch.data) :]

    async def _multi_read(self, asked: Sequence[tuple[str, bool]]) -> list[Any]:
        try:
            return await self._zk.multi_read(
                [path for path, is_data in asked if is_data], [path for path, is_data in asked if not is_data]
            )
        except Unimplemented:
            self._has_multi_read = False
            raise

    async def _get(self, path: str) -> Any:
        """Read a znode and watch it; the topmost one also while it is missing."""
        while True:
            try:
                return await self._zk.get(path, self._saw)
            except NoNode:
                if path != self.path or await self._zk.exists(path, self._saw) is None:
                    raise

    async def _list(self, path: str) -> Any:
        return await self._zk.children(path, self._saw)


async def _all(asked: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await what was asked for, in parallel; return results and errors, in order."""
    return await asyncio.gather(*asked, return_exceptions=True)


def _understood(found: Any) -> Any:
    """Return what was read: None for no znode, a text for one that must not be read. Raises all other errors."""
    if isinstance(found, NoNode):
        return None
    if isinstance(found, NoAuth):
        return str(found)
    if isinstance(found, BaseException):
        raise found
    return found
