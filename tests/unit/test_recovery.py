"""What a restart reads: which snapshot, which logs, and what it refuses to start on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.base.errors import StorageError
from corral.store.names import log_name
from corral.store.recovery import entries_from, follows, load, logs_from, valid_snapshots
from corral.store.snapshot_read import UnknownVersion
from corral.store.snapshot_write import SnapshotWriter
from corral.store.txnlog import FILE_HEADER, frame
from corral.tree.access import AclList
from corral.tree.tree import Tree
from corral.tree.watches import Watcher


class Deaf:
    def event(self, kind: int, frame: bytes, acl: AclList, watchers: Mapping[Watcher, object]) -> None:
        """Nobody watches in these tests."""


class MemoryDirectory:
    """A directory in memory."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("_", "."): data for name, data in files.items()}

    def names(self) -> list[str]:
        return sorted(self.files)

    def size(self, name: str) -> int:
        return len(self.files[name])

    def ends(self, name: str) -> tuple[bytes, bytes]:
        return self.files[name][:16], self.files[name][-16:]

    def read(self, name: str) -> Iterator[bytes]:
        data = self.files[name]
        return (data[at : at + 100] for at in range(0, len(data), 100))

    def path(self, name: str) -> str:
        return f"dir/{name}"


class Warnings(list[tuple[str, dict[str, Any]]]):
    def __call__(self, event: str, **values: Any) -> None:
        self.append((event, values))


def log(*zxids: int) -> bytes:
    return FILE_HEADER + b"".join(frame(struct.pack(">qiqqi", 7, 1, zxid, 0, 5)) for zxid in zxids)


def snapshot(zxid: int) -> bytes:
    tree = Tree(Deaf())
    tree.populate()
    tree.zxid = zxid
    tree.sessions[zxid] = 1000
    writer = SnapshotWriter(tree)
    return b"".join(iter(lambda: writer.next_chunk(100) or b"", b""))


def zxids(directory: MemoryDirectory, after: int, warn: Warnings | None = None, has_base: bool = True) -> list[int]:
    return [zxid for zxid, _ in entries_from(directory, after, Warnings() if warn is None else warn, has_base)]


def load_from(directory: MemoryDirectory, warn: Warnings | None = None, trust_empty: bool = False) -> Any:
    return load(directory, directory, lambda: Tree(Deaf()), trust_empty, Warnings() if warn is None else warn)


def test_the_newest_snapshot_is_loaded() -> None:
    loaded = load_from(MemoryDirectory(snapshot_5=snapshot(5), snapshot_a=snapshot(10), log_1=log(1)))

    assert (loaded.name, loaded.zxid, loaded.tree.zxid) == ("snapshot.a", 10, 10)
    assert loaded.tree.sessions == {10: 1000}
    assert b"/zookeeper/config" in loaded.tree.nodes


def test_a_damaged_snapshot_is_passed_over_with_a_warning() -> None:
    damaged = bytearray(snapshot(10))
    damaged[30] ^= 1
    warn = Warnings()

    loaded = load_from(MemoryDirectory(snapshot_5=snapshot(5), snapshot_a=bytes(damaged)), warn)

    assert loaded.zxid == 5
    assert "dir/snapshot.a" in warn[0][1]["why"]


def test_incomplete_snapshots_are_not_even_tried() -> None:
    directory = MemoryDirectory(
        snapshot_5=snapshot(5), snapshot_6=snapshot(6)[:-1], snapshot_7=b"", snapshot_xyz=b"", snapshot_8=b"\0\0\0\1/"
    )

    assert valid_snapshots(directory) == ["snapshot.5"]


def test_a_compressed_snapshot_is_loaded() -> None:
    pack = zlib.compressobj(wbits=31)
    packed = pack.compress(snapshot(9)) + pack.flush()

    assert load_from(MemoryDirectory(snapshot_9_gz=packed)).zxid == 9


def test_no_readable_snapshot_stops_the_start() -> None:
    damaged = bytearray(snapshot(10))
    damaged[30] ^= 1

    with pytest.raises(StorageError, match=r"none of the 1 snapshots in dir/ can be read; .*dir/snapshot\.a"):
        load_from(MemoryDirectory(snapshot_a=bytes(damaged)))


@pytest.mark.parametrize("size", [20, None])
def test_a_snapshot_of_a_later_release_stops_the_start_though_an_older_one_is_there(size: int | None) -> None:
    future = snapshot(10)[:7] + b"\3" + snapshot(10)[8:]

    with pytest.raises(UnknownVersion, match=r"dir/snapshot\.a: snapshot version 3 is from a later release"):
        load_from(MemoryDirectory(snapshot_5=snapshot(5), snapshot_a=future[:size]))


def test_a_log_without_any_snapshot_stops_the_start() -> None:
    with pytest.raises(StorageError, match=r"no snapshot was found, but there are log entries .*trust\.empty"):
        load_from(MemoryDirectory(log_1=log(1)))


def test_a_log_without_any_snapshot_is_trusted_if_so_configured() -> None:
    directory = MemoryDirectory(log_3=log(3, 4))

    loaded = load_from(directory, trust_empty=True)

    assert (loaded.zxid, loaded.ending, len(loaded.tree.nodes)) == (0, None, 4)
    assert zxids(directory, 0, has_base=False) == [3, 4]


def test_an_empty_directory_and_empty_logs_make_an_empty_tree() -> None:
    assert load_from(MemoryDirectory()).ending is None
    assert load_from(MemoryDirectory(log_1=FILE_HEADER + bytes(100), log_2=b"")).ending is None


def test_a_first_snapshot_that_was_never_completed_makes_an_empty_tree() -> None:
    warn = Warnings()

    assert load_from(MemoryDirectory(snapshot_0=snapshot(0)[:-3]), warn).ending is None
    assert "never completed" in warn[0][0]


def test_an_incomplete_later_snapshot_alone_stops_the_start() -> None:
    with pytest.raises(StorageError, match=r"dir/snapshot\.5: no snapshot is complete"):
        load_from(MemoryDirectory(snapshot_5=snapshot(5)[:-3]))


def test_logs_are_read_from_the_last_one_named_before_the_start() -> None:
    directory = MemoryDirectory(log_1=log(1), log_5=log(5), log_10=log(16), snapshot_0=b"", currentEpoch=b"1")

    assert logs_from(directory, 1) == ["log.1", "log.5", "log.10"]
    assert logs_from(directory, 5) == ["log.1", "log.5", "log.10"]
    assert logs_from(directory, 6) == ["log.5", "log.10"]
    assert logs_from(directory, 100) == ["log.10"]


def test_entries_after_the_snapshot_are_yielded_across_files_and_epochs() -> None:
    directory = MemoryDirectory(
        log_1=log(1, 2, 3) + bytes(50), log_4=log(4), log_100000001=log(0x100000001), log_300000001=log(0x300000001)
    )

    assert zxids(directory, 2) == [3, 4, 0x100000001, 0x300000001]
    assert zxids(directory, 4) == [0x100000001, 0x300000001]


def test_a_torn_tail_ends_its_file_and_the_next_goes_on() -> None:
    warn = Warnings()
    directory = MemoryDirectory(log_1=log(1, 2, 3)[:-5], log_3=log(3, 4))

    assert zxids(directory, 0, warn) == [1, 2, 3, 4]
    assert warn[0][1]["file"] == "dir/log.1"
    assert warn[0][1]["offset"] == len(log(1, 2))


def test_a_torn_entry_that_no_later_file_has_is_a_hole() -> None:
    directory = MemoryDirectory(log_1=log(1, 2, 3)[:-5], log_4=log(4))

    with pytest.raises(
        StorageError, match=r"dir/log\.4: at offset 16 expected zxid 0x3, got 0x4: .*restore the missing log file"
    ):
        zxids(directory, 0)


@pytest.mark.parametrize(
    ("files", "after"),
    [
        ({"log_1": log(1, 3)}, 0),
        ({"log_1": log(1, 2), "log_4": log(4)}, 1),
        ({"log_5": log(5)}, 3),
        ({"log_1": log(1), "log_100000005": log(0x100000005)}, 0),
    ],
)
def test_a_hole_stops_the_start(files: dict[str, bytes], after: int) -> None:
    with pytest.raises(StorageError, match="are missing"):
        zxids(MemoryDirectory(**files), after)


def test_a_hole_before_the_snapshot_does_not_matter() -> None:
    assert zxids(MemoryDirectory(log_1=log(1), log_5=log(5, 6, 7)), 6) == [7]


def test_zxids_that_were_read_before_are_left_out_with_one_warning() -> None:
    warn = Warnings()

    assert zxids(MemoryDirectory(log_1=log(1, 2, 3), log_2=log(2, 3, 4)), 0, warn) == [1, 2, 3, 4]
    assert len(warn) == 1
    assert warn[0][1] == {"file": "dir/log.2", "offset": 16, "zxid": "0x2", "after": "0x3"}


def test_logs_without_a_header_are_left_out() -> None:
    warn = Warnings()

    assert zxids(MemoryDirectory(log_1=log(1), log_2=b"ZK", log_3=log(2), log_4=b""), 0, warn) == [1, 2]
    assert [values["file"] for _, values in warn] == ["dir/log.2", "dir/log.4"]


def test_damage_in_a_log_stops_the_start() -> None:
    damaged = bytearray(log(1, 2))
    damaged[40] ^= 1

    with pytest.raises(StorageError, match=r"dir/log\.1: corrupt at offset 16"):
        zxids(MemoryDirectory(log_1=bytes(damaged)), 0)


@pytest.mark.parametrize(
    ("last", "zxid", "expected"),
    [
        (5, 6, True), (5, 7, False), (5, 0x100000001, True), (5, 0x100000002, False), (5, 0x900000001, True),
        (0x100000000, 0x100000001, True), (0x100000005, 0x200000000, True), (0x100000005, 5, False),
        (0xFFFFFFFF, 0x100000000, True), (0x100000005, 0x100000005, False),
    ],
)  # fmt: skip
def test_zxids_count_by_one_and_epochs_from_one(last: int, zxid: int, expected: bool) -> None:
    assert follows(last, zxid) is expected


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 400), st.integers(0, 30))
def test_any_prefix_of_the_log_recovers_and_the_next_run_goes_on_from_there(
    sizes: list[int], cut: int, start: int
) -> None:
    """A crash anywhere in the newest file loses only entries that were not whole; new ones then go to a new file."""
    files: dict[str, bytes] = {}
    zxid = 0
    for size in sizes:
        files[log_name(zxid + 1)] = log(*range(zxid + 1, zxid + size + 1))
        zxid += size
    newest = log_name(zxid - sizes[-1] + 1)
    files[newest] = files[newest][:cut]
    directory = MemoryDirectory(**files)
    start = min(start, zxid - sizes[-1])

    first = zxids(directory, start)
    last = first[-1] if first else start
    directory.files[log_name(last + 1)] = log(last + 1, last + 2)
    second = zxids(directory, start)

    assert first == list(range(start + 1, last + 1))
    assert second == list(range(start + 1, last + 3))
