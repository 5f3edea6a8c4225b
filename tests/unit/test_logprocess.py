"""What arrives on the log process's socket, cut into items."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from queue import Empty

import pytest

from corral.server.logprocess import APPEND, AWAKE_FOR_MAX, ROLLED, TO_WRITER, SocketSource
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


def test_the_next_append_is_looked_for_behind_few_writes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    class Looked:
        """Notes that it was looked for something."""

        def __init__(self, *settings: object) -> None:
            del settings

        def finds(self) -> bool:
            looks.append(1)
            return True

    monkeypatch.setattr("corral.server.logprocess.Spin", Looked)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        source = SocketSource(theirs, 0)

        def looked_after(*counts: int) -> bool:
            """Tell whether it was looked for what follows appends of so many writes each, that come together."""
            for data in (b"".join(TO_WRITER.pack(APPEND, 1, n, n, 4) + b"data" for n in counts), append(9, b"next")):
                looks.clear()
                ours.sendall(data)
                source.get()
            return bool(looks)

        assert looked_after(AWAKE_FOR_MAX)
        assert not looked_after(AWAKE_FOR_MAX + 1)
        assert looked_after(1, 1)
        assert not looked_after(AWAKE_FOR_MAX, 1)
