"""The audit log in a file of its own, written by a thread: its disk may be slow, and the server does not wait for it.

The file may be moved or deleted at any time, as logrotate does: what is written afterwards stands in a new one.
"""

from __future__ import annotations

import io
import os
import threading
from queue import Empty, SimpleQueue
from typing import Any, Final

from corral.base.errors import StorageError

QUEUED_MAX: Final = 100_000
"""How many lines wait for the disk; what comes then is lost, and said to be."""
_GATHERED_MAX: Final = 1000


class AuditFile(io.TextIOBase):
    """A text stream whose every `write` is one line. lost: how many lines there was no room or no disk for.

    Raises StorageError if there cannot be such a file.
    """

    def __init__(self, path: str, log: Any) -> None:
        self._path = path
        self._log = log
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._is_failing = False
        self.lost = 0
        # First, as `close` asks for it, that of a file which could not be opened too.
        self._thread = threading.Thread(target=self._run, name="corral-audit", daemon=True)
        try:
            self._handle = self._open()
        except OSError as error:
            raise StorageError(
                f"cannot write the audit log: {error.strerror}: {path}; corral.audit.file must name a file in a "
                "directory that the server may write in"
            ) from error
        self._thread.start()

    def write(self, text: str) -> int:
        """Have a line written."""
        if self._queue.qsize() < QUEUED_MAX:
            self._queue.put(text)
        else:
            self._lose(1, "its disk is too slow")
        return len(text)

    def close(self) -> None:
        """Write what waits, for some seconds at most, and close the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(5.0)
        super().close()

    def _run(self) -> None:
        is_open = True
        while is_open:
            lines = [self._queue.get()]
            try:
                while len(lines) < _GATHERED_MAX:
                    lines.append(self._queue.get_nowait())
            except Empty:
                pass
            is_open = None not in lines
            self._write([line for line in lines if line is not None])
        if self._handle >= 0:
            os.close(self._handle)

    def _write(self, lines: list[str]) -> None:
        data = "".join(lines).encode("utf-8", "backslashreplace")
        try:
            self._follow()
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            self._lose(data.count(b"\n"), error.strerror or str(error))
        else:
            self._is_failing = False

    def _follow(self) -> None:
        """Go on in a new file if the name does not stand for the open one any more."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        if self._handle >= 0 and there is not None and os.path.samestat(there, os.fstat(self._handle)):
            return
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
        self._handle = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _lose(self, lines: int, why: str) -> None:
        self.lost += lines
        if not self._is_failing:
            self._is_failing = True
            self._log.error("audit lines are lost from here on", file=self._path, why=why, lost=self.lost)
