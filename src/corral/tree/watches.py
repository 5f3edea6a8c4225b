"""The watches of one server: who is told of which change, exactly and in which order.

Two tables, data and child, map a path to the watchers of it and the modes each has there. A watch belongs to a
connection and goes with it. Recursive watches stand in the data table only.

This module decides who gets an event; delivering (and not stalling while a hundred thousand watchers are told) is
the business of the sink. Source: ZooKeeper WatchManager and DataTree; reference "Watches".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, Protocol

from corral.base.paths import ROOT, parent_of
from corral.tree.access import AclList
from corral.wire.opcodes import (
    EVENT_CHILDREN_CHANGED,
    EVENT_CREATED,
    EVENT_DATA_CHANGED,
    EVENT_DELETED,
    STATE_SYNC_CONNECTED,
    XID_NOTIFICATION,
)

STANDARD: Final = 1
PERSISTENT: Final = 2
RECURSIVE: Final = 4

TYPE_CHILDREN: Final = 1
TYPE_DATA: Final = 2
TYPE_ANY: Final = 3
TYPE_PERSISTENT: Final = 4
TYPE_RECURSIVE: Final = 5

_EVENT: Final = struct.Struct(">iiqiiii")


class Watcher(Protocol):
    """Whoever watches: a connection."""

    session_id: int


Table = dict[bytes, dict[Watcher, int]]


class EventSink(Protocol):
    """Takes an event for delivery to each of `watchers` that may read a node with `acl`, in the given order."""

    def event(self, kind: int, frame: bytes, acl: AclList, watchers: Mapping[Watcher, object]) -> None:
        """Deliver, now or before the watcher's next reply."""


def event_frame(kind: int, path: bytes, zxid: int) -> bytes:
    """Encode a watch event as a whole frame. zxid: of the change, or -1 for one produced by setWatches."""
    size = len(path)
    return _EVENT.pack(28 + size, XID_NOTIFICATION, zxid, 0, kind, STATE_SYNC_CONNECTED, size) + path


class Watches:
    """Both tables and what each watcher has in them.

    any: empty, and so false, while nobody watches anything.

    Invariant: a path is in `_owned[watcher]` exactly while the watcher is in a table at that path.
    """

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink
        self.data: Table = {}
        self.child: Table = {}
        self._owned: dict[Watcher, dict[bytes, None]] = {}
        self.any = self._owned
        self._recursive = 0

    def watch_data(self, path: bytes, watcher: Watcher) -> None:
        """Register a standard watch for creation, deletion and data."""
        self._add(self.data, path, watcher, STANDARD)

    def watch_children(self, path: bytes, watcher: Watcher) -> None:
        """Register a standard watch for the children and the deletion."""
        self._add(self.child, path, watcher, STANDARD)

    def watch_persistent(self, path: bytes, watcher: Watcher) -> None:
        """Register a watch that stays, for the node and its children."""
        self._add(self.data, path, watcher, PERSISTENT)
        self._add(self.child, path, watcher, PERSISTENT)

    def watch_recursive(self, path: bytes, watcher: Watcher) -> None:
        """Register a watch that stays, for the node and all below it."""
        self._add(self.data, path, watcher, RECURSIVE)

    def created(self, path: bytes, acl: AclList, parent: bytes, parent_acl: AclList, zxid: int) -> None:
        """Tell of a new node."""
        self._trigger(self.data, path, EVENT_CREATED, acl, zxid, None)
        self._trigger(self.child, parent, EVENT_CHILDREN_CHANGED, parent_acl, zxid, None)

    def deleted(self, path: bytes, acl: AclList, parent: bytes, parent_acl: AclList, zxid: int) -> None:
        """Tell of a deletion: watchers in both tables are told once."""
        told = self._trigger(self.data, path, EVENT_DELETED, acl, zxid, None)
        self._trigger(self.child, path, EVENT_DELETED, acl, zxid, told)
        self._trigger(self.child, parent, EVENT_CHILDREN_CHANGED, parent_acl, zxid, None)

    def data_changed(self, path: bytes, acl: AclList, zxid: int) -> None:
        """Tell of new data."""
        self._trigger(self.data, path, EVENT_DATA_CHANGED, acl, zxid, None)

    def has(self, path: bytes, watcher: Watcher, kind: int) -> bool:
        """Tell whether a watcher has a watch of a removal type (1 to 5) at exactly this path."""
        data = self.data.get(path, {}).get(watcher, 0)
        child = self.child.get(path, {}).get(watcher, 0)
        if kind == TYPE_CHILDREN:
            return bool(child & STANDARD)
        if kind == TYPE_DATA:
            return bool(data & STANDARD)
        if kind == TYPE_ANY:
            return bool(data | child)
        return bool(data & (PERSISTENT if kind == TYPE_PERSISTENT else RECURSIVE))

    def remove(self, path: bytes, watcher: Watcher, kind: int) -> bool:
        """Drop a watcher's watches of a removal type at exactly this path; tell whether there was one."""
        if not self.has(path, watcher, kind):
            return False
        if kind in (TYPE_DATA, TYPE_ANY, TYPE_PERSISTENT, TYPE_RECURSIVE):
            modes = {TYPE_DATA: STANDARD, TYPE_PERSISTENT: PERSISTENT, TYPE_RECURSIVE: RECURSIVE}.get(kind, 7)
            self._drop(self.data, path, watcher, modes)
        if kind in (TYPE_CHILDREN, TYPE_ANY, TYPE_PERSISTENT):
            modes = {TYPE_CHILDREN: STANDARD, TYPE_PERSISTENT: PERSISTENT}.get(kind, 7)
            self._drop(self.child, path, watcher, modes)
        return True

    def forget(self, watcher: Watcher) -> None:
        """Drop all watches of a watcher; costs what it had."""
        for path in self._owned.pop(watcher, ()):
            for table in (self.data, self.child):
                at_path = table.get(path)
                if at_path is not None:
                    modes = at_path.pop(watcher, 0)
                    self._recursive -= modes >> 2
                    if not at_path:
                        del table[path]

    def counts(self) -> tuple[int, int, int]:
        """Return how many watchers, paths and watches the data table has, as `wchs` prints them."""
        watchers = {id(w) for at_path in self.data.values() for w in at_path}
        return len(watchers), len(self.data), sum(map(len, self.data.values()))

    def total(self) -> int:
        """Return the number of (watcher, path) pairs of both tables."""
        return sum(map(len, self.data.values())) + sum(map(len, self.child.values()))

    def paths_by_watcher(self) -> dict[Watcher, list[bytes]]:
        """Return the data table turned around, in order of the paths' registration."""
        turned: dict[Watcher, list[bytes]] = {}
        for path, at_path in self.data.items():
            for watcher in at_path:
                turned.setdefault(watcher, []).append(path)
        return turned

    def _add(self, table: Table, path: bytes, watcher: Watcher, mode: int) -> None:
        at_path = table.get(path)
        if at_path is None:
            at_path = table[path] = {}
        modes = at_path.get(watcher, 0)
        if not modes & mode:
            at_path[watcher] = modes | mode
            self._recursive += mode >> 2
            owned = self._owned.get(watcher)
            if owned is None:
                owned = self._owned[watcher] = {}
            owned[path] = None

    def _drop(self, table: Table, path: bytes, watcher: Watcher, modes: int) -> None:
        at_path = table.get(path)
        if at_path is None or watcher not in at_path:
            return
        gone = at_path[watcher] & modes
        self._recursive -= gone >> 2
        at_path[watcher] &= ~modes
        if not at_path[watcher]:
            del at_path[watcher]
            if not at_path:
                del table[path]
            self._disown(path, watcher)

    def _disown(self, path: bytes, watcher: Watcher) -> None:
        if watcher in self.data.get(path, ()) or watcher in self.child.get(path, ()):
            return
        owned = self._owned[watcher]
        owned.pop(path, None)
        if not owned:
            del self._owned[watcher]

    def _trigger(
        self, table: Table, path: bytes, kind: int, acl: AclList, zxid: int, told: Mapping[Watcher, object] | None
    ) -> Mapping[Watcher, object] | None:
        """Hand the event to the sink and consume standard watches. told: who is left out. Returns who was told."""
        at_path = table.get(path)
        if self._recursive and table is self.data:
            watchers = self._with_recursive(path, at_path)
        elif at_path is None:
            return None
        else:
            watchers = dict(at_path)
        if at_path is not None:
            self._consume(table, path, at_path)
        if told:
            watchers = {w: 0 for w in watchers if w not in told}
        if watchers:
            self._sink.event(kind, event_frame(kind, path, zxid), acl, watchers)
        return watchers

    def _with_recursive(self, path: bytes, at_path: dict[Watcher, int] | None) -> dict[Watcher, int]:
        watchers = dict(at_path) if at_path else {}
        above = path
        while above != ROOT:
            above = parent_of(above)
            for watcher, modes in self.data.get(above, {}).items():
                if modes & RECURSIVE:
                    watchers[watcher] = modes
        return watchers

    def _consume(self, table: Table, path: bytes, at_path: dict[Watcher, int]) -> None:
        staying = {w: modes & ~STANDARD for w, modes in at_path.items() if modes & ~STANDARD}
        gone = [w for w in at_path if w not in staying]
        if staying:
            table[path] = staying
        else:
            del table[path]
        for watcher in gone:
            self._disown(path, watcher)
