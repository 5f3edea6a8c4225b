"""Files of Apache ZooKeeper are read, and files of ours by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl
from tests.support.servers import START_S, Process, need_apache

from corral.ops.registry import Registry
from corral.replica.replay import Replay
from corral.server.datadir import DataDirectories
from corral.store.names import log_zxid, snapshot_name
from corral.store.recovery import entries_from, load
from corral.store.snapshot_write import SnapshotWriter
from corral.tree.access import AclList
from corral.tree.digest import tree_digest
from corral.tree.node import creates_of, data_of, to_int64
from corral.tree.tree import Tree
from corral.tree.watches import Watcher

pytestmark = pytest.mark.interop


class Deaf:
    def event(self, kind: int, frame: bytes, acl: AclList, watchers: Mapping[Watcher, object]) -> None:
        """Nobody watches in these tests."""


def apache(directory: Path) -> Process:
    """Make a standalone server on `directory`, which ends without a warning."""
    return Process("apache", directory, dataDir=str(directory), snapCount="20")


@contextmanager
def client(port: int) -> Iterator[Any]:
    zk = KazooClient(f"127.0.0.1:{port}")
    zk.start(START_S)
    try:
        yield zk
    finally:
        zk.stop()
        zk.close()


def work(zk: Any) -> None:
    """Make changes of every kind, over several snapshots and logs."""
    zk.ensure_path("/app/config")
    secret = [make_acl("world", "anyone", read=True), make_digest_acl("bob", "pw", all=True)]
    for i in range(60):
        zk.create("/app/n", b"x" * i, sequence=True, acl=secret if i % 7 == 0 else None)
    zk.create("/app/session", b"e", ephemeral=True)
    for i in range(20):
        zk.set("/app/config", b"%d" % i)
        zk.delete(f"/app/n{i * 2 + 1:010d}")
    zk.set_acls("/app/config", secret)
    txn = zk.transaction()
    txn.create("/app/multi", b"1")
    txn.set_data("/app/multi", b"2")
    txn.commit()
    failing = zk.transaction()
    failing.create("/app/never")
    failing.check("/app", 99)
    failing.commit()


def recovered(directory: Path, warnings: list[str], newest_snapshot: bool = True) -> tuple[Tree, int, list[object]]:
    """Return the tree that a start finds, how many transactions were replayed, and digests that differed.

    Apache applies transactions while it writes a snapshot: one that ends with the digest of zxid n may show n + 1, or
    half of it. From such a snapshot digests differ for Apache, too, and say nothing.
    """
    directories = DataDirectories(str(directory), None)
    try:
        if not newest_snapshot:
            for name in directories.snapshots.names():
                if name.startswith("snapshot.") and name != "snapshot.0":
                    directories.snapshots.remove(name)

        def warn(event: str, **values: object) -> None:
            warnings.append(f"{event} {values}")

        loaded = load(directories.snapshots, directories.logs, lambda: Tree(Deaf()), False, warn)
        tree, ending = loaded.tree, loaded.ending
        assert ending is not None
        if ending.has_digest and ending.digest_zxid == loaded.zxid:
            tree.digest.value = ending.digest
        elif not ending.has_digest:
            tree.count_digest()
        is_fuzzy = ending.has_digest and to_int64(tree_digest(tree.nodes)) != to_int64(ending.digest)
        differing: list[object] = []
        replay = Replay(tree, Registry(), ending.digest_zxid, ending.digest, lambda *values: differing.append(values))
        for _, entry in entries_from(directories.logs, loaded.zxid, warn):
            replay.apply(entry)
        replay.finish()
        return tree, replay.applied, [] if is_fuzzy else differing
    finally:
        directories.close()


def test_a_data_directory_of_apache_is_read_and_one_of_ours_opens_there(tmp_path: Path) -> None:
    need_apache()
    with apache(tmp_path) as server, client(server.port) as zk:
        work(zk)
        shown = {path: zk.get(path) for path in ("/app", "/app/config", "/app/multi", "/app/n0000000060")}
        children = set(zk.get_children("/app"))
        zk.sync("/app")
    files = os.listdir(tmp_path / "version-2")
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "version-2", whole / "version-2")
    warnings: list[str] = []

    from_newest, few, differing = recovered(tmp_path, warnings)
    from_first, all_of_them, differing_too = recovered(whole, warnings, newest_snapshot=False)

    # The digests in Apache's own log agree with the tree after every transaction.
    assert warnings == []
    assert differing == differing_too == []
    assert sum(log_zxid(name) >= 0 for name in files) > 2
    assert few < all_of_them
    assert from_newest.zxid == from_first.zxid
    assert {p: n.body for p, n in from_newest.nodes.items()} == {p: n.body for p, n in from_first.nodes.items()}
    for tree in (from_newest, from_first):
        assert {path[5:].decode() for path in tree.nodes[b"/app"].children} - {"session"} == children - {"session"}
        assert tree.nodes[b"/app/n0000000002"].acl.world == 31
        assert tree.nodes[b"/app/n0000000008"].acl.world == tree.nodes[b"/app/config"].acl.world == 1
        for path in ("/app/config", "/app/multi", "/app/n0000000060"):
            node = tree.nodes[path.encode()]
            data, stat = shown[path]
            assert data_of(node.body) == data
            assert int.from_bytes(node.body[-60:-52], "big") == stat.mzxid
        assert creates_of(tree.nodes[b"/app"].body) == 63
        assert to_int64(tree.digest.value) == to_int64(tree_digest(tree.nodes))

    ours = tmp_path / "ours"
    (ours / "version-2").mkdir(parents=True)
    writer = SnapshotWriter(from_newest)
    content = b"".join(iter(lambda: writer.next_chunk(10) or b"", b""))
    (ours / "version-2" / snapshot_name(from_newest.zxid)).write_bytes(content)

    with apache(ours) as server, client(server.port) as zk:
        assert set(zk.get_children("/app")) - {"session"} == children - {"session"}
        for path in ("/app/config", "/app/multi"):
            assert zk.exists(path).mzxid == shown[path][1].mzxid
        assert zk.get("/app/multi")[0] == b"2"
        acls, stat = zk.get_acls("/app/config")
        assert ([acl.id.scheme for acl in acls], stat.aversion) == (["world", "digest"], 1)
        assert zk.exists("/app").cversion >= shown["/app"][1].cversion
