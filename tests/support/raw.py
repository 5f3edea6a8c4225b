"""A blocking client of raw bytes, for tests from outside: nothing here comes from the code under test."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any, NamedTuple, Self

from tests.support.jute import Op, Reader, read_body, text

XID_EVENT, XID_PING, XID_AUTH, XID_SET_WATCHES = -1, -2, -4, -8
NO_PASSWORD = bytes(16)
_SPECIAL_XIDS = {
    Op.PING: XID_PING,
    Op.AUTH: XID_AUTH,
    Op.SET_WATCHES: XID_SET_WATCHES,
    Op.SET_WATCHES2: XID_SET_WATCHES,
}


class Closed(Exception):
    """The server closed the connection."""


class ConnectResponse(NamedTuple):
    """The server's answer to a hello. timeout_ms: 0 if it refused the session."""

    protocol: int
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool | None


class Reply(NamedTuple):
    """The answer to a request; body: the bytes after the header."""

    xid: int
    zxid: int
    err: int
    body: bytes

    def read(self, op: int) -> Any:
        """Read the body as plain values, as the answer to `op`."""
        return read_body(op, self.body)


class Event(NamedTuple):
    """A watch event."""

    type: int
    state: int
    path: bytes
    zxid: int


class Wire:
    """A socket that carries frames."""

    def __init__(self, host: str, port: int, io_timeout_s: float = 20.0) -> None:
        self.sock = socket.create_connection((host, port), io_timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = bytearray()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are. Raises Closed."""
        try:
            self.sock.sendall(data)
        except ConnectionError as error:
            raise Closed from error

    def send_frame(self, body: bytes) -> None:
        """Send a length and the body."""
        self.send_bytes(struct.pack(">i", len(body)) + body)

    def recv_frame(self) -> bytes:
        """Wait for a frame. Raises Closed, and TimeoutError when nothing comes in time."""
        size = int.from_bytes(self._read(4), "big", signed=True)
        if size < 0:
            raise AssertionError(f"the server sent a frame of length {size}")
        return self._read(size)

    def drop(self) -> None:
        """Close the socket; a session lives on."""
        self.sock.close()

    def hang_up(self) -> None:
        """Say that nothing more comes, and close the socket once the server has. Raises TimeoutError if it does not."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        with suppress(Closed):
            while True:
                self.recv_frame()
        self.drop()

    def _read(self, size: int) -> bytes:
        while len(self._data) < size:
            try:
                chunk = self.sock.recv(65_536)
            except ConnectionError as error:
                raise Closed from error
            if not chunk:
                raise Closed
            self._data += chunk
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken


class RawSession(Wire):
    """A connection with a session. events: watch events in order of arrival, until somebody takes them out.

    A refused session is no error: `is_refused` tells, and the server closes the connection. Raises Closed if the server
    does not answer at all.
    """

    def __init__(
        self,
        host: str,
        port: int,
        timeout_ms: int = 30_000,
        session_id: int = 0,
        password: bytes = NO_PASSWORD,
        read_only: bool | None = False,
        last_zxid: int = 0,
        io_timeout_s: float = 20.0,
    ) -> None:
        """Connect. read_only None: leave the field out, as clients before 3.4 do."""
        super().__init__(host, port, io_timeout_s)
        self.host, self.port, self.xid = host, port, 0
        self.events: list[Event] = []
        hello = struct.pack(">iqiq", 0, last_zxid, timeout_ms, session_id) + text(password)
        self.send_frame(hello if read_only is None else hello + struct.pack(">?", read_only))
        try:
            frame = Reader(self.recv_frame())
        except Closed:
            self.drop()
            raise
        protocol, granted_ms, session = frame.take("iiq")
        self.response = ConnectResponse(
            protocol, granted_ms, session, frame.text() or b"", frame.take("?") if frame.at < len(frame.data) else None
        )
        self.session_id, self.password = session, self.response.password

    @property
    def is_refused(self) -> bool:
        """Tell whether the server refused the session."""
        return self.response.timeout_ms == 0

    def resumed(self, **changes: Any) -> RawSession:
        """Open another connection for this session."""
        return RawSession(
            self.host, self.port, **{"session_id": self.session_id, "password": self.password, **changes}
        )  # fmt: skip

    def send(self, op: int, body: bytes = b"", xid: int | None = None) -> int:
        """Send a request without waiting; return its xid, by default the one that clients use for such a request."""
        if xid is None and op in _SPECIAL_XIDS:
            xid = _SPECIAL_XIDS[Op(op)]
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send_frame(struct.pack(">ii", xid, op) + body)
        return xid

    def recv(self) -> Reply:
        """Wait for the next reply; events before it go to `events`."""
        while True:
            frame = Reader(self.recv_frame())
            xid, zxid, err = frame.take("iqi")
            if xid != XID_EVENT:
                return Reply(xid, zxid, err, frame.data[16:])
            kind, state = frame.take("ii")
            self.events.append(Event(kind, state, frame.text() or b"", zxid))

    def call(self, op: int, body: bytes = b"", xid: int | None = None) -> Reply:
        """Send a request and wait for its reply."""
        self.send(op, body, xid)
        return self.recv()

    def take_events(self) -> list[Event]:
        """Take out the events that have come so far."""
        events, self.events = self.events, []
        return events

    def is_open(self) -> bool:
        """Tell whether the server still answers here; brings in all events that were sent before the answer."""
        try:
            self.call(Op.PING)
        except Closed:
            return False
        return True

    def close(self) -> None:
        """Close the session and the connection."""
        self.call(Op.CLOSE_SESSION)
        self.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.drop()
