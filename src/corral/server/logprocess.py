"""The process that writes the log: `python -m corral.server.logprocess FD SETTINGS`, started by `logdisk`.

A process and not a thread: a thread that comes back from each fsync takes the interpreter from the one that serves
clients, and gives it back, several times for each batch.

FD is a stream socket to the server. What comes in: a header (kind, first and last zxid, count of transactions, bytes)
and so many bytes. What goes out: a header (kind, last zxid, microseconds, bytes) and, for a failure, its text of so
many bytes. The end of the stream is the end of the work: when the server is killed, what it has handed over is still
written. Until then the server's lock on the directory is held here too.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
from collections import deque
from queue import Empty
from select import select
from socket import MSG_DONTWAIT
from typing import Final

from corral.server.logwriter import END, ROLL, Batch, Item, LogWriter

TO_WRITER: Final = struct.Struct(">BqqII")
FROM_WRITER: Final = struct.Struct(">BqiI")
APPEND: Final = 1
ROLLED: Final = 2
SYNCED: Final = 3
FAILED: Final = 4

_READ_BYTES: Final = 1 << 16
_FEW_BYTES: Final = 4096
"""A read of fewer was all there is, and few writers are at it; behind a larger one more may have come meanwhile."""


class SocketSource:
    """The items that arrive on a socket, as a queue."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = bytearray()
        self._items: deque[Item] = deque()
        self._has_taken_all = False

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Return the next item. Raises queue.Empty after `timeout` seconds, or at once without `block`."""
        while not self._items:
            if not block and self._has_taken_all:
                # A moment ago, and little: to ask again would take longer than a batch in between saves.
                raise Empty
            if timeout is not None and not select([self._sock], [], [], timeout)[0]:
                raise Empty
            try:
                data = self._sock.recv(_READ_BYTES, 0 if block else MSG_DONTWAIT)
            except BlockingIOError:
                raise Empty from None
            except ConnectionResetError:
                data = b""
            if not data:
                return END
            self._has_taken_all = len(data) < _FEW_BYTES
            if self._rest:
                self._rest += data
                del self._rest[: self._cut(self._rest)]
            else:
                # As a rule it is one whole append, which need not be copied twice.
                self._rest += data[self._cut(data) :]
        return self._items.popleft()

    def _cut(self, buffer: bytes | bytearray) -> int:
        """Take the items out of what has come; return where the first one begins that is not whole."""
        at = 0
        while len(buffer) - at >= TO_WRITER.size:
            kind, first, last, count, size = TO_WRITER.unpack_from(buffer, at)
            start = at + TO_WRITER.size
            if len(buffer) - start < size:
                break
            at = start + size
            self._items.append(Batch(bytes(buffer[start:at]), count, first, last) if kind == APPEND else ROLL)
        return at


def main() -> None:
    """Write what comes until the server has no more."""
    # The server is told to stop, and closes the stream when everything is handed over.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))

    def tell(message: bytes) -> None:
        try:
            sock.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            # The server is gone. What it has handed over is written all the same.
            pass

    def failed(error: Exception) -> None:
        text = (getattr(error, "strerror", None) or str(error)).encode("utf-8", "replace")
        tell(FROM_WRITER.pack(FAILED, 0, 0, len(text)) + text)

    LogWriter(
        source=SocketSource(sock),
        on_synced=lambda last, size, took_us: tell(FROM_WRITER.pack(SYNCED, last, took_us, size)),
        on_failed=failed,
        **json.loads(sys.argv[2]),
    ).run()


if __name__ == "__main__":
    main()
