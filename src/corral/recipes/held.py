"""What is held, and whether it still is: held, in doubt, lost.

    HELD     --the connection is gone, or this process slept--> IN_DOUBT
    IN_DOUBT --the server says that the node is there, and ours--> HELD
    any      --the session is over, or the node is gone or another's--> LOST
    any      --given back--> RELEASED

`state` is judged by the clock at the moment it is read: a process that slept through its session's timeout reads LOST
before it acts, whether a timer has run or not. What has to be safe against a pause *after* that look needs a fence at
the place where it acts: `fencing_token`, or `transaction()` where that place is ZooKeeper itself.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Final

from corral.base.errors import NoAuth, NoNode, ZooKeeperError
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ClientError
from corral.client.transaction import Transaction
from corral.client.values import EventType, State, WatcherType, WatchEvent
from corral.client.watches import Listener
from corral.recipes.contender import Contender, Owned
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout

REVOKE: Final = b"__REVOKE__"
"""What is written into a holder's node to ask for what it holds. Source: Curator's Revoker."""


class HoldState(enum.Enum):
    """How a holder stands; see the module."""

    HELD = "HELD"
    IN_DOUBT = "IN_DOUBT"
    LOST = "LOST"
    RELEASED = "RELEASED"

    @property
    def is_over(self) -> bool:
        """Whether it can never be held again."""
        return self is HoldState.LOST or self is HoldState.RELEASED


class Held:
    """A lock, a lease or the like while it is held; made by the recipe, with the proof that the node is its own.

    listener: the one that watches the nodes, and passes their events on to `on_event`; `on_event` itself unless given.
    """

    def __init__(
        self, zk: AsyncClient, contender: Contender, identifier: bytes = b"", listener: Listener | None = None
    ) -> None:
        self._zk = zk
        self._contender = contender
        self._nodes = contender.nodes
        self.identifier = identifier
        self._listener: Listener = listener if listener is not None else self.on_event
        self._state = HoldState.HELD
        self._generation = 0
        self._listeners: dict[Callable[[HoldState], object], None] = {}
        self._revoked = asyncio.Event()
        self._removal: asyncio.Task[None] | None = None
        self._forget = zk.on_state(self._on_session)
        self._on_session(zk.state)

    # What is asked of it.

    @property
    def node(self) -> Owned:
        """The node that stands for it."""
        return self._nodes[0]

    @property
    def path(self) -> str:
        """The path of the node that stands for it."""
        return self._nodes[0].path

    @property
    def fencing_token(self) -> int:
        """A number that is higher than every earlier holder's: the zxid that made the node.

        Hand it to what is protected, which refuses a number lower than the highest it has seen.
        """
        return self._nodes[0].czxid

    @property
    def state(self) -> HoldState:
        """How it stands, by the clock at this moment."""
        self.look()
        return self._state

    @property
    def is_held(self) -> bool:
        """Whether it is held for certain at this moment."""
        return self.state is HoldState.HELD

    def certain_for(self) -> float:
        """Return for how many seconds from now it is certain to be held, whatever the network does; 0 if in doubt.

        By the monotonic clock, from when the server was last known to be heard; a node deleted by hand is not foreseen.
        """
        return self._zk.certain_for() if self.is_held else 0.0

    async def still_held(self) -> bool:
        """Ask the server whether it is held; True is the server's word, of a moment ago.

        Raises ClientError if it cannot be asked.
        """
        if self.state.is_over:
            return False
        await self._zk.sync(self.path)
        if not await self._contender.verify():
            self._become(HoldState.LOST)
        return not self._state.is_over

    def ensure(self) -> None:
        """Raise HoldLost unless it is held for certain at this moment."""
        if not self.is_held:
            raise HoldLost(f"{self.path} is {self._state.value}, not held")

    def transaction(self) -> Transaction:
        """Return a transaction that happens only if it is still held when the server carries it out.

        Its first operations check the own nodes: their results are None, and TransactionFailed with an index among
        them means that it is lost. Raises HoldLost or NotHeld if it is known to be over.
        """
        if self.state.is_over:
            kind = HoldLost if self._state is HoldState.LOST else NotHeld
            raise kind(f"{self.path} is {self._state.value}: nothing can be done in its name")
        work = self._zk.transaction()
        for node in self._nodes:
            work.check(node.path)
        return work

    # What it tells.

    def on_change(self, listener: Callable[[HoldState], object]) -> Callable[[], None]:
        """Have `listener(state)` called, on the loop, at each change; return what ends that."""
        self._listeners[listener] = None

        def forget() -> None:
            self._listeners.pop(listener, None)

        return forget

    async def wait_lost(self, timeout: float | None = None) -> HoldState:
        """Wait until it is over; return LOST or RELEASED. Raises RecipeTimeout after `timeout` seconds."""
        over = asyncio.Event()
        forget = self.on_change(lambda state: over.set() if state.is_over else None)
        try:
            if not self.state.is_over:
                async with asyncio.timeout(timeout):
                    await over.wait()
        except TimeoutError as error:
            raise RecipeTimeout(f"{self.path} is {self._state.value} still, after {timeout} s") from error
        finally:
            forget()
        return self._state

    @property
    def is_revoked(self) -> bool:
        """Whether somebody has asked for it: see the recipe's `revoke`. To give it back is the holder's decision."""
        return self._revoked.is_set()

    async def wait_revoked(self) -> None:
        """Wait until somebody asks for it. Raises HoldLost if it is over before."""
        waiting = asyncio.ensure_future(self._revoked.wait())
        over = asyncio.ensure_future(self.wait_lost())
        try:
            await asyncio.wait({waiting, over}, return_when=asyncio.FIRST_COMPLETED)
            if not self._revoked.is_set():
                raise HoldLost(f"{self.path} is {self._state.value}, and was not asked for")
        finally:
            waiting.cancel()
            over.cancel()

    # Its end.

    async def release(self, timeout: float | None = None) -> bool:
        """Give it back. Returns True when the server has said so, False if that was not in `timeout` seconds.

        It is not held from the call on. Whatever happens, cancellation too, its node is removed in the background.
        """
        self.abandon()
        if self._removal is None or self._state is HoldState.LOST:
            return True
        await asyncio.wait({self._removal}, timeout=timeout)
        return self._removal.done()

    def abandon(self) -> None:
        """Give it back as `release` does, without waiting for the server's word."""
        if not self._state.is_over:
            self._become(HoldState.RELEASED)

    # Inside.

    def look(self) -> None:
        """Judge it by the clock, and tell the listeners if that changes anything."""
        if not self._state.is_over:
            self._on_session(self._zk.state)

    def watch(self) -> None:
        """Set the watch on the own nodes, where nobody else has."""
        self._look()

    def on_event(self, event: WatchEvent) -> None:
        """Take what the watch on the own node saw."""
        if not self._state.is_over and event.type is not EventType.NONE:
            self._look()

    def _on_session(self, state: State) -> None:
        if self._state.is_over:
            return
        if state in (State.LOST, State.CLOSED) or self._zk.session_id != self.node.session_id:
            self._become(HoldState.LOST)
        elif not state.is_connected:
            self._become(HoldState.IN_DOUBT)
        elif self._state is HoldState.IN_DOUBT and not self._is_looking():
            self._look()

    def _is_looking(self) -> bool:
        return bool(self._generation % 2)

    def _look(self) -> None:
        # Odd while an answer is awaited; an answer to an earlier question says nothing.
        self._generation += 2 if self._is_looking() else 1
        self._zk.spawn(self._ask(self._generation))

    async def _ask(self, generation: int) -> None:
        try:
            is_ours = await self._contender.verify(self._listener)
            data = await self._data() if is_ours else b""
        except ClientClosed:
            return
        except ClientError:
            if generation == self._generation:
                self._generation += 1
                if self._zk.state.is_connected:
                    self._look()
            return
        except ZooKeeperError:
            # Not even we may look any more; the next connection asks again.
            self._generation += generation == self._generation
            self._become(HoldState.IN_DOUBT)
            return
        if self._state.is_over:
            # An answer that came behind the end has set the watch anew.
            self._forget_watches()
            return
        if data == REVOKE:
            self._revoked.set()
        if not is_ours:
            self._become(HoldState.LOST)
        elif generation == self._generation:
            self._generation += 1
            self._become(HoldState.HELD if self._zk.state.is_connected else HoldState.IN_DOUBT)

    async def _data(self) -> bytes:
        try:
            return (await self._zk.get(self.path))[0]
        except (NoNode, NoAuth):
            # Its deletion is seen by the watch; data that may not be read asks for nothing.
            return b""

    def _forget_watches(self) -> None:
        for node in self._nodes:
            self._zk.forget_watch(node.path, self._listener)

    async def _unwatch(self, path: str) -> None:
        try:
            await self._zk.remove_watches(path, WatcherType.DATA)
        except (ClientError, ZooKeeperError):
            # It tells us of the removal then, which we know of.
            pass

    def _become(self, state: HoldState) -> None:
        if state is self._state or self._state.is_over:
            return
        self._state = state
        if state.is_over:
            self._forget()
            self._forget_watches()
            if state is HoldState.RELEASED and self._zk.state.is_connected:
                for node in self._nodes:
                    # Sent in front of the removal: whoever is next shall be the only one whom a server has to tell.
                    self._zk.spawn(self._unwatch(node.path))
            if self._zk.state is not State.CLOSED:
                # Also when it is lost: a node that is still there keeps the others waiting.
                self._removal = self._contender.remove()
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception as error:  # noqa: BLE001  # One listener's fault must not keep the others in the dark.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"a listener of {self.path} failed when told {state.value}", "exception": error}
                )
