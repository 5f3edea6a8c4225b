"""The options for SASL: what they make, and what is said of those that do not go together."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner
from tests.support.fakegssapi import FakeGssapi

from corral.cli.failures import UsageError
from corral.cli.main import main
from corral.cli.sasl import sasl_of
from corral.client.sasl import DigestMd5


@pytest.fixture
def kerberos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the package gssapi seem installed."""
    FakeGssapi().install(monkeypatch)


def refused(*options: str, password: str | None = None) -> str:
    """Return what a command says before it looks for a server."""
    asked = ["shell", "-c", "ls /", *options, "127.0.0.1:1"]
    done = CliRunner().invoke(main, asked, env={"CORRAL_SASL_PASSWORD": password}, catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (2, "")
    return done.stderr


def test_nothing_is_made_of_a_password_alone_which_may_stand_in_the_environment() -> None:
    assert sasl_of(None) is None
    assert sasl_of(None, password="secret") is None


def test_a_name_and_a_password_make_digest_md5() -> None:
    sasl = sasl_of("digest-md5", "ann", "secret")

    assert isinstance(sasl, DigestMd5)
    assert repr(sasl) == "DigestMd5('ann', ..., service='zookeeper', host=None)"
    # As servers have it whose users need none.
    assert isinstance(sasl_of("digest-md5", "ann", ""), DigestMd5)


def test_servers_may_call_themselves_otherwise(kerberos: None) -> None:
    named = "service='keeper', host='k.example.com'"

    digest = sasl_of("digest-md5", "ann", "secret", service="keeper", host="k.example.com")
    gssapi = sasl_of("gssapi", service="keeper", host="k.example.com", principal="ann")

    assert repr(digest) == f"DigestMd5('ann', ..., {named})"
    assert repr(gssapi) == f"Gssapi({named}, principal='ann')"


def test_kerberos_needs_no_more_than_its_name_and_minds_no_password(kerberos: None) -> None:
    plain = "Gssapi(service='zookeeper', host=None, principal=None)"

    assert repr(sasl_of("gssapi")) == plain
    assert repr(sasl_of("gssapi", password="secret")) == plain


@pytest.mark.parametrize("option", ["user", "service", "host", "principal"])
def test_an_option_without_a_mechanism_is_refused(option: str) -> None:
    assert refused(f"--sasl-{option}", "x") == (
        f"corral: --sasl-{option} needs --sasl digest-md5 or --sasl gssapi beside it\n"
    )


@pytest.mark.parametrize(
    ("options", "password", "says"),
    [
        (("digest-md5",), "secret", "--sasl digest-md5 needs --sasl-user"),
        (("digest-md5", "--sasl-user", ""), "secret", "--sasl digest-md5 needs --sasl-user"),
        (
            ("digest-md5", "--sasl-user", "ann"),
            None,
            "--sasl digest-md5 needs a password, by CORRAL_SASL_PASSWORD or --sasl-password",
        ),
        (
            ("digest-md5", "--sasl-user", "ann", "--sasl-principal", "ann"),
            "secret",
            "--sasl-principal is for --sasl gssapi; with digest-md5, --sasl-user is the name",
        ),
        (
            ("digest-md5", "--sasl-user", "анна"),
            "secret",
            "username 'анна': DIGEST-MD5 takes the characters of ISO 8859-1 alone",
        ),
        (
            ("gssapi", "--sasl-user", "ann"),
            None,
            "--sasl-user is for --sasl digest-md5; with gssapi, --sasl-principal says whose ticket",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options: tuple[str, ...], password: str | None, says: str) -> None:
    assert refused("--sasl", *options, password=password) == f"corral: {says}\n"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)

    with pytest.raises(UsageError, match=r"GSSAPI needs the package gssapi: install corral\[gssapi\]"):
        sasl_of("gssapi")


def test_another_mechanism_is_refused_with_those_there_are() -> None:
    assert "'plain' is not one of 'digest-md5', 'gssapi'" in refused("--sasl", "plain")
