"""A zoo.cfg is read line for line as java.util.Properties reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.server.properties import PropertiesError, parse_properties


def pairs(text: str) -> list[tuple[str, str]]:
    return [(found.key, found.value) for found in parse_properties(text)]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("a=b", "a", "b"),
        ("a:b", "a", "b"),
        ("a b", "a", "b"),
        ("a\tb", "a", "b"),
        ("a = b", "a", "b"),
        ("a : b", "a", "b"),
        ("   a=b", "a", "b"),
        ("\f\ta=b", "a", "b"),
        ("a", "a", ""),
        ("a=", "a", ""),
        ("=b", "", "b"),
        ("a==b", "a", "=b"),
        ("a= =b", "a", "=b"),
        ("a=:b", "a", ":b"),
        ("a=b ", "a", "b "),
        ("a=b c", "a", "b c"),
        ("a=b#c", "a", "b#c"),
        ("a\\=b=c", "a=b", "c"),
        ("a\\:b c", "a:b", "c"),
        ("a\\ b=c", "a b", "c"),
        ("\\#a=b", "#a", "b"),
        ("a=\\tb\\nc\\rd\\fe", "a", "\tb\nc\rd\fe"),
        ("a=\\z\\b", "a", "zb"),
        ("a=c:\\\\dir", "a", "c:\\dir"),
        ("a=\\u00e4\\u0041", "a", "äA"),
        ("\\u0061=b", "a", "b"),
        ("a=\\ud83d\\ude00", "a", "\N{GRINNING FACE}"),
        ("server.1=h:2888:3888;2181", "server.1", "h:2888:3888;2181"),
    ],
)
def test_one_line_is_split_and_unescaped(line: str, key: str, value: str) -> None:
    assert pairs(line) == [(key, value)]


@pytest.mark.parametrize("text", ["", "\n\n", "# a=b", "! a=b", "   # a=b", " \t\f ", "# a=b\\"])
def test_comments_and_blank_lines_say_nothing(text: str) -> None:
    assert pairs(text) == []


def test_a_comment_is_not_continued() -> None:
    assert pairs("# one\\\na=b") == [("a", "b")]


def test_an_odd_number_of_backslashes_continues_a_line() -> None:
    assert pairs("a=b\\\n   c\nd=e") == [("a", "bc"), ("d", "e")]
    assert pairs("a=b\\\\\nc=d") == [("a", "b\\"), ("c", "d")]
    assert pairs("a=b\\\\\\\nc=d") == [("a", "b\\c=d")]


def test_a_continuation_is_never_a_comment() -> None:
    assert pairs("a=b\\\n# c") == [("a", "b# c")]


def test_a_blank_continuation_ends_the_line() -> None:
    assert pairs("a=b\\\n\nc=d") == [("a", "b"), ("c", "d")]


def test_a_backslash_at_the_end_of_the_file_is_dropped() -> None:
    assert pairs("a=b\\") == [("a", "b")]


def test_a_key_may_stand_on_several_lines() -> None:
    assert pairs("a\\\nb\\\n  c = d") == [("abc", "d")]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_kind_of_line_end_is_one(end: str) -> None:
    assert pairs(f"a=b{end}{end}c=d{end}") == [("a", "b"), ("c", "d")]


def test_lines_are_numbered_where_they_begin() -> None:
    found = parse_properties("# one\r\n\r\na=b\\\n  c\nd=e")

    assert [each.line for each in found] == [3, 5]


def test_repeated_keys_are_all_returned_in_order() -> None:
    assert pairs("a=1\na=2") == [("a", "1"), ("a", "2")]


@pytest.mark.parametrize("value", ["\\u", "\\u12", "\\u12g4", "\\u 123", "\\u+123"])
def test_a_broken_unicode_escape_is_refused_with_its_line(value: str) -> None:
    with pytest.raises(PropertiesError, match="four hexadecimal digits") as caught:
        parse_properties(f"a=b\nc={value}")

    assert caught.value.line == 2


@given(st.text(), st.text())
def test_any_key_and_value_survive_escaping(key: str, value: str) -> None:
    def escape(text: str) -> str:
        raw = text.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{raw[at]:02x}{raw[at + 1]:02x}" for at in range(0, len(raw), 2))

    assert pairs(f"x{escape(key)}={escape(value)}") == [("x" + key, value)]


@given(st.text(alphabet="ab\\=: \t\n\r#!u0f", max_size=40))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    try:
        found = parse_properties(text)
    except PropertiesError:
        return

    assert all(1 <= each.line <= len(text.splitlines()) for each in found)
