"""Large requests, bounded together: `largeRequestThreshold` and `largeRequestMaxBytes`.

A request counts from when its length is known until it is answered; what would exceed the limit closes its connection.

Source: ZooKeeperServer.checkRequestSizeWhenReceivingMessage. Deviation: ZooKeeper counts a packet only once it is
complete, so that many can be on their way in at the same time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from corral.ops.base import WriteOp
from corral.replica.config import Config
from corral.replica.pipeline import Entry, Submit

if TYPE_CHECKING:
    from corral.replica.connection import Connection

HEAD_BYTES = 8


class LargeRequests:
    """What is under way of the packets longer than `threshold` bytes.

    submit: how a write goes on from here. outstanding: the pipeline's.
    """

    def __init__(self, config: Config, submit: Submit, outstanding: deque[Entry]) -> None:
        self.threshold = config.large_request_threshold
        self._most = config.large_request_max_bytes
        self._submit = submit
        self._outstanding = outstanding
        self._arriving = 0
        self._writing = 0
        self._writes: deque[tuple[int, int]] = deque()

    def under_way(self) -> int:
        """Return the bytes of all large packets that are arriving or waiting for their answer."""
        writes, outstanding = self._writes, self._outstanding
        while writes and (not outstanding or writes[0][0] < outstanding[0][0]):
            self._writing -= writes.popleft()[1]
        return self._arriving + self._writing

    def has_room(self, size: int) -> bool:
        """Tell whether a large packet of `size` bytes may be taken."""
        return self.under_way() + size <= self._most

    def reserve(self, size: int) -> bool:
        """Set bytes aside for a large packet that is arriving; negative gives them back. False if there is no room."""
        if size > 0 and not self.has_room(size):
            return False
        self._arriving += size
        return True

    def submit(self, conn: Connection, xid: int, op: WriteOp[Any], buf: bytes, at: int, end: int, now: int) -> bool:
        """Take a client's write as `Pipeline.submit` does, and count it if it is large."""
        is_crowded = self._submit(conn, xid, op, buf, at, end, now)
        size = end - at + HEAD_BYTES
        if size > self.threshold:
            self._writing += size
            self._writes.append((self._outstanding[-1][0], size))
        return is_crowded
