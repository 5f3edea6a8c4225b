"""Choosing what to read at a start: the newest sound snapshot, and the log after it without a hole.

Source: ZooKeeper FileTxnSnapLog and FileTxnLog; reference "Recovery at start". Deviations: ZooKeeper replays over a
hole in the log without a word; here a hole stops the start, as acknowledged writes are missing. A log too short for
its header is passed over wherever it stands, as the check for holes tells whether anything is missing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from corral.base.errors import StorageError
from corral.base.ids import zxid_hex
from corral.base.records import record
from corral.base.seams import Directory
from corral.store.compression import unpacked
from corral.store.names import log_zxid, snapshot_zxid
from corral.store.snapshot_read import Ending, UnknownVersion, is_complete, read_snapshot
from corral.store.snapshot_write import MAGIC, VERSION
from corral.store.txnlog import HEADER_BYTES, LogReader
from corral.tree.tree import Tree

SNAPSHOTS_TRIED_MAX = 100
_COUNTER_MASK = 0xFFFFFFFF


@record
class Loaded:
    """A tree from a snapshot. zxid: the one in the snapshot's name; ending None: there was no snapshot."""

    tree: Tree
    zxid: int
    ending: Ending | None
    name: str


def valid_snapshots(directory: Directory) -> list[str]:
    """Return the snapshots worth reading, newest first. Raises UnknownVersion for a file of the future."""
    valid = []
    for name in snapshot_names(directory):
        first, last = directory.ends(name)
        if len(first) >= 8:
            magic, version = struct.unpack_from(">ii", first)
            if magic == MAGIC and version > VERSION:
                raise UnknownVersion(
                    f"{directory.path(name)}: snapshot version {version} is from a later release; this server reads "
                    f"version {VERSION}: use the software that wrote it"
                )
        if is_complete(name, directory.size(name), first, last):
            valid.append(name)
    return valid


def snapshot_names(directory: Directory) -> list[str]:
    """Return the snapshots, complete or not, newest first."""
    names = [name for name in directory.names() if snapshot_zxid(name) >= 0]
    names.sort(key=snapshot_zxid, reverse=True)
    return names


def load(
    snapshots: Directory, logs: Directory, make_tree: Callable[[], Tree], trust_empty: bool, warn: Callable[..., None]
) -> Loaded:
    """Read the newest snapshot that is sound; an empty tree, populated, if there is none and no log.

    make_tree: returns a new tree without nodes. warn(event, **values): is told what was passed over. The digest is
    left to the caller, see `Ending`. Raises StorageError.
    """
    tried = []
    for name in valid_snapshots(snapshots)[:SNAPSHOTS_TRIED_MAX]:
        tree = make_tree()
        path = snapshots.path(name)
        try:
            ending = read_snapshot(path, unpacked(path, snapshots.read(name)), tree)
        except UnknownVersion:
            raise
        except StorageError as error:
            tried.append(str(error))
            warn("snapshot left out; trying an older one", why=str(error))
            continue
        if ending.unlisted:
            warn("nodes with access lists that the snapshot does not contain; the log's replay gives them one, until "
                 "then nobody has rights on them", file=path, nodes=ending.unlisted)  # fmt: skip
        tree.zxid = snapshot_zxid(name)
        tree.load_index()
        return Loaded(tree, tree.zxid, ending, name)
    if tried:
        raise StorageError(
            f"none of the {len(tried)} snapshots in {snapshots.path('')} can be read; restore one from a backup or "
            f"another server; the newest: {tried[0]}"
        )
    _require_nothing_lost(snapshots, logs, trust_empty, warn)
    tree = make_tree()
    tree.populate()
    return Loaded(tree, 0, None, "")


def _require_nothing_lost(snapshots: Directory, logs: Directory, trust_empty: bool, warn: Callable[..., None]) -> None:
    """Raise StorageError where there is no complete snapshot, but once was one."""
    if trust_empty:
        return
    if any(_has_entries(logs, name) for name in log_names(logs)):
        raise StorageError(
            f"no snapshot was found, but there are log entries in {logs.path('')}; something is missing: restore the "
            "snapshots, or set snapshot.trust.empty=true once if the database was never snapshotted"
        )
    incomplete = snapshot_names(snapshots)
    if incomplete and snapshot_zxid(incomplete[0]) > 0:
        raise StorageError(
            f"{snapshots.path(incomplete[0])}: no snapshot is complete, this one the newest, and there is no log; "
            "restore the data from a backup or another server, or move the file away to start empty"
        )
    if incomplete:
        warn("the first snapshot was never completed; starting empty", file=snapshots.path(incomplete[0]))


def log_names(directory: Directory) -> list[str]:
    """Return the logs, oldest first."""
    names = [name for name in directory.names() if log_zxid(name) >= 0]
    names.sort(key=log_zxid)
    return names


def logs_from(directory: Directory, start: int) -> list[str]:
    """Return the logs that may hold transactions from `start` on, oldest first.

    They begin with the last one named before `start`: a file named `start` itself need not begin with it if a
    crash tore it.
    """
    names = log_names(directory)
    first = 0
    for index, name in enumerate(names):
        if log_zxid(name) < start:
            first = index
    return names[first:]


def entries_from(
    directory: Directory, after: int, warn: Callable[..., None], has_base: bool = True
) -> Iterator[tuple[int, bytes]]:
    """Yield (zxid, entry) of everything after the zxid `after`, in order.

    has_base: False where the tree starts empty without a snapshot, and the log may begin anywhere. Raises
    StorageError at damage or a hole.
    """
    last = after if has_base else -1
    for name in logs_from(directory, after + 1):
        path = directory.path(name)
        if directory.size(name) < HEADER_BYTES:
            warn("a log without a header holds nothing; it is left out", file=path)
            continue
        repeated = 0
        reader = LogReader(path, directory.read(name))
        for zxid, entry, offset in reader:
            if zxid <= after:
                continue
            if zxid <= last:
                if not repeated:
                    warn("the log goes back to zxids that were read before; they are left out",
                         file=path, offset=offset, zxid=zxid_hex(zxid), after=zxid_hex(last))  # fmt: skip
                repeated += 1
                continue
            if last >= 0 and not follows(last, zxid):
                raise StorageError(
                    f"{path}: at offset {offset} expected zxid {zxid_hex(last + 1)}, got {zxid_hex(zxid)}: "
                    "transactions in between are missing; restore the missing log file, a newer snapshot, or a backup"
                )
            last = zxid
            yield zxid, entry
        if reader.torn is not None:
            warn("the log ends in a transaction that was never completed; it is cut off here",
                 file=path, offset=reader.torn.offset, why=reader.torn.why)  # fmt: skip


def follows(last: int, zxid: int) -> bool:
    """Tell whether nothing can be missing between two zxids: each counts by one, and each epoch from 1."""
    return zxid == last + 1 or (zxid >> 32 > last >> 32 and zxid & _COUNTER_MASK <= 1)


def _has_entries(directory: Directory, name: str) -> bool:
    if directory.size(name) < HEADER_BYTES:
        return False
    return any(True for _ in LogReader(directory.path(name), directory.read(name)))
