"""The thread that writes snapshots: compresses them, and waits for their disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from corral.base.errors import StorageError
from corral.server.datadir import UNFINISHED, DataDirectory
from corral.store.compression import Packer, packer, suffix_of
from corral.store.names import snapshot_name

CHUNKS_QUEUED_MAX = 8

_STOP: Any = object()


class SnapshotFile:
    """Writes snapshots, under a name that no reader takes for one until they are complete and on disk.

    A producer that asks `room` before each chunk keeps the queue short; one that counts its chunks by `on_chunk`,
    which is called when each was dealt with, too. The callbacks are called on this thread: on_written(zxid,
    took_ms) or on_failed(zxid, error) once for each `begin`. compression: "", "gz" or "snappy". Raises
    StorageError if the library for it is missing.
    """

    def __init__(
        self,
        directory: DataDirectory,
        on_chunk: Callable[[], None],
        on_written: Callable[[int, int], None],
        on_failed: Callable[[int, Exception], None],
        compression: str = "",
    ) -> None:
        self._directory = directory
        self._on_chunk = on_chunk
        self._on_written = on_written
        self._on_failed = on_failed
        self._suffix = suffix_of(compression)
        self._packer: Packer = packer(self._suffix)
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._handle = -1
        self._zxid = 0
        self._begun = 0.0
        self._thread = threading.Thread(target=self._run, name="corral-snapshot", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def room(self) -> bool:
        """Tell whether another chunk should be made already."""
        return self._queue.qsize() < CHUNKS_QUEUED_MAX

    def begin(self, zxid: int) -> None:
        """Start a new file."""
        self._queue.put(zxid)

    def chunk(self, data: bytes) -> None:
        """Write more of it."""
        self._queue.put(data)

    def end(self) -> None:
        """Complete it: sync, then give it its name."""
        self._queue.put(None)

    def stop(self, timeout: float = 30.0) -> None:
        """Give up an unfinished file and end the thread."""
        self._queue.put(_STOP)
        self._thread.join(timeout)

    def _unfinished(self) -> str:
        return self._directory.path(UNFINISHED + snapshot_name(self._zxid, self._suffix))

    def _run(self) -> None:
        while (item := self._queue.get()) is not _STOP:
            try:
                self._do(item)
            except (OSError, StorageError) as error:
                self._give_up()
                self._on_failed(self._zxid, error)
            finally:
                if isinstance(item, bytes):
                    self._on_chunk()
        self._give_up()

    def _do(self, item: int | bytes | None) -> None:
        if isinstance(item, int):
            self._give_up()
            self._zxid = item
            self._begun = time.monotonic()
            self._packer = packer(self._suffix)
            self._handle = os.open(self._unfinished(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        elif self._handle < 0:
            # It has failed, and that was reported.
            return
        elif item is None:
            self._finish()
        else:
            self._write(self._packer.pack(item))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._handle, left) :]

    def _finish(self) -> None:
        self._write(self._packer.finish())
        os.fsync(self._handle)
        handle, self._handle = self._handle, -1
        os.close(handle)
        os.rename(self._unfinished(), self._directory.path(snapshot_name(self._zxid, self._suffix)))
        self._directory.sync()
        self._on_written(self._zxid, int((time.monotonic() - self._begun) * 1000))

    def _give_up(self) -> None:
        """Drop an unfinished file, if there is one; a disk that has failed may refuse even that."""
        handle, self._handle = self._handle, -1
        try:
            if handle >= 0:
                os.close(handle)
                os.unlink(self._unfinished())
        except OSError:
            # What is left is deleted at the next start.
            pass
