"""A place in a queue: ephemeral, sequential nodes that are made once though replies get lost, and removed for certain.

A node belongs to a contender if its path, its czxid and the session that owns it are those of the creation, by the
server's answer: never by name alone. A node of an earlier session is void even while it is still there.

The schedule that protection is for:

1. The create is carried out, and its reply is lost with the connection.
2. The client is back, maybe at a server that has not caught up: `sync`, then the children are listed.
3. A child with our prefix is found, and its owner is our session: it is ours. With another owner it is removed.

Whatever ends `create` early, cancellation too, has the nodes looked for and removed in the background.
Source: Curator's `withProtection`, in the reference.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Final

from corral.base.errors import NoNode, Outcome, Unimplemented
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ConnectionLoss, SessionLost
from corral.client.transaction import TransactionFailed
from corral.client.values import ZnodeStat
from corral.client.watches import Listener
from corral.recipes.errors import ParentsVanish
from corral.recipes.sequence import PROTECTED
from corral.wire.data import ACL

PARENTS_MADE_MAX: Final = 8
"""How often parents that vanish again are made before a creation fails."""
_PAUSE_S: Final = 0.05
_PAUSE_MAX_S: Final = 2.0


@record
class Owned:
    """A node and whose it is. session_id: of the session that made it."""

    path: str
    czxid: int
    session_id: int

    @property
    def name(self) -> str:
        """The last element of the path."""
        return self.path[self.path.rfind("/") + 1 :]

    def is_in(self, stat: ZnodeStat | None) -> bool:
        """Tell whether `stat` is of this very node."""
        return stat is not None and stat.czxid == self.czxid and stat.ephemeral_owner == self.session_id


class Contender:
    """Nodes in `directory`, made by one transaction: one for each of `endings`.

    endings: what stands between the protecting prefix and the number. data: of each node. acl: of the nodes and of
    parents that are missing. is_hex: begin the names with 32 hex digits, as kazoo does, not with Curator's prefix.
    nodes: those there are, in the order of `endings`; empty when there are none.
    """

    def __init__(
        self, zk: AsyncClient, directory: str, endings: Sequence[str], data: bytes = b"",
        acl: Sequence[ACL] | None = None, *, is_hex: bool = False,
    ) -> None:  # fmt: skip
        self._zk = zk
        self.directory = directory
        self._endings = tuple(endings)
        self._data = data
        self._acl = acl
        self._is_hex = is_hex
        self.prefix = ""
        self.nodes: tuple[Owned, ...] = ()

    @property
    def first(self) -> Owned:
        """The node with the lowest number."""
        return self.nodes[0]

    async def create(self) -> None:
        """Make the nodes, in this session. Raises the server's refusals, ClientClosed, ParentsVanish."""
        self.nodes = ()
        try:
            while not self.nodes:
                token = uuid.uuid4()
                self.prefix = token.hex if self._is_hex else f"{PROTECTED}{token}-"
                try:
                    made = await self._create()
                except (ConnectionLoss, SessionLost) as error:
                    is_unknown = error.outcome is Outcome.UNKNOWN or len(self._endings) > 1
                    made = await self._find() if is_unknown else ()
                if len(made) == len(self._endings) and {node.session_id for node in made} == {self._zk.session_id}:
                    self.nodes = made
                elif made:
                    # Of a session that is over, or will be: it must not be taken for ours.
                    remove(self._zk, [node.path for node in made])
        except BaseException:
            self.withdraw()
            raise

    async def verify(self, listener: Listener | None = None) -> bool:
        """Ask the server whether the nodes are there and this session's. listener: told once when one changes."""
        if not self.nodes:
            return False
        nodes = self.nodes
        stats = await asyncio.gather(*(self._zk.exists(node.path, listener) for node in nodes))
        session = self._zk.session_id
        return all(node.is_in(stat) and node.session_id == session for node, stat in zip(nodes, stats, strict=True))

    def remove(self) -> asyncio.Task[None] | None:
        """Remove the nodes, for certain, in the background; the task ends when the server has said that they are gone.

        None if there is nothing to wait for.
        """
        nodes, self.nodes = self.nodes, ()
        return remove(self._zk, [node.path for node in nodes]) if nodes else None

    def withdraw(self) -> None:
        """Remove the nodes in the background, also those that may have been made without our knowing."""
        self.nodes = ()
        if self.prefix:
            _spawn(self._zk, _remove_prefixed(self._zk, self.directory, self.prefix))

    async def _create(self) -> tuple[Owned, ...]:
        base = self.directory.rstrip("/")
        paths = [f"{base}/{self.prefix}{ending}" for ending in self._endings]
        for _ in range(PARENTS_MADE_MAX):
            try:
                if len(paths) == 1:
                    made = await self._zk.create_and_stat(
                        paths[0], self._data, acl=self._acl, ephemeral=True, sequence=True
                    )
                    return (_owned(*made),)
                work = self._zk.transaction()
                for path in paths:
                    work.create(path, self._data, acl=self._acl, ephemeral=True, sequence=True)
                names = [str(name) for name in await work.commit()]
                stats = await asyncio.gather(*(self._zk.exists(name) for name in names))
                return tuple(_owned(name, stat) for name, stat in zip(names, stats, strict=True) if stat is not None)
            except NoNode:
                await make_parents(self._zk, self.directory, self._acl)
            except TransactionFailed as failed:
                if not isinstance(failed.error, NoNode):
                    raise failed.error from failed
                await make_parents(self._zk, self.directory, self._acl)
        raise ParentsVanish(f"{self.directory} was made {PARENTS_MADE_MAX} times, and was gone again each time")

    async def _find(self) -> tuple[Owned, ...]:
        """Return the nodes that a creation without a reply has made; none if it was not carried out."""
        while True:
            try:
                names = await _names_with(self._zk, self.directory, self.prefix)
                base = self.directory.rstrip("/")
                paths = [f"{base}/{name}" for name in names]
                stats = await asyncio.gather(*(self._zk.exists(path) for path in paths))
            except (ConnectionLoss, SessionLost):
                continue
            found = [_owned(path, stat) for path, stat in zip(paths, stats, strict=True) if stat is not None]
            # In the order of the endings: the transaction made them so.
            found.sort(key=lambda node: [node.name.startswith(self.prefix + each) for each in self._endings][::-1])
            if len(found) == len(self._endings):
                return tuple(found)
            if found:
                remove(self._zk, [node.path for node in found])
            return ()


async def make_parents(zk: AsyncClient, path: str, acl: Sequence[ACL] | None = None) -> None:
    """Make a node that queues stand in, and what is missing above it: containers, where the server has them."""
    try:
        await zk.ensure_path(path, acl=acl, container=True)
    except Unimplemented:
        await zk.ensure_path(path, acl=acl)


def remove(zk: AsyncClient, paths: Sequence[str]) -> asyncio.Task[None]:
    """Remove nodes in the background, together, until the server says that they are gone or the client is closed."""
    return _spawn(zk, _remove(zk, list(paths)))


async def _remove(zk: AsyncClient, paths: list[str]) -> None:
    pause = _PAUSE_S
    while True:
        try:
            if len(paths) == 1:
                await zk.delete(paths[0])
                return
            work = zk.transaction()
            for path in paths:
                work.delete(path)
            await work.commit()
            return
        except NoNode:
            return
        except TransactionFailed:
            # One of them is gone already.
            for path in paths:
                await _remove(zk, [path])
            return
        except ClientClosed:
            # With the session go its nodes.
            return
        except (ConnectionLoss, SessionLost):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_MAX_S)


async def _remove_prefixed(zk: AsyncClient, directory: str, prefix: str) -> None:
    pause = _PAUSE_S
    while True:
        try:
            names = await _names_with(zk, directory, prefix)
        except ClientClosed:
            return
        except (ConnectionLoss, SessionLost):
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_MAX_S)
            continue
        if names:
            await _remove(zk, [f"{directory.rstrip('/')}/{name}" for name in names])
        return


async def _names_with(zk: AsyncClient, directory: str, prefix: str) -> list[str]:
    """Return the children whose names begin with `prefix`, as of now and not of a server that lags."""
    try:
        _, names = await asyncio.gather(zk.sync(directory), zk.children(directory))
    except NoNode:
        return []
    return sorted(name for name in names if name.startswith(prefix))


def _spawn(zk: AsyncClient, work: object) -> asyncio.Task[None]:
    task: asyncio.Task[None] = zk.spawn(work)
    return task


def _owned(path: str, stat: ZnodeStat) -> Owned:
    return Owned(path, stat.czxid, stat.ephemeral_owner)
