"""Clients that take a large answer slowly, or not at all."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import jute
from tests.support.jute import Op
from tests.support.raw import RawSession
from tests.support.servers import KINDS, Process, word

LARGE = b"x" * 900_000
ANSWERS = 12
TIMEOUT_MS = 1000


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    with Process(request.param, tmp_path, tickTime="250", minSessionTimeout=str(TIMEOUT_MS)) as process:
        yield process


def ask_for_much(session: RawSession) -> socket.socket:
    """Make an ephemeral, and ask for more than the system buffers. Returns the session's socket."""
    session.call(Op.CREATE, jute.create(b"/ephemeral", b"", jute.OPEN, 1))
    session.call(Op.CREATE, jute.create(b"/large", LARGE))
    session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    session.send(Op.MULTI_READ, jute.multi(*[(Op.GET_DATA, jute.get_data(b"/large"))] * ANSWERS))
    return session.sock


def test_a_client_that_reads_slowly_keeps_its_session(server: Process) -> None:
    with RawSession("127.0.0.1", server.port, 2 * TIMEOUT_MS) as session:
        sock = ask_for_much(session)
        started = pinged = time.monotonic()
        taken = 0
        while taken < ANSWERS * len(LARGE):
            # As much as the time allows: all of it takes five seconds.
            while taken > (time.monotonic() - started) * ANSWERS * len(LARGE) / 5:
                time.sleep(0.01)
            taken += len(sock.recv(65_536))
            if time.monotonic() > pinged + 0.5:
                pinged = time.monotonic()
                sock.sendall(struct.pack(">iii", 8, -2, Op.PING))

        with RawSession("127.0.0.1", server.port) as other:
            assert other.call(Op.EXISTS, jute.exists(b"/ephemeral")).err == 0


def test_a_client_that_does_not_read_at_all_is_gone_with_its_session(server: Process) -> None:
    with RawSession("127.0.0.1", server.port, 2 * TIMEOUT_MS) as session:
        ask_for_much(session)
        deadline = time.monotonic() + 20

        while b"Connections: 1\n" not in (answer := word(server.port, b"srvr")):
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)

        with RawSession("127.0.0.1", server.port) as other:
            assert other.call(Op.EXISTS, jute.exists(b"/ephemeral")).err == -101
