"""Accepting connections at a measured pace.

The event loop's own server takes every waiting connection in one turn; after a stampede that is thousands, and every
other client waits meanwhile. Here a turn takes a few, so the backlog of the system, as deep as it allows, holds the
herd in order.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from corral.base.errors import CorralError
from corral.server.peers import Peer

if TYPE_CHECKING:
    from corral.server.node import Node

ACCEPTED_PER_TURN = 32


class ListenError(CorralError):
    """The address cannot be listened on."""


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Open a listening socket. backlog: -1 for the most that the system allows. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(backlog if backlog > 0 else _system_backlog())
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    sock.setblocking(False)
    return sock


def _system_backlog() -> int:
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return socket.SOMAXCONN


class Listener:
    """One listening socket and the connections that it hands to peers."""

    def __init__(self, node: Node, sock: socket.socket) -> None:
        self._node = node
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop.add_reader(sock.fileno(), self._accept)
        self.is_open = True

    @property
    def port(self) -> int:
        """The port listened on."""
        port: int = self._sock.getsockname()[1]
        return port

    def close(self) -> None:
        """Stop listening; accepted connections stay."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()

    async def settled(self) -> None:
        """Wait, once it is closed, until nothing is being accepted any more."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._serve(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: Peer(self._node), sock)
        except OSError:
            sock.close()
        else:
            if not self.is_open:
                # It came too late: whoever closed the listener knew nothing of it.
                transport.abort()

    def _pause(self, error: OSError) -> None:
        """Out of descriptors: wait a little instead of spinning."""
        self._node.log.error("cannot accept connections; trying again in a second", why=error.strerror or str(error))
        self._loop.remove_reader(self._sock.fileno())
        self._loop.call_later(1.0, self._again)

    def _again(self) -> None:
        if self.is_open:
            self._loop.add_reader(self._sock.fileno(), self._accept)
