"""The watches of one client: who is told of what, and what a server has to be told again after a reconnect.

One-shot watches are gone when they have fired. A watch is entered when the reply to its request is taken, so that an
event behind that reply finds it. Paths are whole ones, chroot included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from corral.base.paths import ROOT
from corral.client.values import EventType, WatcherType, WatchEvent
from corral.wire.client import SetWatches, SetWatches2
from corral.wire.opcodes import SET_WATCHES, SET_WATCHES2
from corral.wire.schema import encode

Listener = Callable[[WatchEvent], object]

DATA: Final = 0
EXIST: Final = 1
CHILD: Final = 2
PERSISTENT: Final = 3
RECURSIVE: Final = 4
KINDS: Final = 5
KINDS_OF: Final = {
    WatcherType.CHILDREN: (CHILD,),
    WatcherType.DATA: (DATA, EXIST),
    WatcherType.PERSISTENT: (PERSISTENT,),
    WatcherType.RECURSIVE: (RECURSIVE,),
    WatcherType.ANY: tuple(range(KINDS)),
}
"""The tables that a type of watches, as it is removed, stands for."""

CHUNK_BYTES: Final = 128 << 10
"""How long the paths of one setWatches may be together, well below any server's `jute.maxbuffer`."""

_FIRED: Final = {
    EventType.CREATED: (DATA, EXIST),
    EventType.CHANGED: (DATA, EXIST),
    EventType.CHILD: (CHILD,),
    EventType.DELETED: (DATA, EXIST, CHILD),
}


class WatchTable:
    """Listeners by kind and path, in the order in which they came."""

    def __init__(self) -> None:
        self._tables: list[dict[bytes, dict[Listener, None]]] = [{} for _ in range(KINDS)]

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def add(self, kind: int, path: bytes, listener: Listener) -> None:
        """Enter a listener."""
        self._tables[kind].setdefault(path, {})[listener] = None

    def has(self, kind: int, path: bytes) -> bool:
        """Tell whether anyone watches a path in that way."""
        return path in self._tables[kind]

    def is_watched(self, path: bytes) -> bool:
        """Tell whether anyone watches a path in any way."""
        return any(path in table for table in self._tables)

    def discard(self, kind: int, path: bytes, listener: Listener | None = None) -> bool:
        """Strike out a listener, or all; tell whether none is left."""
        table = self._tables[kind]
        listeners = table.get(path)
        if listeners is not None and listener is not None:
            listeners.pop(listener, None)
        if listener is None or not listeners:
            table.pop(path, None)
        return path not in table

    def fire(self, kind: EventType, path: bytes) -> list[Listener]:
        """Return who is to be told of an event, each once; one-shot watches are used up."""
        found: dict[Listener, None] = {}
        tables = self._tables
        for one_shot in _FIRED[kind]:
            table = tables[one_shot]
            if table:
                found.update(table.pop(path, {}))
        if tables[PERSISTENT]:
            found.update(tables[PERSISTENT].get(path, {}))
        recursive = tables[RECURSIVE]
        if recursive and kind is not EventType.CHILD:
            at = path
            while True:
                found.update(recursive.get(at, {}))
                if at == ROOT:
                    break
                at = at[: at.rfind(b"/")] or ROOT
        return list(found)

    def drop_one_shot(self) -> list[tuple[bytes, Listener]]:
        """Forget all one-shot watches, as their session is over; return who had one."""
        gone: dict[tuple[bytes, Listener], None] = {}
        for table in self._tables[:PERSISTENT]:
            for path, listeners in table.items():
                gone.update(((path, listener), None) for listener in listeners)
            table.clear()
        return list(gone)

    def staying(self, kind: int) -> list[bytes]:
        """Return the paths that have a watch of a kind."""
        return list(self._tables[kind])

    def staying_at(self, kind: int, path: bytes) -> list[Listener]:
        """Return who watches a path in a way that stays."""
        return list(self._tables[kind].get(path, ()))

    def packets(self, zxid: int) -> Iterator[tuple[int, bytes]]:
        """Yield (opcode, body) of the requests that tell a server of all watches, each of a bounded size.

        zxid: the last one seen; what happened after it is reported for one-shot watches. Source: the reference,
        "Re-registering".
        """
        lists: list[list[bytes]] = [[] for _ in range(KINDS)]
        size = 0
        for kind, table in enumerate(self._tables):
            for path in table:
                lists[kind].append(path)
                size += len(path) + 4
                if size >= CHUNK_BYTES:
                    yield _packet(zxid, lists)
                    lists = [[] for _ in range(KINDS)]
                    size = 0
        if size:
            yield _packet(zxid, lists)


def _packet(zxid: int, lists: list[list[bytes]]) -> tuple[int, bytes]:
    data, exist, child, persistent, recursive = lists
    if persistent or recursive:
        return SET_WATCHES2, encode(SetWatches2(zxid, data, exist, child, persistent, recursive))
    return SET_WATCHES, encode(SetWatches(zxid, data, exist, child))
