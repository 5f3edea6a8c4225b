"""One running server: a replica core between its sockets, its disk and the clock.

The loop thread runs the core. Everything that came in during a turn is handled first; then, once, the disk gets what
the turn has produced and each touched connection is written to. Nothing here decides; what the disks have to
say comes back as inputs.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, assert_never

from corral.replica.config import Config
from corral.replica.connection import Connection
from corral.replica.effects import Append, BeginSnapshot, EndSnapshot, Roll, SnapshotChunk, Stop
from corral.replica.inputs import ChunkWritten, DiskFailed, Input, SnapshotFailed, SnapshotWritten, Synced
from corral.replica.replica import Replica
from corral.server.batches import Batches
from corral.server.closings import Closings
from corral.server.corks import Corks
from corral.server.datadir import DataDirectories, DataDirectory
from corral.server.logdisk import Disk
from corral.server.peers import Peer
from corral.server.snapshotfile import SnapshotFile

# While a snapshot is made, a slice each so many seconds; the share of the loop that it takes follows from it.
SNAPSHOT_PAUSE_S = 0.001
WORK_PAUSE_MAX_S = 0.1
# Shorter than what counts as a stop.
WORK_PAUSE_AFTER_FAULT_S = 0.4
# A longer one between two calls of `work` is no pause but a stop: of the process, its machine, or its loop.
STOP_MS_MIN = 500


class Node:
    """The shell around one replica.

    commands: what answers four-letter words, if anything does. stuffed: peers whose clients do not take what they were
    sent.
    """

    def __init__(self, replica: Replica, config: Config, log: Any) -> None:
        self.replica = replica
        self.config = config
        self.log = log
        self.loop = asyncio.get_running_loop()
        self.commands: Any = None
        self.directories: DataDirectories | None = None
        self.listener: Any = None
        self.disk: Disk | None = None
        self.snapshots: SnapshotFile | None = None
        self.stopped: asyncio.Future[str] = self.loop.create_future()
        self.corks = Corks(self.loop.call_soon)
        self.closings = Closings(self.loop.call_soon)
        self.batches = Batches(time.monotonic)
        self.stuffed: dict[Peer, None] = {}
        self._is_scheduled = False
        self._is_snapshotting = False
        self._requests_seen = 0
        self._worked_at = self.now()

    @staticmethod
    def now() -> int:
        """Return the monotonic time in ms."""
        return int(time.monotonic() * 1000)

    def client_port(self) -> int:
        """Return the port that clients connect to."""
        port: int = self.listener.port if self.listener is not None else self.config.client_port
        return port

    def used_bytes(self) -> tuple[int, int]:
        """Return the sizes of the snapshots' and the logs' directory, in bytes."""
        if self.directories is None:
            return 0, 0
        return self.directories.snapshots.used(), self.directories.logs.used()

    def start(self) -> None:
        """Begin the background work."""
        self._worked_at = self.now()
        self.loop.call_soon(self._work)

    # The turn.

    def schedule(self) -> None:
        """Deal with effects at the end of this turn."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._turn_is_over)

    def collect(self) -> None:
        """Deal with a write: with all others of this turn, or now where that makes a batch for a disk that waits."""
        size = self.batches.size
        if 0 < size <= len(self.replica.agreement.waiting) and self.disk is not None and not self.disk.waiting_since:
            self._hand_over()
        else:
            self.schedule()

    def drain(self) -> None:
        """Hand the disk its effects and the connections their output."""
        if self.replica.dirty:
            self._flush()
        self._hand_over()

    def _turn_is_over(self) -> None:
        self._is_scheduled = False
        self._settle()

    def _settle(self) -> None:
        """As `drain`, but let a few writes wait for others that are about to come."""
        has_answered = bool(self.replica.dirty)
        if has_answered:
            self._flush()
        if self.batches.is_early(len(self.replica.agreement.waiting), has_answered):
            self.schedule()
        else:
            self._hand_over(has_answered)

    def _hand_over(self, has_answered: bool = False) -> None:
        replica = self.replica
        if replica.agreement.waiting:
            self.batches.handed(len(replica.pipeline.outstanding), has_answered)
        for effect in replica.take():
            self._perform(effect)

    def _flush(self) -> None:
        for conn in self.replica.take_dirty():
            peer: Peer | None = conn.shell
            if peer is not None:
                peer.obey(conn)

    def _perform(self, effect: Any) -> None:
        assert self.disk is not None
        assert self.snapshots is not None
        match effect:
            case Append(frames, first, last):
                self.disk.append(frames, first, last)
            case Roll():
                self.disk.roll()
            case BeginSnapshot(zxid):
                self.snapshots.begin(zxid)
                self._snapshot()
            case SnapshotChunk(data):
                self.snapshots.chunk(data)
            case EndSnapshot():
                self.snapshots.end()
            case Stop(why):
                if not self.stopped.done():
                    self.stopped.set_result(why)
            case _:
                assert_never(effect)

    # What the log's disk calls.

    def on_synced(self, zxid: int) -> None:
        """Note that the log is on disk up to `zxid`."""
        self.take_input(Synced(zxid))

    def on_disk_failed(self, why: str) -> None:
        """Note that the log cannot be written."""
        self.take_input(DiskFailed(why))

    # What the snapshots' thread calls, on its own.

    def on_chunk_written(self) -> None:
        """Note that a chunk of the snapshot has been taken."""
        self.loop.call_soon_threadsafe(self.take_input, ChunkWritten())

    def on_snapshot_written(self, zxid: int, took_ms: int) -> None:
        """Note that a snapshot is complete."""
        self.loop.call_soon_threadsafe(self.take_input, SnapshotWritten(zxid, took_ms))

    def on_snapshot_failed(self, zxid: int, error: Exception) -> None:
        """Note that a snapshot could not be written."""
        directory = self.directories.snapshots if self.directories is not None else None
        self.loop.call_soon_threadsafe(self.take_input, SnapshotFailed(zxid, _why(error, directory)))

    def take_input(self, event: Input) -> None:
        """Hand an input to the core, and send at once what it answers."""
        self.replica.handle(event, self.now())
        self._settle()

    # Background work.

    def _work(self) -> None:
        pause_s = WORK_PAUSE_MAX_S
        try:
            if self._work_once():
                pause_s = 0.0
        except Exception as error:  # noqa: BLE001  # Sessions must go on to expire, whatever it was.
            self.log.error("background work failed; it is tried again", why=repr(error))
            pause_s = WORK_PAUSE_AFTER_FAULT_S
        if self.stopped.done():
            return
        if pause_s:
            self.loop.call_later(pause_s, self._work)
        else:
            self.loop.call_soon(self._work)

    def _work_once(self) -> bool:
        """Do a slice of what is due; tell whether more is waiting right now."""
        now = self.now()
        self.replica.wall_offset = int(time.time() * 1000) - now
        for peer in tuple(self.stuffed):
            peer.look_at_progress(now)
        stopped_ms = now - self._worked_at
        self._worked_at = now
        if stopped_ms > STOP_MS_MIN:
            self.replica.excuse(stopped_ms - STOP_MS_MIN, now)
        more = self.replica.work(now)
        self.drain()
        return more

    def _snapshot(self) -> None:
        if not self._is_snapshotting:
            self._is_snapshotting = True
            self.loop.call_soon(self._snapshot_step)

    def _snapshot_step(self) -> None:
        """Make a slice of the snapshot; pause after it where clients are busy meanwhile, or its disk is behind."""
        replica = self.replica
        more = replica.snapshot_step()
        # Before what the turn has produced is dealt with: the next snapshot may be due in it.
        self._is_snapshotting = more
        self.drain()
        if not more:
            return
        seen = replica.metrics.bytes_received
        busy = seen != self._requests_seen
        self._requests_seen = seen
        if busy or replica.is_snapshot_ahead:
            self.loop.call_later(SNAPSHOT_PAUSE_S, self._snapshot_step)
        else:
            self.loop.call_soon(self._snapshot_step)

    def connection_closed(self, peer: Peer) -> None:
        """Learn that a socket is gone."""
        self.schedule()

    def cut_off_slow(self, conn: Connection, waiting: int) -> None:
        """Say that a client was cut off for not taking its replies."""
        self.replica.metrics.count("slow_readers_cut_off")
        self.log.warning(
            "connection closed: the client does not read its replies",
            client=f"{conn.address}:{conn.port}",
            waiting_bytes=waiting,
            limit=self.config.outbuffer_max,
            key="corral.connection.outbuffer.max",
        )


def _why(error: Exception, directory: DataDirectory | None) -> str:
    """Say what went wrong, and where if the system's words leave that out."""
    if isinstance(error, OSError) and error.strerror and directory is not None:
        return f"{error.strerror} in {directory.dir}"
    return str(error)
