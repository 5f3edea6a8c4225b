"""A connection that ends waits for a client that takes what is left for it, and not for ever for one that does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from corral.server.peers import LINGER_MS, Peer


class Transport:
    """A socket's, with as many bytes to send as the test says."""

    def __init__(self, sock: socket.socket, unsent: int) -> None:
        self.sock = sock
        self.unsent = unsent
        self.ended = ""

    def get_extra_info(self, name: str) -> Any:
        return self.sock if name == "socket" else ("127.0.0.1", 1)

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Node:
    """What a peer needs of a node."""

    def __init__(self) -> None:
        self.time = 1000
        self.stuffed: dict[Peer, None] = {}
        self.closings = SimpleNamespace(add=lambda ended: ended.close())
        self.session = SimpleNamespace(heard=0)
        self.conn = SimpleNamespace(session=self.session, is_closing=False)
        self.replica = SimpleNamespace(accept=lambda address, port, now: self.conn)

    def now(self) -> int:
        return self.time

    def pass_time(self, ms: int) -> None:
        self.time += ms
        for peer in tuple(self.stuffed):
            peer.look_at_progress(self.time)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def ended(node: Node, sock: socket.socket, unsent: int) -> Transport:
    transport = Transport(sock, unsent)
    peer = Peer(node)  # type: ignore[arg-type]  # as much of one as it needs
    peer.connection_made(transport)  # type: ignore[arg-type]
    peer.eof_received()
    return transport


def test_who_takes_nothing_is_waited_for_a_while(sock: socket.socket) -> None:
    node = Node()
    transport = ended(node, sock, 1000)

    node.pass_time(LINGER_MS)
    assert transport.ended == "closed"
    node.pass_time(1)
    assert transport.ended == "aborted"


def test_who_takes_something_is_waited_for(sock: socket.socket) -> None:
    node = Node()
    transport = ended(node, sock, 1000)

    for _ in range(5):
        transport.unsent -= 1
        node.pass_time(LINGER_MS)

    assert transport.ended == "closed"
    assert node.session.heard == node.time


def test_nobody_is_looked_at_to_whom_all_is_sent(sock: socket.socket) -> None:
    node = Node()

    assert ended(node, sock, 0).ended == "closed"
    assert not node.stuffed
