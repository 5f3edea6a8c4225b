"""What a replica is told by its disk."""

from __future__ import annotations

from corral.base.records import record


@record
class Synced:
    """The log is on disk up to and with `zxid`."""

    zxid: int


@record
class DiskFailed:
    """The log cannot be written any more."""

    why: str


@record
class ChunkWritten:
    """A chunk of a snapshot has left the queue."""


@record
class SnapshotWritten:
    """The snapshot of `zxid` is on disk under its name, so long after it was begun."""

    zxid: int
    took_ms: int


@record
class SnapshotFailed:
    """The snapshot of `zxid` could not be written."""

    zxid: int
    why: str


Input = Synced | DiskFailed | ChunkWritten | SnapshotWritten | SnapshotFailed
