"""Opening a database: what may start empty, and what is read in a form of long ago."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.core import Core, Recorder

from corral.base.errors import StorageError
from corral.ops.registry import Registry
from corral.replica.config import Config
from corral.replica.fanout import Fanout
from corral.replica.metrics import Metrics
from corral.server.datadir import DataDirectories
from corral.server.opening import open_database
from corral.store.names import log_name, snapshot_name
from corral.store.recovery import load
from corral.store.snapshot_write import SnapshotWriter
from corral.store.txnlog import FILE_HEADER, frame
from corral.tree.access import Access
from corral.tree.digest import tree_digest
from corral.tree.node import TTL_MAX, data_of, stat_of, ttl_of
from corral.tree.tree import Tree


def opened(
    directories: DataDirectories, log: Recorder | None = None, metrics: Metrics | None = None, **settings: bool
) -> Tree:
    metrics = metrics or Metrics()
    sink = Fanout(Access([], False), metrics)
    return open_database(directories, Config(**settings), Registry(), sink, metrics, log or Recorder())[0]


@pytest.mark.parametrize("has_log_dir", [False, True])
def test_without_autocreate_a_database_starts_empty_only_where_a_file_allows_it_once(
    tmp_path: Path, has_log_dir: bool
) -> None:
    log_dir = tmp_path / ("log" if has_log_dir else "data")
    directories = DataDirectories(str(tmp_path / "data"), str(log_dir))

    with pytest.raises(StorageError, match=f"db.autocreate is false.* {log_dir}/initialize "):
        opened(directories, db_autocreate=False)
    assert directories.snapshots.names() == ["corral.lock"]
    (log_dir / "initialize").touch()
    assert len(opened(directories, db_autocreate=False).nodes) == 4

    assert not (log_dir / "initialize").exists()
    assert len(opened(directories, db_autocreate=False).nodes) == 4
    os.unlink(directories.snapshots.path("snapshot.0"))
    with pytest.raises(StorageError, match="autocreate is false"):
        opened(directories, db_autocreate=False)
    directories.close()


def test_the_file_that_allows_an_empty_database_is_used_up_by_any_start(tmp_path: Path) -> None:
    directories = DataDirectories(str(tmp_path), None)
    (tmp_path / "initialize").touch()

    opened(directories)
    directories.close()

    assert not (tmp_path / "initialize").exists()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files and directories that were put on disk, in order."""
    names: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: names.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    return names


@pytest.mark.parametrize(
    ("force_sync", "expected"), [(True, ["log.1", "log.3", "version-2"]), (False, [])], ids=["forceSync", "without"]
)
def test_what_is_replayed_is_put_on_disk_before_anything_is_appended_behind_it(
    tmp_path: Path, synced: list[str], force_sync: bool, expected: list[str]
) -> None:
    core = Core()
    client = core.client()
    for name in (b"/a", b"/b"):
        client.create(name)
    directories = DataDirectories(str(tmp_path), None)
    opened(directories)
    Path(directories.logs.path("log.1")).write_bytes(FILE_HEADER + b"".join(map(frame, core.entries[:2])))
    Path(directories.logs.path("log.3")).write_bytes(FILE_HEADER + frame(core.entries[2]))
    synced.clear()

    tree = opened(directories, force_sync=force_sync)
    directories.close()

    assert b"/b" in tree.nodes
    assert synced == expected


def test_the_first_snapshots_name_is_on_disk_before_it_is_needed(tmp_path: Path, synced: list[str]) -> None:
    directories = DataDirectories(str(tmp_path / "data"), str(tmp_path / "log"))

    opened(directories)
    directories.close()

    assert synced == ["writing.snapshot.0", "version-2"]


@pytest.mark.parametrize("replayed", [0, 1, 2])
def test_a_snapshot_that_shows_more_than_its_log_has_is_said(tmp_path: Path, replayed: int) -> None:
    core = Core()
    client = core.client()
    for number in range(1100):
        client.create(b"/%d" % number)
    writer, before = SnapshotWriter(core.tree), len(core.entries)
    chunks = [writer.next_chunk(1)]
    client.create(b"/a")
    client.create(b"/b")
    while chunk := writer.next_chunk(1000):
        chunks.append(chunk)
    directories = DataDirectories(str(tmp_path), None)
    name = snapshot_name(writer.zxid)
    Path(directories.snapshots.path(name)).write_bytes(b"".join(filter(None, chunks)))
    entries = core.entries[before : before + replayed]
    Path(directories.logs.path(log_name(writer.zxid + 1))).write_bytes(FILE_HEADER + b"".join(map(frame, entries)))
    log = Recorder()

    opened(directories, log)
    directories.close()

    said = [(values["file"], values["snapshot_until"]) for level, _, values in log.lines if level == "warning"]
    assert said == ([] if replayed == 2 else [(directories.snapshots.path(name), f"0x{core.tree.zxid:x}")])


def test_a_log_without_a_snapshot_is_no_empty_database(tmp_path: Path) -> None:
    core = Core()
    core.client().create(b"/a")
    directories = DataDirectories(str(tmp_path), None)
    Path(directories.logs.path("log.1")).write_bytes(FILE_HEADER + b"".join(map(frame, core.entries)))

    tree = opened(directories, db_autocreate=False, snapshot_trust_empty=True)

    assert b"/a" in tree.nodes
    directories.close()


def test_the_metrics_say_what_was_read_and_what_differed(tmp_path: Path) -> None:
    core = Core()
    core.client().create(b"/a")
    core.entries[-1] = core.entries[-1][:-1] + bytes([core.entries[-1][-1] ^ 1])
    directories = DataDirectories(str(tmp_path), None)
    opened(directories)
    Path(directories.logs.path("log.1")).write_bytes(FILE_HEADER + b"".join(map(frame, core.entries)))
    metrics = Metrics()

    opened(directories, metrics=metrics)

    assert metrics.counters == {"digest_mismatches_count": 1}
    assert metrics.summary("startup_txns_loaded").sum == len(core.entries) == 2
    for name in ("dbinittime", "startup_snap_load_time", "startup_txns_load_time"):
        assert metrics.summary(name).count == 1
    directories.close()


OLD_TTL, LONG_TTL, LIVE = 90_000, 1 << 50, -(5 << 56)


@pytest.fixture
def of_353(tmp_path: Path) -> Iterator[DataDirectories]:
    """Directories with a snapshot of two TTL nodes in the form of 3.5.3 and some others, and a log behind it.

    The others: an ephemeral of a live session whose id is negative, one whose session is gone, a container. The log has
    the digest of those very nodes.
    """
    core = Core(extended_types_enabled=True)
    client = core.client()
    owners = {
        b"/ttl": OLD_TTL - (1 << 63),
        b"/long": LONG_TTL - (1 << 63),
        b"/live": LIVE,
        b"/box": -(1 << 63),
        b"/dead": 7,
    }
    for path in owners:
        client.create(path)
    tree = core.tree
    for path, owner in owners.items():
        node = tree.nodes[path]
        node.owner = owner
        node.body = b"".join((node.body[:-24], owner.to_bytes(8, "big", signed=True), node.body[-16:]))
    tree.sessions[LIVE] = 10_000
    tree.count_digest()
    core.replica.pipeline.overlay.digest.value = tree.digest.value
    at, zxid = len(core.entries), tree.zxid
    writer = SnapshotWriter(tree)
    data = b"".join(iter(lambda: writer.next_chunk(100) or b"", b""))
    client.set(b"/ttl", b"later")
    directories = DataDirectories(str(tmp_path), None)
    Path(directories.snapshots.path(snapshot_name(zxid))).write_bytes(data)
    Path(directories.logs.path(log_name(zxid + 1))).write_bytes(FILE_HEADER + b"".join(map(frame, core.entries[at:])))
    yield directories
    directories.close()


def test_ttl_nodes_of_353_are_kept_with_their_time_where_that_is_asked_for(of_353: DataDirectories) -> None:
    log = Recorder()

    tree = opened(of_353, log, emulate_353_ttl_nodes=True, extended_types_enabled=True)

    assert {path: ttl_of(tree.nodes[path].owner) for path in tree.ttls} == {b"/ttl": OLD_TTL, b"/long": TTL_MAX}
    assert stat_of(tree.nodes[b"/ttl"].body)[44:52] == bytes(8)
    assert data_of(tree.nodes[b"/ttl"].body) == b"later"
    assert tree.ephemerals == {LIVE: {b"/live": None}}
    assert b"/dead" not in tree.nodes
    assert [(level, data.get("nodes")) for level, event, data in log.lines if "taken over" in event] == [("info", 2)]
    assert [event for level, event, _ in log.lines if level == "error"] == []
    assert tree.digest.value == tree_digest(tree.nodes)


@pytest.mark.parametrize("is_emulated", [True, False])
def test_what_no_transaction_says_is_in_a_snapshot_before_there_are_more(
    of_353: DataDirectories, is_emulated: bool
) -> None:
    """Else the nodes are back at the next start, and what was made in their place meanwhile is lost."""
    settings = {"emulate_353_ttl_nodes": is_emulated, "extended_types_enabled": True}
    first = opened(of_353, **settings)
    log = Recorder()

    sink = Fanout(Access([], False), Metrics())
    loaded = load(of_353.snapshots, of_353.logs, lambda: Tree(sink), False, log.warning)

    owners = {path: node.owner for path, node in loaded.tree.nodes.items()}
    assert owners == {path: node.owner for path, node in first.nodes.items()}
    assert b"/dead" not in owners
    assert log.lines == []


@pytest.mark.parametrize(
    "settings",
    [{"emulate_353_ttl_nodes": True}, {"extended_types_enabled": True}],
    ids=lambda settings: next(iter(settings)),
)
def test_otherwise_they_are_the_ephemerals_of_sessions_that_are_gone(
    of_353: DataDirectories, settings: dict[str, bool]
) -> None:
    tree = opened(of_353, **settings)

    assert (b"/ttl" in tree.nodes, tree.ttls) == (False, {})
