"""A node's turns, with its disks in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.core import Core

from corral.server.batches import Batches
from corral.server.node import Node
from corral.wire.client import CreateRequest
from corral.wire.data import OPEN_ACL
from corral.wire.opcodes import CREATE
from corral.wire.schema import encode


class Snapshots:
    """Takes snapshots and keeps none. on_chunk: called at each chunk with the number of those before it."""

    def __init__(self, on_chunk: Callable[[int], None]) -> None:
        self.chunks = self.begun = self.ended = 0
        self._on_chunk = on_chunk

    def begin(self, zxid: int) -> None:
        self.begun += 1

    def chunk(self, data: bytes) -> None:
        self._on_chunk(self.chunks)
        self.chunks += 1

    def end(self) -> None:
        self.ended += 1


class Log:
    """Takes the log and keeps nothing."""

    def append(self, frames: list[bytes], first: int, last: int) -> None:
        pass

    def roll(self) -> None:
        pass


def test_a_snapshot_that_is_due_in_the_turn_that_ends_another_is_made_too() -> None:
    core = Core(auto=False, snap_count=4)
    client = core.client()
    core.sync()

    def write(chunks: int) -> None:
        # After the last chunk, so that the log is to be rolled when the snapshot is found to have come to its end.
        if chunks == 1:
            for path in (b"/a", b"/b", b"/c"):
                client.send(CREATE, encode(CreateRequest(path, b"", OPEN_ACL, 0)))

    async def scenario() -> Snapshots:
        node = Node(core.replica, core.config, core.log)
        snapshots: Any = Snapshots(write)
        disk: Any = Log()
        node.disk, node.snapshots = disk, snapshots
        core.replica.start_snapshot()
        node.drain()
        await asyncio.sleep(0.1)
        return snapshots

    made = asyncio.run(scenario())

    assert (made.begun, made.ended) == (2, 2)


class Faulty:
    """A replica whose background work fails once."""

    def __init__(self, core: Core, went_on: asyncio.Event) -> None:
        self._core = core
        self._went_on = went_on
        self._faults = [ValueError("why not")]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core.replica, name)

    def work(self, now: int) -> bool:
        if self._faults:
            raise self._faults.pop()
        self._went_on.set()
        return False


def test_background_work_goes_on_after_a_fault() -> None:
    core = Core()

    async def scenario() -> None:
        went_on = asyncio.Event()
        replica: Any = Faulty(core, went_on)
        Node(replica, core.config, core.log).start()
        await asyncio.wait_for(went_on.wait(), 20)

    asyncio.run(scenario())

    assert ("error", "background work failed; it is tried again", {"why": "ValueError('why not')"}) in core.log.lines


class Counted(Log):
    """Notes how many writes came with each append. waiting_since: what the disk is to say."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.waiting_since = 0.0

    def append(self, frames: list[bytes], first: int, last: int) -> None:
        self.batches.append(len(frames))


class Writers:
    """So many clients that each have one write at a time, at a node whose disk the test has."""

    def __init__(self, count: int) -> None:
        self._core = Core(auto=False)
        self._clients = [self._core.client() for _ in range(count)]
        self._core.sync()
        self._written = 0
        self.node = Node(self._core.replica, self._core.config, self._core.log)
        self.log = Counted()
        disk: Any = self.log
        snapshots: Any = Snapshots(lambda _: None)
        self.node.disk, self.node.snapshots = disk, snapshots

    def write(self, count: int) -> None:
        """Have so many of them write, in this turn."""
        for client in self._clients[:count]:
            self._written += 1
            path = b"/n%d" % self._written
            client.send(CREATE, encode(CreateRequest(path, b"", OPEN_ACL, 0)))
            self.node.collect()

    def sync(self) -> None:
        """Have the disk report all that it was given."""
        self.node.on_synced(self._core.replica.agreement.proposed)


def test_a_batch_goes_at_the_end_of_its_turn() -> None:
    async def scenario() -> list[int]:
        writers = Writers(16)
        writers.write(16)
        assert writers.log.batches == []
        await asyncio.sleep(0)
        return writers.log.batches

    assert asyncio.run(scenario()) == [16]


def test_half_of_a_crowd_goes_at_once_to_a_disk_that_has_nothing_to_do() -> None:
    async def scenario() -> Counted:
        writers = Writers(16)
        writers.write(16)
        await asyncio.sleep(0)
        writers.sync()
        writers.write(7)
        assert writers.log.batches == [16]
        writers.write(1)
        assert writers.log.batches == [16, 8]
        writers.log.waiting_since = 1.0
        writers.write(10)
        assert writers.log.batches == [16, 8]
        await asyncio.sleep(0)
        return writers.log

    assert asyncio.run(scenario()).batches == [16, 8, 10]


def test_a_few_writes_behind_the_answers_to_many_wait_a_moment_for_more() -> None:
    async def scenario() -> list[int]:
        writers = Writers(16)
        now = 100.0
        writers.node.batches = Batches(lambda: now)
        writers.write(16)
        await asyncio.sleep(0)
        writers.sync()
        writers.write(1)
        for _ in range(3):
            await asyncio.sleep(0)
        assert writers.log.batches == [16]
        now += 1.0
        for _ in range(3):
            await asyncio.sleep(0)
        return writers.log.batches

    assert asyncio.run(scenario()) == [16, 1]
