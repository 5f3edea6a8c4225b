"""What arrives on the log process's socket, cut into items."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from queue import Empty

import pytest

from corral.server.logprocess import APPEND, ROLLED, TO_WRITER, SocketSource
from corral.server.logwriter import END, ROLL, Batch


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, SocketSource]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, SocketSource(theirs, 1)


def append(zxid: int, data: bytes) -> bytes:
    return TO_WRITER.pack(APPEND, zxid, zxid, 1, len(data)) + data


def test_items_come_one_by_one_however_they_arrive(pair: tuple[socket.socket, SocketSource]) -> None:
    ours, source = pair
    roll = TO_WRITER.pack(ROLLED, 0, 0, 0, 0)
    ours.sendall(append(1, b"one") + append(2, b"two") + roll + append(3, b"three")[:10])

    assert source.get() == Batch(b"one", 1, 1, 1)
    assert source.get(block=False) == Batch(b"two", 1, 2, 2)
    assert source.get(block=False) is ROLL
    with pytest.raises(Empty):
        source.get(block=False)
    ours.sendall(append(3, b"three")[10:25])
    with pytest.raises(Empty):
        source.get(timeout=0)
    ours.sendall(append(3, b"three")[25:] + append(4, b"four"))
    assert source.get() == Batch(b"three", 1, 3, 3)
    assert source.get(block=False) == Batch(b"four", 1, 4, 4)


def test_an_append_larger_than_a_read_is_one_item(pair: tuple[socket.socket, SocketSource]) -> None:
    ours, source = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    data = bytes(range(256)) * 600
    ours.sendall(append(7, data) + append(8, b"next"))

    assert source.get() == Batch(data, 1, 7, 7)
    assert source.get() == Batch(b"next", 1, 8, 8)


def test_the_end_of_the_stream_is_the_last_item(pair: tuple[socket.socket, SocketSource]) -> None:
    ours, source = pair
    ours.sendall(append(1, b"one"))
    ours.shutdown(socket.SHUT_WR)

    assert source.get() == Batch(b"one", 1, 1, 1)
    assert source.get() is END


def test_appends_that_came_together_are_one_up_to_a_count() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        source = SocketSource(theirs, 2)
        ours.sendall(append(1, b"one") + append(2, b"two") + append(3, b"three") + TO_WRITER.pack(ROLLED, 0, 0, 0, 0))

        assert source.get() == Batch(b"onetwo", 2, 1, 2)
        assert not source.empty()
        assert source.get(block=False) == Batch(b"three", 1, 3, 3)
        assert source.get(block=False) is ROLL
        assert source.empty()


def test_without_a_count_all_that_came_together_are_one() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        source = SocketSource(theirs, 0)
        ours.sendall(append(1, b"one") + append(2, b"two") + append(3, b"three"))

        assert source.get() == Batch(b"onetwothree", 3, 1, 3)
