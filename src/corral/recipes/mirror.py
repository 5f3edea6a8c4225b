"""The core of every cache: a copy of a znode and what is below it, without sockets, clocks or chance.

The shell hands in events (`saw`) and what it has read (`took_data`, `took_names`); it asks what to read next (`take`)
and takes the `changes`, in order. A change is always something that was read, never an event alone: an event only makes
its path be read again. Reads of one path come back in the order in which they were made, so that a path never goes back
in time; what happened and was undone between two reads is not seen, but a znode that was deleted and made again is told
from one that changed by its czxid, and reported as DELETED, then CREATED. Below it, what was read before it and is
younger stays: it is reported once, before its parent.

    STALE --reload, and all that it asks for was read--> IN STEP --connection lost--> STALE

Invariants: a name in `_names` is a znode in `_nodes`. A path in `_owed` is yet to be read, or its children are to be
listed, before the copy is in step.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from corral.client.values import EventType, WatchEvent, ZnodeStat

Found = tuple[bytes, ZnodeStat] | str | None
"""The data and stat of a znode; None: there is no such znode; a str: why it cannot be read."""
Listing = list[str] | str | None
"""The names of a znode's children, or as in `Found`."""


class CachedNode(NamedTuple):
    """A znode as a cache has it.

    The counts of its children in `stat` are those of when the znode itself was read last.
    """

    path: str
    data: bytes
    stat: ZnodeStat


class ChangeType(enum.Enum):
    """What a cache reports.

    CREATED, CHANGED, DELETED: of a znode. STALE: the connection is lost, the copy grows old. IN_STEP: everything has
    been read, for the first time or again. OVERRUN: a listener was too slow, and `lost` changes were not kept for it;
    it should look at the whole copy.
    """

    CREATED = "CREATED"
    CHANGED = "CHANGED"
    DELETED = "DELETED"
    STALE = "STALE"
    IN_STEP = "IN_STEP"
    OVERRUN = "OVERRUN"


class Change(NamedTuple):
    """One report of a cache.

    node: what is there now, None if nothing. before: what was there; with CREATED it is the znode whose place the new
    one took. lost: how many reports an OVERRUN stands for.
    """

    type: ChangeType
    path: str
    node: CachedNode | None = None
    before: CachedNode | None = None
    lost: int = 0


class Batch(NamedTuple):
    """What to read next: the data of some znodes, the children's names of others. generation: of the reload."""

    generation: int
    data: list[str]
    names: list[str]


class Mirror:
    """See the module.

    root: path of the topmost znode. depth: how many levels below it count, None for all. is_one_shot: whether the
    watches are plain ones, which have to be set again by reading. keep_data: whether data is kept, or only stats.
    """

    def __init__(self, root: str, depth: int | None = None, is_one_shot: bool = False, keep_data: bool = True) -> None:
        self.root = root
        self.is_one_shot = is_one_shot
        self.is_in_step = False
        self.changes: list[Change] = []
        self.unreadable: dict[str, str] = {}
        self._base = "" if root == "/" else root
        self._depth = depth
        self._keep_data = keep_data
        self._generation = 0
        self._nodes: dict[str, CachedNode] = {}
        self._names: dict[str, dict[str, None]] = {}
        self._listed: dict[str, int] = {}
        self._dirty: dict[str, None] = {}
        self._unlisted: dict[str, None] = {}
        self._owed: set[str] = set()

    # What it knows.

    def get(self, path: str) -> CachedNode | None:
        """Return a znode."""
        return self._nodes.get(path)

    def children(self, path: str) -> list[str]:
        """Return the names of a znode's children, sorted."""
        return sorted(self._names.get(path, ()))

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[CachedNode]:
        return iter(list(self._nodes.values()))

    # What happens.

    def stale(self) -> None:
        """Note that events may be missed from now on."""
        if self.is_in_step:
            self.changes.append(Change(ChangeType.STALE, self.root))
        self.is_in_step = False

    def reload(self) -> None:
        """Have everything read again; what is read under way for an earlier reload is read again, too."""
        self._generation += 1
        self.is_in_step = False
        # Also what has been listed and not read yet: its parent will not be listed again for it.
        self._dirty = dict.fromkeys([self.root, *self._nodes, *self._dirty])
        self._owed = set(self._dirty)
        self._unlisted.clear()
        if self.is_one_shot:
            self._listed.clear()

    def saw(self, event: WatchEvent) -> None:
        """Take note of an event of a watch."""
        path = event.path
        level = self._level(path)
        if event.type is EventType.NONE or level is None or (self._depth is not None and level > self._depth):
            return
        if event.type is EventType.CHILD:
            self._listed.pop(path, None)
            if path in self._nodes and self._may_list(path):
                self._unlisted[path] = None
            return
        self._dirty[path] = None
        if event.type is EventType.DELETED:
            self._listed.pop(path, None)

    def take(self, limit: int) -> Batch | None:
        """Return what to read next, at most `limit` znodes; None if there is nothing."""
        if not self._dirty and not self._unlisted:
            return None
        data = _taken(self._dirty, limit)
        return Batch(self._generation, data, _taken(self._unlisted, limit - len(data)))

    def put_back(self, batch: Batch) -> None:
        """Note that a batch could not be read; every batch is put back or taken, before a reload if it can be."""
        self._dirty.update(dict.fromkeys(batch.data))
        if batch.generation == self._generation:
            self._unlisted.update(dict.fromkeys(batch.names))
        else:
            self._owed.update(batch.data)

    def took(self, batch: Batch, data: Sequence[Found], names: Sequence[Listing]) -> None:
        """Take the results of a batch, in its order."""
        if batch.generation != self._generation:
            self.put_back(batch)
            return
        for path, found in zip(batch.data, data, strict=True):
            if isinstance(found, str):
                self._fault(path, found)
            elif found is None:
                self._gone(path)
            else:
                self._found(CachedNode(path, found[0] if self._keep_data else b"", found[1]))
        for path, listing in zip(batch.names, names, strict=True):
            if isinstance(listing, str):
                self._fault(path, listing)
            elif listing is None:
                self._dirty[path] = None
            else:
                self._list(path, listing)
        self._settle()

    # Inside.

    def _found(self, node: CachedNode) -> None:
        path, stat = node.path, node.stat
        old = self._nodes.get(path)
        self.unreadable.pop(path, None)
        if old is not None and old.stat.czxid != stat.czxid:
            # What is below belongs to the old one, unless it was read later and is younger than the new one.
            self._drop(path, stat.czxid)
            self.changes.append(Change(ChangeType.CREATED, path, node, old))
        elif old is None:
            self.changes.append(Change(ChangeType.CREATED, path, node))
        elif old.stat.mzxid != stat.mzxid:
            self.changes.append(Change(ChangeType.CHANGED, path, node, old))
        self._nodes[path] = node
        if path != self.root:
            parent, name = self._split(path)
            self._names.setdefault(parent, {})[name] = None
        if self._should_list(path, stat):
            self._unlisted[path] = None
        else:
            self._owed.discard(path)

    def _should_list(self, path: str, stat: ZnodeStat) -> bool:
        if stat.ephemeral_owner or not self._may_list(path) or self._listed.get(path) == stat.pzxid:
            return False
        return self.is_one_shot or stat.num_children > 0 or bool(self._names.get(path))

    def _list(self, path: str, listing: list[str]) -> None:
        node = self._nodes.get(path)
        if node is None:
            return
        # The list may be younger than this. Then it is read once more than needed, after a reload.
        self._listed[path] = node.stat.pzxid
        known = self._names.get(path, {})
        there = dict.fromkeys(sorted(listing))
        base = "" if path == "/" else path
        for name in [*there, *known]:
            if name not in known or name not in there:
                self._dirty[f"{base}/{name}"] = None
                if path in self._owed:
                    self._owed.add(f"{base}/{name}")
        if path not in self._dirty:
            self._owed.discard(path)

    def _gone(self, path: str) -> None:
        self._drop(path, None)
        self.unreadable.pop(path, None)
        self._owed.discard(path)
        self._unlisted.pop(path, None)

    def _drop(self, path: str, czxid: int | None) -> None:
        """Report a znode and what is below it as deleted, children first; but not what is younger than `czxid`."""
        waiting = [path]
        found = []
        while waiting:
            at = waiting.pop()
            base = "" if at == "/" else at
            waiting.extend(f"{base}/{name}" for name in self._names.get(at, ()))
            found.append(at)
        for at in reversed(found):
            node = self._nodes.get(at)
            if node is None or (czxid is not None and node.stat.czxid > czxid):
                continue
            del self._nodes[at]
            self._listed.pop(at, None)
            self._unlisted.pop(at, None)
            if at != path:
                self._owed.discard(at)
            if not self._names.get(at):
                self._names.pop(at, None)
            if at != self.root:
                parent, name = self._split(at)
                siblings = self._names.get(parent, {})
                siblings.pop(name, None)
                if not siblings:
                    self._names.pop(parent, None)
            self.changes.append(Change(ChangeType.DELETED, at, None, node))

    def _fault(self, path: str, why: str) -> None:
        """Go on without a znode that cannot be read; what was known of it is no longer true for certain."""
        self._drop(path, None)
        self.unreadable[path] = why
        self._owed.discard(path)

    def _settle(self) -> None:
        if not self._owed and not self.is_in_step:
            self.is_in_step = True
            self.changes.append(Change(ChangeType.IN_STEP, self.root, self._nodes.get(self.root)))

    def _level(self, path: str) -> int | None:
        """Return how far below the root a path is, None if it is not."""
        if path == self.root:
            return 0
        if not path.startswith(self._base + "/"):
            return None
        return path.count("/", len(self._base))

    def _may_list(self, path: str) -> bool:
        level = self._level(path)
        return level is not None and (self._depth is None or level < self._depth)

    def _split(self, path: str) -> tuple[str, str]:
        parent, _, name = path.rpartition("/")
        return parent or "/", name


def _taken(queue: dict[str, None], limit: int) -> list[str]:
    taken = list(islice(queue, limit))
    for path in taken:
        del queue[path]
    return taken
