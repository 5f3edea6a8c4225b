"""A blocking client that speaks the protocol over a real socket, one request at a time."""

from __future__ import annotations

import socket
import struct
from typing import Any

from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.schema import decode, encode


class Closed(Exception):
    """The server closed the connection."""


class WireClient:
    """One connection and its session. events: (type, path) in order of arrival."""

    def __init__(self, port: int, timeout: int = 30_000, session: int = 0, password: bytes = b"\0" * 16) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.events: list[tuple[int, bytes]] = []
        self.xid = 0
        self.send_frame(encode(records.ConnectRequest(0, 0, timeout, session, password)) + b"\0")
        self.hello = decode(records.ConnectResponse, self.recv_frame())
        self.session: int = self.hello.session_id
        self.password: bytes = self.hello.passwd or b""

    def send_frame(self, body: bytes) -> None:
        self.sock.sendall(struct.pack(">i", len(body)) + body)

    def recv_frame(self) -> bytes:
        return self._read(int.from_bytes(self._read(4), "big"))

    def call(self, op: int, request: Any = b"", xid: int | None = None) -> tuple[int, int, int, bytes]:
        """Send a request; return its reply as (xid, zxid, err, body)."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        body = request if isinstance(request, bytes) else encode(request)
        self.send_frame(struct.pack(">ii", xid, op) + body)
        return self.reply()

    def reply(self) -> tuple[int, int, int, bytes]:
        """Wait for the next reply; keep the events before it."""
        while True:
            frame = self.recv_frame()
            xid, zxid, err = struct.unpack_from(">iqi", frame)
            if xid != opcodes.XID_NOTIFICATION:
                return xid, zxid, err, frame[16:]
            event = decode(records.WatcherEvent, frame[16:])
            self.events.append((event.type, event.path))

    def close(self) -> None:
        """Lose the socket, not the session."""
        self.sock.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                chunk = self.sock.recv(size - len(data))
            except ConnectionError as error:
                raise Closed from error
            if not chunk:
                raise Closed
            data += chunk
        return data
