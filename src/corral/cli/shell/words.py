"""From a line to a command's words, options and arguments. Decides what a line means, knows no server.

A word that begins with a quote goes to the next quote of the same kind; any other goes to the next blank, and quotes
and backslashes in it stand for themselves, so that `set /a {"b":1}` says what it seems to say. Options may stand
anywhere, short ones together (`-sw`); after `--` nothing is an option. Source: zkCli, whose lines keep their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from corral.base.records import record
from corral.cli.failures import UsageError

_WORD: Final = re.compile(r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<plain>[^"'\s]\S*))""")
_NUMBER: Final = re.compile(r"-\d+(\.\d*)?\Z")


def split(line: str) -> list[str]:
    """Split a line into words. Raises UsageError for a quote that does not end."""
    words = []
    line = line.rstrip()
    at = 0
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            raise UsageError(f"the quote at {line[at:].strip()[:20]} does not end")
        words.append(next(group for group in found.groups() if group is not None))
        at = found.end()
    return words


@record
class Args:
    """A command's arguments. options: by name without dashes; "" for those without a value."""

    usage: str
    values: list[str]
    options: dict[str, str]

    def has(self, option: str) -> bool:
        """Tell whether an option was given."""
        return option in self.options

    def at(self, index: int, default: str = "") -> str:
        """Return an argument, `default` if there are not so many."""
        return self.values[index] if index < len(self.values) else default

    def number(self, option: str, default: int = -1, base: int = 10, bits: int = 32) -> int:
        """Return an option's value as a number. bits: of the field that it goes to. Raises UsageError."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = int(text, base)
        except ValueError:
            kind = "a number" if base == 10 else "a hexadecimal number"
            raise UsageError(f"-{option} needs {kind}, not {text!r}; usage: {self.usage}") from None
        most = (1 << (bits - 1)) - 1
        if not -most - 1 <= value <= most:
            raise UsageError(f"-{option} {text}: must be from {-most - 1} to {most}; usage: {self.usage}")
        return value


def parse(usage: str, words: Sequence[str], flags: Sequence[str], valued: Sequence[str], least: int, most: int) -> Args:
    """Tell options from arguments. flags, valued: options without and with a value. least, most: arguments.

    Raises UsageError.
    """
    values: list[str] = []
    options: dict[str, str] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            values += left
            break
        if len(word) < 2 or word[0] != "-" or _NUMBER.match(word):
            values.append(word)
            continue
        name = word.lstrip("-")
        if name in valued:
            if not left:
                raise UsageError(f"{word} needs a value; usage: {usage}")
            given = left.pop(0)
            # Repeated, a list of servers goes on.
            options[name] = f"{options[name]},{given}" if name in options and len(name) > 1 else given
        elif name in flags:
            options[name] = ""
        elif not word.startswith("--") and name and set(name) <= set(flags):
            options |= dict.fromkeys(name, "")
        else:
            raise UsageError(f"there is no option {word} (put -- before a word that is none); usage: {usage}")
    if not least <= len(values) <= most:
        what = "needs more" if len(values) < least else f"has no use for {values[most]!r}"
        raise UsageError(f"the command {what}; usage: {usage}")
    return Args(usage, values, options)
