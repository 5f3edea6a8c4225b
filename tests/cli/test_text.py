"""Znodes as text: access lists, hexdumps, data for a terminal."""

from __future__ import annotations

import pytest

from corral.cli.failures import UsageError
from corral.cli.shell.ensemble import client_addresses
from corral.cli.text import acl_text, data_json, data_text, hexdump, parse_acl
from corral.wire.data import ACL


def test_an_access_list_is_read_and_spelt() -> None:
    acl = parse_acl("world:anyone:r,digest:bob:+owfo=:crwad,x509:CN=a,O=b:cdrwa,ip:::1/64:w")

    assert acl == [
        ACL(1, "world", "anyone"), ACL(31, "digest", "bob:+owfo="), ACL(31, "x509", "CN=a,O=b"), ACL(2, "ip", "::1/64"),
    ]  # fmt: skip
    assert [acl_text(entry) for entry in acl][1] == "digest:bob:+owfo=:cdrwa"


@pytest.mark.parametrize("text", ["", "world:anyone", "world:anyone:x", "world:anyone:r,nonsense"])
def test_what_is_no_access_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no entry of an access list"):
        parse_acl(text)


def test_a_hexdump_is_as_nettys() -> None:
    assert hexdump(b"hello\0") == (
        "         +-------------------------------------------------+\n"
        "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n"
        "+--------+-------------------------------------------------+----------------+\n"
        "|00000000| 68 65 6c 6c 6f 00                               |hello.          |\n"
        "+--------+-------------------------------------------------+----------------+"
    )


def test_data_does_not_command_a_terminal() -> None:
    assert data_text(b"\x1b[2Jred\n\xff", is_terminal=True) == "\\x1b[2Jred\n\\xff"
    assert data_text(b"\x1b[2J", is_terminal=False) == "\x1b[2J"


def test_data_that_is_no_text_is_base64() -> None:
    assert data_json("ä".encode()) == {"data": "ä"}
    assert data_json(b"\xff\0") == {"data_base64": "/wA="}


def test_a_configuration_gives_the_connect_string() -> None:
    config = (
        "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=[::1]:2888:3888:observer;[::]:2182\n"
        "server.3=c:2888:3888:participant;10.0.0.3:2183\nserver.4=d:1:2:participant\nversion=0"
    )

    assert client_addresses(config) == "a:2181,[::1]:2182,10.0.0.3:2183"
