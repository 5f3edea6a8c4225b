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
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from functools import partial
from queue import Empty
from socket import MSG_DONTWAIT
from typing import Final

from corral.base.spin import Spin
from corral.server.logwriter import END, ROLL, Batch, Item, LogWriter

TO_WRITER: Final = struct.Struct(">BqqII")
FROM_WRITER: Final = struct.Struct(">BqiI")
APPEND: Final = 1
ROLLED: Final = 2
SYNCED: Final = 3
FAILED: Final = 4
AWAKE_FOR_MAX: Final = 12
"""Behind how many writes at once the process waits awake for the next ones: behind more there is enough to do."""

_HEAD_BYTES: Final = TO_WRITER.size
_unpack_head: Final = TO_WRITER.unpack_from
_READ_BYTES: Final = 1 << 16
_FEW_BYTES: Final = 4096
"""A read of fewer was all there is, and few writers are at it; behind a larger one more may have come meanwhile."""


class SocketSource:
    """The items that arrive on a socket, as a queue. Appends that came together are one.

    count_max: of how many transactions, about; 0 or less for any number. spin_us: how long it is looked for the next
    item before the process sleeps, where the last one was of few transactions; see `Spin`.
    """

    def __init__(self, sock: socket.socket, count_max: int, spin_us: int = 0) -> None:
        self._sock = sock
        self._count_max = count_max if count_max > 0 else sys.maxsize
        self._rest = bytearray()
        self._items: deque[Item] = deque()
        self._has_taken_all = False
        self._last_count = 0
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self._spin = Spin(partial(poll.poll, 0), os.sched_yield, time.monotonic_ns, spin_us * 1000)

    def empty(self) -> bool:
        """Tell whether nothing waits, for all that is known: to ask would take longer than a batch in between saves."""
        return self._has_taken_all and not self._items

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Return the next item. Raises queue.Empty after `timeout` seconds, or at once without `block`."""
        while not self._items:
            if timeout is not None:
                if not select.select([self._sock], [], [], timeout)[0]:
                    raise Empty
            elif block and self._last_count <= AWAKE_FOR_MAX:
                self._spin.finds()
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
                continue
            if len(data) >= _HEAD_BYTES:
                kind, first, last, count, size = _unpack_head(data, 0)
                if kind == APPEND and size == len(data) - _HEAD_BYTES:
                    # One whole append, as it mostly is.
                    self._last_count = count
                    return Batch(data[_HEAD_BYTES:], count, first, last)
            self._rest += data[self._cut(data) :]
        item = self._items.popleft()
        if isinstance(item, Batch):
            self._last_count = item.count
        return item

    def _cut(self, data: bytes | bytearray) -> int:
        """Take the items out of what has come; return where the first one begins that is not whole."""
        parts: list[bytes | bytearray] = []
        at = first = last = together = 0
        while len(data) - at >= _HEAD_BYTES:
            kind, begin, until, count, size = _unpack_head(data, at)
            stop = at + _HEAD_BYTES + size
            if stop > len(data):
                break
            if parts and (kind != APPEND or together >= self._count_max):
                self._items.append(Batch(b"".join(parts), together, first, last))
                parts = []
            if kind != APPEND:
                self._items.append(ROLL)
            elif parts:
                parts.append(data[at + _HEAD_BYTES : stop])
                last = until
                together += count
            else:
                parts = [data[at + _HEAD_BYTES : stop]]
                first, last, together = begin, until, count
            at = stop
        if parts:
            self._items.append(Batch(b"".join(parts), together, first, last))
        return at


def main() -> None:
    """Write what comes until the server has no more."""
    # The server is told to stop, and closes the stream when everything is handed over.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sock = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(sys.argv[2])
    spin_us = settings.pop("spin_us")

    def tell(last: int, size: int, took_us: int, kind: int = SYNCED, text: bytes = b"") -> None:
        try:
            sock.sendall(FROM_WRITER.pack(kind, last, took_us, size) + text)
        except (BrokenPipeError, ConnectionResetError):
            # The server is gone. What it has handed over is written all the same.
            pass

    def failed(error: Exception) -> None:
        text = (getattr(error, "strerror", None) or str(error)).encode("utf-8", "replace")
        tell(0, len(text), 0, FAILED, text)

    LogWriter(
        source=SocketSource(sock, settings["batch_max"], spin_us),
        on_synced=tell,
        on_failed=failed,
        **settings,
    ).run()


if __name__ == "__main__":
    main()
