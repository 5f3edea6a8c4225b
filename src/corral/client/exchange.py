"""SASL on a new connection: who has to say something next, and whether it has succeeded or failed.

It runs behind the hello and before everything else of the session, on every connection anew, in turns:

    Step(None) --token--> server --challenge--> Step(challenge) --token--> server ... until the mechanism is content

The mechanism itself is handed in. It may draw by chance and ask others (Kerberos does), so the shell has it step.
A server proves itself, too: one that answers nothing to the purpose has not authenticated anybody.
Source: the reference, "SASL (op 102)"; the order is kazoo's and Apache's.
"""

from __future__ import annotations

from typing import Final, Protocol

from corral.base.errors import AuthFailed, SessionClosedRequireSaslAuth
from corral.client.hosts import Host
from corral.wire.client import SaslToken
from corral.wire.schema import decoder, encode

_REFUSALS: Final = (AuthFailed.code, SessionClosedRequireSaslAuth.code)
_decode_token: Final = decoder(SaslToken)


class Mechanism(Protocol):
    """One exchange's side of a mechanism."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing but, maybe, that the server takes the last token."""

    def step(self, challenge: bytes | None) -> bytes | None:
        """Return the answer to a challenge of the server, None for none. challenge: None to begin with.

        Raises ConnectionError if whom it has to ask is not reached, which may pass; all other errors are final.
        """


class Sasl(Protocol):
    """A mechanism with credentials; see `corral.client.sasl`.

    may_block: whether its steps may wait for others, and so must not run on the loop.
    """

    @property
    def may_block(self) -> bool: ...

    def begin(self, host: str) -> Mechanism:
        """Return the mechanism for one exchange. host: the server's name, as the client was given it."""


class Exchange:
    """The exchange on one connection. host: the server. xid: of the token that is to be answered."""

    def __init__(self, sasl: Sasl, host: Host) -> None:
        self.may_block = sasl.may_block
        self.xid = 0
        self._sasl = sasl
        self._host = host
        self._mechanism: Mechanism | None = None
        self._is_first = True

    def step(self, challenge: bytes | None) -> bytes | None:
        """Have the mechanism answer. Raises whatever it raises; alone of all here, it may wait."""
        if self._mechanism is None:
            self._mechanism = self._sasl.begin(self._host.name)
        return self._mechanism.step(challenge)

    def request(self, token: bytes | None) -> bytes | None:
        """Return the body of the request that shows the server a step's token; None if nothing is left to say."""
        if self._is_complete and not token:
            return None
        return encode(SaslToken(token or b""))

    def challenge(self, err: int, data: bytes, at: int, end: int) -> bytes | None:
        """Return what the server asks in the reply whose body is data[at:end]; None if it is content.

        Raises AuthFailed.
        """
        if err in _REFUSALS:
            raise self._failed(f"{self._host} refused its SASL credentials")
        if err:
            raise self._failed(f"{self._host} does not know SASL: it answered error {err}")
        token: bytes | None = _decode_token(data, at, end)[0].token
        if self._is_complete:
            return None
        if token is None and self._is_first:
            raise self._failed(
                f"{self._host} does not authenticate by SASL: it has no SASL provider, no login section for it, or, "
                "for DIGEST-MD5, is in FIPS mode"
            )
        if token is None:
            raise self._failed(f"{self._host} ended the SASL exchange before it was complete")
        self._is_first = False
        return token

    def broken(self, error: Exception) -> str | AuthFailed:
        """Return what becomes of an error of the mechanism: why to try again later, or the end."""
        why = f"the SASL exchange with {self._host} failed: {str(error) or type(error).__name__}"
        if isinstance(error, ConnectionError):
            return why
        failed = self._failed(why)
        failed.__cause__ = error
        return failed

    @property
    def _is_complete(self) -> bool:
        return self._mechanism is not None and self._mechanism.is_complete

    def _failed(self, why: str) -> AuthFailed:
        return AuthFailed(f"the client is closed: {why}")
