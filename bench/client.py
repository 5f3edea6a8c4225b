"""The little of a client that measuring needs, over a blocking socket; nothing of Corral is imported."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Self

CREATE = 1
EXISTS = 3
CLOSE = -11
IN_FLIGHT_MAX = 500
OPEN_ACL = struct.pack(">ii", 1, 31) + b"\0\0\0\5world\0\0\0\6anyone"


class RequestError(Exception):
    """A reply that says no. code: its error."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the server answered with error {code}")
        self.code = code


class Client:
    """One session. Raises OSError or EOFError where the server is not there, or not ready."""

    def __init__(self, port: int, timeout_ms: int = 30_000) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout_ms / 1000)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        try:
            self._send(struct.pack(">iqiqi", 0, 0, timeout_ms, 0, 16) + bytes(16) + b"\0")
            if struct.unpack_from(">i", self._frame(), 4)[0] <= 0:
                raise EOFError("the session was refused")
        except BaseException:
            self._sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session."""
        try:
            self._send(struct.pack(">ii", 1, CLOSE))
            self._frame()
        except (OSError, EOFError):
            pass
        self._sock.close()

    def create_all(self, paths: Iterable[str], data: bytes) -> int:
        """Create nodes, many in flight at a time; return how many. Raises RequestError."""
        sent = answered = 0
        tail = struct.pack(">i", len(data)) + data + OPEN_ACL + struct.pack(">i", 0)
        for path in paths:
            self._send(struct.pack(">ii", 1, CREATE) + _string(path) + tail)
            sent += 1
            if sent - answered >= IN_FLIGHT_MAX:
                answered += self._drain(IN_FLIGHT_MAX // 2)
        self._drain(sent - answered)
        return sent

    def exists(self, path: str) -> bool:
        """Tell whether a node is there. Raises RequestError."""
        self._send(struct.pack(">ii", 1, EXISTS) + _string(path) + b"\0")
        try:
            self._drain(1)
        except RequestError as error:
            if error.code == -101:
                return False
            raise
        return True

    def _drain(self, count: int) -> int:
        for _ in range(count):
            code = struct.unpack_from(">i", self._frame(), 12)[0]
            if code:
                raise RequestError(code)
        return count

    def _send(self, body: bytes) -> None:
        self._sock.sendall(struct.pack(">i", len(body)) + body)

    def _frame(self) -> bytes:
        head = self._take(4)
        return self._take(struct.unpack(">i", head)[0])

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            data = self._sock.recv(1 << 16)
            if not data:
                raise EOFError("the server closed the connection")
            self._held += data
        taken, self._held = self._held[:size], self._held[size:]
        return taken


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">i", len(raw)) + raw
