"""The shell of one client connection: moves bytes between a socket and a Connection core."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from time import monotonic
from typing import TYPE_CHECKING, Any

from corral.replica.connection import A_READ, A_WRITE, UP, Connection

if TYPE_CHECKING:
    from corral.server.node import Node

# A client that does not read its replies is paused at the first figure; the second one is the configured limit.
PAUSE_AT = 1 << 20
# How long a connection that ends waits for a client that takes nothing of what is left for it.
LINGER_MS = 10_000
_unpack_int = struct.Struct("=i").unpack


def plain_address(address: str) -> str:
    """Return the IPv4 address of a client that a socket for both kinds shows as `::ffff:10.0.0.1`: lists name that."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


class Peer(asyncio.Protocol):
    """One accepted socket.

    Reading stops while the core has a backlog or is throttled, or while the client does not take its replies; a
    client whose unread replies outgrow the limit is cut off. The longest write does not count for that: one answer may
    be longer than the limit, and whoever takes it has asked for no more. unsent: bytes that a client which is looked at
    had not taken the last time. taken_at: when it took some, in ms.
    """

    __slots__ = (
        "conn", "first", "is_paused", "is_resuming", "is_stuffed", "longest", "node", "taken_at", "transport", "unsent",
    )  # fmt: skip

    def __init__(self, node: Node) -> None:
        self.node = node
        self.conn: Connection | None = None
        self.transport: Any = None
        self.first: bytes | None = b""
        self.is_paused = False
        self.is_stuffed = False
        self.is_resuming = False
        self.longest = 0
        self.unsent = 0
        self.taken_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the core to take the connection."""
        self.transport = transport
        address, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        self.conn = self.node.replica.accept(plain_address(address), port, self.node.now())
        if self.conn is None:
            self.transport.abort()
            return
        self.conn.shell = self
        self.transport.set_write_buffer_limits(high=PAUSE_AT)

    def data_received(self, data: bytes) -> None:
        """Pass on what was read, and have sent what that produced."""
        conn = self.conn
        if conn is None:
            return
        if self.first is not None:
            self._take_first(conn, data)
            return
        came = conn.receive(data, int(monotonic() * 1000))
        if came == A_READ:
            self.node.corks.send(self)
            return
        if came == A_WRITE:
            self.node.collect()
            return
        if conn.out:
            self.node.corks.send(self)
        if conn.backlog or conn.is_closing or conn.is_unread:
            self._look_after(conn)
        elif conn.queue and self.node.replica.has_output():
            self.node.collect()

    def send(self) -> None:
        """Write what the core has put out."""
        conn = self.conn
        if conn is not None and conn.out:
            out = conn.out
            self.transport.write(b"".join(out) if len(out) > 1 else out[0])
            out.clear()

    def _look_after(self, conn: Connection) -> None:
        """See to a connection of which something is still to be done, and to what it has given the others to do."""
        self.obey(conn)
        if self.node.replica.has_output():
            self.node.schedule()

    def obey(self, conn: Connection) -> None:
        """Send what the core has put out and follow its state: close, pause, go on with a backlog."""
        out = conn.out
        transport = self.transport
        if out:
            data = b"".join(out) if len(out) > 1 else out[0]
            transport.write(data)
            out.clear()
            if self.is_stuffed and self._is_too_much(len(data)):
                self.node.cut_off_slow(conn, transport.get_write_buffer_size())
                transport.abort()
                return
        if conn.is_closing:
            if conn.session_id and conn.session is None and transport.get_write_buffer_size():
                # Its session is gone or has moved: what it has not taken by now need not wait for it.
                transport.abort()
            else:
                self.close()
            return
        if not (conn.is_unread or conn.backlog or self.is_stuffed or self.is_paused):
            return
        if conn.backlog and not conn.is_unread and not self.is_stuffed and conn.state == UP and not self.is_resuming:
            self.is_resuming = True
            self.node.loop.call_soon(self._resume)
        self._pause_or_resume(conn)

    def _is_too_much(self, size: int) -> bool:
        """Tell whether more waits than may, after a write of `size` bytes."""
        if size > self.longest:
            self.longest = size
        waiting: int = self.transport.get_write_buffer_size()
        return 0 < self.node.config.outbuffer_max < waiting - self.longest

    def _resume(self) -> None:
        self.is_resuming = False
        conn = self.conn
        if conn is None or conn.is_closing:
            return
        conn.resume(self.node.now())
        self._look_after(conn)

    def _pause_or_resume(self, conn: Connection) -> None:
        should_pause = conn.is_unread or self.is_stuffed or bool(conn.backlog)
        if should_pause != self.is_paused and not self.transport.is_closing():
            self.is_paused = should_pause
            if should_pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def pause_writing(self) -> None:
        """Take no more requests from a client that does not take its replies."""
        self.is_stuffed = True
        self.longest = self.transport.get_write_buffer_size()
        if self.conn is not None:
            self._look_from_now_on()
            self._pause_or_resume(self.conn)

    def resume_writing(self) -> None:
        """Go on."""
        self.is_stuffed = False
        if not self.transport.is_closing():
            self.node.stuffed.pop(self, None)
        if self.conn is not None and not self.conn.is_closing:
            self.obey(self.conn)

    def close(self) -> None:
        """End the connection once everything is sent, or the client takes nothing more of it."""
        self.transport.close()
        if self.conn is not None and self.transport.get_write_buffer_size():
            self._look_from_now_on()

    def _look_from_now_on(self) -> None:
        if self not in self.node.stuffed:
            self.node.stuffed[self] = None
            self.unsent = self._count_unsent()
            self.taken_at = self.node.now()

    def look_at_progress(self, now: int) -> None:
        """Count a client as heard of that has taken some of its replies: its pings are not read meanwhile.

        One that has taken nothing for too long keeps no connection that is to end.
        """
        unsent = self._count_unsent()
        if unsent < self.unsent:
            self.taken_at = now
            if self.conn is not None and self.conn.session is not None:
                self.conn.session.heard = now
        elif self.transport.is_closing() and now - self.taken_at > LINGER_MS:
            self.transport.abort()
        self.unsent = unsent

    def _count_unsent(self) -> int:
        """Return how many bytes the client's machine has not confirmed yet."""
        unsent: int = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        try:
            return unsent + int(_unpack_int(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
        except (OSError, ValueError):
            # A system that does not tell, or a socket that is closed.
            return unsent

    def eof_received(self) -> bool:
        """Have the connection closed soon, not at once: thousands may end in this turn."""
        self.node.closings.add(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the core."""
        conn, self.conn = self.conn, None
        self.node.stuffed.pop(self, None)
        if conn is not None:
            conn.closed()
            conn.shell = None
        self.node.connection_closed(self)

    # Four-letter words stand where a length would.

    def _is_past_command(self, data: bytes) -> bool:
        """Tell whether the first bytes are no four-letter word; answer it if they are one."""
        assert self.first is not None
        self.first += data
        if len(self.first) < 4:
            return False
        if self.node.commands is None or not self.node.commands.knows(self.first[:4]):
            return True
        answer = self.node.commands.answer(self.first, self.conn)
        if answer is None:
            return False
        self.first = None
        assert self.conn is not None
        self.conn.is_closing = True
        self.transport.write(answer)
        self.close()
        return False

    def _take_first(self, conn: Connection, data: bytes) -> None:
        """Take a connection's first bytes: a four-letter word, or the start of its session."""
        if not self._is_past_command(data):
            return
        first, self.first = self.first, None
        conn.receive(first or data, self.node.now())
        self._look_after(conn)
