"""Standing in line: who has to go before whom, and waiting for it.

The rules are pure functions of the names in the line. A writer waits for the contender directly before it, a reader for
the nearest writer before it; so each end of a hold wakes those alone who may go next. A node that goes need not have
been the holder's, so who is woken looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from corral.base.errors import NoAuth, NoNode
from corral.client.aio import AsyncClient
from corral.client.errors import ConnectionLoss, SessionLost
from corral.client.values import WatchEvent
from corral.recipes.asking import Bell
from corral.recipes.contender import Contender
from corral.recipes.held import Held
from corral.recipes.sequence import CANDIDATES, LOCKS, READERS, WRITERS, distance, parse

Rule = Callable[[Iterable[str], set[str], int], str | None]
"""rule(names in the line, own names, own lowest number) -> the name to wait for; None: it is our turn."""


def before_writer(names: Iterable[str], own: set[str], number: int) -> str | None:
    """Return the nearest contender before `number`, of any kind."""
    return _nearest(names, own, number, LOCKS)


def before_reader(names: Iterable[str], own: set[str], number: int) -> str | None:
    """Return the nearest contender before `number` that wants the lock for itself."""
    return _nearest(names, own, number, WRITERS)


def before_candidate(names: Iterable[str], own: set[str], number: int) -> str | None:
    """Return the nearest contender before `number` for a leadership."""
    return _nearest(names, own, number, CANDIDATES)


def _nearest(names: Iterable[str], own: set[str], number: int, markers: Sequence[str]) -> str | None:
    best = None
    for name in names:
        if name in own or (each := parse(name, markers)) is None:
            continue
        behind = distance(each.number, number)
        # Of two with one number the reader stands behind the writer that it was.
        if behind < 0 and (best is None or (behind, each.marker in READERS, name) > best):
            best = (behind, each.marker in READERS, name)
    return best[2] if best is not None else None


class Place:
    """A contender's way from its creation to its turn."""

    def __init__(self, zk: AsyncClient, contender: Contender, rule: Rule, identifier: bytes = b"") -> None:
        self._zk = zk
        self._identifier = identifier
        self._contender = contender
        self._rule = rule
        self._bell = Bell(zk)
        self._held: Held | None = None
        self._watched: set[str] = set()

    async def take(self, *, wait: bool = True) -> Held | None:
        """Contend until it is our turn; return what is held then. Leaves nothing behind in any other case.

        wait: whether to; if not, None is returned where it is not our turn at once. Lost connections and sessions are
        waited for, too: a new session contends anew, at the end of the line. Raises ClientClosed, and refusals.
        """
        contender = self._contender
        try:
            while True:
                if not contender.nodes:
                    await contender.create()
                self._bell.clear()
                try:
                    ahead = await self._look(wait)
                except (ConnectionLoss, SessionLost):
                    continue
                if ahead is not None:
                    if not ahead:
                        return self._held
                    await self._bell.wait()
        except BaseException:
            contender.remove()
            raise
        finally:
            for path in self._watched:
                self._zk.forget_watch(path, self._on_event)

    async def _look(self, wait: bool) -> str | None:
        """Look once; return the path that tells of our turn, "" if there is nothing to wait for, None to look again."""
        contender = self._contender
        try:
            # The listing first: a closed client refuses it at once, and a coroutine made before would never be awaited.
            names, is_ours = await asyncio.gather(
                self._zk.children(contender.directory), contender.verify(self._on_event)
            )
        except NoNode:
            is_ours, names = False, []
        if not is_ours:
            for node in contender.nodes:
                # There may be none at that path ever again.
                self._zk.forget_watch(node.path, self._on_event)
            contender.remove()
            return None
        ahead = self._ahead(names)
        if not ahead and self._bell.is_rung:
            # Something happened since the server answered, maybe to our own node; whoever holds must have seen it.
            return None
        if not ahead:
            self._held = Held(self._zk, contender, self._identifier, self._on_event)
            if self._held.state.is_over:
                # The session ended between the answer and this look at the clock.
                self._held = None
                return None
        elif not wait:
            contender.remove()
            return ""
        else:
            self._watched.add(ahead)
            try:
                # A watch for children: it fires when the node goes, and at nothing that is written into it.
                await self._zk.children(ahead, self._on_event)
            except NoNode:
                return None
            except NoAuth:
                # A stranger's that we may not read, nor watch: the line itself tells when it goes.
                self._watched.add(contender.directory)
                names = await self._zk.children(contender.directory, self._on_event)
                if ahead[ahead.rfind("/") + 1 :] not in names:
                    self._zk.forget_watch(contender.directory, self._on_event)
                    return None
                return contender.directory
        return ahead

    def _ahead(self, names: Iterable[str]) -> str:
        nodes = self._contender.nodes
        parsed = parse(nodes[0].name, (*CANDIDATES, *READERS))
        if parsed is None:
            raise ValueError(f"{nodes[0].name!r} is no name of a contender")
        name = self._rule(names, {node.name for node in nodes}, parsed.number)
        return f"{self._contender.directory.rstrip('/')}/{name}" if name is not None else ""

    def _on_event(self, event: WatchEvent) -> None:
        if self._held is not None:
            self._held.on_event(event)
        else:
            self._bell.ring()
