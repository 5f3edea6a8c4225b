"""Names of contenders: what they are called by each library, and who came first.

A contender's name ends with a marker and the number that the server appended: `_c_<uuid>-lock-0000000007`,
`<hex>__lock__0000000008`. The number is the parent's count of creations as a signed 32-bit one: after 2147483647 comes
-2147483648, printed with its sign. Contenders that are there at once are never 2^31 apart, so the difference of two
numbers, taken modulo 2^32 as a signed one, tells which is older. Names that are no contenders' are strangers, and do
not count. Source: the reference, "Sequence numbers, ordering, mixed populations".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from corral.base.records import record

PROTECTED: Final = "_c_"
"""How a protected name begins; a UUID and a dash follow."""
LOCK: Final = "lock-"
KAZOO_LOCK: Final = "__lock__"
KAZOO_READ: Final = "__rlock__"
READ: Final = "__READ__"
WRITE: Final = "__WRIT__"
LATCH: Final = "latch-"
LEASE: Final = "lease-"

WRITERS: Final = (LOCK, KAZOO_LOCK, WRITE)
"""Markers of contenders that want something for themselves."""
READERS: Final = (KAZOO_READ, READ)
"""Markers of contenders that share with others of their kind."""
LOCKS: Final = (*WRITERS, *READERS)
CANDIDATES: Final = (LATCH, *WRITERS)
"""Markers of contenders for a leadership."""

_NUMBER: Final = re.compile(r"\d{10}|-\d{9,10}")
_HALF: Final = 1 << 31
_MASK: Final = (1 << 32) - 1


@record
class Sequenced:
    """A contender's name, taken apart. marker: one of those asked for. number: signed, 32 bits."""

    name: str
    marker: str
    number: int


def number_text(number: int) -> str:
    """Return a sequence number as servers print it."""
    return f"{number:010d}"


def parse(name: str, markers: Sequence[str] = LOCKS) -> Sequenced | None:
    """Take a name apart; None for a stranger: a name without one of `markers` directly before its number."""
    for marker in markers:
        at = name.rfind(marker)
        if at < 0:
            continue
        text = name[at + len(marker) :]
        if _NUMBER.fullmatch(text) and -_HALF <= int(text) < _HALF:
            return Sequenced(name, marker, int(text))
    return None


def distance(a: int, b: int) -> int:
    """Return by how much sequence number `a` is newer than `b`; negative if it is older."""
    return ((a - b + _HALF) & _MASK) - _HALF


def in_order(names: Iterable[str], markers: Sequence[str] = LOCKS, base: int | None = None) -> list[Sequenced]:
    """Return the contenders among `names`, the oldest first.

    base: a number that one of them has; the first one's unless given. Of two with one number, as a writer has who
    became a reader, the writer comes first.
    """
    found = [each for name in names if (each := parse(name, markers)) is not None]
    if not found:
        return found
    origin = found[0].number if base is None else base
    found.sort(key=lambda each: (distance(each.number, origin), each.marker in READERS, each.name))
    return found
