"""The log's disk of an embedded server: the same writer and files as a real server's, on a thread.

A process takes most of a start's time to come up, and what it gains, throughput under load, no test needs. Unless told
otherwise there is no fsync either: a test's data need not outlive the machine.

Stalling happens on the loop's side: nothing is handed to the writer, and what it reports is kept. So from the moment
that `stall` returns no write is acknowledged, not even one that the writer was busy with.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from corral.server.logdisk import LogSettings
from corral.server.logwriter import END, ROLL, Batch, Item, LogWriter


class ThreadDisk:
    """A `corral.server.logdisk.Disk`; see there. Every method is called on the loop."""

    def __init__(
        self,
        settings: LogSettings,
        on_synced: Callable[[int], None],
        on_failed: Callable[[str], None],
        log: Any,
        warn_ms: int = 1000,
        inherited: Sequence[int] = (),
    ) -> None:
        self._settings = settings
        self._on_synced = on_synced
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="corral-log", daemon=True)
        self._waiting: deque[tuple[int, float]] = deque()
        self._held: list[Item] = []
        self._reports: list[tuple[int, str, int]] = []
        self._quiet: list[asyncio.Future[None]] = []
        self._has_failed = False
        self.is_stalled = False
        self.syncs = 0
        self.sync_ms_sum = 0
        self.sync_ms_max = 0
        self.slow_syncs = 0

    @property
    def waiting_since(self) -> float:
        """Since when the oldest append waits to be on disk, in monotonic seconds; 0 if none does."""
        return self._waiting[0][1] if self._waiting else 0.0

    async def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def append(self, frames: list[bytes], first: int, last: int) -> None:
        """Append frames with zxids `first` to `last`, and report when they are written."""
        if not self._has_failed:
            self._waiting.append((last, self._loop.time()))
            self._hand_over(Batch(b"".join(frames), len(frames), first, last))

    def roll(self) -> None:
        """Let the next append start a new file."""
        self._hand_over(ROLL)

    async def stop(self) -> None:
        """Let what was handed over be written, also what a stall kept, and the thread end."""
        self.release()
        self._queue.put(END)
        await asyncio.to_thread(self._thread.join)

    async def quiet(self) -> None:
        """Wait until everything appended so far is reported, or the disk has failed."""
        if self._waiting and not self._has_failed:
            future = self._loop.create_future()
            self._quiet.append(future)
            await future

    def stall(self) -> None:
        """Let writes wait from now on."""
        self.is_stalled = True

    def release(self) -> None:
        """Go on with the writes that wait."""
        self.is_stalled = False
        reports, self._reports = self._reports, []
        held, self._held = self._held, []
        for item in held:
            self._queue.put(item)
        for report in reports:
            self._take(*report)

    def _hand_over(self, item: Item) -> None:
        if self.is_stalled:
            self._held.append(item)
        else:
            self._queue.put(item)

    # On the thread.

    def _write(self) -> None:
        settings = self._settings

        def tell(last: int, why: str, took_us: int) -> None:
            self._loop.call_soon_threadsafe(self._take, last, why, took_us)

        LogWriter(
            settings.directory,
            self._queue,
            lambda last, _, took_us: tell(last, "", took_us),
            lambda error: tell(0, getattr(error, "strerror", None) or str(error), -1),
            settings.pre_alloc_bytes,
            settings.size_limit,
            settings.force_sync,
            settings.flush_delay_ms,
            settings.poll_ms,
            settings.batch_max,
        ).run()

    # Back on the loop.

    def _take(self, last: int, why: str, took_us: int) -> None:
        """Take a report: the last zxid written, or why nothing can be any more."""
        if self.is_stalled:
            self._reports.append((last, why, took_us))
            return
        if took_us >= 0:
            self.syncs += 1
            self.sync_ms_sum += took_us // 1000
            self.sync_ms_max = max(self.sync_ms_max, took_us // 1000)
        if why:
            self._has_failed = True
            self._on_failed(f"{why} in {self._settings.directory}")
        else:
            while self._waiting and self._waiting[0][0] <= last:
                self._waiting.popleft()
            self._on_synced(last)
        if not self._waiting or self._has_failed:
            quiet, self._quiet = self._quiet, []
            for future in quiet:
                if not future.done():
                    future.set_result(None)
