"""A lone caller's request and answer on its own thread, and all that has to go over the loop all the same."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.support.recorded_wakefulness import RecordedWakefulness

import corral
from corral.base.errors import BadArguments, Outcome
from corral.base.spin import Spin
from corral.client import shared
from corral.client.errors import ConnectionLoss, SessionLost
from corral.client.portal import Portal
from corral.client.values import EventType, State, WatchEvent

HELLO = struct.pack(">iiiqi", 37, 0, 4000, 0x1234, 16) + bytes(17)
STAT = bytes(68)
WAIT_S = 20


def read_frame(peer: socket.socket) -> bytes:
    size = int.from_bytes(peer.recv(4, socket.MSG_WAITALL), "big")
    return peer.recv(size, socket.MSG_WAITALL)


def data_reply(xid: int, data: bytes) -> bytes:
    body = struct.pack(">i", len(data)) + data + STAT
    return struct.pack(">iiqi", 16 + len(body), xid, 1, 0) + body


def event(path: bytes) -> bytes:
    body = struct.pack(">iii", EventType.CHANGED, 3, len(path)) + path
    return struct.pack(">iiqi", 16 + len(body), -1, 1, 0) + body


@contextmanager
def scripted(answer: Callable[[socket.socket, int], object]) -> Iterator[str]:
    """Listen, take every session, and have `answer(connection, xid)` called for each request but a heartbeat."""

    def serve(peer: socket.socket) -> None:
        with peer:
            try:
                read_frame(peer)
                peer.sendall(HELLO)
                while packet := read_frame(peer):
                    xid = struct.unpack_from(">i", packet)[0]
                    if xid > 0:
                        answer(peer, xid)
            except OSError:
                pass

    def listen() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT_S)


class Reads:
    """Counts who reads answers: the callers, or the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_loop = self.by_callers = 0
        received = shared.SharedSession.received

        def count(session: shared.SharedSession, data: bytes, now: int) -> None:
            if threading.current_thread().name == "corral-client":
                self.by_loop += 1
            else:
                self.by_callers += 1
            received(session, data, now)

        monkeypatch.setattr(shared.SharedSession, "received", count)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    # However slow the machine, a caller has the time to see its answer.
    monkeypatch.setattr(shared, "PATIENCE_MS", WAIT_S * 1000)
    return Reads(monkeypatch)


def settle(zk: corral.Client) -> None:
    """Have the loop come to rest; the next request is the only thing that happens."""
    for _ in range(3):
        assert zk.state.is_connected


def test_a_lone_caller_asks_by_itself(reads: Reads) -> None:
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b"%d" % xid))) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        before = reads.by_loop
        assert [zk.get("/a")[0] for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]
        assert (reads.by_callers, reads.by_loop) == (5, before)


@pytest.mark.parametrize("left", [2, 0, -1])
def test_who_is_alone_again_asks_by_itself_in_the_end(reads: Reads, left: int) -> None:
    """Whatever callers that counted down together have left of the count: -1 is what two make of 1."""
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b"%d" % xid))) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        zk._zk._transport._crowd = left
        for _ in range(2):
            zk.get("/a")
            settle(zk)
        before = reads.by_callers
        zk.get("/a")
        assert reads.by_callers == before + 1


def test_an_event_in_front_of_the_answer_is_told_by_the_loop_and_first(reads: Reads) -> None:
    told: list[WatchEvent] = []
    is_told = threading.Event()

    def listener(event: WatchEvent) -> None:
        told.append(event)
        is_told.set()

    def answer(peer: socket.socket, xid: int) -> None:
        peer.sendall((event(b"/a") if xid == 2 else b"") + data_reply(xid, b"%d" % xid))

    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        zk.get("/a", listener)
        settle(zk)
        assert zk.get("/b")[0] == b"2"
        assert is_told.wait(WAIT_S)
        assert [each.path for each in told] == ["/a"]
        settle(zk)
        assert zk.get("/b")[0] == b"3"
        assert reads.by_callers == 1


@pytest.mark.parametrize("data", [b"x", bytes(100_000)], ids=["small", "large"])
def test_an_answer_in_pieces_is_put_together_by_the_loop(reads: Reads, data: bytes) -> None:
    def answer(peer: socket.socket, xid: int) -> None:
        packet = data_reply(xid, data)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(packet[:5])
        peer.sendall(packet[5:-7])
        peer.sendall(packet[-7:])

    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        for _ in range(20):
            assert zk.get("/a")[0] == data


def test_an_answer_that_takes_its_time_comes_over_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE_MS", 0)
    monkeypatch.setattr(shared, "SPIN_NS", 0)
    reads = Reads(monkeypatch)
    asked: list[tuple[socket.socket, int]] = []
    is_asked = threading.Event()

    def answer(peer: socket.socket, xid: int) -> None:
        if xid == 1:
            asked.append((peer, xid))
            is_asked.set()
        else:
            peer.sendall(data_reply(xid, b"2"))

    opened = threading.Event()
    look = shared.SharedTransport._answer

    def note(transport: Any, *args: Any) -> None:
        look(transport, *args)
        opened.set()

    monkeypatch.setattr(shared.SharedTransport, "_answer", note)
    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        before = reads.by_callers
        got: list[bytes] = []
        caller = threading.Thread(target=lambda: got.append(zk.get("/a")[0]))
        caller.start()
        assert is_asked.wait(WAIT_S)
        assert opened.wait(WAIT_S)
        asked[0][0].sendall(data_reply(1, b"late"))
        caller.join(WAIT_S)
        assert (got, reads.by_callers) == ([b"late"], before)


def test_the_loop_stays_awake_while_an_answer_is_due_that_it_has_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = RecordedWakefulness()
    seen: list[float] = []

    def answer(peer: socket.socket, xid: int) -> None:
        seen.append(recorded.due_since())
        peer.sendall(data_reply(xid, b""))

    monkeypatch.setattr(shared, "Wakefulness", recorded)
    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        began = time.monotonic()
        zk.get("/" + "a" * shared.REQUEST_BYTES_MAX)

        since = recorded.due_since()

    assert began < seen[0] < time.monotonic()
    assert recorded.begun
    assert since == 0.0


def test_a_large_request_goes_over_the_loop(reads: Reads) -> None:
    def answer(peer: socket.socket, xid: int) -> None:
        peer.sendall(struct.pack(">iiqi", 16 + 68, xid, 1, 0) + STAT)

    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        zk.set("/a", bytes(500_000))
        assert reads.by_callers == 0
        zk.set("/a", b"")
        assert reads.by_callers == 1


def test_a_server_that_hangs_up_leaves_the_outcome_unknown(reads: Reads) -> None:
    def answer(peer: socket.socket, xid: int) -> None:
        if xid == 1:
            peer.shutdown(socket.SHUT_RDWR)
        else:
            peer.sendall(data_reply(xid, b"again"))

    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        with pytest.raises(ConnectionLoss) as raised:
            zk.set("/a", b"")
        assert raised.value.outcome is Outcome.UNKNOWN
        zk.wait_for(State.CONNECTED, timeout=WAIT_S)
        assert zk.get("/a")[0] == b"again"


def test_an_answer_after_a_pause_beyond_the_timeout_is_a_lost_session(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[State] = []
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b""))) as hosts, corral.Client(hosts) as zk:
        zk.on_state(states.append)
        settle(zk)
        transport = zk._zk._transport
        clock = transport.clock

        def write(*args: Any) -> bool:
            # The process is stopped when the request has just left.
            monkeypatch.setattr(transport, "clock", lambda: clock() + 5000)
            return shared.SharedTransport._write(transport, *args)

        monkeypatch.setattr(transport, "_write", write)
        with pytest.raises(SessionLost):
            zk.get("/a")
        zk.wait_for(State.CONNECTED, timeout=WAIT_S)
    assert states[:2] == [State.LOST, State.CONNECTED]


def test_what_is_asked_after_a_pause_beyond_the_timeout_is_not_sent(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told at once, and not when a timer is due, or the server says something: here neither happens."""
    states: list[State] = []
    asked: list[int] = []

    def answer(peer: socket.socket, xid: int) -> None:
        asked.append(xid)
        peer.sendall(data_reply(xid, b""))

    with scripted(answer) as hosts, corral.Client(hosts) as zk:
        zk.on_state(states.append)
        settle(zk)
        transport = zk._zk._transport
        clock = transport.clock
        monkeypatch.setattr(transport, "clock", lambda: clock() + 5000)
        # Nobody waits for an answer to what was not sent.
        monkeypatch.setattr(Spin, "finds", pytest.fail)

        with pytest.raises(SessionLost):
            zk.get("/a")

        assert asked == []
        zk.wait_for(State.CONNECTED, timeout=WAIT_S)
    assert states[:2] == [State.LOST, State.CONNECTED]


def test_what_is_asked_after_a_shorter_pause_is_answered_and_the_doubt_is_told(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[State] = []
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b"a"))) as hosts, corral.Client(hosts) as zk:
        zk.on_state(states.append)
        settle(zk)
        transport = zk._zk._transport
        clock = transport.clock
        monkeypatch.setattr(transport, "clock", lambda: clock() + 3000)

        assert zk.get("/a")[0] == b"a"

        zk.wait_for(State.CONNECTED, timeout=WAIT_S)
    assert states[:2] == [State.SUSPENDED, State.CONNECTED]


def test_a_signal_in_the_wait_leaves_the_connection_usable(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b"%d" % xid))) as hosts, corral.Client(hosts) as zk:
        settle(zk)

        def interrupted(spin: Spin) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Spin, "finds", interrupted)
            with pytest.raises(KeyboardInterrupt):
                zk.get("/a")
        assert zk.get("/a")[0] == b"2"


@pytest.mark.parametrize("place", ["before it is sent", "before it is read", "before the loop is woken"])
def test_a_signal_anywhere_costs_a_connection_at_most(
    reads: Reads, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Python has a signal's handler run, and raise, at any call."""

    def interrupted(*args: object) -> Any:
        raise KeyboardInterrupt

    where: dict[str, tuple[Any, str, Any]] = {
        "before it is sent": (shared.SharedTransport, "_write", interrupted),
        "before it is read": (shared.SharedTransport, "_answer", interrupted),
        "before the loop is woken": (Portal, "_wake", interrupted),
    }
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b"%d" % xid))) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        with monkeypatch.context() as patch:
            patch.setattr(*where[place])
            with pytest.raises(KeyboardInterrupt):
                zk.wait_for(State.CONNECTED) if "loop" in place else zk.get("/a")
        began = time.monotonic()
        try:
            zk.get("/a")
        except ConnectionLoss:
            zk.get("/a")
        # The server lets a session of four seconds live; without an answer, two thirds of that would pass.
        assert time.monotonic() - began < 2


def test_what_is_wrong_with_a_request_is_told_and_nothing_is_sent(reads: Reads) -> None:
    with scripted(lambda peer, xid: peer.sendall(data_reply(xid, b"%d" % xid))) as hosts, corral.Client(hosts) as zk:
        settle(zk)
        with pytest.raises(BadArguments, match="a//b"):
            zk.get("/a//b")
        assert zk.get("/a")[0] == b"1"


def test_callers_in_a_crowd_get_each_its_own_answer(hosts: str, path: str) -> None:
    faults: list[BaseException] = []

    def work(zk: corral.Client, name: str) -> None:
        try:
            zk.create(name)
            for n in range(150):
                stat = zk.set(name, f"{name} {n}".encode())
                data, seen = zk.get(name)
                assert (data, seen) == (f"{name} {n}".encode(), stat)
        except BaseException as error:  # noqa: BLE001  # It is the test's to raise.
            faults.append(error)

    with corral.Client(hosts) as zk:
        zk.ensure_path(path)
        for count in (1, 2, 5, 1):
            # So that callers come alone, meet, and are alone again.
            zk._zk._transport._crowd = 0
            threads = [
                threading.Thread(target=work, args=(zk, f"{path}/{count}-{n}-{len(faults)}")) for n in range(count)
            ]
            if count == 1:
                zk.delete_tree(f"{path}/1-0-0")
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT_S)
    assert faults == []
