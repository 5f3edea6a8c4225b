"""Opening a database: read what is on disk, and have a snapshot to start from."""

from __future__ import annotations

import os
import time
from typing import Any

from corral.base.errors import StorageError
from corral.base.ids import zxid_hex
from corral.ops.registry import Registry
from corral.replica.config import Config
from corral.replica.metrics import Metrics
from corral.replica.replay import Replay
from corral.server.datadir import DataDirectories, DataDirectory
from corral.store.names import snapshot_name
from corral.store.recovery import entries_from, load, logs_from
from corral.store.snapshot_write import SnapshotWriter
from corral.store.ttl353 import adopt_353_ttls
from corral.tree.tree import Tree
from corral.tree.watches import EventSink

INITIALIZE = "initialize"
"""The file beside `version-2` that lets a server start empty although db.autocreate is false; a start uses it up."""


def open_database(
    directories: DataDirectories, config: Config, registry: Registry, sink: EventSink, metrics: Metrics, log: Any
) -> tuple[Tree, int]:
    """Return the tree as the last committed transaction left it, and how many transactions were replayed.

    Raises StorageError.
    """
    started = time.monotonic()
    loaded = load(
        directories.snapshots,
        directories.logs,
        lambda: Tree(sink, config.digest_enabled),
        config.snapshot_trust_empty,
        log.warning,
    )
    snapshot_read = time.monotonic()
    tree = loaded.tree
    ending = loaded.ending
    fuzzy_until = fuzzy_digest = 0
    if ending is not None and config.digest_enabled:
        if not ending.has_digest or ending.digest_zxid < loaded.zxid:
            tree.count_digest()
        elif ending.digest_zxid == loaded.zxid:
            tree.digest.value = ending.digest
        else:
            fuzzy_until, fuzzy_digest = ending.digest_zxid, ending.digest
    on_mismatch = _mismatch(metrics, log)
    adopted = 0
    if config.emulate_353_ttl_nodes and config.extended_types_enabled and (adopted := adopt_353_ttls(tree)):
        log.info("nodes with a time to live taken over from ZooKeeper 3.5.3", nodes=adopted)
        # The owners are part of the digest, so what the files say of it cannot be compared any more.
        tree.count_digest()
        fuzzy_until, on_mismatch = 0, None
    replay = Replay(tree, registry, fuzzy_until, fuzzy_digest, on_mismatch)
    for _, entry in entries_from(directories.logs, loaded.zxid, log.warning, has_base=ending is not None):
        replay.apply(entry)
    orphans = replay.finish()
    replayed = time.monotonic()
    if orphans:
        log.warning("ephemeral nodes of sessions that are gone were deleted", nodes=orphans)
    if ending is not None and tree.zxid < (shown := max(ending.digest_zxid, ending.last_zxid or 0)):
        log.warning(
            "the log ends before the snapshot did: transactions are missing, and nodes show different moments",
            file=directories.snapshots.path(loaded.name), log_until=zxid_hex(tree.zxid),
            snapshot_until=zxid_hex(shown),
        )  # fmt: skip
    if replay.applied and config.force_sync:
        _put_on_disk(directories.logs, loaded.zxid)
    may_be_empty = os.path.join(directories.logs.root, INITIALIZE)
    if ending is None:
        if not replay.applied and not config.db_autocreate and not os.path.exists(may_be_empty):
            raise StorageError(
                f"{directories.snapshots.dir} has no database, and db.autocreate is false: restore the data, or make a "
                f"file {may_be_empty} to start with an empty database once"
            )
    if ending is None or adopted or orphans:
        # What no transaction says must be in a snapshot before there are any more of them.
        _write_snapshot(directories, tree, config)
    _use_up(may_be_empty)
    ended = time.monotonic()
    for name, value in (
        ("startup_snap_load_time", (snapshot_read - started) * 1000),
        ("startup_txns_load_time", (replayed - snapshot_read) * 1000),
        ("startup_txns_loaded", replay.applied),
        ("dbinittime", (ended - started) * 1000),
    ):
        metrics.summary(name).add(int(value))
    log.info(
        "database loaded",
        snapshot=loaded.name or "none",
        replayed=replay.applied,
        zxid=zxid_hex(tree.zxid),
        znodes=len(tree.nodes),
        sessions=len(tree.sessions),
        seconds=round(ended - started, 2),
    )
    return tree, replay.applied


def _put_on_disk(logs: DataDirectory, after: int) -> None:
    """Put on disk what was replayed. Raises StorageError.

    1. a server and the process that writes its log are killed between a write and its fsync
    2. the next server replays what was written, out of the system's memory
    3. it appends to a file of its own, and syncs that
    4. the power fails: the older file lacks its end, and what was acknowledged at 3 stands behind a hole
    """
    for name in logs_from(logs, after + 1):
        logs.sync_file(name)
    logs.sync()


def _use_up(path: str) -> None:
    """Delete the file that allows an empty database, now that there is one. Raises StorageError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"cannot delete {path}: {error.strerror}") from error


def _mismatch(metrics: Metrics, log: Any) -> Any:
    def report(zxid: int, expected: int, got: int) -> None:
        metrics.count("digest_mismatches_count")
        log.error("the tree's digest differs from the log's", zxid=zxid_hex(zxid), expected=expected, got=got)

    return report


def _write_snapshot(directories: DataDirectories, tree: Tree, config: Config) -> None:
    """Write a snapshot that the next start begins with, before anything is served. Raises StorageError."""
    writer = SnapshotWriter(tree, config.digest_enabled, config.serialize_last_processed_zxid_enabled)
    path = directories.snapshots.path(snapshot_name(tree.zxid))
    temporary = directories.snapshots.path("writing." + snapshot_name(tree.zxid))
    try:
        with open(temporary, "wb") as file:
            while chunk := writer.next_chunk(10_000):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        directories.snapshots.sync()
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
