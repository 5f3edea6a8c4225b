"""A znode that is there as long as it is wanted: made again when it was deleted, or its session has ended.

It is kept by one task, which alone acts on it, so that nothing overtakes anything:

    look --missing--> create --> look
    look --of an earlier session of ours--> delete --> look
    look --of another's session--> BLOCKED, until it goes
    look --ours--> write what is wanted, if that has changed; HELD until an event or a new connection

Whose an ephemeral is, is the server's word: its owner against our session. Data is updated in place. Unlike Curator's
PersistentNode, another client's node is not taken over, and failures are not repeated without a pause.
"""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import BadVersion, NoAuth, NodeExists, NoNode, NotEmpty, ZooKeeperError
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ClientError, RequestTooLarge
from corral.client.values import State, ZnodeStat
from corral.recipes.asking import Bell, make_parents, outlasting, remove, remove_beside, remove_owned, steadily, within
from corral.recipes.errors import RecipeTimeout
from corral.wire.data import ACL

PAUSE_S: Final = 0.05
PAUSE_MAX_S: Final = 5.0


class NodeState(enum.Enum):
    """How the node stands.

    HELD: it is there and ours. IN_DOUBT: the connection is; MISSING: it is being made. BLOCKED: another's node stands
    there. REFUSED: the server does not let it be made or written, see `error`. STOPPED: it is not wanted.
    """

    HELD = "HELD"
    IN_DOUBT = "IN_DOUBT"
    MISSING = "MISSING"
    BLOCKED = "BLOCKED"
    REFUSED = "REFUSED"
    STOPPED = "STOPPED"


class PersistentNode:
    """A znode at `path`, kept from `start` to `stop`.

    ephemeral: it goes with the session, and comes back with the next. sequence: a number is appended to its path, which
    it keeps. ttl_ms: the server removes it when it was not kept for so long, which is done by writing its data; then
    `stop` does not delete it. One that is not ephemeral and is there already gets the data, as nobody owns it. error:
    the refusal, if the state is REFUSED.
    """

    def __init__(
        self, zk: AsyncClient, path: str, data: bytes = b"", *, ephemeral: bool = True, sequence: bool = False,
        ttl_ms: int | None = None, acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if ttl_ms is not None and ephemeral:
            raise ValueError(f"ttl_ms {ttl_ms}: an ephemeral has none; say ephemeral=False")
        self._zk = zk
        self._asked_path = path
        self._path = "" if sequence else path
        self._prefix = f"_c_{uuid.uuid4()}-"
        self._data = data
        self._ephemeral = ephemeral
        self._ttl_ms = ttl_ms
        self._acl = acl
        self._bell = Bell(zk)
        self._state = NodeState.STOPPED
        self._changed = asyncio.Event()
        self._listeners: dict[Callable[[NodeState], object], None] = {}
        self._sessions: set[int] = set()
        self._keeper: asyncio.Task[Any] | None = None
        self._forget: Callable[[], None] | None = None
        self._wanted = 1
        self._written = 0
        self._refused = 0
        self._czxid = 0
        self._asked_after: int | None = None
        self._touch_at = 0.0
        self.error: ZooKeeperError | RequestTooLarge | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # What is known of it.

    @property
    def path(self) -> str:
        """Where it is; "" as long as its number is not known."""
        return self._path

    @property
    def data(self) -> bytes:
        """What it is wanted to have in it."""
        return self._data

    @property
    def state(self) -> NodeState:
        """How it stands, by the clock at this moment."""
        if self._state is NodeState.HELD and not self._zk.state.is_connected:
            self._become(NodeState.IN_DOUBT)
        return self._state

    @property
    def fencing_token(self) -> int:
        """The zxid that made the node; 0 if it was not made yet. It grows each time it is made again."""
        return self._czxid

    def on_change(self, listener: Callable[[NodeState], object]) -> Callable[[], None]:
        """Have `listener(state)` called, on the loop, at each change; return what ends that."""
        self._listeners[listener] = None

        def forget() -> None:
            self._listeners.pop(listener, None)

        return forget

    async def wait_for(self, *states: NodeState, timeout: float | None = None) -> NodeState:
        """Wait until it is in one of `states`. Raises RecipeTimeout, ClientClosed."""
        async with within(timeout, f"{self._path or self._asked_path} is {self._state.value}, not changed"):
            while self.state not in states:
                if self._zk.state is State.CLOSED:
                    raise ClientClosed(f"{self._path or self._asked_path} is not kept any more: the client is closed")
                self._changed.clear()
                await self._changed.wait()
        return self._state

    # What is done with it.

    async def start(self, timeout: float | None = None) -> None:
        """Have it made, and kept from now on.

        Raises the server's refusal, NodeExists if another client's node stands there, RecipeTimeout; then it is not
        kept; ClientClosed.
        """
        if self._keeper is None:
            self._become(NodeState.MISSING)
            self._forget = self._zk.on_state(self._on_state)
            self._bell.ring()
            self._keeper = self._zk.spawn(self._keep())
        try:
            settled = (NodeState.HELD, NodeState.BLOCKED, NodeState.REFUSED, NodeState.STOPPED)
            state = await self.wait_for(*settled, timeout=timeout)
            if state is NodeState.REFUSED and self.error is not None:
                raise self.error
            if state is NodeState.BLOCKED:
                raise NodeExists(f"{self._path}: another client has that node")
            if state is NodeState.STOPPED:
                raise ClientClosed(f"{self._asked_path} was stopped, or its client closed, before it was there")
        except BaseException:
            if self._keeper is not None:
                self._end()
            raise

    async def stop(self, timeout: float | None = None) -> bool:
        """Have it deleted, and keep it no more; return False if that has not been in `timeout` seconds.

        It is deleted in the background then. One with a time to live is left to that.
        """
        if self._keeper is None:
            return True
        keeper, removal = self._end()
        try:
            async with within(timeout, f"{self._path} was not deleted"):
                await asyncio.gather(keeper, return_exceptions=True)
                if removal is not None:
                    await outlasting(removal)
        except RecipeTimeout:
            return False
        except ClientClosed:
            # Its session goes with it.
            pass
        return True

    async def set(self, data: bytes, timeout: float | None = None) -> None:
        """Give it other data, in place; what it has when it is made again, too.

        Raises RecipeTimeout, ClientClosed, and the server's refusal: it is tried again, except for RequestTooLarge,
        which changes nothing.
        """
        before = self._data
        self._data = data
        self._wanted += 1
        wanted = self._wanted
        self._bell.ring()
        if self._keeper is None:
            return
        async with within(timeout, f"{self._path} was not written"):
            while self._written < wanted and self._state is not NodeState.STOPPED:
                if self._refused >= wanted and self.error is not None:
                    if isinstance(self.error, RequestTooLarge) and self._wanted == wanted:
                        self._data = before
                        self._wanted += 1
                        self._bell.ring()
                    raise self.error
                self._changed.clear()
                await self._changed.wait()
            if self._written < wanted and self._keeper is not None:
                raise ClientClosed(f"{self._path} was not written: the client is closed")

    # Inside.

    def _end(self) -> tuple[asyncio.Task[Any], asyncio.Task[Any] | None]:
        keeper = self._keeper
        assert keeper is not None
        self._keeper = None
        if self._forget is not None:
            self._forget()
        keeper.cancel()
        if self._path:
            self._zk.forget_watch(self._path, self._bell.on_event)
        self._become(NodeState.STOPPED)
        removal: asyncio.Task[Any] | None = None
        if self._ttl_ms is None and self._zk.state is not State.CLOSED:
            removal = self._zk.spawn(self._clear_away(keeper))
        return keeper, removal

    async def _clear_away(self, keeper: asyncio.Task[Any]) -> None:
        """Delete what is ours, also what a create under way has made."""
        await asyncio.gather(keeper, return_exceptions=True)
        is_numbered = not self._path
        if is_numbered:
            await self._find()
        if not self._path:
            return
        if not self._ephemeral:
            if self._written or is_numbered or await self._was_made():
                await remove(self._zk, self._path)
            return
        for session_id in self._sessions | {self._zk.session_id}:
            await remove_owned(self._zk, self._path, session_id)

    async def _was_made(self) -> bool:
        """Tell whether a create without an answer has made the node: it is younger than the question, with our data."""
        if self._asked_after is None:
            return False
        try:
            data, stat = await steadily(self._zk, lambda: self._zk.get(self._path))
        except (NoNode, NoAuth, ClientClosed):
            return False
        return stat.czxid > self._asked_after and data == self._data

    def _on_state(self, state: State) -> None:
        if state is State.CLOSED:
            self._become(NodeState.STOPPED)
            # Also where it was stopped before, by an answer that told of the close under way.
            self._changed.set()
        elif state.is_connected:
            self._bell.ring()
        elif self._state is NodeState.HELD:
            lost = self._ephemeral and state is State.LOST
            self._become(NodeState.MISSING if lost else NodeState.IN_DOUBT)

    async def _keep(self) -> None:
        pause = PAUSE_S
        while True:
            await self._await_bell()
            self._bell.clear()
            wanted = self._wanted
            try:
                await self._look()
                pause = PAUSE_S
                continue
            except ClientClosed:
                self._become(NodeState.STOPPED)
                return
            except (ZooKeeperError, RequestTooLarge) as error:
                self.error = error
                self._refused = wanted
                self._become(NodeState.REFUSED)
                self._changed.set()
            except ClientError:
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MAX_S)
            self._bell.ring()

    async def _await_bell(self) -> None:
        if self._ttl_ms is None:
            await self._bell.wait()
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(max(self._touch_at, loop.time())):
                await self._bell.wait()
        except TimeoutError:
            # It is due to be written, so that its time to live begins anew.
            self._written = min(self._written, self._wanted - 1)

    async def _look(self) -> None:
        """Bring the node to what is wanted; returns when it is, or when an event will tell."""
        if not self._path:
            await self._find()
        while True:
            stat = await self._zk.exists(self._path, self._bell.on_event) if self._path else None
            if stat is None:
                self._become(NodeState.MISSING)
                await self._create()
            elif self._ephemeral and stat.ephemeral_owner != self._zk.session_id:
                if stat.ephemeral_owner not in self._sessions:
                    self._become(NodeState.BLOCKED)
                    return
                await self._delete_old(stat)
            elif self._written >= self._wanted:
                break
            else:
                await self._write(stat)
                break
        self._czxid = stat.czxid
        self._become(NodeState.HELD)
        self._changed.set()

    async def _create(self) -> None:
        wanted = self._wanted
        path = self._path
        is_numbered = not path
        if is_numbered:
            directory, _, name = self._asked_path.rpartition("/")
            path = f"{directory}/{self._prefix}{name}"
        self._sessions.add(self._zk.session_id)
        self._asked_after = self._zk.last_zxid
        try:
            made = await self._zk.create(
                path, self._data, acl=self._acl, ephemeral=self._ephemeral, sequence=is_numbered, ttl_ms=self._ttl_ms
            )
        except NodeExists:
            # Another's: it is not to be taken for what we asked for.
            self._asked_after = None
            return
        except NoNode:
            await make_parents(self._zk, path, self._acl)
            return
        self._path = made
        self._written = wanted
        self._touched()

    async def _write(self, stat: ZnodeStat) -> None:
        wanted = self._wanted
        try:
            await self._zk.set(self._path, self._data, stat.version)
        except (BadVersion, NoNode):
            self._bell.ring()
            return
        self._written = wanted
        self._touched()

    def _touched(self) -> None:
        if self._ttl_ms is not None:
            self._touch_at = asyncio.get_running_loop().time() + self._ttl_ms / 3000

    async def _delete_old(self, stat: ZnodeStat) -> None:
        try:
            await self._zk.delete(self._path, stat.version)
        except (BadVersion, NoNode, NotEmpty):
            pass
        self._written = 0

    async def _find(self) -> None:
        """Find a numbered node of ours that was made though its reply was lost."""
        directory = self._asked_path[: self._asked_path.rfind("/")] or "/"
        try:
            await steadily(self._zk, lambda: self._zk.sync(directory))
            names = await steadily(self._zk, lambda: self._zk.children(directory))
        except NoNode:
            return
        base = directory.rstrip("/")
        found = sorted(f"{base}/{name}" for name in names if name.startswith(self._prefix))
        for extra in found[1:]:
            remove_beside(self._zk, extra)
        if found:
            self._path = found[0]

    def _become(self, state: NodeState) -> None:
        if state is self._state or (
            self._keeper is None and self._state is NodeState.STOPPED and state is not NodeState.MISSING
        ):
            return
        self._state = state
        self._changed.set()
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception as error:  # noqa: BLE001  # A listener's fault is no reason to keep the node no more.
                self._zk.log.error("a listener failed", listener=repr(listener), told=state.value, why=repr(error))
