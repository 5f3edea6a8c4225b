"""Java's .properties syntax, in which a zoo.cfg is written.

It knows lines, escapes and comments, and no key. Source: java.util.Properties.load.
"""

from __future__ import annotations

from collections.abc import Iterator

from corral.base.records import record

SPACE = " \t\f"
ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


@record
class Property:
    """One key and its value, unescaped. line: where it begins, from 1."""

    key: str
    value: str
    line: int


class PropertiesError(ValueError):
    """A text is not a properties file. line: where, from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def parse_properties(text: str) -> list[Property]:
    """Parse a properties file, in order, with repeated keys.

    Raises PropertiesError for a broken unicode escape, the only thing that Java refuses.
    """
    return [_property(logical, line) for logical, line in _logical_lines(text)]


def _logical_lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield lines with their continuations joined, without comments and blank lines.

    A comment is not continued, and a continuation is never a comment; a blank continuation ends the line.
    """
    joined: str | None = None
    begun = 0
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = raw.lstrip(SPACE)
        if not joined:
            if not line or line[0] in "#!":
                continue
            joined, begun = "", number
        goes_on = _ends_in_backslash(line)
        joined += line[:-1] if goes_on else line
        if not goes_on:
            yield joined, begun
            joined = None
    if joined:
        yield joined, begun


def _ends_in_backslash(line: str) -> bool:
    """Tell whether an odd number of backslashes ends the line, so that the last one escapes the line's end."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _property(line: str, number: int) -> Property:
    end = 0
    while end < len(line) and line[end] not in "=:" + SPACE:
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(SPACE)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(SPACE)
    return Property(_unescape(line[:end], number), _unescape(rest, number), number)


def _unescape(text: str, number: int) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char != "\\":
            out.append(char)
            continue
        escaped = text[at : at + 1]
        at += 1
        if escaped == "u":
            out.append(_unicode(text[at : at + 4], number))
            at += 4
        else:
            out.append(ESCAPES.get(escaped, escaped))
    # Java strings are UTF-16: two escapes may make one character.
    return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unicode(digits: str, number: int) -> str:
    if len(digits) != 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
        raise PropertiesError(number, f"\\u{digits} is not a unicode escape: four hexadecimal digits follow \\u")
    return chr(int(digits, 16))
