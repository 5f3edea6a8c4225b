"""SASL on a client's connections as a transcript: nothing of the session is sent before it has succeeded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.sasl import Script
from tests.support.session_driver import TIMEOUT, A, Driver

from corral.base.errors import AuthFailed
from corral.client.effects import Call, Connect, Disconnect, StateChanged, Step, close_call, nothing
from corral.client.errors import ClientClosed
from corral.client.values import State
from corral.client.watches import DATA
from corral.wire import opcodes
from corral.wire.client import SaslToken
from corral.wire.schema import decode, encode

NULL = encode(SaslToken(None))
LIKE_DIGEST = (b"", b"proof", None)
LIKE_KERBEROS = (b"ticket", b"", b"no layer")


class Authenticating(Driver):
    """A driver whose steps are made as the shell makes them, or left by."""

    def said(self) -> list[Any]:
        said: list[Any] = []
        while effects := super().said():
            said += [effect for effect in effects if not self._stepped(effect)]
        return said

    def _stepped(self, effect: object) -> bool:
        if not isinstance(effect, Step):
            return False
        try:
            self.session.stepped(effect.exchange, effect.exchange.step(effect.challenge), None, self.now)
        except OSError as error:
            self.session.stepped(effect.exchange, None, error, self.now)
        return True

    def tokens(self) -> list[bytes | None]:
        """The tokens that were sent since the last look, which sent nothing else."""
        frames = self.sent()
        assert {op for _, op, _ in frames} <= {opcodes.SASL}
        self.xids = [xid for xid, _, _ in frames]
        return [decode(SaslToken, body).token for _, _, body in frames]

    def challenge(self, token: bytes | None, err: int = 0) -> None:
        self.reply(self.xids[-1], encode(SaslToken(token)), err, zxid=0)


def begun(*tokens: bytes | None, servers: int = 3) -> Authenticating:
    """Return a client that has sent its first token."""
    driver = Authenticating(servers, sasl=Script(*tokens))
    driver.hello()
    assert driver.states() == []
    assert driver.tokens() == [tokens[0]]
    return driver


def test_a_client_is_connected_once_both_sides_are_content() -> None:
    driver = begun(*LIKE_DIGEST)
    waiting = driver.get()

    driver.challenge(b"nonce")
    assert driver.states() == []
    assert driver.tokens() == [b"proof"]
    driver.now += 50
    driver.challenge(b"the server's proof")

    assert driver.states() == [State.CONNECTED]
    assert driver.session.heard_at == driver.now - 50
    assert [frame[:2] for frame in driver.sent()] == [(3, opcodes.GET_DATA)]
    driver.reply(3, A)
    assert driver.said() == [waiting]


@pytest.mark.parametrize("last", [None, b""])
def test_a_mechanism_with_the_last_word_waits_until_the_server_took_it(last: bytes | None) -> None:
    driver = begun(*LIKE_KERBEROS)
    driver.challenge(b"mutual")
    assert (driver.said(), driver.tokens()) == ([], [b""])
    driver.challenge(b"layers")
    assert (driver.said(), driver.tokens()) == ([], [b"no layer"])

    driver.challenge(last)

    assert driver.states() == [State.CONNECTED]


def test_it_goes_before_credentials_watches_and_requests_on_every_connection() -> None:
    driver = begun(b"x")
    driver.challenge(None)
    driver.said()
    shown = Call(opcodes.AUTH, b"", nothing, False)
    driver.session.authenticate("digest", b"u:p", shown)
    driver.session.watches.add(DATA, b"/a", print)
    driver.sent()

    driver.session.closed("gone", driver.now)
    driver.get()
    driver.hello()
    assert driver.states() == [State.SUSPENDED]
    assert driver.tokens() == [b"x"]
    driver.challenge(None)

    assert [frame[1] for frame in driver.sent()] == [opcodes.AUTH, opcodes.SET_WATCHES, opcodes.GET_DATA]
    assert driver.states() == [State.CONNECTED]


@pytest.mark.parametrize(
    ("rounds", "token", "err", "why"),
    [
        (0, None, -115, r"s\d:2181 refused its SASL credentials"),
        (1, None, -115, r"s\d:2181 refused its SASL credentials"),
        (1, None, -124, r"s\d:2181 refused its SASL credentials"),
        (0, None, 0, r"s\d:2181 does not authenticate by SASL: it has no SASL provider"),
        (0, None, -6, r"s\d:2181 does not know SASL: it answered error -6"),
        # As servers do that keep clients whose SASL failed.
        (1, None, 0, r"s\d:2181 ended the SASL exchange before it was complete"),
    ],
)
def test_a_refusal_closes_the_client(rounds: int, token: bytes | None, err: int, why: str) -> None:
    driver = begun(*LIKE_DIGEST)
    waiting = driver.get()
    for _ in range(rounds):
        driver.challenge(b"nonce")
        driver.said()
        driver.tokens()

    driver.challenge(token, err)

    said = driver.said()
    assert [type(effect) for effect in said] == [Disconnect, StateChanged, Call]
    assert driver.session.state is State.CLOSED
    with pytest.raises(AuthFailed, match=why):
        raise driver.session.error or AssertionError
    assert isinstance(waiting.error, ClientClosed)
    with pytest.raises(ClientClosed, match=why):
        driver.get()


def test_an_error_of_the_mechanism_closes_the_client() -> None:
    def fail() -> None:
        raise OSError("no ticket in the cache")

    driver = Authenticating(sasl=Script(b"", meanwhile=fail))
    driver.hello()

    assert driver.states() == [State.CLOSED]
    assert isinstance(driver.session.error, AuthFailed)
    assert driver.session.why.endswith(":2181 failed: no ticket in the cache")
    assert isinstance(driver.session.error.__cause__, OSError)


def test_who_cannot_be_asked_now_is_asked_again_after_a_pause() -> None:
    """KDCs restart; were that taken for a refusal, who reconnects meanwhile would be closed for good."""

    def fail() -> None:
        raise ConnectionRefusedError("no KDC")

    script = Script(b"ticket", meanwhile=fail)
    driver = Authenticating(sasl=script, servers=1)
    driver.hello()

    effects = driver.said()
    assert [type(effect) for effect in effects[-2:]] == [Disconnect, Connect]
    assert effects[-1].delay_ms > 0
    assert driver.session.why.endswith(":2181 failed: no KDC")

    script.meanwhile = lambda: None
    driver.hello()
    driver.said()
    assert driver.tokens() == [b"ticket"]


def test_a_connection_that_goes_meanwhile_costs_no_more_than_any_other() -> None:
    """Servers restart; were that taken for a refusal, the client would be closed for good."""
    driver = begun(*LIKE_DIGEST, servers=1)
    first_xid = driver.xids[0]

    driver.session.closed("gone", driver.now)

    (effect,) = driver.said()
    # Not at once: a server that hangs up on tokens would be called again for ever without a pause.
    assert isinstance(effect, Connect)
    assert effect.delay_ms > 0
    driver.hello()
    assert driver.said() == []
    assert driver.tokens() == [b""]
    assert driver.xids[0] > first_xid


def test_an_answer_that_comes_after_its_connection_went_is_not_sent() -> None:
    driver = Authenticating(sasl=Script(b"", b"x"))
    driver.hello()
    (late,) = (effect for effect in driver.session.take_effects() if isinstance(effect, Step))
    driver.session.closed("gone", driver.now)
    driver.hello()
    driver.said()
    driver.tokens()

    driver.session.stepped(late.exchange, b"late", None, driver.now)
    driver.session.stepped(late.exchange, None, OSError("late"), driver.now)

    assert (driver.said(), driver.sent()) == ([], [])


def test_an_answer_that_comes_after_the_session_is_over_is_not_sent() -> None:
    driver = Authenticating(sasl=Script(b""))
    driver.hello()
    (late,) = (effect for effect in driver.session.take_effects() if isinstance(effect, Step))

    driver.now += TIMEOUT
    driver.session.stepped(late.exchange, b"late", None, driver.now)

    assert driver.states() == [State.LOST]
    assert driver.sent() == []


def test_hello_and_exchange_together_have_the_time_of_a_hello() -> None:
    driver = Authenticating(servers=2, sasl=Script(*LIKE_DIGEST))
    driver.called()
    driver.now += 2000
    driver.welcome()
    driver.said()
    driver.tokens()

    driver.wait(TIMEOUT // 3 - 2000 - 1)
    assert driver.said() == []
    driver.wait(1)

    said = driver.said()
    assert [type(effect) for effect in said] == [Disconnect, Connect]
    assert driver.session.why == "the server does not end the SASL exchange in time"


@pytest.mark.parametrize("xid", [99, 0, opcodes.XID_NOTIFICATION, opcodes.XID_PING])
def test_a_server_that_speaks_out_of_turn_is_left(xid: int) -> None:
    driver = begun(*LIKE_DIGEST)

    driver.reply(xid, NULL)

    assert [type(effect) for effect in driver.said()] == [Disconnect, Connect]


def test_a_second_challenge_before_the_answer_to_the_first_is_out_of_turn() -> None:
    driver = begun(*LIKE_DIGEST)

    driver.challenge(b"nonce")
    driver.reply(0, NULL)

    assert [type(effect) for effect in driver.session.take_effects()] == [Step, Disconnect, Connect]


def test_who_closes_the_client_need_not_wait_for_the_end() -> None:
    driver = begun(*LIKE_DIGEST)
    call = close_call()

    driver.session.close(call, driver.now)

    assert driver.said()[-1] is call
    assert driver.session.state is State.CLOSED
    assert call.error is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3000)), max_size=60))
def test_whatever_happens_nothing_is_sent_before_the_exchange_is_complete(steps: list[tuple[int, int]]) -> None:
    driver = Authenticating(sasl=Script(*LIKE_DIGEST))
    driver.xids = []
    session = driver.session
    session.authenticate("digest", b"u:p", Call(opcodes.AUTH, b"", nothing, False))
    for action, ms in steps:
        driver.now += ms
        was_up = session._is_up
        if action == 0:
            driver.get()
        elif action == 1 and not session._is_open:
            driver.called()
        elif action == 1 and session._exchange is None and not was_up:
            driver.welcome()
        elif action == 1 and not was_up:
            driver.challenge(b"challenge")
        elif action == 2:
            session.closed("gone", driver.now)
        elif action == 3:
            session.tick(driver.now)
        driver.said()
        sent = driver.sent()
        driver.xids = [xid for xid, _, _ in sent] or driver.xids

        if not session._is_up:
            assert {op for _, op, _ in sent} <= {opcodes.SASL}
        elif not was_up:
            assert sent[0][1] == opcodes.AUTH
