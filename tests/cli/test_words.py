"""Lines of the shell: words, quotes, options."""

from __future__ import annotations

import pytest

from corral.cli.failures import UsageError
from corral.cli.shell.words import parse, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ls /", ["ls", "/"]),
        ("  set   /a  'two words' ", ["set", "/a", "two words"]),
        ('set /a ""', ["set", "/a", ""]),
        ('set /a {"b":"c d"}', ["set", "/a", '{"b":"c', 'd"}']),
        ("""set /a '{"b": 1}'""", ["set", "/a", '{"b": 1}']),
        ("set /a C:\\dir\\n", ["set", "/a", "C:\\dir\\n"]),
        ("", []),
    ],
)
def test_quotes_group_at_a_words_begin_and_stand_for_themselves_within(line: str, words: list[str]) -> None:
    assert split(line) == words


def test_a_quote_that_does_not_end_is_named() -> None:
    with pytest.raises(UsageError, match='the quote at "/a b does not end'):
        split('get "/a b')


def test_options_stand_anywhere_together_or_alone_and_end_at_two_dashes() -> None:
    args = parse("u", ["/a", "-sw", "-v", "3", "--", "-x"], ("s", "w"), ("v",), 1, 2)

    assert args.values == ["/a", "-x"]
    assert args.options == {"s": "", "w": "", "v": "3"}
    assert args.number("v") == 3


@pytest.mark.parametrize(("text", "bits"), [("2147483647", 32), ("-2147483648", 32), ("9223372036854775807", 64)])
def test_a_number_may_fill_its_field(text: str, bits: int) -> None:
    assert parse("u", ["-v", text], (), ("v",), 0, 0).number("v", bits=bits) == int(text)


@pytest.mark.parametrize(("text", "bits"), [("2147483648", 32), ("-2147483649", 32), ("9223372036854775808", 64)])
def test_a_number_beyond_its_field_is_refused(text: str, bits: int) -> None:
    with pytest.raises(UsageError, match=f"^-v {text}: must be from -"):
        parse("u", ["-v", text], (), ("v",), 0, 0).number("v", bits=bits)


def test_negative_numbers_and_a_single_dash_are_arguments() -> None:
    assert parse("u", ["-5", "-1.5", "-"], (), (), 0, 3).values == ["-5", "-1.5", "-"]


def test_long_options_take_one_dash_or_two_and_add_up() -> None:
    args = parse("u", ["-add", "1=a", "--add", "2=b"], (), ("add",), 0, 0)

    assert args.options == {"add": "1=a,2=b"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-z"], "there is no option -z (put -- before a word that is none); usage: ls path"),
        (["-v"], "-v needs a value; usage: ls path"),
        ([], "the command needs more; usage: ls path"),
        (["/a", "/b"], "the command has no use for '/b'; usage: ls path"),
    ],
)
def test_mistakes_are_one_sentence_with_the_usage(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("ls path", words, ("s",), ("v",), 1, 1)

    assert str(caught.value) == says


def test_a_value_that_is_no_number_is_named() -> None:
    args = parse("set path", ["-v", "new", "/a"], (), ("v",), 1, 1)

    with pytest.raises(UsageError, match="-v needs a number, not 'new'; usage: set path"):
        args.number("v")
