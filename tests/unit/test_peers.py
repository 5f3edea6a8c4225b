"""What a peer does about a client that does not take what it was sent, or that goes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from corral.server.peers import LINGER_MS, PAUSE_AT, Peer

LIMIT = 4 * PAUSE_AT


class Transport:
    """A socket's, with as many bytes to send as the test says, and what is written to it later."""

    def __init__(self, sock: socket.socket, unsent: int) -> None:
        self.sock = sock
        self.unsent = unsent
        self.ended = ""
        self.pause_writing: Callable[[], None]

    def write(self, data: bytes) -> None:
        was_paused = self.unsent > PAUSE_AT
        self.unsent += len(data)
        if self.unsent > PAUSE_AT and not was_paused:
            self.pause_writing()

    def pause_reading(self) -> None: ...

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
        self.conn = SimpleNamespace(session=self.session, is_closing=False, is_unread=False, backlog=b"", out=[])
        self.config = SimpleNamespace(outbuffer_max=LIMIT)
        self.cut_off: list[int] = []
        self.replica = SimpleNamespace(accept=lambda address, port, now: self.conn)

    def now(self) -> int:
        return self.time

    def cut_off_slow(self, conn: object, waiting: int) -> None:
        self.cut_off.append(waiting)

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


def connected(node: Node, sock: socket.socket) -> tuple[Peer, Transport]:
    transport = Transport(sock, 0)
    peer = Peer(node)  # type: ignore[arg-type]  # as much of one as it needs
    transport.pause_writing = peer.pause_writing
    peer.connection_made(transport)  # type: ignore[arg-type]
    return peer, transport


def obey(peer: Peer, node: Node, *sizes: int) -> None:
    """Have the peer send so many bytes, each size in a turn of its own."""
    for size in sizes:
        node.conn.out.append(bytes(size))
        peer.obey(node.conn)  # type: ignore[arg-type]  # as much of one as it needs


@pytest.mark.parametrize("before", [(), (PAUSE_AT + 1,)], ids=["at once", "behind what waits"])
def test_one_answer_may_be_longer_than_the_limit_on_what_waits(sock: socket.socket, before: tuple[int, ...]) -> None:
    node = Node()
    peer, transport = connected(node, sock)

    obey(peer, node, *before, LIMIT + 1)
    transport.unsent -= 1
    obey(peer, node, 50, 50)

    assert transport.ended == ""


@pytest.mark.parametrize("longest", [PAUSE_AT + 1, LIMIT + 1])
def test_who_lets_more_than_the_limit_wait_beside_the_longest_answer_is_cut_off(
    sock: socket.socket, longest: int
) -> None:
    node = Node()
    peer, transport = connected(node, sock)

    obey(peer, node, longest, *[PAUSE_AT] * 4)
    assert (transport.ended, node.cut_off) == ("", [])
    obey(peer, node, 1)

    assert (transport.ended, node.cut_off) == ("aborted", [longest + LIMIT + 1])


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
