"""When to take a snapshot and start a new log, and which old files may go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from corral.store.names import log_zxid, snapshot_zxid

KEPT_MIN: Final = 3
"""How many snapshots a purge leaves at least; fewer make one damaged file a loss."""


class RollPolicy:
    """Decides after each append whether the log is rolled and a snapshot begun.

    Both thresholds are drawn anew each time between half and the whole, so that the servers of an ensemble do not
    all write at once. snap_count: transactions. size_limit: bytes, 0 or less for none; what was appended counts,
    not the padding that ZooKeeper counts too. draw: returns a random integer in [0, n).
    Source: ZooKeeper SyncRequestProcessor.
    """

    def __init__(self, snap_count: int, size_limit: int, draw: Callable[[int], int]) -> None:
        self._half_count = max(2, snap_count) // 2
        self._half_size = size_limit // 2 if size_limit > 0 else 0
        self._draw = draw
        self._redraw()

    def appended(self, count: int, size: int) -> bool:
        """Count appended transactions and bytes; True if it is time."""
        self._count += count
        self._size += size
        if self._count > self._half_count + self._extra_count or (
            self._half_size > 0 and self._size > self._half_size + self._extra_size
        ):
            self._redraw()
            return True
        return False

    def _redraw(self) -> None:
        self._count = 0
        self._size = 0
        self._extra_count = self._draw(max(1, self._half_count))
        self._extra_size = self._draw(self._half_size) if self._half_size else 0


def purgeable(snapshots: Iterable[str], valid: Iterable[str], logs: Iterable[str], keep: int) -> list[str]:
    """Return the names of the files that are not needed to restore from any of the `keep` newest snapshots.

    snapshots, logs: all names there are. valid: those of the snapshots that are complete. The oldest come first.
    Source: ZooKeeper PurgeTxnLog.
    """
    newest = sorted({snapshot_zxid(name) for name in valid}, reverse=True)[: max(1, keep)]
    if not newest:
        return []
    oldest_kept = newest[-1]
    logs = list(logs)
    # The newest log that begins at or before the oldest kept snapshot may go on past it.
    spanning = max((log_zxid(name) for name in logs if log_zxid(name) <= oldest_kept), default=oldest_kept)
    gone = [name for name in snapshots if 0 <= snapshot_zxid(name) < oldest_kept]
    gone += [name for name in logs if 0 <= log_zxid(name) < spanning]
    return sorted(gone, key=lambda name: max(snapshot_zxid(name), log_zxid(name)))
