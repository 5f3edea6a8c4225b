"""A client whose TLS is refused, as transcripts: when it gives up, what it says; no socket."""

from __future__ import annotations

import pytest
from tests.support.session_driver import Driver

from corral.client.effects import Call, Connect, Refused
from corral.client.errors import ClientClosed, TlsFailed
from corral.client.hosts import REFUSED_ROUNDS_MAX
from corral.client.values import State


def test_a_client_that_never_had_a_session_gives_up_after_rounds_of_refusals() -> None:
    driver = Driver(servers=2)
    waiting = driver.get()
    driver.said()

    for _ in range(2 * REFUSED_ROUNDS_MAX):
        assert driver.session.state is State.CONNECTING
        driver.session.failed("certificate verify failed", driver.now, True)

    assert driver.session.state is State.CLOSED
    assert isinstance(waiting.error, TlsFailed)
    with pytest.raises(TlsFailed, match=r"no server is reached over TLS, the last one s[01]:2181: certificate verify"):
        driver.get()


def test_each_server_is_told_of_once_and_again_when_it_says_something_else() -> None:
    driver = Driver(servers=1)
    told = []

    for why in ("expired", "expired", "mismatch"):
        driver.said()
        driver.session.failed(why, driver.now, True)
        told.append([effect.why for effect in driver.said() if isinstance(effect, Refused)])

    assert told == [["expired"], [], ["mismatch"]]


def test_a_failure_of_another_kind_gives_hope() -> None:
    driver = Driver(servers=1)

    for _ in range(4 * REFUSED_ROUNDS_MAX):
        for _ in range(REFUSED_ROUNDS_MAX - 1):
            driver.session.failed("certificate verify failed", driver.now, True)
        driver.session.failed("connection refused", driver.now)

    assert driver.session.state is State.CONNECTING


def test_a_refusal_behind_the_handshake_counts_and_a_reset_that_outran_it_does_not() -> None:
    driver = Driver(servers=1)

    for _ in range(REFUSED_ROUNDS_MAX):
        driver.called()
        driver.session.closed("reset", driver.now)
        assert driver.session.state is State.CONNECTING
        driver.called()
        driver.session.closed("certificate required", driver.now, True)

    assert driver.session.state is State.CLOSED


def test_a_client_that_had_a_session_tries_on_for_ever() -> None:
    driver = Driver(servers=1)
    driver.hello()
    driver.session.closed("gone", driver.now)

    for _ in range(100):
        driver.said()
        driver.session.failed("expired", driver.now, True)
        assert [type(effect) for effect in driver.said()][-1] is Connect

    assert driver.session.state is State.SUSPENDED


def test_a_client_that_was_closed_says_only_that() -> None:
    driver = Driver(servers=1)
    driver.session.failed("expired", driver.now, True)

    driver.session.abandon()

    with pytest.raises(ClientClosed, match="the client is closed") as caught:
        driver.get()
    assert type(caught.value) is ClientClosed
    assert not [effect for effect in driver.said() if isinstance(effect, Call)]


def test_a_server_that_answers_with_an_alert_of_tls_is_known_by_it() -> None:
    driver = Driver()
    driver.called()

    driver.session.received(b"\x15\x03\x03\x00\x02\x02\x46", driver.now)

    assert driver.session.why.endswith("the server speaks TLS on this port, give an ssl_context")
