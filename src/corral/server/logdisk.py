"""The log's disk as the server's loop sees it: batches go to a process that writes them, its reports come back.

Nothing here waits. What the process has not taken yet is kept here; how much that can be is bounded by how many writes
may be outstanding. While a report is due soon the loop does not sleep.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from corral.base.wakefulness import Wakefulness
from corral.server.logprocess import APPEND, FROM_WRITER, ROLLED, SYNCED, TO_WRITER


@dataclass(frozen=True)
class LogSettings:
    """How the log is written; see `LogWriter` for the meaning of each.

    spin_us: how long either side looks for what the other one sends before it sleeps; 0 for not at all.
    """

    directory: str
    pre_alloc_bytes: int = 64 << 20
    size_limit: int = -1
    force_sync: bool = True
    flush_delay_ms: int = 0
    poll_ms: int = 0
    batch_max: int = 1000
    spin_us: int = 0


class Disk(Protocol):
    """Where a node appends its log. Made of (settings, on_synced, on_failed, log, warn_ms, inherited), as `LogDisk` is.

    syncs, sync_ms_sum, sync_ms_max count the fsyncs; slow_syncs those that took too long.
    """

    syncs: int
    sync_ms_sum: int
    sync_ms_max: int
    slow_syncs: int

    @property
    def waiting_since(self) -> float:
        """Since when the oldest append waits to be on disk, in monotonic seconds; 0 if none does."""

    async def start(self) -> None:
        """Be ready for appends."""

    def append(self, frames: list[bytes], first: int, last: int) -> None:
        """Append frames with zxids `first` to `last`, and report when they are on disk."""

    def roll(self) -> None:
        """Let the next append start a new file."""

    async def stop(self) -> None:
        """Let what was handed over be written."""


MakeDisk = Callable[
    [LogSettings, Callable[[int], None], Callable[[str], None], Any, int, Sequence[int]],
    Disk,
]


class LogDisk(asyncio.Protocol):
    """Appends to the log. on_synced(zxid) and on_failed(why) are called on the loop.

    warn_ms: an fsync that takes longer is logged. inherited: descriptors that the process keeps open while it has
    something to write, such as the lock on the directory.

    syncs, sync_ms_sum, sync_ms_max count the fsyncs; slow_syncs those that took longer than warn_ms.
    """

    def __init__(
        self,
        settings: LogSettings,
        on_synced: Callable[[int], None],
        on_failed: Callable[[str], None],
        log: Any,
        warn_ms: int = 1000,
        inherited: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._log = log
        self._warn_ms = warn_ms
        self._inherited = inherited
        self._clock = clock
        self._process: subprocess.Popen[bytes]
        self._transport: Any = None
        self._received = b""
        self._has_failed = False
        self._is_stopping = False
        self._gone: asyncio.Future[None]
        self._waiting: deque[tuple[int, float]] = deque()
        self._wakefulness: Wakefulness
        self.syncs = 0
        self.sync_ms_sum = 0
        self.sync_ms_max = 0
        self.slow_syncs = 0

    @property
    def waiting_since(self) -> float:
        """Since when the oldest append waits to be on disk, in monotonic seconds; 0 if none does."""
        return self._waiting[0][1] if self._waiting else 0.0

    @property
    def pid(self) -> int:
        """The process that writes."""
        return self._process.pid

    async def start(self) -> None:
        """Start the process."""
        loop = asyncio.get_running_loop()
        self._gone = loop.create_future()
        self._wakefulness = Wakefulness(
            lambda: self.waiting_since, loop.call_soon, os.sched_yield, self._clock, self._settings.spin_us / 1e6
        )
        ours, theirs = socket.socketpair()
        with theirs:
            settings = json.dumps(asdict(self._settings))
            self._process = subprocess.Popen(  # noqa: ASYNC220  # It is the pipe to it that must not wait.
                [sys.executable, "-P", "-m", "corral.server.logprocess", str(theirs.fileno()), settings],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *self._inherited),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        ours.setblocking(False)
        await loop.create_unix_connection(lambda: self, sock=ours)

    def append(self, frames: list[bytes], first: int, last: int) -> None:
        """Append frames with zxids `first` to `last`, and report when they are on disk; nothing after `stop`."""
        if self._has_failed or self._is_stopping:
            return
        data = b"".join(frames)
        self._waiting.append((last, self._clock()))
        self._wakefulness.begin()
        self._transport.write(TO_WRITER.pack(APPEND, first, last, len(frames), len(data)) + data)

    def roll(self) -> None:
        """Let the next append start a new file."""
        if not (self._has_failed or self._is_stopping):
            self._transport.write(TO_WRITER.pack(ROLLED, 0, 0, 0, 0))

    async def stop(self, patience_s: float = 30.0) -> None:
        """Let what was handed over be written, and the process end; after `patience_s` leave it to itself."""
        self._is_stopping = True
        if not self._transport.is_closing():
            self._transport.write_eof()
        try:
            await asyncio.wait_for(asyncio.shield(self._gone), patience_s)
        except TimeoutError:
            self._log.error(
                "the log's disk does not answer; what it has not confirmed may be lost", waited_s=patience_s
            )
            return
        await asyncio.to_thread(self._process.wait)

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        """Have every write leave at once, not at the end of the loop's turn."""
        self._transport = transport
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Take the process's reports."""
        if self._received:
            data = self._received + data
        at = 0
        synced = 0
        why: str | None = None
        while why is None and len(data) - at >= FROM_WRITER.size:
            kind, last, took_us, size = FROM_WRITER.unpack_from(data, at)
            at += FROM_WRITER.size
            if kind == SYNCED:
                synced = last
                self._take_synced(last, took_us, size)
            elif len(data) - at < size:
                at -= FROM_WRITER.size
                break
            else:
                why = data[at : at + size].decode("utf-8", "replace")
        self._received = data[at:]
        if synced:
            self._on_synced(synced)
        if why is not None:
            self._fail(f"{why} in {self._settings.directory}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the process: a failure unless it was told to end."""
        if not self._is_stopping:
            self._fail(f"the process that writes the log has ended, with exit code {self._process.poll()}")
        if not self._gone.done():
            self._gone.set_result(None)

    def _fail(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._on_failed(why)

    def _take_synced(self, last: int, took_us: int, size: int) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= last:
            waiting.popleft()
        if took_us < 0:
            return
        took_ms = took_us // 1000
        self.syncs += 1
        self.sync_ms_sum += took_ms
        if took_ms > self.sync_ms_max:
            self.sync_ms_max = took_ms
        if took_ms > self._warn_ms:
            self.slow_syncs += 1
            self._log.warning(
                "slow disk: writes waited for the log's fsync, reads and heartbeats did not",
                took_ms=took_ms, threshold_ms=self._warn_ms, key="fsync.warningthresholdms", bytes=size,
                directory=self._settings.directory,
            )  # fmt: skip
