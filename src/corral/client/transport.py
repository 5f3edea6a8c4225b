"""A session's connection on asyncio: sockets, names, timers. It decides nothing.

The clock goes on while the machine sleeps, where the system has such a one. What the core has put out is written once
a turn of the loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from corral.client.effects import Connect, Probe, Step
from corral.client.hosts import Host
from corral.client.session import NEVER, Session
from corral.client.tls import explain

_CLOSED: Final = "the server closed the connection"
_NO_ANSWER: Final = _CLOSED + " in place of an answer to the hello: it has no quorum, takes no more connections"
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """Return monotonic milliseconds."""
    return time.clock_gettime_ns(_CLOCK) // 1_000_000


class Link(asyncio.Protocol):
    """One connection. What comes of one that was given up goes nowhere: under TLS its end may come long after.

    is_given_up: whether that was before it was made.
    """

    __slots__ = ("_owner", "is_given_up")

    def __init__(self, owner: Transport) -> None:
        self._owner = owner
        self.is_given_up = False

    def connection_made(self, transport: Any) -> None:
        if self.is_given_up:
            transport.abort()
        else:
            self._owner.made(self, transport)

    def data_received(self, data: bytes) -> None:
        self._owner.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self, exc)


class Transport:
    """Connects, reads, writes and keeps time for `session`.

    obey: called when the session has effects. ssl_context: for TLS, None for plain TCP.
    """

    def __init__(
        self, session: Session, obey: Callable[[], None], ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:  # fmt: skip
        self.session = session
        self.clock = clock
        self._obey = obey
        self._ssl = ssl_context
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._opening: Link | None = None
        self._probing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        self._is_flushing = False

    # Going out.

    def touch(self) -> None:
        """Have what the session has put out written at the end of this turn."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        transport = self._transport
        if transport is not None:
            data = self.session.take_output(self.clock())
            if self.session.effects:
                self._obey()
            if data and self._transport is transport:
                transport.write(data)
        if self._timer is None:
            self.keep_time()

    def connect(self, effect: Connect) -> None:
        """Open a connection, and tell the session how that went."""
        self._connecting = self._loop.create_task(self._open(effect))

    def disconnect(self) -> None:
        """Close the connection, or stop opening one."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
            if self._opening is not None:
                # It may be connected already, and the loop about to say so; the cancellation closes it right after.
                self._opening.is_given_up = True
        transport, self._transport, self._link = self._transport, None, None
        if transport is None:
            return
        if transport.get_write_buffer_size():
            # A server that does not read would keep the socket open for as long as it likes.
            transport.abort()
            return
        transport.close()
        if self._ssl is not None:
            # The end has been announced, and nobody waits for the server to agree.
            transport.abort()

    async def _open(self, effect: Connect) -> None:
        try:
            if effect.delay_ms:
                await asyncio.sleep(effect.delay_ms / 1000)
            async with asyncio.timeout(effect.timeout_ms / 1000):
                await self._open_any(effect.host)
        except TimeoutError as error:
            # The system's own has a text, this one's has none.
            self._failed(str(error) or f"no answer within {effect.timeout_ms} ms", False)
        except OSError as error:
            self._failed(*self._reason(error))
        else:
            self._connecting = None

    def _failed(self, why: str, is_refusal: bool) -> None:
        self._connecting = None
        self.session.failed(why, self.clock(), is_refusal)
        self._settle()

    def _reason(self, error: BaseException) -> tuple[str, bool]:
        return explain(error) if self._ssl is not None else (str(error) or type(error).__name__, False)

    async def _open_any(self, host: Host) -> None:
        name = host.name if self._ssl is not None else None
        addresses = await self._look_up(host)
        while True:
            address = addresses.pop()
            try:
                await self._loop.create_connection(
                    self._new_link, address, host.port, ssl=self._ssl, server_hostname=name
                )
            except OSError:
                if not addresses:
                    raise
            else:
                return

    def _new_link(self) -> Link:
        self._opening = Link(self)
        return self._opening

    async def _look_up(self, host: Host) -> list[str]:
        """Return the addresses of a server, in an order drawn by chance: one name may stand for a whole ensemble.

        The system gives them in the same order each time, and the first may be that of the server that does not answer.
        Looked up anew each time: a name may stand for another server by now.
        """
        if _is_address(host.name):
            return [host.name]
        found = await self._loop.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(_numeric(address) for *_, address in found))
        self.session.rng.shuffle(addresses)
        return addresses

    def step(self, effect: Step) -> None:
        """Have a mechanism of SASL answer, and tell the session what.

        One that may wait does so on a thread of its own, which nobody waits for: who closes the client need not.
        """
        if effect.exchange.may_block:
            threading.Thread(target=self._step_beside, args=(effect,), name="corral-sasl", daemon=True).start()
        else:
            self._loop.call_soon(self._stepped, effect, *_answer(effect))

    def _step_beside(self, effect: Step) -> None:
        token, error = _answer(effect)
        try:
            self._loop.call_soon_threadsafe(self._stepped, effect, token, error)
        except RuntimeError:
            # The loop is closed.
            pass

    def _stepped(self, effect: Step, token: bytes | None, error: Exception | None) -> None:
        self.session.stepped(effect.exchange, token, error, self.clock())
        self._settle()

    def probe(self, effect: Probe) -> None:
        """Ask a server whether it has a quorum, and tell the session."""
        self._probing = self._loop.create_task(self._probe(effect))

    async def _probe(self, effect: Probe) -> None:
        has_quorum = False
        try:
            async with asyncio.timeout(effect.timeout_ms / 1000):
                has_quorum = await self._says_read_write(effect.host)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            # One that is down has none.
            pass
        self._probing = None
        self.session.probed(effect.host, has_quorum, self.clock())
        self._settle()
        self.keep_time()

    async def _says_read_write(self, host: Host) -> bool:
        name = host.name if self._ssl is not None else None
        reader, writer = await asyncio.open_connection(host.name, host.port, ssl=self._ssl, server_hostname=name)
        try:
            writer.write(b"isro")
            # Nothing else that a server may say begins so.
            return await reader.readexactly(2) == b"rw"
        finally:
            writer.transport.abort()

    # Coming in.

    def made(self, link: Link, transport: Any) -> None:
        """Say hello."""
        self._link = link
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session.opened(self.clock())
        # The time for an answer to it may end before whatever else there is to wait for.
        self.keep_time()
        self._settle()

    def received(self, link: Link, data: bytes) -> None:
        """Pass on what was read."""
        if link is not self._link:
            return
        self.session.received(data, self.clock())
        self._settle()

    def lost(self, link: Link, exc: Exception | None) -> None:
        """Tell the session, unless it was the one to close."""
        if link is not self._link:
            return
        self._transport = self._link = None
        why, is_refusal = self._why_lost(exc)
        self.session.closed(why, self.clock(), is_refusal)
        self._settle()

    def _why_lost(self, exc: Exception | None) -> tuple[str, bool]:
        if self.session.is_established:
            return (str(exc) if exc is not None else _CLOSED), False
        if exc is not None and not isinstance(exc, ConnectionError):
            return self._reason(exc)
        last = "does not take this client's certificate" if self._ssl is not None else "speaks TLS on this port"
        return f"{_NO_ANSWER}, or {last}", False

    # Time.

    def keep_time(self) -> None:
        """Have `tick` called when it is due."""
        due = self.session.deadline()
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
        if due >= NEVER:
            self._timer = None
            return
        self._timer_at = due
        self._timer = self._loop.call_later(max(0, due - self.clock()) / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self.clock()
        if now >= self.session.deadline():
            self.session.tick(now)
        self._settle()
        self.keep_time()

    def _settle(self) -> None:
        if self.session.effects:
            self._obey()
        self.touch()

    def stop(self) -> None:
        """Leave nothing behind on the loop."""
        self.disconnect()
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _numeric(address: tuple[Any, ...]) -> str:
    """Return an address of the system's as text; one that is local to a link says which."""
    return f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] else str(address[0])


def _answer(effect: Step) -> tuple[bytes | None, Exception | None]:
    try:
        return effect.exchange.step(effect.challenge), None
    except Exception as error:  # noqa: BLE001  # Libraries raise what they like; the session makes AuthFailed of it.
        return None, error
