"""Writing the log, and snapshots: what is on disk once reported, how it is batched, and that a failure is final."""

from __future__ import annotations

import errno
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from corral.server.datadir import UNFINISHED, DataDirectory
from corral.server.logwriter import END, ROLL, Batch, Item, LogWriter
from corral.server.snapshotfile import CHUNKS_QUEUED_MAX, SnapshotFile
from corral.store.compression import unpacked
from corral.store.txnlog import LogReader, frame

WAIT_S = 20


class Disk:
    """A writer on a thread, and what it reports: zxids and errors, and of each fsync its bytes and microseconds."""

    def __init__(self, directory: DataDirectory, **options: Any) -> None:
        self.directory = directory
        self.items: SimpleQueue[Item] = SimpleQueue()
        self.reports: SimpleQueue[int | Exception] = SimpleQueue()
        self.syncs: list[tuple[int, int]] = []
        options.setdefault("pre_alloc_bytes", 4096)
        self.writer = LogWriter(directory.dir, self.items, self._synced, self.reports.put, **options)
        self.thread = threading.Thread(target=self.writer.run)

    def _synced(self, last: int, size: int, took_us: int) -> None:
        self.syncs.append((size, took_us))
        self.reports.put(last)

    def append(self, first: int, last: int) -> None:
        frames = [framed(zxid) for zxid in range(first, last + 1)]
        self.items.put(Batch(b"".join(frames), len(frames), first, last))

    def report(self) -> int | Exception:
        return self.reports.get(timeout=WAIT_S)

    def stop(self) -> None:
        self.items.put(END)
        self.thread.join(WAIT_S)

    def zxids(self, name: str) -> list[int]:
        return [zxid for zxid, _, _ in LogReader(name, self.directory.read(name))]

    def logs(self) -> list[str]:
        return [name for name in self.directory.names() if name.startswith("log.")]


def framed(zxid: int, size: int = 100) -> bytes:
    return frame(struct.pack(">qiqqi", 7, 1, zxid, 0, 5) + bytes(size))


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return DataDirectory(str(tmp_path), "dataDir")


@pytest.fixture
def start() -> Iterator[Callable[[Disk], Disk]]:
    started: list[Disk] = []

    def start(disk: Disk) -> Disk:
        disk.thread.start()
        started.append(disk)
        return disk

    yield start
    for disk in started:
        disk.stop()


Start = Callable[[Disk], Disk]


class Syncs:
    """A disk that notes what is in the file, may wait or fail."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.error: OSError | None = None

    def __call__(self, handle: int) -> None:
        self.sizes.append(os.lseek(handle, 0, os.SEEK_CUR))
        self.began.set()
        assert self.go_on.wait(WAIT_S)
        if self.error is not None:
            raise self.error


@pytest.fixture
def syncs() -> Syncs:
    return Syncs()


def test_what_is_reported_is_in_a_log_named_by_its_first_zxid(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory))

    disk.append(5, 7)

    assert disk.report() == 7
    assert disk.logs() == ["log.5"]
    assert disk.zxids("log.5") == [5, 6, 7]
    assert len(disk.syncs) == 1
    assert disk.syncs[0][0] == 3 * len(framed(5))
    assert disk.syncs[0][1] >= 0


def test_a_new_log_has_zookeepers_size(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory, pre_alloc_bytes=64 << 20))

    disk.append(1, 1)
    disk.report()

    assert directory.size("log.1") == 67108880


def test_a_log_is_extended_before_it_is_full(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory, pre_alloc_bytes=10_000))

    sizes = []
    for zxid in range(1, 121):
        disk.append(zxid, zxid)
        disk.report()
        sizes.append(directory.size("log.1"))

    assert sorted(set(sizes)) == [10016, 20016, 30016]
    assert disk.zxids("log.1") == list(range(1, 121))


def test_small_appends_go_where_zeroes_are_on_disk_and_large_ones_do_not_need_them(
    directory: DataDirectory, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 1 << 20
    zeroed: list[tuple[int, int]] = []
    monkeypatch.setattr("os.pwrite", lambda _fd, data, at: zeroed.append((at, at + len(data))))
    disk = start(Disk(directory, pre_alloc_bytes=step))

    append_size = len(framed(1))
    for zxid in range(1, 2 + (256 << 10) // append_size):
        disk.append(zxid, zxid)
        disk.report()
    first = 16 + (256 << 10)
    assert zeroed == [(step + 15, step + 16), (16, first), (first, first + (256 << 10))]
    for _ in range(3):
        disk.append(zxid + 1, zxid + 1000)
        disk.report()
        zxid += 1000
    assert 16 + zxid * append_size > first + (256 << 10)
    assert len(zeroed) == 3
    disk.append(zxid + 1, zxid + 1)
    disk.report()

    assert zeroed[3:] == [(16 + zxid * append_size, 16 + zxid * append_size + (256 << 10))]


def test_before_the_last_append_of_a_log_there_are_no_zeroes(
    directory: DataDirectory, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("os.pwrite", lambda _fd, data, _at: sizes.append(len(data)))
    disk = start(Disk(directory, pre_alloc_bytes=1 << 20, size_limit=1 << 19))

    for zxid in (1, 2):
        disk.append(zxid, zxid)
        disk.report()

    assert disk.logs() == ["log.1", "log.2"]
    assert sizes == [1, 1]


def test_without_fsyncs_there_are_no_zeroes(
    directory: DataDirectory, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("os.pwrite", lambda _fd, data, _at: sizes.append(len(data)))
    disk = start(Disk(directory, pre_alloc_bytes=1 << 20, force_sync=False))

    disk.append(1, 1)
    disk.report()

    assert sizes == [1]


def test_a_disk_with_no_room_for_zeroes_may_have_room_for_the_append(
    directory: DataDirectory, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = os.pwrite
    tried = []

    def pwrite(fd: int, data: bytes, at: int) -> int:
        if len(data) > 1:
            tried.append(at)
            raise OSError(errno.ENOSPC, "No space left on device")
        return reserve(fd, data, at)

    monkeypatch.setattr("os.pwrite", pwrite)
    disk = start(Disk(directory, pre_alloc_bytes=1 << 20))

    for zxid in (1, 2):
        disk.append(zxid, zxid)
        assert disk.report() == zxid

    assert tried == [16]
    assert disk.zxids("log.1") == [1, 2]


def test_without_preallocation_a_log_ends_with_its_last_entry(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory, pre_alloc_bytes=0))

    disk.append(1, 2)
    disk.report()

    assert directory.size("log.1") == 16 + 2 * len(framed(1))


def test_everything_queued_during_an_fsync_shares_the_next_one(
    directory: DataDirectory, start: Start, syncs: Syncs
) -> None:
    disk = start(Disk(directory, sync=syncs))
    syncs.go_on.clear()
    disk.append(1, 1)
    assert syncs.began.wait(WAIT_S)

    for zxid in range(2, 50):
        disk.append(zxid, zxid)
    syncs.go_on.set()

    assert [disk.report(), disk.report()] == [1, 49]
    assert syncs.sizes == [16 + len(framed(1)), 16 + 49 * len(framed(1))]


@pytest.mark.parametrize(("batch_max", "reported"), [(10, [1, 11, 21, 26]), (0, [1, 26])])
def test_a_batch_has_its_limit_if_there_is_one(
    directory: DataDirectory, start: Start, syncs: Syncs, batch_max: int, reported: list[int]
) -> None:
    disk = start(Disk(directory, batch_max=batch_max, sync=syncs))
    syncs.go_on.clear()
    disk.append(1, 1)
    assert syncs.began.wait(WAIT_S)

    for zxid in range(2, 27):
        disk.append(zxid, zxid)
    syncs.go_on.set()

    assert [disk.report() for _ in reported] == reported
    assert disk.zxids("log.1") == list(range(1, 27))


def test_with_a_flush_delay_appends_are_collected(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory, flush_delay_ms=60_000, poll_ms=60_000, batch_max=3))

    for zxid in range(1, 4):
        disk.append(zxid, zxid)

    assert disk.report() == 3
    assert len(disk.syncs) == 1


def test_a_flush_delay_ends_when_nothing_more_comes(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory, flush_delay_ms=60_000, poll_ms=1))

    disk.append(1, 1)

    assert disk.report() == 1


def test_a_roll_lets_the_next_append_start_a_file(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory))

    disk.append(1, 2)
    disk.items.put(ROLL)
    disk.items.put(ROLL)
    disk.append(3, 3)
    while disk.report() != 3:
        continue

    assert {name: disk.zxids(name) for name in disk.logs()} == {"log.1": [1, 2], "log.3": [3]}


def test_a_log_over_its_size_limit_is_rolled(directory: DataDirectory, start: Start) -> None:
    disk = start(Disk(directory, pre_alloc_bytes=0, size_limit=300))

    for zxid in range(1, 5):
        disk.append(zxid, zxid)
        disk.report()

    assert {name: disk.zxids(name) for name in disk.logs()} == {"log.1": [1, 2], "log.3": [3, 4]}


def test_a_torn_file_of_the_same_name_is_begun_anew(directory: DataDirectory, start: Start) -> None:
    Path(directory.path("log.1")).write_bytes(bytes(range(256)) * 100)
    disk = start(Disk(directory))

    disk.append(1, 1)
    disk.report()

    assert disk.zxids("log.1") == [1]


def test_stop_puts_on_disk_what_is_queued(directory: DataDirectory) -> None:
    disk = Disk(directory)
    disk.append(1, 3)
    disk.thread.start()

    disk.stop()

    assert disk.report() == 3
    assert disk.zxids("log.1") == [1, 2, 3]


def test_without_force_sync_nothing_is_synced(directory: DataDirectory, start: Start, syncs: Syncs) -> None:
    disk = start(Disk(directory, force_sync=False, sync=syncs))

    disk.append(1, 1)

    assert disk.report() == 1
    assert syncs.sizes == []
    assert disk.syncs == [(len(framed(1)), -1)]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_after_a_failed_fsync_nothing_is_written_or_acknowledged(
    directory: DataDirectory, start: Start, syncs: Syncs, code: int
) -> None:
    disk = start(Disk(directory, sync=syncs))
    disk.append(1, 1)
    assert disk.report() == 1
    syncs.error = OSError(code, os.strerror(code))

    disk.append(2, 2)
    error = disk.report()
    syncs.error = None
    disk.append(3, 3)
    disk.stop()

    assert isinstance(error, OSError)
    assert error.errno == code
    assert disk.reports.empty()
    assert len(syncs.sizes) == 2
    assert disk.zxids("log.1") == [1, 2]


@pytest.mark.parametrize("batch_max", [1, 1000])
def test_a_full_disk_is_reported_once(directory: DataDirectory, batch_max: int) -> None:
    os.symlink("/dev/full", directory.path("log.1"))
    disk = Disk(directory, batch_max=batch_max)

    disk.append(1, 1)
    disk.append(2, 2)
    disk.thread.start()
    disk.stop()

    error = disk.report()
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert disk.reports.empty()
    assert not disk.thread.is_alive()


def test_after_a_failure_nothing_is_kept_and_a_stop_does_not_hang(directory: DataDirectory) -> None:
    os.symlink("/dev/full", directory.path("log.1"))
    disk = Disk(directory)
    disk.thread.start()
    disk.append(1, 1)
    assert isinstance(disk.report(), OSError)

    class Kept(Batch):
        """A batch that can be asked whether it is still there."""

    late = Kept(b"late", 1, 2, 2)
    kept = weakref.ref(late)
    disk.items.put(late)
    disk.items.put(ROLL)
    del late
    disk.stop()

    assert not disk.thread.is_alive()
    assert kept() is None
    assert disk.reports.empty()


def test_what_the_system_takes_in_pieces_is_written_whole(
    directory: DataDirectory, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's header as well as what follows."""
    write = os.write
    monkeypatch.setattr("os.write", lambda fd, data: write(fd, data[:7]))
    disk = start(Disk(directory))

    disk.append(1, 3)

    assert disk.report() == 3
    assert disk.zxids("log.1") == [1, 2, 3]


def test_an_fsync_is_timed(directory: DataDirectory, start: Start, syncs: Syncs) -> None:
    times = iter([10.0, 12.5, 20.0, 20.75, 30.0, 9999.0])
    disk = start(Disk(directory, sync=syncs, clock=lambda: next(times)))

    for zxid in (1, 2, 3):
        disk.append(zxid, zxid)
        assert disk.report() == zxid

    assert [took_us for _, took_us in disk.syncs] == [2_500_000, 750_000, 2**31 - 1]


class Snapshots:
    """A snapshot thread, and what it reports."""

    def __init__(self, directory: DataDirectory, compression: str = "") -> None:
        self.reports: SimpleQueue[int | tuple[int, Exception]] = SimpleQueue()
        self.chunks: SimpleQueue[None] = SimpleQueue()
        self.file = SnapshotFile(directory, lambda: self.chunks.put(None), self._written, self._failed, compression)

    def _written(self, zxid: int, took_ms: int) -> None:
        assert 0 <= took_ms < WAIT_S * 1000
        self.reports.put(zxid)

    def _failed(self, zxid: int, error: Exception) -> None:
        self.reports.put((zxid, error))


@pytest.mark.parametrize(
    ("compression", "name"), [("", "snapshot.1f"), ("gz", "snapshot.1f.gz"), ("GZ", "snapshot.1f.gz")]
)
def test_a_snapshot_gets_its_name_when_it_is_whole(directory: DataDirectory, compression: str, name: str) -> None:
    snapshots = Snapshots(directory, compression)
    snapshots.file.start()

    snapshots.file.begin(0x1F)
    snapshots.file.chunk(b"one" * 1000)
    snapshots.chunks.get(timeout=WAIT_S)
    unfinished = directory.names()
    snapshots.file.chunk(b"two")
    snapshots.file.end()

    assert snapshots.reports.get(timeout=WAIT_S) == 0x1F
    assert unfinished == [UNFINISHED + name]
    assert directory.names() == [name]
    assert b"".join(unpacked(name, directory.read(name))) == b"one" * 1000 + b"two"
    snapshots.file.stop(WAIT_S)


def test_an_unfinished_snapshot_is_given_up_at_a_stop(directory: DataDirectory) -> None:
    snapshots = Snapshots(directory)
    snapshots.file.start()
    snapshots.file.begin(1)
    snapshots.file.chunk(b"one")

    snapshots.file.stop(WAIT_S)

    assert directory.names() == []
    assert snapshots.reports.empty()


@pytest.mark.parametrize("compression", ["", "gz"])
def test_a_full_disk_fails_one_snapshot_once_and_the_next_is_tried(directory: DataDirectory, compression: str) -> None:
    suffix = f".{compression}" if compression else ""
    os.symlink("/dev/full", directory.path(UNFINISHED + "snapshot.1" + suffix))
    snapshots = Snapshots(directory, compression)
    snapshots.file.start()

    for zxid in (1, 2):
        snapshots.file.begin(zxid)
        for _ in range(3):
            snapshots.file.chunk(os.urandom(200_000))
        snapshots.file.end()

    failure = snapshots.reports.get(timeout=WAIT_S)
    assert isinstance(failure, tuple)
    zxid, error = failure
    assert isinstance(error, OSError)
    assert (zxid, error.errno) == (1, errno.ENOSPC)
    assert snapshots.reports.get(timeout=WAIT_S) == 2
    snapshots.file.stop(WAIT_S)
    assert snapshots.chunks.qsize() == 6
    assert directory.names() == ["snapshot.2" + suffix]
    assert snapshots.reports.empty()


def test_a_producer_is_told_when_the_queue_is_full(directory: DataDirectory) -> None:
    snapshots = Snapshots(directory)

    for _ in range(CHUNKS_QUEUED_MAX):
        assert snapshots.file.room()
        snapshots.file.chunk(b"")

    assert not snapshots.file.room()
