"""Agreement of one: a transaction is committed as soon as this server's own log has it on disk.

The seam that an ensemble's leader and follower will fill too: opaque frames go in with their zxids, `take` gives what
must be appended, `synced` says what is committed by it. Nothing here knows an operation.
"""

from __future__ import annotations

from corral.base.errors import InvariantError


class Solo:
    """The quorum of a standalone server.

    waiting: the frames to append that were not taken yet.

    Invariant: zxids are proposed in order, without a hole, and committed in that order.
    """

    __slots__ = ("committed", "proposed", "waiting")

    def __init__(self, zxid: int) -> None:
        self.proposed = zxid
        self.committed = zxid
        self.waiting: list[bytes] = []

    def propose(self, zxid: int, frame: bytes) -> None:
        """Take a transaction, framed for the log, for agreement."""
        if zxid != self.proposed + 1:
            raise InvariantError(f"proposed zxid 0x{zxid:x} after 0x{self.proposed:x}")
        self.proposed = zxid
        self.waiting.append(frame)

    def take(self) -> list[bytes]:
        """Return the frames to append since the last call, the last one's zxid being `proposed`."""
        frames = self.waiting
        self.waiting = []
        return frames

    def synced(self, zxid: int) -> int:
        """Learn that the log is on disk up to `zxid`; return up to which zxid is committed now."""
        if not self.committed <= zxid <= self.proposed:
            raise InvariantError(
                f"synced 0x{zxid:x}, but committed is 0x{self.committed:x} and proposed 0x{self.proposed:x}"
            )
        self.committed = zxid
        return zxid
