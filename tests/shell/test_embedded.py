"""The embedded server and its controls, with kazoo as somebody else's client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.handlers.threading import KazooTimeoutError
from tests.support.servers import word
from tests.support.wireclient import WireClient

from corral.base.errors import CorralError
from corral.testing import EmbeddedServer, FaultError
from corral.wire import opcodes as op

WAIT_S = 20


@contextmanager
def kazoo(server: EmbeddedServer) -> Iterator[KazooClient]:
    client = KazooClient(hosts=server.connect_string, timeout=WAIT_S)
    client.start(WAIT_S)
    try:
        yield client
    finally:
        client.stop()
        client.close()


class Seen:
    """The states that a kazoo client went through."""

    def __init__(self, client: KazooClient) -> None:
        self._events = {state: threading.Event() for state in (KazooState.LOST, KazooState.SUSPENDED)}
        client.add_listener(lambda state: self._events[state].set() if state in self._events else None)

    def wait(self, state: str) -> bool:
        return self._events[state].wait(WAIT_S)


def held() -> tuple[int, int]:
    """How many threads and descriptors this process has."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def ruok(server: EmbeddedServer) -> bytes:
    return word(server.port, b"ruok")


def test_two_servers_in_one_process_do_not_meet() -> None:
    with EmbeddedServer() as one, EmbeddedServer() as other, kazoo(one) as left, kazoo(other) as right:
        left.create("/here", b"1")

        assert one.port != other.port
        assert left.get("/here")[0] == b"1"
        assert right.exists("/here") is None


def test_a_stop_leaves_no_thread_descriptor_or_file() -> None:
    with EmbeddedServer():
        pass  # What the first one loads may stay.
    before = held()

    with EmbeddedServer() as server:
        raw = socket.create_connection(("127.0.0.1", server.port))
        server.pause()
    raw.close()

    assert held() == before
    assert not Path(server.data_dir).exists()
    assert not server.is_running


def test_a_stop_waits_for_no_connection_that_comes_meanwhile() -> None:
    """They wait in the system while the server is paused, and are accepted in the turn in which it stops."""
    with EmbeddedServer() as server:
        server.pause()
        raws = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]

    for raw in raws:
        with raw, contextlib.suppress(ConnectionResetError):
            assert raw.recv(1) == b""


def test_a_server_serves_an_async_test_too() -> None:
    async def scenario() -> bytes:
        async with EmbeddedServer() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"ruok")
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(scenario()) == b"imok"


def test_an_expired_session_takes_its_ephemerals_along() -> None:
    with EmbeddedServer() as server, kazoo(server) as holder, kazoo(server) as watcher:
        lost = Seen(holder)
        holder.create("/lock", ephemeral=True)

        server.expire(holder.client_id[0])

        assert watcher.exists("/lock") is None
        assert lost.wait(KazooState.LOST)


def test_an_unknown_session_is_named() -> None:
    with EmbeddedServer() as server, pytest.raises(FaultError, match="no live session 0x5; alive: none"):
        server.expire(5)


def test_dropped_clients_come_back_with_their_session() -> None:
    with EmbeddedServer() as server, kazoo(server) as client:
        seen = Seen(client)
        client.create("/mine", ephemeral=True)
        session = client.client_id[0]

        assert server.drop_connections() == 1

        assert seen.wait(KazooState.SUSPENDED)
        assert client.retry(client.exists, "/mine").ephemeralOwner == session
        assert server.session_ids() == [session]


def test_writes_wait_for_a_stalled_disk_and_reads_do_not() -> None:
    with EmbeddedServer() as server, kazoo(server) as writer, kazoo(server) as reader:
        with server.stall_disk():
            write = writer.create_async("/late")
            assert reader.exists("/late") is None
            with pytest.raises(FaultError, match="stalled"):
                server.expire(writer.client_id[0])
            assert not write.ready()

        assert write.get(timeout=WAIT_S) == "/late"


def test_a_paused_server_takes_connections_and_answers_nothing() -> None:
    with EmbeddedServer() as server:
        with server.pause(), socket.create_connection(("127.0.0.1", server.port)) as sock:
            sock.sendall(b"ruok")
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(4)
            with pytest.raises(FaultError, match="paused"):
                server.drop_connections()
            server.resume()
            sock.settimeout(WAIT_S)
            assert sock.recv(4) == b"imok"
        assert ruok(server) == b"imok"


def test_a_pause_of_the_server_costs_nobody_a_session_who_speaks_again() -> None:
    with EmbeddedServer() as server:
        speaks, silent = WireClient(server.port, 1000), WireClient(server.port, 1000)
        with server.pause():
            time.sleep(1.5)
        assert server.session_ids() == [speaks.session, silent.session]

        deadline = time.monotonic() + WAIT_S
        while len(server.session_ids()) == 2:
            assert time.monotonic() < deadline
            assert speaks.call(op.PING, xid=op.XID_PING)[2] == 0
        assert server.session_ids() == [speaks.session]
        for client in (speaks, silent):
            client.close()


def test_refused_connections_do_not_disturb_those_that_are_there() -> None:
    with EmbeddedServer() as server, kazoo(server) as client:
        with server.refuse_connections():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port))
            client.create("/still")
            other = KazooClient(hosts=server.connect_string)
            with pytest.raises(KazooTimeoutError):
                other.start(0.01)
            other.close()

        assert ruok(server) == b"imok"


def test_a_restart_keeps_port_data_and_sessions() -> None:
    with EmbeddedServer() as server, kazoo(server) as client:
        client.create("/kept", b"1", ephemeral=True)
        port, session = server.port, client.client_id[0]

        server.restart()

        assert server.port == port
        assert session in server.session_ids()
        assert client.retry(client.get, "/kept")[0] == b"1"


def test_a_session_from_before_a_reboot_is_not_given_to_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids begin with the time since the system's start, so the next start may come to the same ones."""
    monkeypatch.setattr("corral.server.standalone.first_session_id", lambda server, now: server << 56 | 7 << 16)
    with EmbeddedServer() as server:
        old = WireClient(server.port)
        server.restart()
        new = WireClient(server.port)
        again = WireClient(server.port, session=old.session, password=old.password)

        ids = server.session_ids()
        for client in (old, new, again):
            client.close()

    assert old.session == 1 << 56 | 7 << 16
    assert ids == [old.session, old.session + 1]


def test_a_fault_outlived_by_its_block_ends_quietly() -> None:
    server = EmbeddedServer().start()
    with server.stall_disk(), server.refuse_connections(), server.pause():
        server.stop()

    with pytest.raises(FaultError, match="does not run"):
        server.session_ids()


def test_a_failed_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "version-2").write_text("no directory")
    before = held()

    with pytest.raises(CorralError, match="cannot create"):
        EmbeddedServer(data_dir=str(tmp_path)).start()

    assert held() == before


def test_given_data_stay(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data_dir": str(tmp_path)}
    with EmbeddedServer(**settings) as server, kazoo(server) as client:
        client.create("/kept")

    with EmbeddedServer(**settings) as server, kazoo(server) as client:
        assert client.exists("/kept") is not None
