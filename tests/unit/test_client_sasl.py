"""SASL's mechanisms: what they answer, what they keep to themselves, and what they say when a package is missing."""

from __future__ import annotations

import hashlib
import re
import struct
import sys

import puresasl.client
import pytest
from tests.support.fakegssapi import UNSPECIFIED, FakeGssapi, GSSError

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
    for package in ("gssapi", "puresasl"):
        monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ClientError, match=r"^GSSAPI needs the package gssapi: install corral\[gssapi\]$"):
        Gssapi()
    with pytest.raises(ClientError, match=r"^DIGEST-MD5 needs the package pure-sasl: install corral\[sasl\]$"):
        DigestMd5("ann", "secret")


@pytest.fixture
def kerberos(monkeypatch: pytest.MonkeyPatch) -> FakeGssapi:
    """Give what stands in for the package gssapi."""
    fake = FakeGssapi()
    fake.install(monkeypatch)
    return fake


def test_gssapi_shows_a_ticket_for_the_server_and_asks_for_no_layer(kerberos: FakeGssapi) -> None:
    mechanism = Gssapi(principal="ann@EXAMPLE.COM").begin("zk1.example.com")

    assert mechanism.step(None) == b"ticket"
    assert kerberos.asked == {
        "name": "service zookeeper@zk1.example.com",
        "creds": ("user ann@EXAMPLE.COM", "initiate"),
        "mech": "kerberos",
        "flags": 2 | 32,
        "usage": "initiate",
    }
    assert mechanism.step(b"mutual") == b""
    assert not mechanism.is_complete
    # The server offers all layers, and 65536 bytes; it is told: none, 0 bytes, and whom the ticket is of.
    assert mechanism.step(b"sealed:" + struct.pack(">I", 7 << 24 | 65536)) == b"sealed:\x01\0\0\0"

    assert kerberos.heard == [None, b"mutual"]
    assert mechanism.is_complete


def test_a_host_that_is_given_stands_for_every_server_and_the_cache_for_every_principal(kerberos: FakeGssapi) -> None:
    Gssapi(host="zk.example.com").begin("10.0.0.1").step(None)

    assert (kerberos.asked["name"], kerberos.asked["creds"]) == ("service zookeeper@zk.example.com", None)


@pytest.mark.parametrize(
    ("offer", "shown"), [(b"", "nothing"), (b"\x06\0\0\0", "06000000"), (b"\x01\0\0\0\0", "0100000000")]
)
def test_a_server_that_insists_on_a_layer_is_refused(kerberos: FakeGssapi, offer: bytes, shown: str) -> None:
    mechanism = Gssapi().begin("zk1")
    mechanism.step(None)
    mechanism.step(b"mutual")

    with pytest.raises(ClientError, match=f"it offers {shown}$"):
        mechanism.step(b"sealed:" + offer)
    assert not mechanism.is_complete


def test_what_kerberos_refuses_is_said_in_its_own_words_and_without_its_numbers(kerberos: FakeGssapi) -> None:
    kerberos.error = GSSError(UNSPECIFIED, "Ticket expired", -1765328352)

    with pytest.raises(ClientError, match=r"^no Kerberos ticket for zookeeper/zk1: Ticket expired$"):
        Gssapi().begin("zk1").step(None)


def test_a_server_that_does_not_prove_itself_is_said_to_be_another(kerberos: FakeGssapi) -> None:
    mechanism = Gssapi().begin("zk1")
    mechanism.step(None)
    kerberos.error = GSSError("Invalid token was supplied", "Success", 100002)

    with pytest.raises(ClientError, match=r"^the answer is not that of zookeeper/zk1: Invalid token was supplied$"):
        mechanism.step(b"it is me")
    assert not mechanism.is_complete


def test_a_kdc_that_is_not_reached_is_no_refusal(kerberos: FakeGssapi) -> None:
    kerberos.error = GSSError(UNSPECIFIED, "Cannot contact any KDC for realm 'EXAMPLE.COM'", -1765328228)

    with pytest.raises(ConnectionError, match="no Kerberos ticket for zookeeper/zk1: Cannot contact any KDC for realm"):
        Gssapi().begin("zk1").step(None)
