"""The asyncio client: every operation of the protocol, typed, over one session.

    async with corral.connect("a:2181,b:2181/app") as zk:
        await zk.create("/config", b"1")
        data, stat = await zk.get("/config")

All methods that ask the server return an awaitable; nothing is sent twice by itself (see `Client.retry`). They raise
the server's refusals (`corral.base.errors`), and `corral.client.errors` for what failed on the way, each with an
`outcome`. Listeners and state callbacks run on the loop, in the order in which things happened, and before the result
of any request that was answered later.

One file in spite of its length: it is one method for each thing that people ask for, most of it their docstrings, and
the client for threads is generated from this class. What they are made of stands in `calls.py` and `session.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

from corral.base.errors import (
    AuthFailed,
    BadArguments,
    CorralError,
    MarshallingError,
    NoAuth,
    NodeExists,
    NoNode,
    NotEmpty,
    NotReadOnly,
    NoWatcher,
    Outcome,
    ZooKeeperError,
)
from corral.base.liblog import LibraryLog
from corral.base.paths import parent_of, validate_path
from corral.client import forks
from corral.client import retry as retries
from corral.client.calls import Calls
from corral.client.catchup import catch_up
from corral.client.effects import (
    Call,
    Connect,
    Disconnect,
    Fire,
    Probe,
    Refused,
    StateChanged,
    Step,
    close_call,
    complete,
    nothing,
)
from corral.client.errors import ClientClosed, ClientError, RequestTimeout, RequestTooLarge, WrongProcess
from corral.client.exchange import Sasl
from corral.client.hosts import HostRound, parse_connect_string
from corral.client.session import Session
from corral.client.streams import EventStream, StateStream
from corral.client.transaction import Transaction, create_flags, read_results
from corral.client.transport import Transport
from corral.client.values import (
    EventType,
    State,
    WatcherType,
    WatchEvent,
    WatchMode,
    ZnodeStat,
    access_list,
    shown_path,
)
from corral.client.watches import KINDS_OF, PERSISTENT, RECURSIVE, Listener
from corral.wire import opcodes
from corral.wire.data import ACL


class Observer(Protocol):
    """Who is shown what a client does.

    asked: a request left or waits to leave: its opcode, path, size in bytes without its header, and the future of its
    result. changed: the client's state is another one now.
    """

    def asked(self, op: int, path: str, size: int, future: asyncio.Future[Any]) -> None: ...
    def changed(self, state: State) -> None: ...


T = TypeVar("T")
PATHS_KNOWN_MAX: Final = 4096
JUTE_MAXBUFFER: Final = 0xFFFFF
TIMEOUT_MS_MAX: Final = 0x7FFFFFFF
"""What fits into the hello."""
_FRAME_HEAD_BYTES: Final = 8
_TYPES: Final = {PERSISTENT: WatcherType.PERSISTENT, RECURSIVE: WatcherType.RECURSIVE}


class AsyncClient:
    """A client on the running event loop; made by `corral.connect`, used as `async with`, or `start` and `close`.

    hosts: a connect string, `host:port,host:port/chroot`. session_timeout_ms: asked for; the server's answer is
    `timeout_ms`. read_only: whether a server without a quorum will do. auth: (scheme, credentials) shown on every
    connection. request_bytes_max: no larger request is sent; keep it at the servers' jute.maxbuffer. ssl_context: for
    TLS. connect_timeout: seconds that `start` waits for a session, None for ever. seed: of everything that is drawn by
    chance. log: a structlog logger; the standard library's `corral.client` unless given. observer: is shown every
    request and state; see `corral.client.telemetry`. sasl: how to authenticate by SASL on every connection, before
    anything else is asked there; see `corral.client.sasl`.
    """

    # What a client of another kind has another of.
    _make_session: ClassVar[type[Session]] = Session
    _make_transport: ClassVar[type[Transport]] = Transport

    def __init__(
        self, hosts: str, *, session_timeout_ms: int = 10_000, read_only: bool = False,
        auth: Sequence[tuple[str, bytes]] = (), request_bytes_max: int = JUTE_MAXBUFFER,
        ssl_context: ssl.SSLContext | None = None, connect_timeout: float | None = 15.0, seed: int | None = None,
        log: Any = None, observer: Observer | None = None, sasl: Sasl | None = None,
    ) -> None:  # fmt: skip
        where = parse_connect_string(hosts)
        if not isinstance(session_timeout_ms, int) or not 0 < session_timeout_ms <= TIMEOUT_MS_MAX:
            raise ValueError(f"session_timeout_ms {session_timeout_ms}: must be an int from 1 to {TIMEOUT_MS_MAX}")
        self.chroot = where.chroot
        self._chroot = where.chroot.encode()
        self._rng = random.Random(seed)
        self._session = self._make_session(
            HostRound(where.hosts, self._rng), session_timeout_ms, read_only, sasl, self._chroot
        )
        self._auth = list(auth)
        self._bytes_max = request_bytes_max - _FRAME_HEAD_BYTES
        self._ssl = ssl_context
        self._connect_timeout = connect_timeout
        self._observer = observer
        self.log = log if log is not None else LibraryLog("corral.client")
        self._calls = Calls(len(self._chroot))
        self._paths: dict[str, bytes] = {}
        self._state_listeners: dict[Callable[[State], object], None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pid = os.getpid()
        self._generation = forks.generation
        # Makes what a request's result goes to; a client behind a portal has its own.
        self.sink: Callable[[], Any] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._transport: Transport
        self._is_started = False
        self._seen_zxid = 0
        self._seen_over = 0
        # Whether there is a znode at the paths of watches that stay; None: neither an answer nor an event has told yet.
        self._known: dict[bytes, bool | None] = {}
        self._looks_itself: set[tuple[bytes, Listener]] = set()

    # Its life.

    async def start(self) -> Self:
        """Connect.

        Raises RequestTimeout if no server grants a session in time, TlsFailed if none is to over TLS, AuthFailed if one
        refuses credentials.
        """
        if not self._is_started:
            self._is_started = True
            self._loop = asyncio.get_running_loop()
            if self.sink is None:
                self.sink = self._loop.create_future
            self._transport = self._make_transport(self._session, self._obey, self._ssl)
            for scheme, token in self._auth:
                self._authenticate(scheme, token).add_done_callback(_consume)
            self._session.start(self._transport.clock())
            self._obey()
        try:
            await self.wait_for(State.CONNECTED, State.READ_ONLY, timeout=self._connect_timeout)
        except BaseException:
            self._abandon()
            raise
        return self

    async def close(self, timeout: float = 5.0) -> None:
        """End the session, and everything of this client; after `timeout` seconds without the server's answer."""
        if self._generation != forks.generation:
            # In a process that was forked off, the session is not this one's to end.
            return
        if not self._is_started or self._session.state is State.CLOSED:
            self._end_tasks()
            return
        call = close_call()
        future = call.sink = self._loop.create_future()
        self._session.close(call, self._transport.clock())
        self._transport.touch()
        self._obey()
        try:
            async with asyncio.timeout(timeout):
                await future
        except (TimeoutError, ClientError):
            # The server ends the session by itself, when its time is over.
            pass
        finally:
            self._abandon()
            tasks = self._end_tasks()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end_tasks(self) -> list[asyncio.Task[Any]]:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        return tasks

    def _abandon(self) -> None:
        """Leave the session to its timeout, and nothing on the loop."""
        if self._session.state is not State.CLOSED:
            self._session.abandon()
            self._obey()
        self._transport.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What is known of the session.

    @property
    def state(self) -> State:
        """How the client stands, judged by the clock at this moment."""
        if self._is_started:
            state = self._session.judged(self._transport.clock())
            if self._session.effects:
                self._obey()
            return state
        return self._session.state

    @property
    def session_id(self) -> int:
        """The session's id, 0 if there is none."""
        return self._session.id

    @property
    def timeout_ms(self) -> int:
        """The session's timeout in ms, as the server granted it."""
        return self._session.timeout

    @property
    def last_zxid(self) -> int:
        """The newest transaction that an answer has shown."""
        return self._session.zxid

    @property
    def server(self) -> str:
        """The server that is, or was last, tried or connected to."""
        return str(self._session.server) if self._session.server is not None else ""

    def certain_for(self) -> float:
        """Return for how many seconds the session is certain to go on, whatever happens; 0 if it is in doubt."""
        if not self.state.is_connected:
            return 0.0
        return max(0, self._session.held_until() - self._transport.clock()) / 1000

    def on_state(self, listener: Callable[[State], object]) -> Callable[[], None]:
        """Have `listener(state)` called at each change; return what ends that."""
        self._state_listeners[listener] = None

        def forget() -> None:
            self._state_listeners.pop(listener, None)

        return forget

    def states(self) -> StateStream:
        """Return the states from now on, as an async iterator that begins with the present one."""
        return StateStream(self)

    async def wait_for(self, *states: State, timeout: float | None = None) -> State:
        """Wait until the client is in one of `states`. Raises RequestTimeout, ClientClosed, AuthFailed."""
        future: asyncio.Future[State] = asyncio.get_running_loop().create_future()

        def look(state: State) -> None:
            if future.done():
                return
            if state in states:
                future.set_result(state)
            elif state is State.CLOSED:
                future.set_exception(self._ended_with())

        forget = self.on_state(look)
        try:
            look(self.state)
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError as error:
            wanted = " or ".join(state.value for state in states)
            why = f": {self._session.why}" if self._session.why else ""
            raise RequestTimeout(
                f"not {wanted} within {timeout} s; the state is {self.state.value}, the last server {self.server}{why}"
            ) from error
        finally:
            forget()

    def _ended_with(self) -> CorralError:
        """Return why the client is closed, to be raised."""
        if not isinstance(self._session.error, AuthFailed):
            return self._session.ended()
        error = AuthFailed(self._session.why)
        error.__cause__ = self._session.error.__cause__
        return error

    # Reading.

    def get(self, path: str, watch: Listener | None = None) -> Awaitable[tuple[bytes, ZnodeStat]]:
        """Return a znode's data and stat. watch: told once of its next change or deletion. Raises NoNode."""
        return self._run(self._calls.get(self._paths.get(path) or self._full(path), watch))

    def exists(self, path: str, watch: Listener | None = None) -> Awaitable[ZnodeStat | None]:
        """Return a znode's stat, None if there is none. watch: told once of its creation, change or deletion."""
        return self._run(self._calls.exists(self._paths.get(path) or self._full(path), watch))

    def children(self, path: str, watch: Listener | None = None) -> Awaitable[list[str]]:
        """Return the names of a znode's children. watch: told once when one is added or removed. Raises NoNode."""
        return self._run(self._calls.children(self._full(path), watch, False))

    def children_and_stat(self, path: str, watch: Listener | None = None) -> Awaitable[tuple[list[str], ZnodeStat]]:
        """Return the names of a znode's children, and its stat; see `children`."""
        return self._run(self._calls.children(self._full(path), watch, True))

    def get_acl(self, path: str) -> Awaitable[tuple[list[ACL], ZnodeStat]]:
        """Return a znode's access list and stat. Raises NoNode."""
        return self._run(self._calls.get_acl(self._full(path)))

    def sync(self, path: str = "/") -> Awaitable[str]:
        """Have the server catch up with its leader: later reads show all that was committed before."""
        return self._run(self._calls.sync(self._full(path)))

    def ephemerals(self, path: str = "/") -> Awaitable[list[str]]:
        """Return the paths of this session's ephemerals that begin with `path`."""
        return self._run(self._calls.ephemerals(self._full(path)))

    def all_children_number(self, path: str) -> Awaitable[int]:
        """Return how many znodes are below a znode. Raises NoNode."""
        return self._run(self._calls.all_children_number(self._full(path)))

    def who_am_i(self) -> Awaitable[list[tuple[str, str]]]:
        """Return the identities, as (scheme, id), that the server knows this client by."""
        return self._run(self._calls.who_am_i())

    async def multi_read(
        self, get: Sequence[str] = (), children: Sequence[str] = ()
    ) -> list[tuple[bytes, ZnodeStat] | list[str] | ZooKeeperError]:
        """Read several znodes in one request: the data of some, the children of others.

        Returns a result for each, in order, first of `get`, then of `children`: or the error for what cannot be read.
        """
        parts = [self._calls.get(self._full(path), None) for path in get]
        parts += [self._calls.children(self._full(path), None, False) for path in children]
        if not parts:
            return []

        def read(buf: bytes, at: int, end: int) -> list[Any]:
            return read_results(buf, at, end, parts, self._shown)

        call = self._calls.multi([(part.op, part.frame) for part in parts], read, opcodes.MULTI_READ)
        found: list[tuple[bytes, ZnodeStat] | list[str] | ZooKeeperError] = await self._run(call)
        return found

    # Writing.

    async def create(
        self, path: str, data: bytes = b"", *, acl: Sequence[ACL] | None = None, ephemeral: bool = False,
        sequence: bool = False, container: bool = False, ttl_ms: int | None = None, make_parents: bool = False,
    ) -> str:  # fmt: skip
        """Make a znode; return its path.

        acl: everything to everybody unless given. ephemeral: it lives as long as the session. sequence: a number is
        appended to its path. container: it goes when its last child has gone. ttl_ms: it goes when it had no children
        and no change for so long. make_parents: missing parents are made too. Raises NodeExists, NoNode.
        """
        flags = create_flags(ephemeral, sequence, container, ttl_ms)
        created: str = await self._create(path, data, acl, flags, ttl_ms, make_parents, False)
        return created

    async def create_and_stat(
        self, path: str, data: bytes = b"", *, acl: Sequence[ACL] | None = None, ephemeral: bool = False,
        sequence: bool = False, container: bool = False, ttl_ms: int | None = None, make_parents: bool = False,
    ) -> tuple[str, ZnodeStat]:  # fmt: skip
        """Make a znode; return its path and stat. Parameters as `create`."""
        flags = create_flags(ephemeral, sequence, container, ttl_ms)
        created: tuple[str, ZnodeStat] = await self._create(path, data, acl, flags, ttl_ms, make_parents, True)
        return created

    async def _create(
        self, path: str, data: bytes, acl: Sequence[ACL] | None, flags: int, ttl_ms: int | None, make_parents: bool,
        has_stat: bool,
    ) -> Any:  # fmt: skip
        acls = access_list(acl)
        full = self._full_for_create(path, flags)
        for _ in range(4 if make_parents else 0):
            try:
                return await self._run(self._calls.create(full, data, acls, flags, ttl_ms or 0, has_stat))
            except NoNode:
                # Also when a parent goes again, as an emptied container does.
                await self.ensure_path(path[: path.rfind("/")] or "/", acl=acl)
        return await self._run(self._calls.create(full, data, acls, flags, ttl_ms or 0, has_stat))

    async def ensure_path(self, path: str, *, acl: Sequence[ACL] | None = None, container: bool = False) -> None:
        """Make a znode and all its parents, as far as they are missing; "/" is the chroot."""
        acls = access_list(acl)
        flags = create_flags(False, False, container, None)
        at = self._full(path)
        missing = []
        while at != b"/":
            try:
                await self._run(self._calls.create(at, b"", acls, flags, 0, False))
                break
            except NodeExists:
                break
            except (NoAuth, NotReadOnly):
                # The server looks at the rights first; who may not make a znode need not where there is one.
                if await self._run(self._calls.exists(at, None)) is None:
                    raise
                break
            except NoNode:
                missing.append(at)
                at = parent_of(at)
        for each in reversed(missing):
            try:
                await self._run(self._calls.create(each, b"", acls, flags, 0, False))
            except NodeExists:
                pass

    def set(self, path: str, data: bytes, version: int = -1) -> Awaitable[ZnodeStat]:
        """Give a znode new data; return its stat. version: expected, -1 for any. Raises NoNode, BadVersion."""
        return self._run(self._calls.set(self._full(path), data, version))

    def delete(self, path: str, version: int = -1) -> Awaitable[None]:
        """Delete a znode. version: expected, -1 for any. Raises NoNode, BadVersion, NotEmpty."""
        return self._run(self._calls.delete(self._full(path), version))

    async def delete_tree(self, path: str) -> None:
        """Delete a znode and everything below it, also what is made meanwhile."""
        # A list instead of calls: a tree may be deeper than Python's stack. With each path whether it was emptied.
        left = [(path, False)]
        while left:
            at, is_emptied = left.pop()
            try:
                names = [] if is_emptied else await self.children(at)
                if names:
                    base = at.rstrip("/")
                    left.append((at, True))
                    left += [(f"{base}/{name}", False) for name in reversed(names)]
                else:
                    await self.delete(at)
            except NotEmpty:
                left.append((at, False))
            except NoNode:
                pass

    def set_acl(self, path: str, acl: Sequence[ACL], version: int = -1) -> Awaitable[ZnodeStat]:
        """Give a znode another access list. version: expected of the list (aversion), -1 for any."""
        return self._run(self._calls.set_acl(self._full(path), access_list(acl), version))

    def transaction(self) -> Transaction:
        """Return a list of operations to fill, of which all happen or none.

        `async with zk.transaction() as t:` commits at the end of the block and raises if it is refused.
        """
        return Transaction(self._calls, self._full, self._full_for_create, self._run, self._shown)

    def reconfig(
        self, joining: str | None = None, leaving: str | None = None, members: str | None = None, from_config: int = -1
    ) -> Awaitable[tuple[bytes, ZnodeStat]]:
        """Change the ensemble: servers that join and leave, or all members anew; return the new configuration."""
        return self._run(self._calls.reconfig(joining, leaving, members, from_config))

    def get_config(self, watch: Listener | None = None) -> Awaitable[tuple[bytes, ZnodeStat]]:
        """Return the ensemble's configuration."""
        return self._run(self._calls.get(b"/zookeeper/config", watch))

    async def add_auth(self, scheme: str, credentials: bytes) -> None:
        """Show credentials, now and on every later connection. Raises AuthFailed, which closes the client."""
        await self._authenticate(scheme, credentials)

    # Watches that stay.

    async def add_watch(
        self, path: str, listener: Listener, *, recursive: bool = False, catch_up: bool = True
    ) -> None:  # fmt: skip
        """Have `listener(event)` called at every change of a znode, or of all below it too.

        The watch stays, also over reconnects and new sessions: what changed meanwhile is reported then, where a
        deletion below a recursive watch shows as CHILD of its parent. catch_up: whether to look for that, which asks
        for every znode below; a listener that reads everything again by itself does without.
        """
        full = self._full(path)
        kind, mode = (RECURSIVE, WatchMode.RECURSIVE) if recursive else (PERSISTENT, WatchMode.PERSISTENT)
        is_new = listener not in self._session.watches.staying_at(kind, full)
        call = self._calls.add_watch(full, mode, listener)
        added = self._run(call)
        try:
            if not catch_up:
                self._looks_itself.add((full, listener))
                await added
                return
            self._looks_itself.discard((full, listener))
            self._known.setdefault(full, None)
            there = self._run(self._calls.exists(full, None))
            _, stat = await asyncio.gather(added, there)
        except BaseException:
            if is_new:
                # Who is not told that the watch is set does not end it either.
                call.watch = None
                self._drop_watch(kind, full, listener)
            raise
        if self._known.get(full) is None:
            # An event is newer than the answer, or tells the same.
            self._known[full] = stat is not None

    def _drop_watch(self, kind: int, full: bytes, listener: Listener) -> None:
        """End what `add_watch` began, without anybody who waits for it."""
        self._looks_itself.discard((full, listener))
        if not self._is_last(kind, full, listener) or not self._session.is_established:
            return
        try:
            self._run(self._calls.remove_watches(full, _TYPES[kind])).add_done_callback(_consume)
        except ClientError:
            # The client is closed.
            pass

    async def remove_watch(self, path: str, listener: Listener | None = None, *, recursive: bool = False) -> None:
        """End what `add_watch` began, for one listener or for all."""
        full = self._full(path)
        kind = RECURSIVE if recursive else PERSISTENT
        self._looks_itself = {each for each in self._looks_itself if each != (full, listener or each[1])}
        if not self._is_last(kind, full, listener):
            return
        if not self._session.is_established:
            # With its connection a server has forgotten all watches, and the next one is not told of this.
            return
        try:
            try:
                await self._run(self._calls.remove_watches(full, _TYPES[kind]))
            except MarshallingError:
                # Before 3.9, servers know no way to take these watches alone. One left there tells nobody.
                if not self._session.watches.is_watched(full) and not self._session.expects_watch(full):
                    await self._run(self._calls.remove_watches(full, WatcherType.ANY))
        except (NoWatcher, ClientError):
            # The server has forgotten it already, or will not be told of it again.
            pass

    def _is_last(self, kind: int, full: bytes, listener: Listener | None) -> bool:
        """Strike out a listener of a watch that stays, or all; tell whether the server's watch is for nobody now."""
        watches = self._session.watches
        is_last = watches.discard(kind, full, listener)
        if not watches.has(PERSISTENT, full) and not watches.has(RECURSIVE, full):
            self._known.pop(full, None)
        # The server has one watch for all who ask for it, also for who has no answer yet.
        return is_last and not self._session.expects_watch(full, kind)

    async def remove_watches(self, path: str, kind: WatcherType = WatcherType.ANY, *, local: bool = False) -> None:
        """End all watches of one kind at a znode, whoever they tell. local: here at least, without a server too.

        Raises NoWatcher if the server has none.
        """
        full = self._full(path)
        watches = self._session.watches
        there = [each for each in KINDS_OF[kind] if watches.has(each, full)]
        try:
            if not local or self.state.is_connected:
                await self._run(self._calls.remove_watches(full, kind))
        except MarshallingError:
            # Before 3.9, servers know no way to take watches that stay alone. One left there tells nobody.
            if not there:
                raise NoWatcher(f"{path}: NoWatcher") from None
            self._forget_watches(full, there)
            if not watches.is_watched(full) and not self._session.expects_watch(full):
                await self._run(self._calls.remove_watches(full, WatcherType.ANY))
        self._forget_watches(full, there)

    def _forget_watches(self, full: bytes, kinds: Sequence[int]) -> None:
        watches = self._session.watches
        for each in kinds:
            watches.discard(each, full)
        if not watches.has(PERSISTENT, full) and not watches.has(RECURSIVE, full):
            self._known.pop(full, None)
            self._looks_itself = {each for each in self._looks_itself if each[0] != full}

    def forget_watch(self, path: str, listener: Listener) -> None:
        """Let a listener of `get`, `exists` or `children` not be told any more."""
        full = self._full(path)
        for kind in range(PERSISTENT):
            self._session.watches.discard(kind, full, listener)

    def watch(self, path: str, *, recursive: bool = False) -> EventStream:
        """Return the changes of a znode, or of all below it too, as an async iterator."""
        return EventStream(self, path, recursive)

    # Again.

    async def retry(self, policy: retries.Retry, ask: Callable[[], Awaitable[T]], *, is_idempotent: bool = False) -> T:
        """Await `ask()` until it works, as `policy` says.

        is_idempotent: whether it may be done twice; if not, a failure that leaves the outcome unknown is raised.
        """
        began = time.monotonic()
        attempt = 0
        outcome = Outcome.NOT_APPLIED
        while True:
            attempt += 1
            try:
                if policy.total_s != math.inf and self._lacks_server():
                    await self._find_server(began + policy.total_s - time.monotonic(), policy.total_s, outcome)
                return await ask()
            except ClientError as error:
                pause = policy.pause(attempt, time.monotonic() - began, error, is_idempotent, self._rng)
                if pause is None:
                    raise
                outcome = Outcome.UNKNOWN if error.outcome is Outcome.UNKNOWN else outcome
            await asyncio.sleep(pause)

    def _lacks_server(self) -> bool:
        """Tell whether a request would be kept until a server is there."""
        is_asked = self._is_started and self._generation == forks.generation
        return is_asked and self._session.state is not State.CLOSED and not self._session.is_established

    async def _find_server(self, left_s: float, total_s: float, outcome: Outcome) -> None:
        """Wait for a server, or the end of the client. outcome: of what was tried before. Raises RequestTimeout."""
        try:
            await self.wait_for(State.CONNECTED, State.READ_ONLY, State.CLOSED, timeout=left_s)
        except RequestTimeout as error:
            why = f": {self._session.why}" if self._session.why else ""
            raise RequestTimeout(
                f"no server to ask within the {total_s} s for all attempts; the last one is {self.server}{why}", outcome
            ) from error

    # Inside.

    def _run(self, call: Call) -> asyncio.Future[Any]:
        if not self._is_started:
            raise ClientClosed("the client is not started: use it in `async with`, or await start()")
        if self._generation != forks.generation:
            raise WrongProcess(f"the client was made in process {self._pid}, this is {os.getpid()}: make one here")
        if len(call.frame) > self._bytes_max:
            size = len(call.frame) + _FRAME_HEAD_BYTES
            what = repr(self._shown(call.path)) if call.path else "several znodes"
            raise RequestTooLarge(
                f"the request for {what} has {size} bytes, servers take {self._bytes_max + 8}; it was "
                "not sent; raise jute.maxbuffer on every server, then request_bytes_max here"
            )
        assert self.sink is not None
        future: asyncio.Future[Any] = self.sink()
        call.sink = future
        self._session.submit(call)
        if self._observer is not None:
            self._show(self._observer, call, future)
        if call.xid:
            self._transport.touch()
        else:
            future.add_done_callback(lambda done: self._session.withdraw(call) if done.cancelled() else None)
        return future

    def _show(self, observer: Observer, call: Call, future: asyncio.Future[Any]) -> None:
        try:
            observer.asked(call.op, self._shown(call.path), len(call.frame), future)
        except Exception as error:  # noqa: BLE001  # The request has left; an observer's fault is none of its caller's.
            self.log.error("an observer failed", observer=repr(observer), why=repr(error))

    def _authenticate(self, scheme: str, token: bytes) -> asyncio.Future[None]:
        call = Call(opcodes.AUTH, b"", nothing, False)
        future: asyncio.Future[None] = self._loop.create_future()
        call.sink = future
        self._session.authenticate(scheme, token, call)
        self._transport.touch()
        return future

    def _full(self, path: str) -> bytes:
        """Return a path as the server knows it. Raises BadArguments."""
        full = self._paths.get(path)
        if full is not None:
            return full
        raw = _encoded(path)
        validate_path(raw)
        return self._remember(path, raw)

    def _remember(self, path: str, raw: bytes) -> bytes:
        full = raw if not self._chroot else self._chroot if raw == b"/" else self._chroot + raw
        if len(self._paths) >= PATHS_KNOWN_MAX:
            self._paths.clear()
        self._paths[path] = full
        return full

    def _full_for_create(self, path: str, flags: int) -> bytes:
        """Return the path of a create, which for a sequential znode may end with a slash: its number is the name."""
        raw = _encoded(path)
        is_sequential = flags in (2, 3, 6)
        validate_path(raw + b"1" if is_sequential else raw)
        return self._chroot + raw if is_sequential or raw != b"/" else self._chroot or raw

    def _shown(self, path: bytes) -> str:
        """Return a path as the user knows it."""
        return shown_path(path, self._chroot)

    def _obey(self) -> None:
        """Do what the session wants, in order."""
        session = self._session
        while session.effects:
            for effect in session.take_effects():
                if type(effect) is Call:
                    complete(effect)
                elif type(effect) is Fire:
                    self._fire(effect)
                elif type(effect) is StateChanged:
                    self._changed(effect.state)
                elif type(effect) is Connect:
                    self._transport.connect(effect)
                elif type(effect) is Step:
                    self._transport.step(effect)
                elif type(effect) is Probe:
                    self._transport.probe(effect)
                elif type(effect) is Refused:
                    self.log.warning("no connection over TLS", server=str(effect.host), why=effect.why)
                elif type(effect) is Disconnect:
                    self._transport.disconnect()
                    self.log.debug("disconnected", why=effect.why, server=self.server)

    def _fire(self, effect: Fire) -> None:
        if effect.path in self._known and effect.type is not EventType.NONE:
            self._known[effect.path] = effect.type is not EventType.DELETED
        event = WatchEvent(effect.type, self._shown(effect.path), effect.zxid)
        self._tell(effect.listener, event)

    def _tell(self, listener: Callable[[Any], object], what: object) -> None:
        try:
            result = listener(what)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            # A listener's fault is no reason to stop telling the others; nor is a future's that it looked at.
            self.log.error("a listener failed", listener=repr(listener), told=str(what), why=repr(error))
            return
        if inspect.iscoroutine(result):
            self.spawn(result)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine beside, until the client is closed; its errors are logged."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.log.error("work beside the client failed", why=repr(task.exception()))

    def _changed(self, state: State) -> None:
        if state is State.SUSPENDED or state is State.LOST:
            self._seen_zxid = self._seen_zxid or self._session.zxid
            self._seen_over = self._session.connections
            self.log.warning("connection suspended" if state is State.SUSPENDED else "session lost", server=self.server)
        elif state.is_connected:
            self.log.info("connected", server=self.server, session=f"0x{self._session.id & (1 << 64) - 1:x}")
            seen, self._seen_zxid = self._seen_zxid, 0
            staying = [(p, False) for p in self._session.watches.staying(PERSISTENT)]
            staying += [(p, True) for p in self._session.watches.staying(RECURSIVE)]
            # After a mere pause, what happened comes over the connection that is still there.
            if seen and staying and self._session.connections != self._seen_over:
                # A server whose data were thrown away has begun to count anew; its first transaction made no znode.
                self.spawn(self._catch_up(min(seen, self._session.zxid) or 1, staying))
        elif isinstance(self._session.error, AuthFailed):
            self.log.warning("authentication failed", server=self.server, why=self._session.why)
        # What was due while there was no session may be due sooner with one, or without a quorum.
        self._transport.keep_time()
        if self._observer is not None:
            self._tell(self._observer.changed, state)
        for listener in list(self._state_listeners):
            self._tell(listener, state)

    async def _catch_up(self, since: int, staying: list[tuple[bytes, bool]]) -> None:
        """Tell the watches that stay of what happened while nobody could."""
        for path, recursive in staying:
            kind = RECURSIVE if recursive else PERSISTENT
            if not self._in_the_dark(kind, path):
                continue
            try:
                events = await catch_up(
                    lambda call: self._run(call), self._calls, path, recursive, since, bool(self._known.get(path))
                )
            except (ClientError, ZooKeeperError) as error:
                if isinstance(error, ZooKeeperError):
                    self.log.warning("cannot see what changed below a watch", path=self._shown(path), why=str(error))
                    continue
                # The next connection looks again, from where this one began, whatever was answered since.
                self._seen_zxid = min(self._seen_zxid or since, since)
                return
            for event, at, zxid in events:
                for listener in self._in_the_dark(kind, path):
                    self._fire(Fire(listener, event, at, zxid))

    def _in_the_dark(self, kind: int, path: bytes) -> list[Listener]:
        """Return who has to be told what a watch that stays has missed."""
        everyone = self._session.watches.staying_at(kind, path)
        return [each for each in everyone if (path, each) not in self._looks_itself]


def _encoded(path: str) -> bytes:
    try:
        return path.encode()
    except AttributeError:
        raise BadArguments(f"a path must be a str, not {path!r}") from None
    except UnicodeEncodeError:
        raise BadArguments(f"invalid path {path!r}: it is not UTF-8") from None


def _consume(future: asyncio.Future[Any]) -> None:
    """Take note of an error that shows itself in another way, too."""
    if not future.cancelled():
        future.exception()


connect = AsyncClient
"""How a client is made: `async with corral.connect("host:2181") as zk:`."""
