"""Putting a snapshot in the place of the database, while the server runs.

    examine     the snapshot becomes a tree of its own, or is refused; nothing has changed yet
    retire      the replica takes no more; its connections end, what is under way goes to the log
    is_at_rest  whether all of that is on disk
    successor   a replica of the restored tree, that does not serve yet; it begins a new log and a snapshot
    resume      once that snapshot is on disk the successor serves; if it failed, the old replica does again

The restored state gets a zxid of its own, above all that log and snapshot ever had, so that no client sees time go back
and the next start finds this snapshot newest. No transaction has that zxid: after it the log has a hole for every older
snapshot, so a start never replays the new log over the old nodes. Nothing may be appended before the snapshot is on
disk: without it, that log could not be read. A replica that does not serve appends nothing.

Sessions that are open here end, even if the snapshot has them: what their clients know of their nodes, locks and
watches is later than the snapshot, and only a session's end makes them look again. (ZooKeeper leaves the connections
and forgets their watches.) A session that only the snapshot has can be resumed by its client until its timeout, counted
from the restore.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from corral.base.errors import StorageError
from corral.base.ids import zxid_hex
from corral.base.paths import ROOT, SYSTEM_PATHS, ZOOKEEPER
from corral.replica.replay import delete_orphans
from corral.replica.replica import Replica
from corral.replica.sessions import unused_session_id
from corral.store.compression import GZIP, GZIP_MAGIC, SNAPPY, SNAPPY_MAGIC, unpacked
from corral.store.snapshot_read import read_snapshot
from corral.tree.digest import tree_digest
from corral.tree.node import mzxid_of, pzxid_of
from corral.tree.tree import Tree

NAME = "the snapshot"
ZXID_MAX = (1 << 63) - (1 << 40)
"""Above this there is too little room for what follows; no server gets there by itself."""


def examine(chunks: Iterable[bytes], tree: Tree, bytes_max: int, may_be_mixed: bool) -> None:
    """Fill an empty tree from a snapshot, compressed or not. Raises StorageError if it should not be restored.

    bytes_max: of the snapshot unpacked. may_be_mixed: whether it may show nodes of different moments, as one does that
    was written while the tree changed; by itself, without the log, it is a state that never was.
    """
    stream = iter(chunks)
    first = next(stream, b"")
    suffix = GZIP if first.startswith(GZIP_MAGIC) else SNAPPY if first.startswith(SNAPPY_MAGIC) else ""
    ending = read_snapshot(NAME, _bounded(unpacked(NAME + suffix, chain((first,), stream)), bytes_max), tree)
    if ROOT not in tree.nodes:
        raise StorageError(f"{NAME} has no root")
    tree.load_index()
    _check_shape(tree)
    tree.count_digest()
    found = tree_digest(tree.nodes) if ending.has_digest else 0
    if not may_be_mixed and (ending.unlisted or (ending.has_digest and found != ending.digest)):
        raise StorageError(
            f"{NAME} was written while the tree changed, and shows a mixture: its digest is 0x{ending.digest:x}, its "
            f"nodes give 0x{found:x}, and {ending.unlisted} of them lack their access list; mixed=true takes it all "
            "the same"
        )
    seen = max(max(mzxid_of(node.body), pzxid_of(node.body)) for node in tree.nodes.values())
    tree.zxid = max(seen, ending.last_zxid or 0, ending.digest_zxid)
    if tree.zxid > ZXID_MAX:
        raise StorageError(f"{NAME} is of zxid {zxid_hex(tree.zxid)}, which no other could follow for long")


def _check_shape(tree: Tree) -> None:
    """Refuse what no server writes, and none could serve. Raises StorageError."""
    if ZOOKEEPER not in tree.nodes:
        raise StorageError(f"{NAME} has no /zookeeper")
    if sum(len(node.children) for node in tree.nodes.values()) != len(tree.nodes) - 1:
        raise StorageError(f"{NAME} has a node twice")
    for paths in tree.ephemerals.values():
        for path in paths:
            if tree.nodes[path].children or path in SYSTEM_PATHS:
                raise StorageError(f"{NAME} has an ephemeral that cannot be one: {path!r}")


def _bounded(chunks: Iterable[bytes], bytes_max: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise StorageError(f"{NAME} is longer than {bytes_max} bytes unpacked (corral.admin.restore.max)")
        yield chunk


def retire(old: Replica) -> None:
    """End all connections and take no more."""
    old.is_serving = False
    for conn in list(old.connections):
        conn.end()


def is_at_rest(old: Replica) -> bool:
    """Tell whether nothing of a retired replica is under way to the disk any more."""
    return not (old.pipeline.outstanding or old.is_snapshotting or old.has_output())


def successor(old: Replica, tree: Tree, now: int) -> Replica:
    """Make the replica of an examined tree that follows one at rest; see `resume`."""
    for session in old.tracker.sessions:
        tree.sessions.pop(session, None)
    tree.zxid = max(tree.zxid, old.agreement.proposed) + 1
    delete_orphans(tree)
    new = Replica(
        old.config, tree, old.fanout, old.metrics, old.access, old.registry, old.rolls, old.log,
        unused_session_id(old.next_session, tree.sessions), now, old.wall_offset,
    )  # fmt: skip
    new.started = old.started
    new.pipeline.audit = old.pipeline.audit
    new.is_serving = False
    new.roll_with_snapshot()
    return new


def resume(replica: Replica, now: int) -> None:
    """Serve, or serve again; nobody could reach the server meanwhile, so every session's time counts from now."""
    for session in replica.tracker.sessions.values():
        session.heard = now
    replica.is_serving = True
