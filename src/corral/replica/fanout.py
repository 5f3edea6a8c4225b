"""Delivery of watch events, without letting a hundred thousand watchers delay the next write.

A small group of watchers is told on the spot. A large one waits here and is told in slices. What must never happen
is that a watcher sees the change before its event, so every connection is settled - gets what waits for it - before
anything else is sent to it:

    1. a write changes /a; 100,000 connections watch it, so the event waits here
    2. one of them reads /a: `settle` sends it its event, and only then the read is answered
    3. slices reach the others; each is told once, in the order of the changes
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from corral.replica.metrics import Metrics
from corral.tree.access import Access, AclList
from corral.wire.opcodes import READ

AT_ONCE_MAX: Final = 256
LOOKED_AT_MAX: Final = 256


class Fanout:
    """The events that still have to reach someone."""

    def __init__(self, access: Access, metrics: Metrics) -> None:
        self._access = access
        self._metrics = metrics
        self.waiting: deque[tuple[bytes, AclList, dict[Any, Any]]] = deque()

    def event(self, kind: int, frame: bytes, acl: AclList, watchers: Mapping[Any, object]) -> None:
        """Take an event for delivery; see EventSink."""
        self._metrics.watch_fired(kind, len(watchers))
        if self.waiting or len(watchers) > AT_ONCE_MAX:
            self.waiting.append((frame, acl, dict(watchers)))
            return
        for watcher in watchers:
            self._tell(watcher, frame, acl)

    def settle(self, watcher: Any, events_max: int | None = None) -> int:
        """Send a connection every event that waits for it, oldest first; return how many.

        events_max: how many of the waiting events are looked at, all unless given.
        """
        told = 0
        for frame, acl, watchers in islice(self.waiting, events_max):
            if watcher in watchers:
                del watchers[watcher]
                self._tell(watcher, frame, acl)
                told += 1
        return told

    def step(self, most: int) -> None:
        """Send about `most` waiting events, to a connection all of its own together: it is written to once."""
        waiting = self.waiting
        while waiting and most > 0:
            watchers = waiting[0][2]
            if watchers:
                most -= self.settle(next(iter(watchers)), LOOKED_AT_MAX)
            else:
                waiting.popleft()

    def forget(self, watcher: Any) -> None:
        """Drop what waits for a closed connection."""
        for _, _, watchers in self.waiting:
            watchers.pop(watcher, None)

    def _tell(self, watcher: Any, frame: bytes, acl: AclList) -> None:
        if acl.world & READ or self._access.allows(acl, READ, watcher.identities):
            watcher.notify(frame)
