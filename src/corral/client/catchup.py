"""What happened at a watch that stays while there was no connection: found by looking, as no server remembers it.

One look at a znode tells what it went through since a zxid: created (czxid), changed (mzxid), children added or removed
(pzxid). A deletion leaves no trace but in its parent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from corral.base.errors import NoNode
from corral.base.paths import child_path
from corral.client.calls import Calls
from corral.client.effects import Call
from corral.client.values import EventType

Event = tuple[EventType, bytes, int]


async def catch_up(
    run: Callable[[Call], Awaitable[Any]], calls: Calls, path: bytes, recursive: bool, since: int, was_there: bool
) -> list[Event]:
    """Return what a watch at `path` has missed since the zxid `since`, parents first.

    was_there: whether the znode was known to exist.
    """
    events: list[Event] = []
    waiting = [path]
    while waiting:
        at = waiting.pop()
        try:
            names, stat = await run(calls.children(at, None, True))
        except NoNode:
            if at == path and was_there:
                events.append((EventType.DELETED, at, -1))
            continue
        if stat.czxid > since:
            if at == path and was_there:
                events.append((EventType.DELETED, at, -1))
            events.append((EventType.CREATED, at, stat.czxid))
        elif stat.mzxid > since:
            events.append((EventType.CHANGED, at, stat.mzxid))
        if stat.pzxid > since and stat.pzxid != stat.czxid:
            events.append((EventType.CHILD, at, stat.pzxid))
        if recursive:
            waiting.extend(child_path(at, name.encode()) for name in reversed(names))
    return events
