"""The thread that waits for the log's disk; see `snapshotfile` for the one that writes snapshots.

Group commit: whatever was queued while the last fsync ran is written at once and synced once. After a failed write or
fsync nothing more is written or acknowledged: what the system kept of the failed bytes cannot be known, so trying
again could acknowledge what is not there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from corral.server.datadir import DataDirectory
from corral.server.snapshotfile import SnapshotFile
from corral.store.names import log_name
from corral.store.txnlog import FILE_HEADER, padded_size

__all__ = ["DiskThread", "SnapshotFile"]

_STOP: Any = object()
_ROLL: Any = object()

Item = tuple[list[bytes], int, int]


class DiskThread:
    """Appends to the log. on_synced(zxid) and on_failed(error) are called on this thread.

    pre_alloc_bytes: by how much a file is extended ahead of what is written; 0 or less for not at all. size_limit: of
    a file, in bytes, after which the next append starts a new one; 0 or less for none. warn_ms: an fsync that takes
    longer is logged. force_sync: whether there are any fsyncs. flush_delay_ms: how long appends are collected, at most,
    before they are written; poll_ms: and how long without another one. batch_max: how many are written at once, about.
    sync, clock: how a file is put on disk, and the monotonic seconds.

    The counters are read by other threads, without a lock: syncs, sync_ms_sum, sync_ms_max, slow_syncs (those that
    took longer than warn_ms), and syncing_since (monotonic seconds; 0 while no fsync is running).
    """

    def __init__(
        self,
        directory: DataDirectory,
        on_synced: Callable[[int], None],
        on_failed: Callable[[Exception], None],
        log: Any,
        pre_alloc_bytes: int = 64 << 20,
        size_limit: int = -1,
        warn_ms: int = 1000,
        force_sync: bool = True,
        flush_delay_ms: int = 0,
        poll_ms: int = 0,
        batch_max: int = 1000,
        sync: Callable[[int], None] = os.fdatasync,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._log = log
        self._step = pre_alloc_bytes
        self._size_limit = size_limit
        self._warn_ms = warn_ms
        self._force_sync = force_sync
        self._flush_delay_s = flush_delay_ms / 1000
        self._poll_s = poll_ms / 1000
        self._batch_max = max(1, batch_max)
        self._fdatasync = sync
        self._clock = clock
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._batch: list[bytes] = []
        self._first = 0
        self._handle = -1
        self._position = 0
        self._size = 0
        self.syncs = 0
        self.sync_ms_sum = 0
        self.sync_ms_max = 0
        self.slow_syncs = 0
        self.syncing_since = 0.0
        self._thread = threading.Thread(target=self._run, name="corral-disk", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def append(self, frames: list[bytes], first: int, last: int) -> None:
        """Append frames with zxids `first` to `last`, and report when they are on disk."""
        self._queue.put((frames, first, last))

    def roll(self) -> None:
        """Let the next append start a new file."""
        self._queue.put(_ROLL)

    def stop(self, timeout: float = 30.0) -> None:
        """Write what is queued and end the thread."""
        self._queue.put(_STOP)
        self._thread.join(timeout)

    def is_alive(self) -> bool:
        """Tell whether the thread is running."""
        return self._thread.is_alive()

    def _run(self) -> None:
        take = self._queue.get
        item = None
        try:
            while item is not _STOP:
                item = take()
                if type(item) is tuple:
                    last, item = self._gather(item)
                    self._write(self._batch, self._first)
                    self._on_synced(last)
                if item is not None:
                    # A roll or the end: no more of this file.
                    self._close()
        except Exception as error:  # noqa: BLE001  # Whatever it was, nothing may be acknowledged after it.
            self._fail(error)
            while item is not _STOP:
                item = take()

    def _gather(self, item: Item) -> tuple[int, Any]:
        """Make a batch of `item` and all that waits behind it.

        Returns its last zxid, and what was taken from the queue after it that is no append, None if nothing was.
        """
        frames, self._first, last = item
        self._batch = batch = [*frames]
        until = self._clock() + self._flush_delay_s if self._flush_delay_s > 0 else 0.0
        while len(batch) < self._batch_max:
            try:
                after = self._next(until)
            except Empty:
                break
            if type(after) is not tuple:
                return last, after
            frames, _, last = after
            batch += frames
        return last, None

    def _next(self, until: float) -> Any:
        """Return what is queued, or comes in time. Raises Empty."""
        if until:
            left = min(self._poll_s, until - self._clock())
            if left > 0:
                return self._queue.get(timeout=left)
        return self._queue.get_nowait()

    def _write(self, frames: list[bytes], first: int) -> None:
        is_new = self._handle < 0
        if is_new:
            self._open(first)
        size = padded_size(self._position, self._size, self._step)
        if size != self._size:
            os.pwrite(self._handle, b"\0", size - 1)
            self._size = size
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        written = os.write(self._handle, data)
        while written < len(data):
            written += os.write(self._handle, memoryview(data)[written:])
        self._position += len(data)
        if self._force_sync:
            self._sync(len(data))
            if is_new:
                # Not before the data: a name without its header would be an empty log after a crash.
                self._directory.sync()
        if 0 < self._size_limit < max(self._size, self._position):
            self._close()

    def _sync(self, size: int) -> None:
        started = self.syncing_since = self._clock()
        self._fdatasync(self._handle)
        took = int((self._clock() - started) * 1000)
        self.syncing_since = 0.0
        self.syncs += 1
        self.sync_ms_sum += took
        if took > self.sync_ms_max:
            self.sync_ms_max = took
        if took > self._warn_ms:
            self.slow_syncs += 1
            self._log.warning(
                "slow disk: writes waited for the log's fsync, reads and heartbeats did not",
                took_ms=took, threshold_ms=self._warn_ms, key="fsync.warningthresholdms", bytes=size,
                directory=self._directory.dir,
            )  # fmt: skip

    def _open(self, first: int) -> None:
        path = self._directory.path(log_name(first))
        # A file of that name can only be what a crash left of the same transaction, torn.
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.write(self._handle, FILE_HEADER)
        self._position = self._size = len(FILE_HEADER)

    def _close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def _fail(self, error: Exception) -> None:
        try:
            self._close()
        except OSError:
            # The first error is the one to tell.
            pass
        self._on_failed(error)
