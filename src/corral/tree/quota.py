"""Quotas: limits on count and bytes below a node, and the statistics they are checked against.

A quota of path P lives in two ordinary nodes, `/zookeeper/quota<P>/zookeeper_limits` and `…/zookeeper_stats`. Only
the deepest quota at or above a node is charged. Statistics change without transactions, so they never travel: each
server counts for itself. Source: reference "Quotas".
"""

from __future__ import annotations

import re
from typing import Final

from corral.base.errors import MarshallingError
from corral.base.paths import QUOTA, ROOT, parent_of
from corral.base.records import record

LIMITS_NAME: Final = b"zookeeper_limits"
STATS_NAME: Final = b"zookeeper_stats"
_PREFIX: Final = QUOTA + b"/"
_SPLIT: Final = re.compile(r"[,;]+").split
# As long as a long may be: Python refuses to read numbers of thousands of digits.
_NUMBER: Final = re.compile(r"-?\d{1,19}\Z").match


@record
class Limits:
    """What the text of a `zookeeper_limits` node says; -1 is no limit."""

    count: int = -1
    size: int = -1
    count_hard: int = -1
    size_hard: int = -1


def parse_limits(data: bytes | None) -> Limits:
    """Read the text of a limits (or stats) node; an empty one sets no limits, a null one is no text.

    Raises MarshallingError, as writes below such a node do. Source: ZooKeeper StatsTrack.
    """
    if data == b"":
        return Limits()
    found = {"count": -1, "bytes": -1, "countHardLimit": -1, "byteHardLimit": -1}
    for part in _SPLIT((data or b"").decode("utf-8", "replace")):
        pieces = part.split("=")
        if len(pieces) < 2 or (pieces[1] and not _NUMBER(pieces[1])):
            raise MarshallingError(f"a quota must be given as count=<n>,bytes=<n>, not {data!r}")
        found[pieces[0]] = int(pieces[1]) if pieces[1] else -1
    return Limits(found["count"], found["bytes"], found["countHardLimit"], found["byteHardLimit"])


def format_stats(count: int, size: int) -> bytes:
    """Write the text of a `zookeeper_stats` node."""
    return b"count=%d,bytes=%d" % (count, size)


def limits_path(path: bytes) -> bytes:
    """Return where the limits of `path` are."""
    return QUOTA + path + b"/" + LIMITS_NAME


def stats_path(path: bytes) -> bytes:
    """Return where the statistics of `path` are."""
    return QUOTA + path + b"/" + STATS_NAME


def quota_of_limits(path: bytes) -> bytes | None:
    """Return the path that a `zookeeper_limits` node limits, None for any other node."""
    return _governed(path, LIMITS_NAME)


def quota_of_stats(path: bytes) -> bytes | None:
    """Return the path that a `zookeeper_stats` node counts, None for any other node."""
    return _governed(path, STATS_NAME)


def _governed(path: bytes, name: bytes) -> bytes | None:
    if not path.startswith(_PREFIX) or not path.endswith(b"/" + name):
        return None
    return path[len(QUOTA) : -len(name) - 1] or None


class Quotas:
    """The statistics of all active quotas: path to [count, bytes].

    exceeded: how often a hard limit refused a write, by path. over_soft: what was said of soft limits passed since the
    list was emptied; whoever keeps a log empties it.
    """

    __slots__ = ("active", "exceeded", "over_soft")

    def __init__(self) -> None:
        self.active: dict[bytes, list[int]] = {}
        self.exceeded: dict[bytes, int] = {}
        self.over_soft: list[tuple[bytes, str, int, int]] = []

    def governing(self, path: bytes) -> bytes | None:
        """Return the deepest quota at or above `path`."""
        active = self.active
        if not active or path.startswith(b"/zookeeper/"):
            return None
        while path != ROOT:
            if path in active:
                return path
            path = parent_of(path)
        return None
