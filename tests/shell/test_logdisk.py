"""The process that writes the log, as the server's loop sees it: real processes, sockets and files."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.recorded_wakefulness import RecordedWakefulness

from corral.server import logdisk
from corral.server.logdisk import LogDisk, LogSettings
from corral.store.txnlog import LogReader, frame

WAIT_S = 20


class Log:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append({"event": event, **values})

    error = warning


class Disk:
    """A disk, and what it reports: zxids and why it failed."""

    def __init__(self, directory: Path, warn_ms: int = 1000, **settings: Any) -> None:
        self.directory = directory
        self.reports: asyncio.Queue[int | str] = asyncio.Queue()
        self.log = Log()
        settings.setdefault("pre_alloc_bytes", 4096)
        self.disk = LogDisk(
            LogSettings(str(directory), **settings), self.reports.put_nowait, self.reports.put_nowait, self.log, warn_ms
        )

    def append(self, first: int, last: int, size: int = 100) -> None:
        self.disk.append([framed(zxid, size) for zxid in range(first, last + 1)], first, last)

    async def report(self) -> int | str:
        return await asyncio.wait_for(self.reports.get(), WAIT_S)

    def zxids(self, name: str) -> list[int]:
        return [zxid for zxid, _, _ in LogReader(name, (self.directory / name).read_bytes())]


def framed(zxid: int, size: int) -> bytes:
    return frame(struct.pack(">qiqqi", 7, 1, zxid, 0, 5) + bytes(size))


def run(scenario: Callable[[Disk], Awaitable[None]], disk: Callable[[], Disk]) -> Disk:
    made: list[Disk] = []

    async def main() -> None:
        made.append(disk())
        await made[0].disk.start()
        try:
            await scenario(made[0])
        finally:
            await made[0].disk.stop(WAIT_S)

    asyncio.run(main())
    return made[0]


def test_what_is_reported_is_on_disk_and_nothing_waits(tmp_path: Path) -> None:
    async def scenario(disk: Disk) -> None:
        assert disk.disk.waiting_since == 0
        disk.append(1, 3)
        assert disk.disk.waiting_since > 0
        assert await disk.report() == 3
        assert disk.disk.waiting_since == 0
        assert disk.zxids("log.1") == [1, 2, 3]

    disk = run(scenario, lambda: Disk(tmp_path))

    assert disk.disk.syncs == 1
    assert disk.disk.sync_ms_sum >= disk.disk.sync_ms_max >= 0


def test_a_roll_keeps_its_place_and_large_appends_arrive_whole(tmp_path: Path) -> None:
    async def scenario(disk: Disk) -> None:
        disk.append(1, 4, size=1 << 20)
        disk.disk.roll()
        disk.append(5, 5)
        while await disk.report() != 5:
            continue

    disk = run(scenario, lambda: Disk(tmp_path))

    assert disk.zxids("log.1") == [1, 2, 3, 4]
    assert disk.zxids("log.5") == [5]


def test_a_stop_lets_everything_be_written(tmp_path: Path) -> None:
    async def scenario(disk: Disk) -> None:
        for zxid in range(1, 200):
            disk.append(zxid, zxid)

    disk = run(scenario, lambda: Disk(tmp_path))

    assert disk.zxids("log.1") == list(range(1, 200))


def test_what_comes_after_a_stop_is_left_out(tmp_path: Path) -> None:
    """As the write of a client whose connection is only about to end."""

    async def scenario(disk: Disk) -> None:
        disk.append(1, 1)
        stopping = asyncio.create_task(disk.disk.stop(WAIT_S))
        await asyncio.sleep(0)
        disk.append(2, 2)
        disk.disk.roll()
        await stopping

    disk = run(scenario, lambda: Disk(tmp_path))

    assert disk.zxids("log.1") == [1]


def test_a_full_disk_is_reported_once(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "log.1")

    async def scenario(disk: Disk) -> None:
        disk.append(1, 1)
        assert "No space left on device" in str(await disk.report())
        disk.append(2, 2)

    disk = run(scenario, lambda: Disk(tmp_path))

    assert disk.reports.empty()


def test_a_killed_writer_is_a_failure(tmp_path: Path) -> None:
    async def scenario(disk: Disk) -> None:
        os.kill(disk.disk.pid, signal.SIGKILL)
        assert "has ended" in str(await disk.report())

    run(scenario, lambda: Disk(tmp_path))


def test_a_signal_that_tells_the_server_to_stop_does_not_stop_the_writer(tmp_path: Path) -> None:
    async def scenario(disk: Disk) -> None:
        disk.append(1, 1)
        assert await disk.report() == 1
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(disk.disk.pid, number)
        disk.append(2, 2)
        assert await disk.report() == 2

    run(scenario, lambda: Disk(tmp_path))


def test_a_slow_fsync_is_logged_and_counted(tmp_path: Path) -> None:
    async def scenario(disk: Disk) -> None:
        disk.append(1, 1)
        assert await disk.report() == 1

    disk = run(scenario, lambda: Disk(tmp_path, warn_ms=-1))

    assert [(line["threshold_ms"], line["directory"]) for line in disk.log.lines] == [(-1, str(tmp_path))]
    assert disk.disk.slow_syncs == 1


@pytest.mark.parametrize("force_sync", [True, False])
def test_only_a_sync_is_counted(tmp_path: Path, force_sync: bool) -> None:
    async def scenario(disk: Disk) -> None:
        disk.append(1, 1)
        assert await disk.report() == 1

    disk = run(scenario, lambda: Disk(tmp_path, force_sync=force_sync))

    assert disk.disk.syncs == int(force_sync)


def test_the_lock_is_held_until_a_killed_servers_log_is_written(tmp_path: Path) -> None:
    read, write = os.pipe()

    async def scenario() -> None:
        disk = LogDisk(LogSettings(str(tmp_path)), lambda _: None, lambda _: None, Log(), inherited=(write,))
        await disk.start()
        os.close(write)
        os.set_blocking(read, False)
        with pytest.raises(BlockingIOError):
            os.read(read, 1)
        await disk.stop(WAIT_S)
        assert os.read(read, 1) == b""

    asyncio.run(scenario())
    os.close(read)


def test_the_loop_stays_awake_for_word_of_its_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = RecordedWakefulness()
    monkeypatch.setattr(logdisk, "Wakefulness", recorded)

    async def scenario(disk: Disk) -> None:
        disk.append(1, 1)
        disk.append(2, 3)
        since = disk.disk.waiting_since
        assert since > 0
        assert recorded.begun == [since, since]
        while await disk.report() != 3:
            pass
        assert recorded.due_since() == 0.0

    run(scenario, lambda: Disk(tmp_path))
