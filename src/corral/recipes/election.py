"""Elections: one leader among all who stand, told when it is the leader no more.

    election = Election(zk, "/election/billing", identifier=b"host-7")
    async with election as led:
        await lead(fencing_token=led.fencing_token)

`Election` leads in a block or a function, one term after another; `Latch` stands beside other work, and says whether it
leads. Whoever has stood for the longest time leads. A term is a `Held`: with a fencing token, and in doubt as soon as
the connection is. The nodes are Curator's or kazoo's; candidates of either library are waited for, see `Style`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Literal, Self

from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed
from corral.recipes import sequence
from corral.recipes.asking import within
from corral.recipes.errors import HoldLost, NotHeld
from corral.recipes.guard import Steps
from corral.recipes.held import Held, HoldState
from corral.recipes.line import before_candidate
from corral.recipes.lock import RELEASE_S, LineLock, Waiting
from corral.wire.data import ACL

Style = Literal["latch", "selector", "kazoo", "bridge"]
"""Who waits for us. latch: Curator's LeaderLatch. selector: Curator's LeaderSelector. kazoo: kazoo's Election. bridge:
the last two, at the price of a second node; they still do not wait for each other."""

_ENDINGS: Final[dict[Style, tuple[str, ...]]] = {
    "latch": (sequence.LATCH,),
    "selector": (sequence.LOCK,),
    "kazoo": (sequence.KAZOO_LOCK,),
    "bridge": (sequence.LOCK, sequence.KAZOO_LOCK),
}


class Election(LineLock):
    """An election at `path`, which is made if it is missing; the object is one candidate, whatever tasks use it.

    identifier: the data of our node, for others to see; it need not be unique. cancel_on_loss: whether `async with` and
    the runs end their block with HoldLost when the leadership is lost; if not, look at the `Held`. acl: of the nodes,
    and of parents that are made.
    """

    _markers = sequence.CANDIDATES

    def __init__(
        self, zk: AsyncClient, path: str, *, identifier: bytes = b"", style: Style = "latch",
        cancel_on_loss: bool = True, acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if style not in _ENDINGS:
            raise ValueError(f"style {style!r}: must be one of {', '.join(_ENDINGS)}")
        super().__init__(
            zk, path, _ENDINGS[style], before_candidate, identifier=identifier, scope="object",
            cancel_on_loss=cancel_on_loss, acl=acl, is_hex=style == "kazoo",
        )  # fmt: skip

    async def leader(self) -> Waiting | None:
        """Return who stands first, None if nobody stands: who leads, or will as soon as it has noticed."""
        async for each in self._line():
            return each
        return None

    async def run_terms(self, work: Callable[[Held], Awaitable[object]]) -> None:
        """Lead term after term until cancelled: after each, lost or ended, stand again behind the others.

        Raises what `work` raises, except for the loss of the leadership.
        """
        while True:
            led: Held | None = None
            try:
                async with self as led:
                    await Steps(work(led), led)
            except HoldLost:
                if led is None or led.state is not HoldState.LOST:
                    raise


class Latch:
    """A candidate that stands from `start` to `stop`, beside other work, and again after each loss.

    Used as `async with`, or `start` and `stop`. Parameters as `Election`.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, identifier: bytes = b"", style: Style = "latch",
        acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        self._zk = zk
        self._election = Election(zk, path, identifier=identifier, style=style, acl=acl)
        self._standing: asyncio.Task[None] | None = None
        self._held: Held | None = None
        self._has_led = False
        self._listeners: dict[Callable[[bool], object], None] = {}

    @property
    def path(self) -> str:
        """Where the election is."""
        return self._election.path

    @property
    def held(self) -> Held | None:
        """The term under way, which may be in doubt; None if there is none."""
        return self._held if self._held is not None and not self._held.state.is_over else None

    @property
    def is_leader(self) -> bool:
        """Whether we lead for certain, by the clock at this moment."""
        return self._held is not None and self._held.is_held

    async def start(self) -> None:
        """Begin to stand; `wait_leader` waits for the outcome."""
        if self._standing is None or self._standing.done():
            self._standing = self._zk.spawn(self._stand())

    async def stop(self, timeout: float | None = RELEASE_S) -> bool:
        """Stand no more. Returns False if the server has not confirmed the end of a term within `timeout` seconds.

        We do not lead from the call on, and the node is removed in the background whatever happens.
        """
        standing, self._standing = self._standing, None
        held, self._held = self._held, None
        if standing is not None:
            standing.cancel()
        is_confirmed = True
        if held is not None:
            is_confirmed = await held.release(timeout)
        if standing is not None:
            await asyncio.wait({standing})
        return is_confirmed

    async def wait_leader(self, timeout: float | None = None) -> Held:
        """Wait until we lead; return the term. Raises RecipeTimeout after `timeout` seconds.

        Raises NotHeld if the latch is not started, or is stopped, and what the server refused.
        """
        changed = asyncio.Event()

        def wake(_: object) -> None:
            changed.set()

        forget = self.on_change(wake)
        standing = self._standing
        if standing is not None:
            standing.add_done_callback(wake)
        try:
            async with within(timeout, f"not the leader of {self.path}"):
                while True:
                    if standing is None or self._standing is not standing:
                        raise NotHeld(f"nobody stands for {self.path} here: the latch is not started")
                    if standing.done():
                        # A client that is closed without a server cancels it, and not who waits here.
                        if not standing.cancelled():
                            standing.result()
                        raise ClientClosed(f"nobody stands for {self.path} here: the client is closed")
                    if self.is_leader and self._held is not None:
                        return self._held
                    changed.clear()
                    await changed.wait()
        finally:
            forget()
            if standing is not None:
                standing.remove_done_callback(wake)

    def on_change(self, listener: Callable[[bool], object]) -> Callable[[], None]:
        """Have `listener(whether we lead)` called, on the loop, at each change; return what ends that.

        A leader whose connection is gone is told False, and True when it turns out to lead still.
        """
        self._listeners[listener] = None

        def forget() -> None:
            self._listeners.pop(listener, None)

        return forget

    async def leader(self) -> Waiting | None:
        """Return who stands first; see `Election.leader`."""
        return await self._election.leader()

    async def contenders(self) -> list[Waiting]:
        """Return all who stand, the leader first."""
        return await self._election.contenders()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # Inside.

    async def _stand(self) -> None:
        while True:
            try:
                held = await self._election.acquire()
            except ClientClosed:
                return
            self._held = held
            forget = held.on_change(self._on_change)
            try:
                self._on_change(held.state)
                await held.wait_lost()
            finally:
                forget()
                # Also where the task is cancelled by the client's end, and not by `stop`.
                self._on_change(HoldState.RELEASED)

    def _on_change(self, state: HoldState) -> None:
        leads = state is HoldState.HELD
        if leads is self._has_led:
            return
        self._has_led = leads
        for listener in list(self._listeners):
            try:
                listener(leads)
            except Exception as error:  # noqa: BLE001  # A listener's fault must not end the candidacy.
                self._zk.log.error("a listener failed", listener=repr(listener), told=str(leads), why=repr(error))
