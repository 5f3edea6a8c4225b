"""What a test may do to a running server. All of it but `Pause.end` and `Fault` runs on the server's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Self

from corral.base.errors import CorralError
from corral.base.ids import session_hex
from corral.server.standalone import Server
from corral.testing.threaddisk import ThreadDisk


class FaultError(CorralError):
    """A control cannot do what it was asked to, or not now."""


class Fault:
    """A fault that lasts until `end`, or until the end of the `with` block that it stands in."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def end(self) -> None:
        """Put things right; harmless where they are already."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()


class Pause:
    """A stopped loop. To clients it looks like SIGSTOP: the system takes connections and bytes, nobody answers."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self._is_over = threading.Event()

    def hold(self) -> None:
        """Hold up the loop until `end`."""
        self.has_begun.set()
        self._is_over.wait()

    def end(self) -> None:
        """Let the loop go on."""
        self._is_over.set()


def disk_of(server: Server) -> ThreadDisk:
    """Return the disk of an embedded server."""
    disk = server.node.disk
    assert isinstance(disk, ThreadDisk)
    return disk


async def expire(server: Server, session_id: int) -> None:
    """End a session; return when its ephemeral nodes are gone and its client is cut off. Raises FaultError."""
    node = server.node
    disk = disk_of(server)
    if disk.is_stalled:
        raise FaultError(f"session {session_hex(session_id)} cannot expire while the disk is stalled: release it first")
    if not node.replica.expire(session_id, node.now()):
        alive = ", ".join(map(session_hex, session_ids(server))) or "none"
        raise FaultError(f"there is no live session {session_hex(session_id)}; alive: {alive}")
    node.drain()
    await disk.quiet()


def session_ids(server: Server) -> list[int]:
    """Return the ids of the sessions that are alive, the oldest first."""
    return [session.id for session in server.node.replica.tracker.sessions.values() if not session.is_closing]


async def drop_connections(server: Server) -> int:
    """Cut every connection as a network would; return how many there were once the server has noticed."""
    replica = server.node.replica
    dropped = list(replica.connections)
    for conn in dropped:
        if conn.shell is not None:
            conn.shell.transport.abort()
    while any(conn in replica.connections for conn in dropped):  # noqa: ASYNC110  # Sockets close within a few turns.
        await asyncio.sleep(0)
    return len(dropped)
