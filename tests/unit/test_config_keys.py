"""The table of keys is whole: every field has a key, every default passes its own check, no spelling is used twice."""

from __future__ import annotations

import typing
from dataclasses import fields

import pytest

from corral.replica.config import Config
from corral.server.configkeys import FAMILIES, KEYS, Key, spellings, variable_of

HINTS = typing.get_type_hints(Config)
# Set by a file of its own, and the home of keys without a field.
NO_KEY = {"server_id", "other"}
SAMPLES = (
    "true", "yes", "no", "0", "1", "2", "3", "7", "100", "0x10", "-1", "0.5", "1h", "gz", "text", "debug", "SHA-256",
    "prometheus", "a,b", "127.0.0.1", "participant", "/path",
)  # fmt: skip


def accepted(key: Key) -> list[object]:
    values: list[object] = []
    for sample in SAMPLES:
        try:
            values.append(key.kind.parse(sample))
        except (ValueError, KeyError):
            continue
    return values


def test_every_field_of_the_configuration_has_a_key() -> None:
    reached = {key.field for key in KEYS} | {family.field for family in FAMILIES}

    assert {each.name for each in fields(Config)} - reached == NO_KEY - {"other"}


def test_every_key_has_a_field() -> None:
    names = {each.name for each in fields(Config)}

    assert {key.field for key in KEYS} | {family.field for family in FAMILIES} <= names


def test_no_field_but_other_has_two_keys() -> None:
    own = [key.field for key in KEYS if key.field != "other"]

    assert len(own) == len(set(own))


def test_no_spelling_means_two_keys() -> None:
    assert len(spellings()) == sum(1 + len(key.aliases) for key in KEYS)


def test_no_variable_means_two_keys() -> None:
    names = spellings()

    assert len({variable_of(name) for name in names}) == len(names)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_key_takes_values_of_its_fields_type(key: Key) -> None:
    values = accepted(key)

    assert values
    if key.field != "other":
        hint = HINTS[key.field]
        origin = typing.get_origin(hint)
        allowed = (tuple,) if origin is tuple else typing.get_args(hint) or (hint,)
        assert all(type(value) in allowed for value in values), (key.name, values, allowed)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_a_key_says_what_it_does_and_what_it_takes(key: Key) -> None:
    assert key.doc.endswith(".")
    assert key.kind.wanted


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("tickTime", "CORRAL_TICK_TIME"),
        ("jute.maxbuffer", "CORRAL_JUTE_MAXBUFFER"),
        ("maxClientCnxns", "CORRAL_MAX_CLIENT_CNXNS"),
        ("skipACL", "CORRAL_SKIP_ACL"),
        ("enableEagerACLCheck", "CORRAL_ENABLE_EAGER_ACL_CHECK"),
        ("4lw.commands.whitelist", "CORRAL_4LW_COMMANDS_WHITELIST"),
        ("snapSizeLimitInKb", "CORRAL_SNAP_SIZE_LIMIT_IN_KB"),
        ("connection_throttle_tokens", "CORRAL_CONNECTION_THROTTLE_TOKENS"),
        ("fips-mode", "CORRAL_FIPS_MODE"),
        ("admin.serverPort", "CORRAL_ADMIN_SERVER_PORT"),
        ("emulate353TTLNodes", "CORRAL_EMULATE353_TTL_NODES"),
        ("corral.setwatches.maxbuffer", "CORRAL_SETWATCHES_MAXBUFFER"),
    ],
)
def test_a_variable_is_spelled_after_its_key(name: str, variable: str) -> None:
    assert name in spellings()
    assert variable_of(name) == variable
