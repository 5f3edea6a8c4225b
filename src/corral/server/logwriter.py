"""Writing the transaction log, and waiting for its disk. Whoever runs this does nothing else; see `logdisk`.

Group commit: whatever was queued while the last fsync ran is written at once and synced once. After a failed write or
fsync nothing more is written or acknowledged: what the system kept of the failed bytes cannot be known, so trying
again could acknowledge what is not there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from queue import Empty
from typing import Final, Protocol

from corral.base.records import record
from corral.store.names import log_name
from corral.store.txnlog import FILE_HEADER, PAD_MARGIN, padded_size

_MICROSECONDS_MAX: Final = (1 << 31) - 1
_ZEROES: Final = bytes(256 << 10)
_ZEROED_FOR_MAX: Final = 16 << 10
"""How large an append is, in bytes, that is worth zeroes before it: larger ones spread the cost of new blocks."""


@record
class Batch:
    """Transactions to append: `count` of them, framed, with zxids `first` to `last`."""

    data: bytes
    count: int
    first: int
    last: int


class Roll:
    """Let the next append start a new file."""


class End:
    """Nothing more comes."""


ROLL: Final = Roll()
END: Final = End()
Item = Batch | Roll | End


class Source(Protocol):
    """Where the items come from; `END` is the last one."""

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """Return the next item, waiting for it up to `timeout` seconds. Raises queue.Empty."""

    def empty(self) -> bool:
        """Tell whether nothing more waits, as far as that is known."""


class LogWriter:
    """Appends to the log what `source` gives, until its end.

    on_synced(last zxid, bytes, microseconds of the fsync or -1 without one) and on_failed(error) tell how it went.

    directory: of the files. pre_alloc_bytes: by how much a file is extended ahead of what is written; 0 or less for
    not at all. size_limit: of a file, in bytes, after which the next append starts a new one; 0 or less for none.
    force_sync: whether there are any fsyncs. flush_delay_ms: how long appends are collected, at most, before they are
    written; poll_ms: and how long without another one. batch_max: how many transactions are written at once, about;
    0 or less for all that wait. sync, clock: how a file is put on disk, and the monotonic seconds.
    """

    def __init__(
        self,
        directory: str,
        source: Source,
        on_synced: Callable[[int, int, int], None],
        on_failed: Callable[[Exception], None],
        pre_alloc_bytes: int = 64 << 20,
        size_limit: int = -1,
        force_sync: bool = True,
        flush_delay_ms: int = 0,
        poll_ms: int = 0,
        batch_max: int = 1000,
        sync: Callable[[int], None] = os.fdatasync,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._source = source
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._step = pre_alloc_bytes
        self._size_limit = size_limit
        self._force_sync = force_sync
        self._flush_delay_s = flush_delay_ms / 1000
        self._poll_s = poll_ms / 1000
        self._batch_max = batch_max if batch_max > 0 else sys.maxsize
        self._fdatasync = sync
        self._clock = clock
        self._handle = -1
        self._position = 0
        self._size = 0
        self._zeroed = 0

    def run(self) -> None:
        """Write until the end; after a failure take what comes and do nothing with it."""
        take = self._source.get
        is_all = self._source.empty
        item: Item | None = None
        try:
            while item is not END:
                item = take()
                if isinstance(item, Batch):
                    data, first, last, after = item.data, item.first, item.last, None
                    if self._flush_delay_s > 0 or not is_all():
                        data, last, after = self._gather(item)
                    item = after
                    took_us = self._write(data, first)
                    self._on_synced(last, len(data), took_us)
                if item is not None:
                    # A roll or the end: no more of this file.
                    self._close()
        except Exception as error:  # noqa: BLE001  # Whatever it was, nothing may be acknowledged after it.
            self._fail(error)
            while item is not END:
                item = take()

    def _gather(self, batch: Batch) -> tuple[bytes, int, Item | None]:
        """Join `batch` and all that waits behind it.

        Returns the bytes, the last zxid, and what was taken from the source after it that is no append, None if
        nothing was.
        """
        parts = [batch.data]
        count = batch.count
        last = batch.last
        after: Item | None = None
        until = self._clock() + self._flush_delay_s if self._flush_delay_s > 0 else 0.0
        while count < self._batch_max and (until or not self._source.empty()):
            try:
                item = self._next(until)
            except Empty:
                break
            if not isinstance(item, Batch):
                after = item
                break
            parts.append(item.data)
            count += item.count
            last = item.last
        return b"".join(parts), last, after

    def _next(self, until: float) -> Item:
        """Return what is queued, or comes in time. Raises Empty."""
        if until:
            left = min(self._poll_s, until - self._clock())
            if left > 0:
                return self._source.get(timeout=left)
        return self._source.get(block=False)

    def _write(self, data: bytes, first: int) -> int:
        """Append `data`; return how many microseconds the fsync took, -1 without one."""
        is_new = self._handle < 0
        if is_new:
            self._open(first)
        if self._position + PAD_MARGIN >= self._size:
            size = padded_size(self._position, self._size, self._step)
            if size != self._size:
                os.pwrite(self._handle, b"\0", size - 1)
                self._size = size
        if self._position + len(data) > self._zeroed and len(data) <= _ZEROED_FOR_MAX and self._force_sync:
            self._zero_ahead()
        handle = self._handle
        _write_all(handle, data)
        self._position += len(data)
        took_us = -1
        if self._force_sync:
            clock = self._clock
            started = clock()
            self._fdatasync(handle)
            took_us = min(int((clock() - started) * 1e6), _MICROSECONDS_MAX)
            if is_new:
                # Not before the data: a name without its header would be an empty log after a crash.
                sync_directory(self._directory)
        if 0 < self._size_limit < max(self._size, self._position):
            self._close()
        return took_us

    def _zero_ahead(self) -> None:
        """Write zeroes over what is reserved next: an fsync of blocks that exist needs no commit of the file system's.

        The file is the same, it has fewer holes. A lone small fsync takes a sixth less.
        """
        if 0 < self._size_limit < self._size:
            # What is reserved counts, so this append is the file's last one.
            return
        start = max(self._position, self._zeroed)
        self._zeroed = min(start + len(_ZEROES), self._size)
        if self._zeroed > start:
            try:
                os.pwrite(self._handle, _ZEROES[: self._zeroed - start], start)
            except OSError:
                # The disk may have room for what is to be written, if not for this. If it has none, that will tell.
                self._zeroed = sys.maxsize

    def _open(self, first: int) -> None:
        path = os.path.join(self._directory, log_name(first))
        # A file of that name can only be what a crash left of the same transaction, torn.
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        _write_all(self._handle, FILE_HEADER)
        self._position = self._size = self._zeroed = len(FILE_HEADER)

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


def _write_all(handle: int, data: bytes) -> None:
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def sync_directory(path: str) -> None:
    """Put the names of a directory's files on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
