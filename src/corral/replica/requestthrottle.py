"""Writes held back while too many are under way: `request_throttle_max_requests` and its kin.

A held request stays in its connection, which is not read meanwhile, so nothing can overtake it. Room goes to the
connections in the order in which they were stopped, one write each, so one that sends much does not keep the others
waiting. `globalOutstandingLimit` allows each connection one write beyond the limit; this does not.

Source: ZooKeeper RequestThrottler. Deviations: reads are answered at once and never held, and sync, the close of a
session and a new session pass; the requests of a closed connection are gone with it; a request's wait counts from when
it was the next of its connection, not from its arrival.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from corral.base.errors import ThrottledOp
from corral.ops.base import WriteOp
from corral.replica.config import Config
from corral.replica.metrics import Metrics
from corral.replica.pipeline import Entry, Submit

if TYPE_CHECKING:
    from corral.replica.connection import Connection


class Held(Exception):
    """A request cannot go on now; its connection is stopped in front of it."""


class RequestThrottle:
    """What stands before the pipeline where a limit is configured.

    submit: how a write goes on from here. outstanding: the pipeline's. waiting: the stopped connections in order, with
    the time in ms since when they are.
    """

    def __init__(self, config: Config, submit: Submit, outstanding: deque[Entry], metrics: Metrics) -> None:
        self.waiting: dict[Connection, int] = {}
        self._submit = submit
        self._outstanding = outstanding
        self._metrics = metrics
        self._most = config.request_throttle_max_requests
        self._wait_max = config.throttled_op_wait_time_ms
        self._drops_stale = config.request_throttle_drop_stale and config.request_stale_latency_check
        self._turn: Connection | None = None
        self._is_late = False

    def submit(self, conn: Connection, xid: int, op: WriteOp[Any], buf: bytes, at: int, end: int, now: int) -> bool:
        """Take a client's write as `Pipeline.submit` does. Raises Held, and ThrottledOp where it waited too long."""
        if conn is self._turn:
            self._turn = None
            if self._is_late:
                self._metrics.count("throttled_ops")
                raise ThrottledOp
        elif self.waiting or len(self._outstanding) >= self._most:
            self._metrics.count("request_throttle_wait_count")
            self.waiting[conn] = now
            conn.is_unread = True
            raise Held
        return self._submit(conn, xid, op, buf, at, end, now)

    def release(self, now: int) -> None:
        """Let the connections go on that there is room for."""
        while self.waiting and len(self._outstanding) < self._most:
            conn = next(iter(self.waiting))
            waited = now - self.waiting.pop(conn)
            self._metrics.summary("request_throttle_queue_time_ms").add(waited)
            conn.is_unread = False
            if self._drops_stale and waited > conn.timeout:
                self._metrics.count("stale_requests_dropped")
                conn.end()
                continue
            self._turn = conn
            self._is_late = 0 < self._wait_max < waited
            conn.resume(now)
            conn.replica.touched(conn)
