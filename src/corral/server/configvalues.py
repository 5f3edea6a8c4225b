"""How the text of a setting becomes its value: numbers with a range and a unit, truths, choices, lists.

Each kind says in words what it takes, so that a message about a wrong value can say what would be right.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from corral.base.records import record

Value = int | float | str | bool | None | tuple[str, ...]

INT_MAX = 0x7FFFFFFF
LONG_MAX = 0x7FFFFFFFFFFFFFFF
INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|[0-9]+)")
DURATION = re.compile(r"([0-9]+)\s*(ms|s|m|h|d)?", re.IGNORECASE)
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@record
class Kind:
    """A way to read a value. wanted: what is right, as it follows "expected". parse raises ValueError."""

    wanted: str
    parse: Callable[[str], Value]


def integer(least: int, most: int = INT_MAX, scale: int = 1, *, off: int | None = None, unit: str = "") -> Kind:
    """Take whole numbers from `least` to `most`, decimal or 0x hexadecimal.

    scale: what one unit of the text is in the field's unit. off: what a value below zero becomes, unscaled.
    """

    def parse(text: str) -> int:
        number = _integer(text)
        if not least <= number <= most:
            raise ValueError(text)
        return off if off is not None and number < 0 else number * scale

    bounds = f"at least {least}" if most >= INT_MAX else f"from {least} to {most}"
    return Kind(f"a whole number{' of ' + unit if unit else ''}, {bounds}", parse)


def optional_ms() -> Kind:
    """Take milliseconds above zero, or -1 for the default."""

    def parse(text: str) -> int | None:
        number = _integer(text)
        if not (number == -1 or 0 < number <= INT_MAX):
            raise ValueError(text)
        return None if number == -1 else number

    return Kind("a whole number of ms, at least 1, or -1 for the default", parse)


def port(least: int) -> Kind:
    """Take a port; 0 lets the system choose one, and -1, where allowed, means none."""
    none = ", -1: none" if least < 0 else ""
    return Kind(f"a port from {least} to 65535 (0: the system chooses{none})", integer(least, 65535).parse)


def number(least: float, most: float) -> Kind:
    """Take a number with a decimal point, both bounds inclusive."""

    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return Kind(f"a number from {least:g} to {most:g}", parse)


def duration(unit: str) -> Kind:
    """Take a time as a number and ms, s, m, h or d, and return milliseconds. unit: what a bare number means."""

    def parse(text: str) -> int:
        match = DURATION.fullmatch(text)
        if match is None or int(match[1]) > INT_MAX:
            raise ValueError(text)
        return int(match[1]) * UNITS_MS[(match[2] or unit).lower()]

    return Kind(f"a whole number with ms, s, m, h or d behind it ({unit} if nothing is)", parse)


def boolean() -> Kind:
    """Take true or false. ZooKeeper takes all but "true" for false, silently."""

    def parse(text: str) -> bool:
        return {"true": True, "false": False}[text.lower()]

    return Kind("true or false", parse)


def yes_no(*, risky: str) -> Kind:
    """Take yes or no; true or false pass only for the harmless of the two.

    ZooKeeper takes `skipACL=true` and `forceSync=false` for the opposite of what they say, which is the safe side.
    """
    answers = {"yes": True, "no": False}
    answers |= {"false": False} if risky == "yes" else {"true": True}

    def parse(text: str) -> bool:
        return answers[text.lower()]

    return Kind("yes or no", parse)


def text() -> Kind:
    """Take any text, also none."""
    return Kind("text", str)


def filled() -> Kind:
    """Take any text but none."""

    def parse(text: str) -> str:
        if not text:
            raise ValueError(text)
        return text

    return Kind("a value that is not empty", parse)


def address() -> Kind:
    """Take a name or an address; one of IPv6 may stand in brackets, as in Java."""

    def parse(text: str) -> str:
        bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
        if not bare:
            raise ValueError(text)
        bare.encode("idna")  # What a look-up of the name would raise: a UnicodeError, which is a ValueError.
        return bare

    return Kind("a name or an address", parse)


def url_path() -> Kind:
    """Take the path of an URL, without the braces that would make a pattern of it."""

    def parse(text: str) -> str:
        if not text.startswith("/") or "{" in text or "}" in text:
            raise ValueError(text)
        return text

    return Kind("a path that begins with / and has no braces", parse)


def choice(*names: str) -> Kind:
    """Take one of `names`, in any case, and return it as it is spelled here."""
    spelled = {name.lower(): name for name in names}

    def parse(text: str) -> str:
        return spelled[text.lower()]

    *others, last = (name or "nothing" for name in names)
    return Kind(f"{', '.join(others)} or {last}" if others else last, parse)


def mapped(wanted: str, values: dict[str, str]) -> Kind:
    """Take one of the keys of `values`, in any case, and return what stands there."""
    by_lower = {key.lower(): value for key, value in values.items()}

    def parse(text: str) -> str:
        return by_lower[text.lower()]

    return Kind(wanted, parse)


def commas() -> Kind:
    """Take names with commas between them; blanks around a name and empty names do not count."""

    def parse(text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())

    return Kind("names with commas between them", parse)


def _integer(text: str) -> int:
    match = INTEGER.fullmatch(text)
    if match is None:
        raise ValueError(text)
    digits = match[2]
    value = int(digits, 16) if digits[:2] in ("0x", "0X") else int(digits)
    return -value if match[1] == "-" else value
