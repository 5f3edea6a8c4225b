"""Restoring a snapshot on a core: what is refused, whose sessions end, which zxid the restored state gets."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import Any

import pytest
from tests.support.core import Client, Core

from corral.base.errors import StorageError
from corral.replica.effects import Append, BeginSnapshot, Roll
from corral.replica.inputs import Synced
from corral.replica.replica import Replica
from corral.replica.restore import examine, is_at_rest, resume, retire, successor
from corral.replica.sessions import session_password
from corral.store.snapshot_write import SnapshotWriter
from corral.tree.digest import tree_digest
from corral.tree.node import data_of
from corral.tree.tree import Tree
from corral.wire import opcodes

MAX = 1 << 20


def snapshot_of(core: Core, **parts: bool) -> bytes:
    writer = SnapshotWriter(core.replica.tree, **parts)
    return b"".join(iter(lambda: writer.next_chunk(1000), None))


def examined(core: Core, data: bytes, bytes_max: int = MAX, mixed: bool = False) -> Tree:
    tree = Tree(core.fanout)
    examine([data[at : at + 100] for at in range(0, len(data), 100)], tree, bytes_max, mixed)
    return tree


def restored(core: Core, data: bytes) -> Replica:
    """Restore a snapshot, its disk being quick; the core's replica is the new one."""
    tree = examined(core, data)
    retire(core.replica)
    core.sync()
    core.replica.take_dirty()
    assert is_at_rest(core.replica)
    for client in list(core.replica.connections):
        client.closed()
    core.replica = successor(core.replica, tree, core.now)
    core.effects += core.replica.take()
    while core.replica.snapshot_step():
        pass
    core.replica.take()
    resume(core.replica, core.now)
    return core.replica


def full_core(**config: Any) -> tuple[Core, Client]:
    core = Core(**config)
    client = core.client()
    client.create(b"/a", b"old")
    client.create(b"/a/b")
    client.create(b"/e", flags=1)
    return core, client


# What is refused.


def test_a_snapshot_becomes_a_tree_of_its_own() -> None:
    core, _ = full_core()

    tree = examined(core, snapshot_of(core))

    assert set(tree.nodes) == set(core.tree.nodes)
    assert tree.digest.value == core.tree.digest.value == tree_digest(tree.nodes)
    assert (tree.zxid, tree.data_bytes, tree.sessions) == (core.tree.zxid, core.tree.data_bytes, core.tree.sessions)
    assert tree.ephemerals == core.tree.ephemerals


def test_a_compressed_snapshot_is_one_too() -> None:
    core, _ = full_core()

    assert set(examined(core, gzip.compress(snapshot_of(core))).nodes) == set(core.tree.nodes)


def test_without_digest_and_zxid_the_nodes_tell_the_zxid() -> None:
    core, _ = full_core()
    core.client()

    tree = examined(core, snapshot_of(core, has_digest=False, has_zxid=False))

    assert (tree.zxid, core.tree.zxid) == (4, 5)


def test_damage_anywhere_is_refused() -> None:
    core, _ = full_core()
    good = snapshot_of(core)

    for at in range(0, len(good), 3):
        with pytest.raises(StorageError):
            examined(core, good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1 :])
        with pytest.raises(StorageError):
            examined(core, good[:at])


def test_more_than_the_limit_is_refused_even_if_it_came_compressed() -> None:
    core, _ = full_core()
    good = snapshot_of(core)

    assert examined(core, good, len(good))
    with pytest.raises(StorageError, match=r"longer than \d+ bytes unpacked"):
        examined(core, good, len(good) - 1)
    with pytest.raises(StorageError, match=r"longer than \d+ bytes unpacked"):
        examined(core, gzip.compress(good), len(good) - 1)


def test_a_mixture_is_refused_unless_it_is_asked_for() -> None:
    core, client = full_core()
    for number in range(1100):
        client.create(b"/a/%d" % number)
    writer = SnapshotWriter(core.replica.tree)
    chunks = [writer.next_chunk(10), writer.next_chunk(600)]
    client.set(b"/a", b"new")
    chunks += iter(lambda: writer.next_chunk(600), None)
    data = b"".join(chunk for chunk in chunks if chunk)

    with pytest.raises(StorageError, match="written while the tree changed"):
        examined(core, data)

    assert len(examined(core, data, mixed=True).nodes) == len(core.tree.nodes)


def test_a_small_snapshot_is_no_mixture_though_the_tree_goes_on() -> None:
    core, client = full_core()
    writer = SnapshotWriter(core.replica.tree)
    chunks = [writer.next_chunk(1)]
    client.set(b"/a", b"new")
    chunks += iter(lambda: writer.next_chunk(1), None)

    tree = examined(core, b"".join(chunk for chunk in chunks if chunk))

    assert data_of(tree.nodes[b"/a"].body) == b"old"
    assert tree.zxid == core.tree.zxid - 1


def test_a_snapshot_without_a_root_is_refused() -> None:
    core = Core()
    core.tree.nodes.clear()
    writer = SnapshotWriter(core.tree)

    with pytest.raises(StorageError, match="no root"):
        examined(core, b"".join(iter(lambda: writer.next_chunk(10), None)))


def node(path: bytes, owner: int = 0, zxid: int = 1) -> bytes:
    """Write a node as it stands in a snapshot."""
    stat = struct.pack(">qqqqqiiiqq", -1, zxid, zxid, 0, 0, 0, 0, 0, owner, zxid)
    return len(path).to_bytes(4, "big") + path + bytes(4) + stat


def snapshot_with(*nodes: bytes) -> bytes:
    """Make a snapshot, without a digest, of these nodes."""
    data = b"ZKSN" + struct.pack(">iqii", 2, -1, 0, 0) + b"".join(nodes) + b"\0\0\0\1/"
    return data + zlib.adler32(data).to_bytes(8, "big") + b"\0\0\0\1/"


ZOOKEEPER_NODE = node(b"/zookeeper")
NOT_SERVABLE = {
    "twice": (node(b""), ZOOKEEPER_NODE, node(b"/a"), node(b"/a/b"), node(b"/a")),
    "no /zookeeper": (node(b""), node(b"/a")),
    r"an ephemeral that cannot be one: b'/a'": (node(b""), ZOOKEEPER_NODE, node(b"/a", owner=5), node(b"/a/b")),
    r"an ephemeral that cannot be one: b'/zookeeper'": (node(b""), node(b"/zookeeper", owner=5)),
    "0x7fffffffffffffff, which no other could follow": (node(b""), node(b"/zookeeper", zxid=(1 << 63) - 1)),
}


@pytest.mark.parametrize("why", NOT_SERVABLE)
def test_what_could_not_be_served_is_refused(why: str) -> None:
    with pytest.raises(StorageError, match=why):
        examined(Core(), snapshot_with(*NOT_SERVABLE[why]))


def test_a_snapshot_of_few_nodes_is_a_tree() -> None:
    assert list(examined(Core(), snapshot_with(node(b""), ZOOKEEPER_NODE)).nodes) == [b"/", b"/zookeeper"]


# The old replica comes to rest.


def test_a_retired_replica_ends_its_connections_and_is_at_rest_once_all_is_on_disk() -> None:
    core, client = full_core()
    core.auto = False
    client.send(opcodes.DELETE, b"\0\0\0\2/e\xff\xff\xff\xff")

    retire(core.replica)

    assert client.conn.is_closing
    assert not is_at_rest(core.replica)
    core.replica.take_dirty()
    appended = core.replica.take()[0]
    assert isinstance(appended, Append)
    assert not is_at_rest(core.replica)
    core.replica.handle(Synced(appended.last), core.now)
    core.replica.take_dirty()
    assert is_at_rest(core.replica)
    assert core.dial().connect() is None


def test_a_replica_that_makes_a_snapshot_is_not_at_rest() -> None:
    core, _ = full_core()
    core.replica.start_snapshot()

    retire(core.replica)
    core.sync()
    core.replica.take_dirty()

    assert not is_at_rest(core.replica)


def test_a_replica_taken_back_serves_again_and_its_sessions_have_all_their_time() -> None:
    core, client = full_core()
    session = client.conn.session_id
    retire(core.replica)
    client.close()
    core.now += 60_000
    core.work()

    resume(core.replica, core.now)
    core.work(5000)

    answer = core.dial().connect(session=session, password=session_password(session))
    assert answer is not None
    assert answer.session_id == session


# The new one.


def test_the_restored_state_is_served_and_written_on() -> None:
    core, client = full_core()
    data = snapshot_of(core)
    client.set(b"/a", b"new")
    client.delete(b"/a/b")
    client.create(b"/late")
    before = core.replica.tree.zxid

    restored(core, data)

    after = core.client()
    assert core.replica.tree.zxid == before + 2
    assert after.get(b"/a").body[4:7] == b"old"
    assert after.exists(b"/a/b").err == 0
    assert after.exists(b"/late").err == -101
    assert after.create(b"/next").zxid == before + 3
    assert core.replica.tree.digest.value == tree_digest(core.replica.tree.nodes)


def test_the_restored_state_has_a_zxid_above_all_of_this_server_and_of_the_snapshot() -> None:
    behind, _ = full_core()
    ahead, client = full_core()
    for _ in range(50):
        client.set(b"/a", b"x")
    of_behind, of_ahead = snapshot_of(behind), snapshot_of(ahead)
    zxid = ahead.replica.tree.zxid

    assert restored(ahead, of_behind).tree.zxid == zxid + 1
    assert restored(behind, of_ahead).tree.zxid == zxid + 1
    assert behind.replica.agreement.proposed == zxid + 1


def test_a_new_log_and_a_snapshot_of_the_restored_state_come_first() -> None:
    core, _ = full_core()
    data = snapshot_of(core)
    core.effects.clear()

    replica = restored(core, data)

    assert core.effects[-2:] == [Roll(), BeginSnapshot(replica.tree.zxid)]


def test_nothing_is_appended_before_the_snapshot_is_on_disk() -> None:
    other, client = full_core()
    session = client.conn.session_id
    core = Core()
    core.replica = successor(core.replica, examined(core, snapshot_of(other)), core.now)
    core.replica.take()

    core.now += 60_000
    assert not core.replica.work(core.now)
    assert core.dial().connect() is None

    assert not [effect for effect in core.replica.take() if isinstance(effect, Append)]
    resume(core.replica, core.now)
    assert not core.replica.work(core.now + 5000)
    assert session in core.replica.tracker.sessions
    core.work(60_000)
    assert session not in core.replica.tracker.sessions


def test_an_open_session_ends_even_if_the_snapshot_has_it() -> None:
    core, client = full_core()
    session = client.conn.session_id
    data = snapshot_of(core)

    replica = restored(core, data)

    assert session not in replica.tree.sessions
    assert replica.tree.get(b"/e") is None
    assert replica.tree.ephemerals == {}
    answer = core.dial().connect(session=session, password=session_password(session), seen=replica.tree.zxid)
    assert answer is not None
    assert (answer.session_id, answer.timeout) == (0, 0)


def test_a_session_that_only_the_snapshot_has_can_be_resumed_and_expires() -> None:
    other, client = full_core()
    session = client.conn.session_id
    core = Core()
    core.replica.next_session = session - 5
    replica = restored(core, snapshot_of(other))

    answer = core.dial().connect(session=session, password=session_password(session))

    assert answer is not None
    assert answer.session_id == session
    assert replica.tree.get(b"/e") is not None
    for conn in list(replica.connections):
        conn.closed()
    core.work(60_000)
    assert replica.tree.get(b"/e") is None


def test_no_session_gets_the_id_of_one_in_the_snapshot() -> None:
    other, client = full_core()
    session = client.conn.session_id
    core = Core()
    core.replica.next_session = session

    restored(core, snapshot_of(other))

    assert core.client().conn.session_id == session + 1


def test_watches_are_gone_with_their_sessions() -> None:
    core, client = full_core()
    client.get(b"/a", watch=True)
    data = snapshot_of(core)

    replica = restored(core, data)
    core.client().set(b"/a", b"x")

    assert replica.tree.watches.total() == 0
    assert client.replies() == []
    assert client.events == []
