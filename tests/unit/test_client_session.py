"""A client's session as a transcript: what arrives and when, what it sends and says; no socket, no clock."""

from __future__ import annotations

import random
import struct
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.session_driver import TIMEOUT, A, Driver, calls, up

from corral.base.errors import AuthFailed, NoNode
from corral.client.effects import Call, Connect, Disconnect, Fire, StateChanged, close_call, nothing
from corral.client.errors import ClientClosed, ConnectionLoss
from corral.client.session import NO_PASSWORD, XID_MAX
from corral.client.values import EventType, State, WatchMode
from corral.client.watches import CHUNK_BYTES, DATA, PERSISTENT
from corral.wire import opcodes
from corral.wire.client import SetWatches, WatcherEvent
from corral.wire.schema import decode, encode


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


@pytest.mark.parametrize("is_up", [True, False])
def test_credentials_that_were_given_twice_are_shown_once_on_every_later_connection(is_up: bool) -> None:
    driver = up() if is_up else Driver()
    shown = [Call(opcodes.AUTH, b"", nothing, False) for _ in range(3)]
    for call, token in zip(shown, (b"u:p", b"v:p", b"u:p"), strict=True):
        driver.session.authenticate("digest", token, call)
    if is_up:
        # Whoever asks again waits for an answer of its own, which the loss of the connection leaves out.
        assert len(driver.sent()) == 3
        driver.session.closed("gone", driver.now)
    driver.hello()

    assert [frame[2][8:] for frame in driver.sent()] == [b"digest\0\0\0\3u:p", b"digest\0\0\0\3v:p"]
    driver.reply(opcodes.XID_AUTH)
    assert driver.said()[-2:] == [shown[0], shown[2]]
    driver.reply(opcodes.XID_AUTH)
    assert driver.said() == [shown[1]]


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


def test_a_read_that_was_kept_and_is_given_up_behind_its_sending_leaves_no_watch() -> None:
    """Whoever gave it up cannot forget a watch that is noted later."""
    driver = Driver()
    kept = driver.get(listener=print)
    kept.sink = Future()
    driver.hello()

    kept.sink.cancel()
    driver.session.withdraw(kept)
    driver.reply(1, A)

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


def test_what_one_read_brings_is_told_in_its_order() -> None:
    driver = up()
    asked = [driver.get(), driver.get(b"/b", print), driver.get(b"/c"), driver.get(b"/d"), driver.get(b"/e")]
    driver.sent()

    def answer(xid: int, body: bytes, err: int = 0) -> bytes:
        return struct.pack(">iiqi", 16 + len(body), xid, 20 + xid, err) + body

    event = encode(WatcherEvent(EventType.CHANGED, 3, b"/b"))
    stream = b"".join(
        (answer(1, A), answer(2, A), answer(3, b"", -101), answer(opcodes.XID_NOTIFICATION, event), answer(4, A))
    )
    rest = answer(5, A)
    driver.session.received(stream + rest[:30], driver.now)
    driver.session.received(rest[30:], driver.now)

    said = driver.said()
    assert [said[index] for index in (0, 1, 2, 4, 5)] == asked
    assert isinstance(said[3], Fire)
    assert isinstance(asked[2].error, NoNode)
    assert [call.value is None for call in asked] == [False, False, True, False, False]
    assert [call.zxid for call in asked] == [21, 22, 23, 24, 25]
    assert driver.session.zxid == 25


@pytest.mark.parametrize("cut", [1, 60, 68, 69, 73])
def test_a_short_answer_is_not_made_up_from_the_next_one(cut: int) -> None:
    driver = up()
    first, second = driver.get(), driver.get()
    driver.sent()
    short, whole = (struct.pack(">iiqi", 16 + len(body), xid, 9, 0) + body for xid, body in ((1, A[:-cut]), (2, A)))

    driver.session.received(short + whole, driver.now)

    assert "cannot be read" in driver.session.why
    assert isinstance(first.error, ConnectionLoss)
    assert isinstance(second.error, ConnectionLoss)
