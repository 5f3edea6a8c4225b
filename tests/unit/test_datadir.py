"""The data directories: making, locking, checking, tidying and purging them."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from corral.base.errors import StorageError
from corral.server.datadir import LOCK_NAME, DataDirectories
from corral.store.snapshot_write import SnapshotWriter
from corral.store.txnlog import FILE_HEADER
from corral.tree.access import AclList
from corral.tree.tree import Tree
from corral.tree.watches import Watcher


class Deaf:
    def event(self, kind: int, frame: bytes, acl: AclList, watchers: Mapping[Watcher, object]) -> None:
        """Nobody watches in these tests."""


def snapshot() -> bytes:
    tree = Tree(Deaf())
    tree.populate()
    writer = SnapshotWriter(tree)
    return b"".join(iter(lambda: writer.next_chunk(100) or b"", b""))


def opened(data: Path, logs: Path | None = None, create: bool = True) -> DataDirectories:
    return DataDirectories(str(data), None if logs is None else str(logs), create, patience_s=0)


def test_version_2_is_made_in_both_directories(tmp_path: Path) -> None:
    directories = opened(tmp_path / "data", tmp_path / "logs")

    assert directories.snapshots.dir == str(tmp_path / "data" / "version-2")
    assert directories.logs.dir == str(tmp_path / "logs" / "version-2")
    assert os.listdir(tmp_path / "logs" / "version-2") == [LOCK_NAME]
    directories.close()


def test_without_autocreate_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"dataDir=.*version-2 does not exist, and datadir\.autocreate is false"):
        opened(tmp_path, create=False)


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"dataDir=.*file: cannot create .*Not a directory"):
        opened(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_rights_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "version-2").mkdir(mode=0o500)

    with pytest.raises(StorageError, match="no right to read and write"):
        opened(tmp_path)


def test_an_unfinished_file_that_cannot_be_deleted_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "version-2" / "writing.snapshot.6").mkdir(parents=True)

    with pytest.raises(StorageError, match=r"cannot delete .*version-2/writing\.snapshot\.6: Is a directory"):
        opened(tmp_path)


def test_a_lock_that_is_given_up_in_time_is_waited_for(tmp_path: Path) -> None:
    first = opened(tmp_path)
    later = threading.Timer(0.1, first.close)
    later.start()

    DataDirectories(str(tmp_path), None, patience_s=30).close()

    later.join()


def test_two_servers_never_open_one_directory(tmp_path: Path) -> None:
    first = opened(tmp_path / "data", tmp_path / "logs")

    with pytest.raises(StorageError, match="logs is in use by another server"):
        opened(tmp_path / "other", tmp_path / "logs")
    first.close()

    # The refused one gave back what it had locked already.
    opened(tmp_path / "other", tmp_path / "logs").close()


def test_one_directory_named_twice_is_locked_once(tmp_path: Path) -> None:
    os.symlink(tmp_path, tmp_path / "link")

    directories = opened(tmp_path, tmp_path / "link")

    assert directories.logs is directories.snapshots
    directories.close()


@pytest.mark.parametrize(
    ("directory", "name", "why"),
    [
        ("logs", "snapshot.5", r"the log directory .*logs/version-2 has 1 snapshot files, such as snapshot\.5"),
        ("data", "log.1", r"the snapshot directory .*data/version-2 has 1 log files, such as log\.1"),
    ],
)
def test_mixed_up_directories_are_refused(tmp_path: Path, directory: str, name: str, why: str) -> None:
    file = tmp_path / directory / "version-2" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")

    with pytest.raises(StorageError, match=why):
        opened(tmp_path / "data", tmp_path / "logs")
    assert file.exists()


def test_what_a_crash_left_unfinished_is_deleted(tmp_path: Path) -> None:
    directory = tmp_path / "version-2"
    directory.mkdir()
    kept = {"log.1": FILE_HEADER, "snapshot.0": b"", "currentEpoch": b"1", "log": b"", "notes.txt": b""}
    kept["log.6"] = bytes(5000) + b"B"
    gone = {"log.7": bytes(5 << 20), "log.8": FILE_HEADER[:15], "log.9": b"", "writing.snapshot.5": b"half"}
    for name, data in {**kept, **gone}.items():
        (directory / name).write_bytes(data)

    directories = opened(tmp_path)

    assert directories.tidied == list(gone)
    assert set(os.listdir(directory)) == {*kept, LOCK_NAME}
    directories.close()


def test_files_are_read_in_full(tmp_path: Path) -> None:
    directories = opened(tmp_path)
    data = bytes(range(256)) * 40_000
    (tmp_path / "version-2" / "log.1").write_bytes(data)

    assert b"".join(directories.logs.read("log.1")) == data
    assert directories.logs.size("log.1") == len(data)
    assert directories.logs.ends("log.1") == (data[:16], data[-16:])
    assert directories.logs.used() == len(data)
    with pytest.raises(StorageError, match=r"cannot read .*log\.2: No such file"):
        list(directories.logs.read("log.2"))
    directories.close()


def test_a_file_that_cannot_be_looked_at_is_an_error_that_names_it(tmp_path: Path) -> None:
    """As one that was restored by another user, or a directory; root may read all but these."""
    directories = opened(tmp_path)
    os.mkdir(directories.snapshots.path("snapshot.7"))
    os.symlink("gone", directories.logs.path("log.7"))

    with pytest.raises(StorageError, match=r"cannot read .*snapshot\.7: Is a directory"):
        directories.newest_snapshot()
    directories.close()
    with pytest.raises(StorageError, match=r"cannot read .*log\.7: No such file or directory"):
        opened(tmp_path)


def test_purge_deletes_what_no_kept_snapshot_needs(tmp_path: Path) -> None:
    directories = opened(tmp_path / "data", tmp_path / "logs")
    for name in ("snapshot.0", "snapshot.5", "snapshot.6", "snapshot.9"):
        (tmp_path / "data" / "version-2" / name).write_bytes(snapshot())
    (tmp_path / "data" / "version-2" / "snapshot.c").write_bytes(b"incomplete")
    for name in ("log.1", "log.3", "log.8"):
        (tmp_path / "logs" / "version-2" / name).write_bytes(FILE_HEADER)

    gone = directories.purge(1)

    # Three are kept, however few were asked for; log.3 may hold what comes after snapshot.5.
    assert gone == ["snapshot.0", "log.1"]
    assert directories.snapshots.names() == [LOCK_NAME, "snapshot.5", "snapshot.6", "snapshot.9", "snapshot.c"]
    assert directories.logs.names() == [LOCK_NAME, "log.3", "log.8"]
    directories.close()


def test_the_newest_snapshot_is_the_complete_one_with_the_highest_zxid(tmp_path: Path) -> None:
    directories = opened(tmp_path)
    for name, data in (("snapshot.9", snapshot()), ("snapshot.10", snapshot()), ("snapshot.11", b"torn")):
        Path(directories.snapshots.path(name)).write_bytes(data)
        os.utime(directories.snapshots.path(name), (1000, int(name[9:], 16)))

    assert directories.newest_snapshot() == (0x10, 16_000)
    directories.close()
