"""A client's session as a transcript: what arrives and when, what it sends and says; no socket, no clock."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.base.errors import AuthFailed, NoNode, Outcome, SessionExpired
from corral.client.calls import Calls
from corral.client.effects import Call, Connect, Disconnect, Fire, StateChanged, close_call, nothing
from corral.client.errors import ClientClosed, ConnectionLoss, SessionLost
from corral.client.hosts import Host, HostRound
from corral.client.session import NO_PASSWORD, XID_MAX, Session
from corral.client.values import EventType, State, WatchMode
from corral.client.watches import CHUNK_BYTES, DATA, PERSISTENT
from corral.wire import opcodes
from corral.wire.client import ConnectRequest, ConnectResponse, SetWatches, WatcherEvent
from corral.wire.schema import decode, encode

TIMEOUT = 9000
PASSWORD = b"p" * 16
STAT = struct.pack(">qqqqiiiqiiq", 3, 3, 0, 0, 0, 0, 0, 0, 1, 0, 3)
A = b"\0\0\0\1a" + STAT
calls = Calls(0)


class Driver:
    """A session, the time, and what it has said since the last look."""

    def __init__(self, servers: int = 3) -> None:
        hosts = tuple(Host(f"s{number}", 2181) for number in range(servers))
        self.session = Session(HostRound(hosts, random.Random(1)), TIMEOUT)
        self.now = 100_000
        self.session.start(self.now)

    def said(self) -> list[Any]:
        effects, self.session.effects = self.session.effects, []
        return effects

    def states(self) -> list[State]:
        return [effect.state for effect in self.said() if isinstance(effect, StateChanged)]

    def sent(self) -> list[tuple[int, int, bytes]]:
        """The frames that were sent since the last look, as (xid, opcode, body)."""
        data = self.session.take_output(self.now)
        frames = []
        while data:
            (size,) = struct.unpack_from(">i", data)
            frames.append((*struct.unpack_from(">ii", data, 4), data[12 : 4 + size]))
            data = data[4 + size :]
        return frames

    def hello(self, session: int = 7, timeout: int = TIMEOUT) -> ConnectRequest:
        self.session.opened(self.now)
        data = self.session.take_output(self.now)
        self.frame(encode(ConnectResponse(0, timeout, session, PASSWORD)) + b"\0")
        return decode(ConnectRequest, data[4:])

    def frame(self, body: bytes) -> None:
        self.session.received(struct.pack(">i", len(body)) + body, self.now)

    def reply(self, xid: int, body: bytes = b"", err: int = 0, zxid: int = 1) -> None:
        self.frame(struct.pack(">iqi", xid, zxid, err) + body)

    def event(self, kind: int, path: bytes) -> None:
        self.reply(opcodes.XID_NOTIFICATION, encode(WatcherEvent(kind, 3, path)), zxid=5)

    def get(self, path: bytes = b"/a", listener: Any = None) -> Call:
        call = calls.get(path, listener)
        self.session.submit(call)
        return call

    def wait(self, ms: int) -> None:
        """Let time pass in which the timer is served."""
        until = self.now + ms
        while (due := self.session.deadline()) <= until:
            self.now = max(due, self.now)
            self.session.tick(self.now)
            self.sent_meanwhile = self.sent()
        self.now = until


def up() -> Driver:
    driver = Driver()
    driver.hello()
    driver.said()
    driver.sent()
    return driver


def test_a_new_session_asks_for_none_and_requests_wait_for_it() -> None:
    driver = Driver()
    waiting = driver.get()

    asked = driver.hello()

    assert (asked.session_id, asked.passwd, asked.timeout) == (0, NO_PASSWORD, TIMEOUT)
    assert driver.states() == [State.CONNECTED]
    assert driver.sent() == [(1, opcodes.GET_DATA, b"\0\0\0\2/a\0")]
    driver.reply(1, A)
    assert driver.said() == [waiting]
    assert waiting.value == (b"a", (3, 3, 0, 0, 0, 0, 0, 0, 1, 0, 3))


def test_heartbeats_leave_after_a_third_of_the_timeout_and_keep_the_session() -> None:
    driver = up()

    for _ in range(10):
        driver.wait(TIMEOUT // 3 + 1)
        assert driver.sent_meanwhile == [(opcodes.XID_PING, opcodes.PING, b"")]
        driver.now += 5
        driver.reply(opcodes.XID_PING)

    assert driver.said() == []
    assert driver.session.state is State.CONNECTED


def test_after_two_thirds_of_silence_another_server_is_asked_for_the_same_session() -> None:
    driver = up()
    read, write = driver.get(), calls.set(b"/a", b"", -1)
    driver.session.submit(write)
    driver.sent()

    driver.wait(2 * TIMEOUT // 3 + 1)

    said = driver.said()
    assert [type(effect) for effect in said] == [Disconnect, StateChanged, Call, Call, Connect]
    assert driver.session.state is State.SUSPENDED
    assert isinstance(read.error, ConnectionLoss)
    assert read.error.outcome is Outcome.NOT_APPLIED
    assert isinstance(write.error, ConnectionLoss)
    assert write.error.outcome is Outcome.UNKNOWN
    asked = driver.hello()
    assert (asked.session_id, asked.passwd) == (7, PASSWORD)
    assert driver.states() == [State.CONNECTED]


def test_a_session_is_lost_when_no_server_was_reached_for_its_timeout() -> None:
    driver = up()
    driver.session.closed("gone", driver.now)
    waiting = driver.get()
    driver.said()

    driver.wait(TIMEOUT - 1)
    assert driver.states() == []
    driver.wait(1)

    assert driver.states() == [State.LOST]
    assert isinstance(waiting.error, SessionLost)
    assert waiting.error.outcome is Outcome.NOT_APPLIED
    assert driver.hello(session=8).session_id == 0
    assert (driver.session.state, driver.session.id) == (State.CONNECTED, 8)


def test_a_session_that_the_server_has_ended_is_lost_and_a_new_one_follows() -> None:
    driver = up()
    driver.session.closed("gone", driver.now)
    driver.said()

    driver.hello(session=0, timeout=0)

    assert driver.states() == [State.LOST]
    assert driver.hello(session=8).session_id == 0
    assert driver.states() == [State.CONNECTED]


def test_a_refusal_because_the_session_is_over_is_its_loss() -> None:
    driver = up()
    call = calls.set(b"/a", b"", -1)
    driver.session.submit(call)
    driver.sent()

    driver.reply(1, err=-112)

    assert [type(effect) for effect in driver.said()] == [Call, Disconnect, StateChanged, Connect]
    assert isinstance(call.error, SessionExpired)
    assert driver.session.state is State.LOST
    assert driver.hello(session=8).session_id == 0


def test_after_a_pause_longer_than_the_timeout_the_loss_comes_before_any_result() -> None:
    driver = up()
    told: list[Any] = []
    listening = driver.get(listener=told.append)
    driver.sent()
    driver.reply(1, A)
    call, write = driver.get(), calls.set(b"/a", b"", -1)
    driver.session.submit(write)
    driver.sent()
    driver.said()

    # The process sleeps; the answers and an event have arrived meanwhile and are read first of all.
    driver.now += TIMEOUT
    driver.event(3, b"/a")
    driver.reply(2, A)

    said = driver.said()
    assert listening.value is not None
    assert [type(effect) for effect in said] == [Disconnect, StateChanged, Fire, Call, Call, Connect]
    assert said[1] == StateChanged(State.LOST)
    assert said[2].type is EventType.NONE
    assert isinstance(call.error, SessionLost)
    assert isinstance(write.error, SessionLost)
    assert write.error.outcome is Outcome.UNKNOWN
    assert driver.hello(session=8).session_id == 0


@pytest.mark.parametrize("first", ["data", "timer", "look"])
def test_after_a_shorter_pause_the_session_is_in_doubt_until_the_server_answers_a_new_question(first: str) -> None:
    driver = up()
    call = driver.get()
    driver.sent()

    driver.now += 2 * TIMEOUT // 3 + 10
    if first == "timer":
        driver.session.tick(driver.now)
    elif first == "look":
        assert driver.session.judged(driver.now) is State.SUSPENDED
    driver.reply(1, A)

    assert driver.said() == [StateChanged(State.SUSPENDED), call]
    assert driver.sent() == [(opcodes.XID_PING, opcodes.PING, b"")]
    driver.now += 5
    driver.reply(opcodes.XID_PING)
    assert driver.states() == [State.CONNECTED]


def test_what_a_step_asks_after_a_pause_longer_than_the_timeout_is_not_sent() -> None:
    """Schedule: 1. the process sleeps in the midst of a step; 2. the step asks; 3. that leaves before any timer."""
    driver = up()
    driver.now += TIMEOUT
    late = calls.set(b"/a", b"", -1)
    driver.session.submit(late)

    assert driver.sent() == []

    assert [type(effect) for effect in driver.said()] == [Disconnect, StateChanged, Call, Connect]
    assert isinstance(late.error, SessionLost)
    assert driver.session.state is State.LOST


def test_what_a_step_asks_after_a_shorter_pause_does_not_hide_the_doubt() -> None:
    driver = up()
    driver.now += 2 * TIMEOUT // 3 + 10
    late = driver.get()

    assert [frame[0] for frame in driver.sent()] == [1, opcodes.XID_PING]

    assert driver.states() == [State.SUSPENDED]
    driver.now += 5
    driver.reply(1, A)
    assert driver.said() == [StateChanged(State.CONNECTED), late]


def test_doubt_that_is_not_lifted_within_the_timeout_is_loss() -> None:
    driver = up()
    driver.now += 2 * TIMEOUT // 3 + 10
    driver.session.tick(driver.now)
    driver.said()

    driver.wait(TIMEOUT // 3)

    assert driver.states() == [State.LOST]


def test_an_answer_counts_from_when_its_question_was_sent() -> None:
    """A late answer proves only that the server heard of us when the question left."""
    driver = up()
    driver.get()
    driver.sent()
    asked = driver.now

    driver.now += TIMEOUT // 2
    driver.reply(1, A)

    assert driver.session.held_until() == asked + TIMEOUT


def test_credentials_and_watches_go_before_waiting_requests_on_every_connection() -> None:
    driver = up()
    shown = Call(opcodes.AUTH, b"", nothing, False)
    driver.session.authenticate("digest", b"u:p", shown)
    driver.get(listener=print)
    assert [frame[:2] for frame in driver.sent()] == [(-4, opcodes.AUTH), (1, opcodes.GET_DATA)]
    driver.reply(opcodes.XID_AUTH)
    driver.reply(1, A, zxid=9)
    assert shown in driver.said()

    driver.session.closed("gone", driver.now)
    driver.get()
    assert driver.hello().last_zxid_seen == 9

    frames = driver.sent()
    assert [frame[:2] for frame in frames] == [(-4, opcodes.AUTH), (-8, opcodes.SET_WATCHES), (2, opcodes.GET_DATA)]
    assert decode(SetWatches, frames[1][2]) == SetWatches(9, [b"/a"], [], [])


def test_refused_credentials_close_the_client() -> None:
    driver = up()
    shown = Call(opcodes.AUTH, b"", nothing, False)
    driver.session.authenticate("digest", b"u:p", shown)
    waiting = driver.get()

    driver.reply(opcodes.XID_AUTH, err=-115)

    assert isinstance(shown.error, AuthFailed)
    assert isinstance(waiting.error, ClientClosed)
    assert driver.session.state is State.CLOSED
    with pytest.raises(ClientClosed):
        driver.get()


def test_many_watches_go_in_packets_of_at_most_128_kib() -> None:
    driver = up()
    for number in range(30_000):
        driver.session.watches.add(DATA, b"/service/with/a/rather/long/name/%05d" % number, print)
    driver.session.watches.add(PERSISTENT, b"/stays", print)

    driver.session.closed("gone", driver.now)
    driver.hello()

    frames = driver.sent()
    assert [frame[1] for frame in frames] == [opcodes.SET_WATCHES] * (len(frames) - 1) + [opcodes.SET_WATCHES2]
    assert max(len(body) for _, _, body in frames) < CHUNK_BYTES + 100
    assert sum(len(decode(SetWatches, body).data_watches or []) for _, _, body in frames) == 30_000


def test_an_event_reaches_who_asked_before_the_reply_that_shows_it() -> None:
    driver = up()
    first, second = [], []  # type: list[Any], list[Any]
    driver.get(listener=first.append)
    driver.session.submit(calls.exists(b"/none", second.append))
    driver.reply(1, A)
    driver.reply(2, err=-101)
    later = driver.get()
    driver.said()

    driver.event(3, b"/a")
    driver.reply(3, A)
    driver.event(1, b"/none")
    driver.event(3, b"/a")

    said = driver.said()
    assert said == [
        Fire(first.append, EventType.CHANGED, b"/a", 5),
        later,
        Fire(second.append, EventType.CREATED, b"/none", 5),
    ]


def test_a_refused_read_leaves_no_watch() -> None:
    driver = up()
    call = driver.get(b"/none", print)

    driver.reply(1, err=-101)

    assert isinstance(call.error, NoNode)
    assert len(driver.session.watches) == 0


def test_a_recursive_watch_sees_all_below_and_stays() -> None:
    driver = up()
    driver.session.submit(calls.add_watch(b"/a", WatchMode.RECURSIVE, print))
    driver.reply(1, struct.pack(">i", 0))
    driver.said()

    for path in (b"/a", b"/a/b/c", b"/ab", b"/"):
        driver.event(3, path)

    assert [effect.path for effect in driver.said()] == [b"/a", b"/a/b/c"]


@pytest.mark.parametrize(
    "bytes_",
    [
        struct.pack(">iiqi", 16, 2, 1, 0),
        struct.pack(">iiqi", 16, 99, 1, 0),
        struct.pack(">iiqi", 16, -77, 1, 0),
        struct.pack(">i", -5) + bytes(20),
        b"HTTP/1.1 400 Bad Request\r\n",
        struct.pack(">iiqi", 16, 1, 1, 0),
        struct.pack(">iiqii", 20, 1, 1, 0, 1 << 30),
        struct.pack(">iiq", 12, 1, 1),
    ],
)  # fmt: skip
def test_answers_that_make_no_sense_end_the_connection_and_nothing_else(bytes_: bytes) -> None:
    driver = up()
    call = driver.get()
    driver.sent()

    driver.session.received(bytes_, driver.now)

    said = driver.said()
    assert [type(effect) for effect in said if not isinstance(effect, Call)] == [Disconnect, StateChanged, Connect]
    assert isinstance(call.error, ConnectionLoss)
    assert driver.hello().session_id == 7


def test_request_numbers_begin_anew_and_the_clock_goes_on() -> None:
    driver = up()
    driver.session._xid = XID_MAX - 1
    for expected in (XID_MAX, 1, 2):
        driver.now += 100
        driver.get()
        assert [frame[0] for frame in driver.sent()] == [expected]
        driver.reply(expected, A)
        assert driver.session.heard_at == driver.now


def test_closing_asks_the_server_and_ends_everything() -> None:
    driver = up()
    waiting = driver.get()
    call = close_call()

    driver.session.close(call, driver.now)

    assert [frame[1] for frame in driver.sent()] == [opcodes.GET_DATA, opcodes.CLOSE_SESSION]
    with pytest.raises(ClientClosed):
        driver.get()
    driver.reply(1, A)
    driver.reply(2)
    said = driver.said()
    assert said == [waiting, Disconnect("the client is closed"), StateChanged(State.CLOSED), call]
    assert waiting.error is None
    assert call.error is None
    driver.session.tick(driver.now + TIMEOUT)
    assert driver.said() == []


def test_closing_without_a_connection_does_not_wait_for_one() -> None:
    driver = Driver()
    waiting = driver.get()
    call = close_call()

    driver.session.close(call, driver.now)

    assert driver.session.state is State.CLOSED
    assert isinstance(waiting.error, ClientClosed)
    assert call in driver.said()


def test_servers_are_tried_in_turn_and_rounds_are_spread() -> None:
    driver = Driver(servers=3)
    tried = []
    for _ in range(12):
        (effect,) = (effect for effect in driver.said() if isinstance(effect, Connect))
        tried.append(effect)
        driver.session.failed("refused", driver.now)

    assert [len({effect.host for effect in tried[at : at + 3]}) for at in (0, 3, 6, 9)] == [3] * 4
    assert [effect.delay_ms > 0 for effect in tried] == ([False] * 3 + [True, False, False] * 3)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4000)), max_size=60), st.randoms(use_true_random=False))
def test_whatever_happens_every_request_is_answered_once(steps: list[tuple[int, int]], rng: random.Random) -> None:
    """Requests are neither lost nor answered twice, and no result comes from a session that is over."""
    driver = Driver()
    asked: list[Call] = []
    answered: list[Call] = []
    is_up = False
    pending: list[int] = []
    for action, ms in steps:
        driver.now += ms
        if action == 0:
            asked.append(driver.get())
        elif action == 1 and not is_up:
            driver.hello(session=rng.choice([7, 8]))
        elif action == 2 and pending:
            driver.reply(pending.pop(0), A)
        elif action == 3:
            driver.session.closed("gone", driver.now)
        elif action == 4:
            driver.session.tick(driver.now)
        said = driver.said()
        answered += [effect for effect in said if isinstance(effect, Call)]
        if any(isinstance(effect, Disconnect) for effect in said) or action == 3:
            pending = []
        pending += [frame[0] for frame in driver.sent() if frame[0] > 0] if action != 1 or driver.session.id else []
        is_up = driver.session._is_up
    driver.session.abandon()
    answered += [effect for effect in driver.said() if isinstance(effect, Call)]

    assert len(answered) == len(set(map(id, answered))) == len(asked)
    assert all((call.value is None) != (call.error is None) for call in answered)


def test_a_refused_session_leaves_no_connection_behind() -> None:
    """A server that refuses and does not hang up would be heard beside the next one."""
    driver = Driver()

    driver.hello(session=0, timeout=0)

    said = [type(effect) for effect in driver.said()]
    assert said.index(Disconnect) < len(said) - 1 - said[::-1].index(Connect)


def test_a_failed_attempt_beside_an_open_connection_begins_no_second_one() -> None:
    """Schedule: 1. the connection is made; 2. its time to be made runs out before anybody looks."""
    driver = Driver()
    driver.said()
    driver.session.opened(driver.now)

    driver.session.failed("too late", driver.now)

    assert driver.said() == []


def test_a_server_that_hangs_up_behind_its_hello_is_called_ever_less_often() -> None:
    driver = Driver(servers=1)
    delays = []
    for _ in range(6):
        driver.hello()
        driver.session.closed("the test says so", driver.now)
        delays += [effect.delay_ms for effect in driver.said() if isinstance(effect, Connect)]

    assert delays[0] == 0
    assert delays[-1] > 500

    driver.hello()
    driver.get()
    driver.now += 1
    driver.sent()
    driver.reply(1, A)
    driver.said()
    driver.session.closed("the test says so", driver.now)
    assert [effect.delay_ms for effect in driver.said() if isinstance(effect, Connect)] == [0]
