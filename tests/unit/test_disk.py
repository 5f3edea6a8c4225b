"""The replica and its disk: snapshots in slices, rolled logs, and a disk that fails."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from tests.support.core import Core

from corral.ops.registry import Registry
from corral.replica.effects import Append, BeginSnapshot, EndSnapshot, Roll, SnapshotChunk, Stop
from corral.replica.inputs import ChunkWritten, DiskFailed, SnapshotFailed, SnapshotWritten
from corral.replica.replay import Replay
from corral.replica.replica import CHUNKS_IN_FLIGHT_MAX, SNAPSHOT_NODES_MIN
from corral.server.logdisk import Disk
from corral.server.node import Node
from corral.server.snapshotfile import SnapshotFile
from corral.store.snapshot_read import read_snapshot
from corral.tree.tree import Tree
from corral.wire.client import GetDataResponse


def test_a_snapshot_made_while_clients_write_and_the_log_give_the_same_tree() -> None:
    core = Core()
    client = core.client(40_000)
    for i in range(3000):
        client.create(b"/n%04d" % i, b"data")
    core.sync()
    core.effects.clear()

    assert core.replica.start_snapshot()
    at = len(core.entries)
    number = 0
    while core.replica.snapshot_step():
        number += 1
        client.set(b"/n%04d" % (number * 7 % 3000), b"changed %d" % number)
        client.delete(b"/n%04d" % (number * 11 % 3000))
        client.create(b"/later%d" % number)
        core.sync()
        core.replica.handle(ChunkWritten(), core.now)
    core.sync()

    assert number > 20
    kinds = [type(effect) for effect in core.effects if not isinstance(effect, Append)]
    assert kinds[0] is BeginSnapshot
    assert kinds[-1] is EndSnapshot
    data = b"".join(effect.data for effect in core.effects if isinstance(effect, SnapshotChunk))
    tree = Tree(None)  # type: ignore[arg-type]  # nobody watches
    ending = read_snapshot("snapshot", data, tree)
    replay = Replay(tree, Registry(), ending.digest_zxid, ending.digest)
    for entry in core.entries[at:]:
        replay.apply(entry)
    replay.finish()
    assert {p: n.body for p, n in tree.nodes.items()} == {p: n.body for p, n in core.tree.nodes.items()}
    assert tree.digest.value == core.tree.digest.value


def test_a_snapshot_keeps_up_with_many_writes_and_is_gentle_with_few() -> None:
    core = Core()
    client = core.client(40_000)
    for i in range(8000):
        client.create(b"/n%04d" % i, b"data")
    core.sync()
    core.replica.start_snapshot()
    for _ in range(2):
        core.replica.snapshot_step()

    def piece_after(writes: int) -> int:
        for i in range(writes):
            client.set(b"/n%04d" % i, b"changed")
        core.sync()
        core.effects.clear()
        core.replica.snapshot_step()
        core.replica.handle(ChunkWritten(), core.now)
        (chunk,) = (effect for effect in core.replica.take() if isinstance(effect, SnapshotChunk))
        return chunk.data.count(b"/n")

    assert [piece_after(writes) for writes in (0, 1, 100, 1000)] == [128, 128, 600, 1536]


class StuckFile:
    """Takes a snapshot's pieces, and reports of none that it is written."""

    def __init__(self) -> None:
        self.chunks = 0

    def begin(self, zxid: int) -> None:
        """Take the first word of it."""

    def chunk(self, data: bytes) -> None:
        self.chunks += 1


def test_a_server_does_not_spin_while_its_snapshot_waits_for_the_disk() -> None:
    core = Core()
    client = core.client()
    for i in range((CHUNKS_IN_FLIGHT_MAX + 1) * SNAPSHOT_NODES_MIN):
        client.create(b"/%d" % i)
    file = StuckFile()

    async def wait() -> float:
        node = Node(core.replica, core.config, core.log)
        node.snapshots = cast(SnapshotFile, file)
        node.disk = cast(Disk, object())
        core.replica.start_snapshot()
        node.drain()
        while file.chunks < CHUNKS_IN_FLIGHT_MAX:  # noqa: ASYNC110  # It takes a few turns.
            await asyncio.sleep(0)
        before = time.process_time()
        await asyncio.sleep(0.4)
        return time.process_time() - before

    spent = asyncio.run(wait())

    assert file.chunks == CHUNKS_IN_FLIGHT_MAX
    assert spent < 0.2


def test_the_log_is_rolled_and_a_snapshot_begun_after_enough_transactions() -> None:
    core = Core(snap_count=20)
    client = core.client()

    for i in range(12):
        client.create(b"/%d" % i)

    kinds = [type(effect) for effect in core.effects]
    assert kinds.index(Roll) < kinds.index(BeginSnapshot)


def test_one_snapshot_at_a_time() -> None:
    core = Core()

    assert core.replica.start_snapshot()
    assert not core.replica.start_snapshot()


def test_a_failed_snapshot_is_said_and_the_next_one_tried() -> None:
    core = Core()
    core.replica.start_snapshot()

    core.replica.handle(SnapshotFailed(core.tree.zxid, "no space left"), core.now)

    assert core.log.lines[-1][0] == "error"
    assert core.replica.start_snapshot()
    core.replica.handle(SnapshotWritten(5, 17), core.now)
    assert core.replica.last_snapshot[0] == 5
    assert core.metrics.summary("snapshottime").sum == 17


def test_the_late_failure_of_a_snapshot_leaves_the_next_one_alone() -> None:
    core = Core()
    client = core.client()
    core.replica.start_snapshot()
    older = core.tree.zxid
    while core.replica.snapshot_step():
        pass
    client.create(b"/a")
    core.replica.start_snapshot()

    core.replica.handle(SnapshotFailed(older, "no space left"), core.now)

    assert core.log.lines[-1][0] == "error"
    assert core.replica.is_snapshotting
    assert core.replica.snapshots_failed == 0
    core.replica.handle(SnapshotFailed(core.tree.zxid, "no space left"), core.now)
    assert core.replica.snapshots_failed == 1


def test_a_failing_log_stops_the_server_and_acknowledges_nothing() -> None:
    core = Core()
    client, reader = core.client(), core.client()
    core.auto = False
    client.send_bytes(b"\0\0\0\x17\0\0\0\x09\0\0\0\5\0\0\0\1/\0\0\0\2hi\xff\xff\xff\xff")

    core.replica.handle(DiskFailed("Input/output error"), core.now)

    assert client.replies() == []
    assert any(isinstance(effect, Stop) for effect in core.replica.take())
    assert core.log.lines[-1][2]["why"] == "Input/output error"
    assert core.dial().connect() is None
    assert reader.get(b"/").as_(GetDataResponse).data == b""
