"""A session that a loop's thread and callers' threads share: one caller alone asks the server by itself.

A request that goes over the loop costs two changes of thread, and those are most of what a small read takes. So a
caller that finds the session idle writes its request and reads the answer itself, on its own thread, while the loop
looks away from the socket. Whatever is not plainly that answer, a watch event above all, is left to the loop, and so
is everything as soon as several callers ask at once: many requests in one write are cheaper than a write for each.

The loop stays awake for a moment for what it has asked for; why is said in `corral.base.spin`.

A lock guards the core, held for no longer than one call of it. Listeners, tasks and timers stay on the loop's thread.
"""

from __future__ import annotations

import os
import select
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, Final

from corral.base.spin import Spin
from corral.base.wakefulness import Wakefulness
from corral.client.aio import AsyncClient
from corral.client.effects import Call, complete
from corral.client.portal import Direct
from corral.client.session import Session
from corral.client.transport import Link, Transport

READ_BYTES: Final = 64 << 10
ANSWER_BYTES: Final = 8 << 10
"""What a caller reads at once; the rest of a larger answer comes over the loop. More would cost it for every answer."""
REQUEST_BYTES_MAX: Final = 4096
"""Of a request that a caller writes itself: so much fits into any idle socket at once."""
PATIENCE_MS: Final = 20
"""How long a caller waits at the socket; what takes longer comes over the loop."""
SPIN_NS: Final = 200_000
"""How long it looks for the answer before that, and how long the loop stays awake for one that it has asked for."""
CROWD: Final = 1000
"""How many requests go over the loop once two callers have met."""

_HAS_EPOLL: Final = hasattr(select, "epoll")
_unpack_start: Final = struct.Struct(">ii").unpack_from


class SharedSession(Session):
    """A session of several threads: each of its calls holds `lock`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lock = threading.RLock()

    def submit(self, call: Call) -> None:
        """As the session of one thread, and as all other calls below; written out as each request comes by here."""
        with self.lock:
            if self._is_up and self._closing is None:
                self._send(call)
            else:
                Session.submit(self, call)


def _locked(method: Callable[..., Any]) -> Callable[..., Any]:
    def locked(self: SharedSession, *args: Any) -> Any:
        with self.lock:
            return method(self, *args)

    return locked


for _name in (
    "start", "authenticate", "withdraw", "close", "abandon", "opened", "failed", "closed", "received", "stepped",
    "probed", "tick", "take_output", "take_effects", "judged", "expects_watch",
):  # fmt: skip
    setattr(SharedSession, _name, _locked(getattr(Session, _name)))


class SharedTransport(Transport):
    """A connection that callers may use in place of the loop; over TLS, or without epoll, none may.

    While a caller waits for its answer, the gate, an epoll object between the socket and the loop, is shut.
    """

    def __init__(self, session: SharedSession, *args: Any, **kwargs: Any) -> None:
        super().__init__(session, *args, **kwargs)
        self._lock = session.lock
        self._thread = get_ident()
        self._fd = -1
        self._gate: select.epoll | None = None
        self._poll: select.poll
        self._spin: Spin
        self._is_shut = False
        self._crowd = 0
        self._asking: Any = None
        self._flushed_at = 0.0
        self._wakefulness = Wakefulness(
            self._due_since, self._loop.call_soon, os.sched_yield, time.monotonic, SPIN_NS / 1e9
        )

    # On the loop.

    def touch(self) -> None:
        """Have what the session has put out written; a caller that asks by itself also writes by itself."""
        if not self._is_flushing and get_ident() == self._thread:
            super().touch()

    def made(self, link: Link, transport: Any) -> None:
        """Say hello, and put the gate between the socket and the loop."""
        super().made(link, transport)
        if self._ssl is None and _HAS_EPOLL and transport.get_extra_info("socket") is not None:
            # Not now: the loop begins to read behind this.
            self._loop.call_soon(self._make_gate, link)

    def _make_gate(self, link: Link) -> None:
        if link is not self._link or self._transport.is_closing():
            return
        self._transport.pause_reading()
        with self._lock:
            self._fd = self._transport.get_extra_info("socket").fileno()
            self._is_shut = False
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
            self._spin = Spin(partial(self._poll.poll, 0), os.sched_yield, time.monotonic_ns, SPIN_NS)
            self._gate = select.epoll()
            self._gate.register(self._fd, select.EPOLLIN)
            self._loop.add_reader(self._gate.fileno(), self._readable, link)

    def disconnect(self) -> None:
        """Close the connection, or stop opening one."""
        with self._lock:
            self._close_gate()
            super().disconnect()

    def lost(self, link: Link, exc: Exception | None) -> None:
        """Tell the session, unless it was the one to close."""
        with self._lock:
            if link is self._link:
                self._close_gate()
            super().lost(link, exc)

    def _close_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            self._loop.remove_reader(gate.fileno())
            gate.close()

    def _flush(self) -> None:
        # Nobody's request may come between what is taken here and what is written.
        self._flushed_at = time.monotonic()
        with self._lock:
            super()._flush()
        self._wakefulness.begin()

    def _due_since(self) -> float:
        return self._flushed_at if self.session.in_flight else 0.0

    def _readable(self, link: Link) -> None:
        error: OSError | None = None
        with self._lock:
            if link is not self._link or self._is_shut:
                return
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                # A caller was faster.
                return
            except OSError as caught:
                data, error = b"", caught
            if data:
                self.session.received(data, self.clock())
        if data:
            self._settle()
        else:
            self._break(link, error)

    def _break(self, link: Link, error: OSError | None) -> None:
        if link is self._link:
            self._transport.abort()
            self.lost(link, error)

    def _take_over(self, link: Link, data: bytes) -> None:
        """Go on from what a caller has read, and open the gate."""
        if link is self._link:
            self.received(link, data)
        self._open_gate(link)

    def _open_gate(self, link: Link) -> None:
        with self._lock:
            if link is self._link and self._gate is not None:
                self._gate.modify(self._fd, select.EPOLLIN)
                self._is_shut = False

    # On a caller's thread.

    def sink_of(self, other: Callable[[], Any]) -> Callable[[], Any]:
        """Return what makes the place of a request's result: the caller's own where it asks by itself."""

        thread = self._thread

        def sink() -> Any:
            return other() if get_ident() == thread else self._asking

        return sink

    def ask(self, box: Any, method: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """Call `method`, which asks the server one thing, and bring the answer into `box` if it comes soon.

        Returns whether the request was taken: if not, the loop has to be asked. Raises what `method` raises.
        """
        # Callers count down without a lock: two of them may meet at the last one, and count below zero.
        if self._crowd > 0:
            self._crowd -= 1
            return False
        lock = self._lock
        link: Link | None = None
        is_writing = False
        try:
            if not lock.acquire(blocking=False):
                return False
            try:
                link = self._link
                gate = self._gate
                if gate is None or link is None:
                    return False
                # The loop opens a gate that is still shut, and would read this answer.
                if self._is_shut or not self.session.is_idle or self._transport.get_write_buffer_size():
                    if self.session.in_flight:
                        self._crowd = CROWD
                    return False
                self._asking = box
                method(*args)
                if self.session.output_bytes > REQUEST_BYTES_MAX:
                    self._loop.call_soon_threadsafe(self.touch)
                    return True
                xid = self.session.last_xid
                is_writing = True
                data = self.session.take_output(self.clock())
                if self.session.effects:
                    # This process slept; what that means for the session is told on the loop.
                    self._loop.call_soon_threadsafe(self._settle)
                    if not data:
                        return True
                poll, spin = self._poll, self._spin
                gate.modify(self._fd, 0)
                self._is_shut = True
                if not self._write(link, data):
                    return True
            finally:
                self._asking = None
                lock.release()
            try:
                if not spin.finds():
                    poll.poll(PATIENCE_MS)
            finally:
                with lock:
                    self._answer(link, xid, box)
                    is_writing = False
        except BaseException:
            self._let_go(link if is_writing else None)
            raise
        return True

    def _let_go(self, link: Link | None) -> None:
        """Leave nothing shut or locked behind where a signal's handler raised, Ctrl+C above all: that may be anywhere.

        link: of which nobody can tell what has been sent and read; it is given up for another one.
        """
        try:
            self._lock.release()
        except RuntimeError:
            # It is not this thread's.
            pass
        if link is not None:
            self._loop.call_soon_threadsafe(self._break, link, None)

    def _write(self, link: Link, data: bytes) -> bool:
        """Write a request whole; tell whether that went well."""
        error: OSError | None = None
        try:
            if os.write(self._fd, data) == len(data):
                return True
        except OSError as caught:
            error = caught
        # The server has part of it at most; the loop finds the session as after any loss of its connection.
        self._loop.call_soon_threadsafe(self._break, link, error)
        return False

    def _answer(self, link: Link, xid: int, box: Any) -> None:
        """Read the answer to the request `xid` if it is the only one there; leave anything else to the loop."""
        if link is not self._link or self._gate is None:
            return
        session = self.session
        data = b""
        if session.in_flight == 1:
            try:
                data = os.read(self._fd, ANSWER_BYTES)
            except OSError:
                # There is nothing, or an end that the loop finds as well.
                pass
        elif session.in_flight:
            self._crowd = CROWD
        if data:
            if len(data) < 8 or _unpack_start(data) != (len(data) - 4, xid):
                self._loop.call_soon_threadsafe(self._take_over, link, data)
                return
            session.received(data, self.clock())
            effects = session.effects
            only = effects[0] if len(effects) == 1 else None
            if isinstance(only, Call) and only.sink is box:
                session.take_effects()
                complete(only)
                if session.output_bytes:
                    self._loop.call_soon_threadsafe(self.touch)
            else:
                self._loop.call_soon_threadsafe(self._settle)
        self._gate.modify(self._fd, select.EPOLLIN)
        self._is_shut = False


class SharedClient(AsyncClient):
    """An asyncio client whose session callers' threads share."""

    _make_session = SharedSession
    _make_transport = SharedTransport
    _transport: SharedTransport

    def direct(self, sink: Callable[[], Any]) -> Direct | None:
        """Return how callers ask by themselves, None if an observer wants to be told of all on the loop.

        sink: makes the place of a result on the loop. The client is started.
        """
        if self._observer is not None:
            return None
        self.sink = self._transport.sink_of(sink)
        return self._transport.ask
