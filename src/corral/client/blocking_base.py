"""What a blocking client has besides the methods that are generated from the asyncio one: its threads and its life.

One thread runs the loop; another runs the listeners, one after the other, so that one that waits keeps no answer from
anybody. It may use the client itself.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from corral.base.errors import CorralError, Outcome
from corral.client.errors import ClientClosed, ClientError, RequestTimeout
from corral.client.portal import Direct, Portal
from corral.client.retry import Retry
from corral.client.shared import SharedClient
from corral.client.transaction import Result, Transaction
from corral.client.values import State, WatchEvent
from corral.client.watches import Listener
from corral.wire.data import ACL

QUEUED_MAX: Final = 100_000

T = TypeVar("T")


class Listeners:
    """The thread that runs listeners, once it is started. lost: how many events a full queue has cost."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._queue: queue.SimpleQueue[tuple[Callable[[Any], object], Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.lost = 0

    def start(self) -> None:
        """Run listeners from now on."""
        self._thread = threading.Thread(target=self._run, name="corral-listeners", daemon=True)
        self._thread.start()

    def wrap(self, listener: Callable[[Any], object] | None) -> Any:
        """Return what hands events to the thread: equal for the same listener, so that it can be forgotten again."""
        return None if listener is None else _HandOver(self, listener)

    def put(self, listener: Callable[[Any], object], event: Any) -> None:
        """Have a listener told of an event."""
        if self._queue.qsize() >= QUEUED_MAX:
            if not self.lost:
                self._log.error("listeners are too slow; events are lost from here on", waiting=QUEUED_MAX)
            self.lost += 1
            return
        self._queue.put((listener, event))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            listener, event = item
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  # A listener's fault is no reason to stop telling the others.
                self._log.error("a listener failed", listener=repr(listener), told=str(event), why=repr(error))

    def stop(self) -> None:
        """Run what is queued, and end."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._queue.put(None)
        if threading.current_thread() is not thread:
            thread.join(5.0)


class _HandOver:
    """A listener, called on the listeners' thread."""

    __slots__ = ("_listener", "_thread")

    def __init__(self, thread: Listeners, listener: Callable[[Any], object]) -> None:
        self._thread = thread
        self._listener = listener

    def __call__(self, event: Any) -> None:
        self._thread.put(self._listener, event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HandOver) and self._listener == other._listener

    def __hash__(self) -> int:
        return hash(self._listener)

    def __repr__(self) -> str:
        return repr(self._listener)


class BlockingClient:
    """The life of a blocking client. timeout: seconds until a call raises RequestTimeout, None for never.

    The other parameters are those of the asyncio client.
    """

    def __init__(self, hosts: str, *, timeout: float | None = 30.0, **options: Any) -> None:
        self._zk = SharedClient(hosts, **options)
        self._timeout = timeout
        self._portal: Portal | None = None
        self._direct: Direct | None = None
        self._listeners = Listeners(self._zk.log)
        self._is_new = True

    def start(self) -> Self:
        """Connect.

        Raises RequestTimeout if no server grants a session in time, TlsFailed if none is to over TLS, AuthFailed if one
        refuses credentials.
        """
        self._is_new = False
        if self._portal is None:
            self._portal = Portal("corral-client")
            self._listeners.start()
            self._zk.sink = self._portal.sink
        try:
            self._portal.call(None, self._zk.start)
        except BaseException:
            self._stop()
            raise
        self._direct = self._zk.direct(self._portal.sink)
        return self

    def close(self, timeout: float = 5.0) -> None:
        """End the session and the threads; after `timeout` seconds without the server's answer."""
        if self._portal is None:
            return
        if not self._portal.is_here:
            # In a process that was forked off, the session is not this one's to end.
            self._portal = None
            return
        try:
            self._portal.call(timeout + 1.0, self._zk.close, timeout)
        except RequestTimeout:
            pass
        finally:
            self._stop()

    def _stop(self) -> None:
        self._direct = None
        portal, self._portal = self._portal, None
        if portal is not None:
            portal.stop()
        self._listeners.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self._opened().call(self._timeout, method, *args, **kwargs)

    def _ask(self, method: Callable[..., Any], *args: Any) -> Any:
        """As `_call`, for what asks the server one thing and no more."""
        return (self._portal or self._opened()).ask(self._direct, self._timeout, method, args)

    def _opened(self) -> Portal:
        portal = self._portal
        if portal is None:
            raise ClientClosed("the client is not started, or closed: use it in `with`, or call start()")
        return portal

    def _listener(self, listener: Callable[[Any], object] | None) -> Any:
        return self._listeners.wrap(listener)

    # What is known, without asking.

    @property
    def state(self) -> State:
        """How the client stands, judged by the clock at this moment."""
        try:
            state: State = self._call(lambda: self._zk.state)
        except ClientClosed:
            return State.CLOSED
        return state

    @property
    def session_id(self) -> int:
        """The session's id, 0 if there is none."""
        return self._zk.session_id

    @property
    def timeout_ms(self) -> int:
        """The session's timeout in ms, as the server granted it."""
        return self._zk.timeout_ms

    @property
    def last_zxid(self) -> int:
        """The newest transaction that an answer has shown."""
        return self._zk.last_zxid

    @property
    def server(self) -> str:
        """The server that is, or was last, tried or connected to."""
        return self._zk.server

    def certain_for(self) -> float:
        """Return for how many seconds the session is certain to go on, whatever happens; 0 if it is in doubt."""
        try:
            seconds: float = self._call(self._zk.certain_for)
        except ClientClosed:
            return 0.0
        return seconds

    def on_state(self, listener: Callable[[State], object]) -> Callable[[], None]:
        """Have `listener(state)` called at each change, on the listeners' thread; return what ends that.

        Before the start too, so that it is told of the first change.
        """
        told = self._listener(listener)
        # Before the start no other thread has the inner client.
        forget: Callable[[], None] = self._zk.on_state(told) if self._is_new else self._call(self._zk.on_state, told)

        def end() -> None:
            try:
                self._call(forget)
            except ClientClosed:
                forget()

        return end

    def wait_for(self, *states: State, timeout: float | None = None) -> State:
        """Wait until the client is in one of `states`. Raises RequestTimeout, ClientClosed, AuthFailed."""
        state: State = self._opened().call(None, self._zk.wait_for, *states, timeout=timeout)
        return state

    def retry(self, policy: Retry, ask: Callable[[], T], *, is_idempotent: bool = False) -> T:
        """Call `ask()` until it works, as `policy` says.

        is_idempotent: whether it may be done twice; if not, a failure that leaves the outcome unknown is raised.
        """
        began = time.monotonic()
        attempt = 0
        outcome = Outcome.NOT_APPLIED
        while True:
            attempt += 1
            try:
                if policy.total_s != math.inf and self._zk._lacks_server():
                    left = began + policy.total_s - time.monotonic()
                    self._wait(self._zk._find_server, left, policy.total_s, outcome)
                return ask()
            except ClientError as error:
                pause = policy.pause(attempt, time.monotonic() - began, error, is_idempotent, self._zk._rng)
                if pause is None:
                    raise
                outcome = Outcome.UNKNOWN if error.outcome is Outcome.UNKNOWN else outcome
            time.sleep(pause)

    def forget_watch(self, path: str, listener: Listener) -> None:
        """Let a listener of `get`, `exists` or `children` not be told any more."""
        self._call(self._zk.forget_watch, path, self._listener(listener))

    def transaction(self) -> BlockingTransaction:
        """Return a list of operations to fill, of which all happen or none; see the asyncio client."""
        return BlockingTransaction(self._zk.transaction(), self._call)

    def watch(self, path: str, *, recursive: bool = False) -> BlockingStream[WatchEvent]:
        """Return the changes of a znode, or of all below it too, as an iterator; `with` ends the watch."""
        return BlockingStream(self._zk.watch(path, recursive=recursive), self._call, self._wait)

    def states(self) -> BlockingStream[State]:
        """Return the states from now on, as an iterator that begins with the present one."""
        return BlockingStream(self._call(self._zk.states), self._call, self._wait)

    def _wait(self, method: Callable[..., Any], *args: Any) -> Any:
        """As `_call`, for what may take as long as it likes."""
        return self._opened().call(None, method, *args)


class BlockingTransaction:
    """A list of operations, committed by `commit` or at the end of the `with` block.

    results: after the commit, of each operation: create a path, set a stat, the others None. zxid: of the commit, which
    is the czxid of every znode that it made; servers tell no stats of those.
    """

    def __init__(self, inner: Transaction, call: Callable[..., Any]) -> None:
        self._inner = inner
        self._call = call

    def __len__(self) -> int:
        return len(self._inner)

    @property
    def results(self) -> list[Result]:
        """The results, once it is committed."""
        return self._inner.results

    @property
    def zxid(self) -> int:
        """The commit's zxid, once it is committed."""
        return self._inner.zxid

    def create(
        self, path: str, data: bytes = b"", *, acl: Sequence[ACL] | None = None, ephemeral: bool = False,
        sequence: bool = False, container: bool = False, ttl_ms: int | None = None,
    ) -> Self:  # fmt: skip
        """Make a znode; parameters as the client's `create`."""
        self._inner.create(
            path, data, acl=acl, ephemeral=ephemeral, sequence=sequence, container=container, ttl_ms=ttl_ms
        )  # fmt: skip
        return self

    def set(self, path: str, data: bytes, version: int = -1) -> Self:
        """Give a znode new data. version: expected, -1 for any."""
        self._inner.set(path, data, version)
        return self

    def delete(self, path: str, version: int = -1) -> Self:
        """Delete a znode. version: expected, -1 for any."""
        self._inner.delete(path, version)
        return self

    def check(self, path: str, version: int = -1) -> Self:
        """Require that a znode is there. version: expected, -1 for any."""
        self._inner.check(path, version)
        return self

    def commit(self) -> list[Result]:
        """Do it. Raises TransactionFailed, and what any request raises."""
        results: list[Result] = self._call(self._inner.commit)
        return results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._inner.was_asked:
            self.commit()


class BlockingStream(Generic[T]):
    """An asynchronous stream as an iterator.

    call: as the client's methods do. wait: the same, for as long as it takes.
    """

    def __init__(self, inner: Any, call: Callable[..., Any], wait: Callable[..., Any]) -> None:
        self._inner = inner
        self._call = call
        self._wait = wait
        self._is_begun = False

    def _begin(self) -> None:
        self._call(self._inner.begin)
        self._is_begun = True

    def next(self, timeout: float | None = None) -> T:
        """Return the next item. Raises RequestTimeout after `timeout` seconds, StopIteration at the end."""
        if timeout is None and not self._is_begun:
            self._begin()
        try:
            item: T = self._wait(self._inner.take, timeout)
        except StopAsyncIteration:
            raise StopIteration from None
        except ClientClosed:
            if not self._is_begun:
                raise
            raise StopIteration from None
        self._is_begun = True
        return item

    def close(self) -> None:
        """End it."""
        try:
            self._call(self._inner.close)
        except CorralError:
            # With the client, the watch has gone too.
            pass

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
