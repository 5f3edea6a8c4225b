"""A client connected to a server without a quorum, as transcripts: how it finds one with a quorum, and goes there."""

from __future__ import annotations

import random

import pytest
from tests.support.session_driver import PASSWORD, TIMEOUT, A, Driver

from corral.base.errors import Outcome
from corral.client.effects import Connect, Disconnect, Probe, StateChanged
from corral.client.errors import ConnectionLoss
from corral.client.hosts import Host
from corral.client.readwrite import PAUSE_MS_FIRST, PAUSE_MS_MAX, ReadWriteSearch
from corral.client.session import NO_PASSWORD
from corral.client.values import State
from corral.wire import opcodes

HOSTS = tuple(Host(f"s{number}", 2181) for number in range(3))


def read_only(servers: int = 3) -> Driver:
    driver = Driver(servers, read_only=True)
    driver.hello(read_only=True)
    driver.sent()
    driver.said()
    return driver


def asked(driver: Driver, within: int = 60_000) -> Probe:
    """Let time pass until a server is asked, with a server at hand that answers heartbeats."""
    until = driver.now + within
    while driver.now <= until:
        driver.now = max(driver.now, driver.session.deadline())
        driver.session.tick(driver.now)
        if any(xid == opcodes.XID_PING for xid, _, _ in driver.sent()):
            driver.reply(opcodes.XID_PING)
        for effect in driver.said():
            if isinstance(effect, Probe):
                return effect
    raise AssertionError(f"nobody was asked within {within} ms")


def test_servers_are_asked_each_once_a_round_with_growing_pauses() -> None:
    driver = read_only()
    hosts, pauses = [], []

    for _ in range(15):
        began = driver.now
        hosts.append(asked(driver).host)
        pauses.append(driver.now - began)
        driver.session.probed(hosts[-1], False, driver.now)

    rounds = [hosts[at : at + 3] for at in range(0, 15, 3)]
    assert all(sorted(each) == list(HOSTS) for each in rounds)
    for number, pause in enumerate(pauses):
        longest = min(PAUSE_MS_FIRST << number, PAUSE_MS_MAX)
        assert longest // 2 <= pause <= longest
    assert driver.session.state is State.READ_ONLY


def test_one_server_is_asked_at_a_time_and_heartbeats_go_on() -> None:
    driver = read_only()
    asked(driver)

    driver.wait(TIMEOUT // 3 + 1)

    assert driver.sent_meanwhile == [(opcodes.XID_PING, opcodes.PING, b"")]
    assert driver.said() == []


def test_the_only_server_is_asked_too() -> None:
    driver = read_only(servers=1)
    assert asked(driver).host == Host("s0", 2181)


@pytest.mark.parametrize("is_read_only", [True, False])
def test_only_a_session_without_a_quorum_looks_for_one(is_read_only: bool) -> None:
    driver = Driver(read_only=True)
    driver.hello(read_only=is_read_only)
    driver.said()

    driver.wait(PAUSE_MS_FIRST)

    assert [type(effect) for effect in driver.said()] == [Probe] * is_read_only


def test_a_server_with_a_quorum_is_gone_to_at_once() -> None:
    driver = read_only()
    driver.get(b"/a", print)
    driver.sent()
    driver.reply(1, A, zxid=5)
    waiting = driver.get()
    driver.said()
    driver.sent()
    found = asked(driver).host

    driver.session.probed(found, True, driver.now)

    said = driver.said()
    assert [type(effect) for effect in said] == [Disconnect, StateChanged, type(waiting), Connect]
    assert said[0] == Disconnect(f"{found} has a quorum, this server has none")
    assert said[1] == StateChanged(State.SUSPENDED)
    assert isinstance(waiting.error, ConnectionLoss)
    assert waiting.error.outcome is Outcome.NOT_APPLIED
    assert (said[3].host, said[3].delay_ms) == (found, 0)
    # The server at hand alone knew the session; watches come along.
    hello = driver.hello(session=9)
    assert (hello.session_id, hello.passwd, hello.last_zxid_seen) == (0, NO_PASSWORD, 5)
    assert driver.states() == [State.CONNECTED]
    assert [op for _, op, _ in driver.sent()] == [opcodes.SET_WATCHES]
    assert driver.session.id == 9


def test_a_session_of_the_ensemble_is_kept_and_one_of_a_single_server_is_not() -> None:
    driver = Driver(read_only=True)
    driver.hello(session=7)
    driver.session.closed("gone", driver.now)
    # An old server may renew it without a quorum.
    assert driver.hello(session=7, read_only=True).session_id == 7
    driver.session.closed("gone", driver.now)
    kept = driver.called()
    assert (kept.session_id, kept.passwd) == (7, PASSWORD)

    other = read_only()
    other.session.closed("gone", other.now)
    assert other.hello(session=8, read_only=True).session_id == 0
    other.session.closed("gone", other.now)
    assert other.hello(session=9).session_id == 0
    other.session.closed("gone", other.now)
    assert other.hello(session=9).session_id == 9
    assert State.LOST not in other.states()


def test_after_a_loss_the_next_session_is_judged_anew() -> None:
    driver = read_only()
    driver.session.closed("gone", driver.now)
    driver.wait(TIMEOUT)
    assert driver.states() == [State.SUSPENDED, State.LOST]

    driver.hello(session=8)
    driver.session.closed("gone", driver.now)

    assert driver.called().session_id == 8


def test_a_server_that_says_so_and_grants_no_session_is_not_run_after() -> None:
    driver = read_only()
    pauses = []

    for _ in range(8):
        began = driver.now
        host = asked(driver).host
        pauses.append(driver.now - began)
        driver.session.probed(host, True, driver.now)
        driver.session.failed("refused", driver.now)
        driver.hello(read_only=True)
        driver.sent()
        driver.said()

    assert pauses[-1] >= 50 * PAUSE_MS_FIRST


def test_pauses_start_small_again_after_a_quorum() -> None:
    search = ReadWriteSearch(HOSTS, random.Random(1))
    search.begin(0)
    for _ in range(20):
        search.ask()
        search.answered(0)

    search.found()
    search.begin(1000)

    assert search.due <= 1000 + PAUSE_MS_FIRST


@pytest.mark.parametrize("what", ["closed", "suspended", "closing"])
def test_an_answer_that_comes_too_late_changes_nothing(what: str) -> None:
    driver = read_only()
    host = asked(driver).host
    if what == "closed":
        driver.session.abandon()
    elif what == "suspended":
        driver.session.closed("gone", driver.now)
    else:
        driver.session.close(driver.get(), driver.now)
    before = driver.session.state
    driver.said()

    driver.session.probed(host, True, driver.now)

    assert driver.said() == []
    assert driver.session.state is before


def test_a_server_that_may_not_grant_sessions_without_a_quorum_says_so() -> None:
    """Apache ZooKeeper without local sessions answers the hello with a reply's header."""
    driver = Driver(read_only=True)
    driver.called()

    driver.reply(0, err=-119)

    assert driver.session.why == (
        "the server has no quorum, and grants no sessions then without localSessionsEnabled=true"
    )
    assert [type(effect) for effect in driver.said()][-2:] == [Disconnect, Connect]
