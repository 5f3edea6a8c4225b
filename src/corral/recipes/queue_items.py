"""How the items of queues are written: in the names of their nodes, and Curator's in the data, too.

Forms on the wire: KAZOO (`<path>/entry-<priority>-<number>`), KAZOO_LOCKING (the same below `<path>/entries`, claims
in `<path>/taken`), CURATOR (`<path>/queue-<number>`, data framed), CURATOR_PRIORITY, CURATOR_DELAY, and SIMPLE
(`<path>/qn-<number>`, ZooKeeper's own recipe). Claims of Curator's forms are in `lock_path`. Other names are no items.
"""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Sequence
from typing import Final

from corral.base.records import record
from corral.recipes.errors import RecipeError
from corral.recipes.sequence import distance


class QueueForm(enum.Enum):
    """How items are written; see the module."""

    KAZOO = "KAZOO"
    KAZOO_LOCKING = "KAZOO_LOCKING"
    CURATOR = "CURATOR"
    CURATOR_PRIORITY = "CURATOR_PRIORITY"
    CURATOR_DELAY = "CURATOR_DELAY"
    SIMPLE = "SIMPLE"


class BadItem(RecipeError):
    """An item whose data is not framed as its form wants it."""


_NUMBER: Final = r"(-?\d{9,10}|\d{10})\Z"
_NAMES: Final = {
    QueueForm.KAZOO: re.compile(r"entry-(\d{3,})-" + _NUMBER),
    QueueForm.KAZOO_LOCKING: re.compile(r"entry-(\d{3,})-" + _NUMBER),
    QueueForm.CURATOR: re.compile(r"queue-()" + _NUMBER),
    # A plain one is what Curator makes of an item that it puts back.
    QueueForm.CURATOR_PRIORITY: re.compile(r"queue-([01][0-9A-F]{8}|)" + _NUMBER),
    QueueForm.CURATOR_DELAY: re.compile(r"queue-(?:\|([0-9A-F]{8,16})\|)?" + _NUMBER),
    QueueForm.SIMPLE: re.compile(r"qn-()" + _NUMBER),
}
FRAMED: Final = (QueueForm.CURATOR, QueueForm.CURATOR_PRIORITY, QueueForm.CURATOR_DELAY)
_VERSION: Final = b"\0\1\0\1"


@record
class Item:
    """An item's name, taken apart. rank: its priority, or when it is due in ms since 1970: the lowest is first."""

    name: str
    rank: int
    number: int


@record
class Claimed:
    """An item that is kept from others. items: what was put, several where one znode has several.

    fencing_token: the czxid of the claim's node. version: of the item. fence: a node that goes with the session.
    """

    name: str
    items: list[bytes]
    version: int
    fencing_token: int
    session_id: int
    fence: str


def parse_item(name: str, form: QueueForm) -> Item | None:
    """Take an item's name apart; None for a stranger's."""
    found = _NAMES[form].match(name)
    if found is None:
        return None
    rank = found[1] or ""
    if form is QueueForm.CURATOR_PRIORITY:
        value = int(rank[1:], 16) if rank else 0
        return Item(name, value - (1 << 32) if rank[:1] == "0" else value, int(found[2]))
    if form is QueueForm.CURATOR_DELAY:
        return Item(name, int(rank, 16) if rank else 0, int(found[2]))
    return Item(name, int(rank) if rank else 0, int(found[2]))


def item_name(form: QueueForm, rank: int) -> str:
    """Return an item's name up to its number. Raises ValueError for a rank that the form cannot hold."""
    if form in (QueueForm.KAZOO, QueueForm.KAZOO_LOCKING):
        if not 0 <= rank <= 999:
            raise ValueError(f"priority {rank}: must be 0 to 999")
        return f"entry-{rank:03d}-"
    if form is QueueForm.CURATOR_PRIORITY:
        if not -(1 << 31) <= rank < 1 << 31:
            raise ValueError(f"priority {rank}: must fit 32 bits")
        return f"queue-{int(rank >= 0)}{rank & 0xFFFFFFFF:08X}"
    if form is QueueForm.CURATOR_DELAY:
        return f"queue-|{max(rank, 0):08X}|"
    return "queue-" if form is QueueForm.CURATOR else "qn-"


def in_order(names: Sequence[str], form: QueueForm) -> list[Item]:
    """Return the items among `names`: by rank, then in the order in which they were put, numbers wrapping."""
    items = [item for item in (parse_item(name, form) for name in names) if item is not None]
    base = items[0].number if items else 0
    items.sort(key=lambda item: (item.rank, distance(item.number, base)))
    return items


def frame(items: Sequence[bytes]) -> bytes:
    """Return items as Curator frames them in one znode."""
    return _VERSION + b"".join(struct.pack(">bi", 1, len(item)) + item for item in items) + b"\2"


def unframe(data: bytes) -> list[bytes]:
    """Return the items in one znode of Curator's. Raises BadItem."""
    if data[:4] != _VERSION:
        raise BadItem(f"item data {data[:20]!r} does not begin with {_VERSION!r}")
    items = []
    at = 4
    while data[at : at + 1] == b"\1" and at + 5 <= len(data):
        (size,) = struct.unpack_from(">i", data, at + 1)
        at += 5
        if not 0 <= size <= len(data) - at:
            raise BadItem(f"an item of {size} bytes in {len(data) - at}")
        items.append(data[at : at + size])
        at += size
    if data[at : at + 1] != b"\2":
        raise BadItem(f"item data ends with {data[at:][:20]!r}, not with 02")
    return items
