"""SASL's mechanisms: what they answer, what they keep to themselves, and what they say when a package is missing."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import sys
from typing import Any

import puresasl.client
import puresasl.mechanisms
import pytest

from corral.client.errors import ClientError
from corral.client.sasl import DigestMd5, Gssapi

CHALLENGE = b'realm="zk-sasl-md5",nonce="WQMfalnvchnzzD9aQjjmPUO3HK26eauOInF1Bs9/",charset=utf-8,algorithm=md5-sess'


def md5(data: bytes) -> bytes:
    return hashlib.md5(data).digest()


def proofs(answer: bytes, password: bytes) -> tuple[bytes, bytes]:
    """Return what proves to each side that the other knows the password, as RFC 2831 has it: client's, server's."""
    said = dict(re.findall(rb'([\w-]+)="?([^",]*)"?', answer))
    secret = md5(b":".join((said[b"username"], said[b"realm"], password)))
    secret = md5(b":".join((secret, said[b"nonce"], said[b"cnonce"]))).hex().encode()

    def proof(who: bytes) -> bytes:
        what = md5(who + said[b"digest-uri"]).hex().encode()
        return md5(b":".join((secret, said[b"nonce"], said[b"nc"], said[b"cnonce"], said[b"qop"], what))).hex().encode()

    return proof(b"AUTHENTICATE:"), proof(b":")


@pytest.mark.parametrize(
    ("password", "hashed"),
    [
        ("secret", b"secret"),
        # RFC 2831 has ISO 8859-1 wherever that will do.
        ("geheim-ß", b"geheim-\xdf"),
        ("тайна", "тайна".encode()),
    ],
)
def test_digest_md5_proves_that_it_knows_the_password_and_has_the_server_prove_it(password: str, hashed: bytes) -> None:
    mechanism = DigestMd5("ann", password).begin("zk1")

    assert mechanism.step(None) is None
    answer = mechanism.step(CHALLENGE)

    assert answer is not None
    for part in (b'username="ann"', b'digest-uri="zookeeper/zk-sasl-md5"', b"qop=auth,"):
        assert part in answer
    client_proof, server_proof = proofs(answer, hashed)
    assert b"response=" + client_proof in answer
    assert not mechanism.is_complete
    assert mechanism.step(b"rspauth=" + server_proof) is None
    assert mechanism.is_complete


def test_digest_md5_does_not_believe_a_server_that_does_not_know_the_password() -> None:
    mechanism = DigestMd5("ann", "secret").begin("zk1")
    mechanism.step(None)
    answer = mechanism.step(CHALLENGE)
    assert answer is not None

    with pytest.raises(puresasl.SASLProtocolException, match="Invalid server auth response"):
        mechanism.step(b"rspauth=" + proofs(answer, b"guess")[1])
    assert not mechanism.is_complete


def test_digest_md5_authenticates_and_encrypts_nothing_also_if_the_server_could() -> None:
    mechanism = DigestMd5("ann", "secret").begin("zk1")

    answer = mechanism.step(CHALLENGE + b',qop="auth,auth-int,auth-conf"')

    assert answer is not None
    assert answer.startswith(b"qop=auth,")


def test_another_service_and_host_are_said_as_they_are_given() -> None:
    mechanism = DigestMd5("ann", "secret", service="keeper", host="keeper.example.com").begin("zk1")

    assert b'digest-uri="keeper/keeper.example.com"' in (mechanism.step(CHALLENGE) or b"")


def test_a_name_that_digest_md5_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="username 'анна': DIGEST-MD5 takes the characters of ISO 8859-1 alone"):
        DigestMd5("анна", "secret")


def test_nothing_shows_the_password() -> None:
    sasl = DigestMd5("ann", "hunter2")

    assert repr(sasl) == "DigestMd5('ann', ..., service='zookeeper', host=None)"
    assert "hunter2" not in f"{sasl} {sasl.begin('zk1')!r}"


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(puresasl.mechanisms, "have_kerberos", False)
    with pytest.raises(ClientError, match=r"GSSAPI needs the package kerberos: install corral\[gssapi\]"):
        Gssapi()

    monkeypatch.setitem(sys.modules, "puresasl.mechanisms", None)
    with pytest.raises(ClientError, match=r"SASL needs the package pure-sasl: install corral\[sasl\]"):
        DigestMd5("ann", "secret")
    with pytest.raises(ClientError, match=r"SASL needs the package pure-sasl: install corral\[gssapi\]"):
        Gssapi()


class FakeKerberos:
    """What pure-sasl asks of the package kerberos: a ticket, one round of mutual authentication, and sealing."""

    AUTH_GSS_COMPLETE = 1

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.heard: list[bytes] = []
        self._said = b""

    def authGSSClientInit(self, **asked: Any) -> tuple[int, object]:  # noqa: N802
        self.asked = asked
        return 1, self

    def authGSSClientStep(self, context: object, challenge: str) -> int:  # noqa: N802
        self.heard.append(base64.b64decode(challenge))
        self._said = b"ticket"
        return len(self.heard) - 1

    def authGSSClientResponse(self, context: object) -> str:  # noqa: N802
        return base64.b64encode(self._said).decode()

    def authGSSClientUserName(self, context: object) -> str:  # noqa: N802
        return "ann@EXAMPLE.COM"

    def authGSSClientUnwrap(self, context: object, challenge: str) -> None:  # noqa: N802
        self._said = base64.b64decode(challenge).removeprefix(b"sealed:")

    def authGSSClientWrap(self, context: object, token: str) -> None:  # noqa: N802
        self._said = b"sealed:" + base64.b64decode(token)


def test_gssapi_shows_a_ticket_for_the_server_and_asks_for_no_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    kerberos = FakeKerberos()
    monkeypatch.setattr(puresasl.mechanisms, "kerberos", kerberos, raising=False)
    monkeypatch.setattr(puresasl.mechanisms, "have_kerberos", True)
    monkeypatch.setitem(puresasl.mechanisms.mechanisms, "GSSAPI", puresasl.mechanisms.GSSAPIMechanism)
    mechanism = Gssapi(principal="ann@EXAMPLE.COM").begin("zk1.example.com")

    assert kerberos.asked == {"service": "zookeeper@zk1.example.com", "principal": "ann@EXAMPLE.COM"}
    assert mechanism.step(None) == b"ticket"
    assert mechanism.step(b"mutual") == b""
    assert not mechanism.is_complete
    # The server offers all layers, and 65536 bytes.
    last = mechanism.step(b"sealed:" + struct.pack(">I", 7 << 24 | 65536))

    assert kerberos.heard == [b"", b"mutual"]
    assert last is not None
    assert (last[7], last[11:]) == (1, b"ann@EXAMPLE.COM")
    assert mechanism.is_complete


def test_a_host_that_is_given_stands_for_every_server(monkeypatch: pytest.MonkeyPatch) -> None:
    kerberos = FakeKerberos()
    monkeypatch.setattr(puresasl.mechanisms, "kerberos", kerberos, raising=False)
    monkeypatch.setattr(puresasl.mechanisms, "have_kerberos", True)
    monkeypatch.setitem(puresasl.mechanisms.mechanisms, "GSSAPI", puresasl.mechanisms.GSSAPIMechanism)

    Gssapi(host="zk.example.com").begin("10.0.0.1")

    assert kerberos.asked == {"service": "zookeeper@zk.example.com", "principal": None}
