"""A client's session and time, as transcripts: heartbeats, reconnects, expiry and pauses; no socket, no clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.jute import multi_refused
from tests.support.session_driver import PASSWORD, TIMEOUT, A, Driver, calls, up

from corral.base.errors import Outcome
from corral.client.effects import Call, Connect, Disconnect, Fire, StateChanged
from corral.client.errors import ConnectionLoss, SessionLost
from corral.client.session import NO_PASSWORD
from corral.client.transaction import Transaction
from corral.client.values import EventType, State
from corral.wire import opcodes


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


def test_pauses_are_short_against_what_is_left_of_a_session_that_may_be_saved() -> None:
    """And long again once there is none."""
    driver = Driver(servers=1)
    driver.hello()
    driver.session.closed("the test says so", driver.now)
    pauses: dict[bool, list[int]] = {True: [], False: []}

    for _ in range(40):
        for effect in driver.said():
            if isinstance(effect, Connect):
                driver.now += effect.delay_ms
                pauses[driver.session.id != 0].append(effect.delay_ms)
        driver.session.failed("refused", driver.now)

    assert pauses[True][0] == 0
    assert 300 < max(pauses[True]) <= 1.5 * TIMEOUT / 10
    assert max(pauses[False]) > 5000


def test_who_has_lost_the_session_does_not_insist_on_what_no_server_has_any_more() -> None:
    """Servers hang up on who has seen a later zxid than they have: all of them, if their data were thrown away."""
    driver = Driver(servers=2)
    driver.hello()
    driver.session.zxid = 50

    driver.session.closed("the test says so", driver.now)
    seen = [driver.called().last_zxid_seen]
    driver.now += TIMEOUT
    driver.session.tick(driver.now)
    for _ in range(3):
        seen.append(driver.called().last_zxid_seen)
        driver.session.closed("the test says so", driver.now)

    assert driver.states()[-1] is State.LOST
    assert seen == [50, 50, 50, 0]


def test_a_session_that_the_server_has_ended_is_lost_and_a_new_one_follows() -> None:
    driver = up()
    driver.session.closed("gone", driver.now)
    driver.said()

    driver.hello(session=0, timeout=0)

    assert driver.states() == [State.LOST]
    assert driver.hello(session=8).session_id == 0
    assert driver.states() == [State.CONNECTED]


@pytest.mark.parametrize("said_of", ["write", "transaction", "operation"])
def test_a_refusal_because_the_session_is_over_is_its_loss(said_of: str) -> None:
    """Of a transaction it is said as a whole, or of the operation that was looked at first."""
    driver = up()
    call = calls.set(b"/a", b"", -1)
    if said_of != "write":
        work = Transaction(calls, str.encode, lambda path, flags: path.encode(), asyncio.sleep, bytes.decode)
        work.check("/a").set("/a", b"")
        parts = [(part.op, part.frame) for part in work._parts]
        call = calls.multi(parts, work._read, opcodes.MULTI)
    driver.session.submit(call)
    driver.sent()

    if said_of == "operation":
        driver.reply(1, multi_refused(-112, -2))
    else:
        driver.reply(1, err=-112)

    assert [type(effect) for effect in driver.said()] == [Call, Disconnect, StateChanged, Connect]
    assert isinstance(call.error, SessionLost)
    assert call.error.outcome is Outcome.NOT_APPLIED
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


@pytest.mark.parametrize("seen_by", ["data", "timer", "look", "output", "end"])
def test_a_pause_longer_than_the_timeout_is_loss_whatever_is_seen_first(seen_by: str) -> None:
    """Also where a machine slept, and its timers with it: whoever looks first finds the session lost."""
    driver = up()
    call = driver.get()
    driver.sent()

    driver.now += TIMEOUT
    if seen_by == "data":
        driver.reply(1, A)
    elif seen_by == "timer":
        driver.session.tick(driver.now)
    elif seen_by == "look":
        assert driver.session.judged(driver.now) is State.LOST
    elif seen_by == "output":
        assert driver.sent() == []
    else:
        driver.session.closed("the server closed the connection", driver.now)

    said = driver.said()
    assert said.index(StateChanged(State.LOST)) < said.index(call)
    assert StateChanged(State.SUSPENDED) not in said
    assert isinstance(call.error, SessionLost)
    assert driver.session.held_until() == 0
    assert driver.hello(session=8).session_id == 0


@pytest.mark.parametrize("ms", [2 * TIMEOUT // 3 - 10, 2 * TIMEOUT // 3 + 10])
def test_a_pause_is_doubted_from_two_thirds_of_the_timeout_on(ms: int) -> None:
    driver = up()
    call = driver.get()
    driver.sent()

    driver.now += ms
    driver.reply(1, A)

    doubt = [StateChanged(State.SUSPENDED)] if ms > 2 * TIMEOUT // 3 else []
    assert driver.said() == [*doubt, call]


def test_a_connection_that_ends_in_doubt_is_followed_by_another_of_the_same_session() -> None:
    driver = up()
    driver.now += 2 * TIMEOUT // 3 + 10
    driver.session.tick(driver.now)
    assert driver.states() == [State.SUSPENDED]

    driver.session.closed("the server closed the connection", driver.now)
    assert driver.states() == []

    assert driver.hello().session_id == 7
    assert driver.states() == [State.CONNECTED]
    assert driver.session.held_until() == driver.now + TIMEOUT


def test_a_pause_without_a_connection_is_loss_when_the_attempt_is_told_to_have_failed() -> None:
    driver = up()
    driver.session.closed("gone", driver.now)
    waiting = driver.get()
    driver.said()

    driver.now += TIMEOUT
    driver.session.failed("refused", driver.now)

    assert [type(effect) for effect in driver.said()] == [StateChanged, Call, Connect]
    assert driver.session.state is State.LOST
    assert isinstance(waiting.error, SessionLost)


@pytest.mark.parametrize("seen_by", ["data", "timer"])
def test_a_welcome_that_is_read_after_the_timeout_is_for_a_session_that_is_lost(seen_by: str) -> None:
    """Schedule: 1. the session is asked for again; 2. the process sleeps; 3. the server's yes is there, and too old."""
    driver = up()
    driver.session.closed("gone", driver.now)
    assert driver.called().session_id == 7
    driver.said()

    driver.now += TIMEOUT
    if seen_by == "data":
        driver.welcome()
    else:
        driver.session.tick(driver.now)

    assert [type(effect) for effect in driver.said()] == [Disconnect, StateChanged, Connect]
    assert driver.session.state is State.LOST
    assert driver.hello(session=8).session_id == 0


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_server_that_does_not_answer_the_hello_is_given_up_for_the_next(is_resumed: bool) -> None:
    driver = up() if is_resumed else Driver()
    if is_resumed:
        driver.session.closed("gone", driver.now)
    before = driver.session.state
    driver.called()
    first = driver.session.server
    driver.said()

    driver.wait(TIMEOUT // 4 - 1)
    assert driver.said() == []
    driver.wait(1)

    assert [type(effect) for effect in driver.said()] == [Disconnect, Connect]
    assert driver.session.state is before
    assert driver.session.server != first
    assert driver.called().session_id == 7 * is_resumed


def test_questions_that_nobody_answers_are_no_sign_of_life() -> None:
    """A server that is silent is given up after two thirds of the timeout, however much is sent to it."""
    driver = up()
    for _ in range(2 * TIMEOUT // 3 // 500):
        driver.get()
        driver.sent()
        driver.wait(500)

    assert driver.states() == []
    driver.wait(1)
    assert driver.states() == [State.SUSPENDED]


@pytest.mark.parametrize("refused", [{"session": 0, "timeout": 0}, {"session": 7, "timeout": 0}, {"session": 0}])
def test_a_session_that_cannot_be_resumed_takes_what_waits_for_it_along(refused: dict[str, int]) -> None:
    """Over, or asked for with a wrong password: the server says the same, and what it says has these forms."""
    driver = up()
    driver.session.closed("gone", driver.now)
    waiting = calls.set(b"/a", b"", -1)
    driver.session.submit(waiting)
    driver.said()
    asked = driver.called()
    assert (asked.session_id, asked.passwd) == (7, PASSWORD)

    driver.welcome(**refused)

    assert [type(effect) for effect in driver.said()] == [Disconnect, StateChanged, Call, Connect]
    assert driver.session.state is State.LOST
    assert isinstance(waiting.error, SessionLost)
    assert waiting.error.outcome is Outcome.NOT_APPLIED
    again = driver.called()
    assert (again.session_id, again.passwd) == (0, NO_PASSWORD)
    # Said again, it is no second loss.
    driver.welcome(**refused)
    assert driver.states() == []


def test_the_timeout_is_what_the_server_granted_last() -> None:
    driver = up()
    driver.session.closed("gone", driver.now)

    driver.hello(timeout=3000)
    driver.said()

    assert driver.session.held_until() == driver.now + 3000
    driver.sent()
    driver.wait(1001)
    assert driver.sent_meanwhile == [(opcodes.XID_PING, opcodes.PING, b"")]
    driver.wait(1000)
    assert driver.states() == [State.SUSPENDED]


def test_a_server_without_a_quorum_makes_the_state_read_only_if_that_was_allowed() -> None:
    driver = Driver(read_only=True)

    driver.hello(read_only=True)

    assert driver.asked_flag == 1
    assert driver.states() == [State.READ_ONLY]
    # A pause puts that in doubt, too, and the answer does not make it more than it was.
    driver.now += 2 * TIMEOUT // 3 + 10
    driver.session.tick(driver.now)
    driver.sent()
    driver.reply(opcodes.XID_PING)
    assert driver.states() == [State.SUSPENDED, State.READ_ONLY]

    strict = Driver()
    strict.hello()
    assert strict.asked_flag == 0


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
