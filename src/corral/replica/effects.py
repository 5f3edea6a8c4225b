"""What a replica asks of its disk. Durability is an effect, and its completion an input."""

from __future__ import annotations

from corral.base.records import record


@record
class Append:
    """Append frames to the log and sync it; answered by Synced. first, last: their zxids, both inclusive."""

    frames: list[bytes]
    first: int
    last: int


@record
class Roll:
    """Let the next append start a new file."""


@record
class BeginSnapshot:
    """Start the file of a snapshot of `zxid`."""

    zxid: int


@record
class SnapshotChunk:
    """More bytes of it; answered by ChunkWritten."""

    data: bytes


@record
class EndSnapshot:
    """It is complete; answered by SnapshotWritten once it is on disk."""

    zxid: int


@record
class Stop:
    """Stop serving."""

    why: str


Effect = Append | Roll | BeginSnapshot | SnapshotChunk | EndSnapshot | Stop
