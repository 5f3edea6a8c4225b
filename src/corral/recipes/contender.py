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

from corral.base.errors import NoNode, Outcome
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ConnectionLoss, SessionLost
from corral.client.transaction import TransactionFailed
from corral.client.values import ZnodeStat
from corral.client.watches import Listener
from corral.recipes.asking import remove, remove_beside, steadily, with_parents
from corral.recipes.sequence import PROTECTED
from corral.wire.data import ACL


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
                    remove_beside(self._zk, *(node.path for node in made))
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
        return remove_beside(self._zk, *(node.path for node in nodes)) if nodes else None

    def withdraw(self) -> None:
        """Remove the nodes in the background, also those that may have been made without our knowing."""
        self.nodes = ()
        if self.prefix:
            self._zk.spawn(_remove_prefixed(self._zk, self.directory, self.prefix))

    async def _create(self) -> tuple[Owned, ...]:
        paths = [f"{self.directory.rstrip('/')}/{self.prefix}{ending}" for ending in self._endings]

        async def create() -> tuple[Owned, ...]:
            if len(paths) == 1:
                made = await self._zk.create_and_stat(
                    paths[0], self._data, acl=self._acl, ephemeral=True, sequence=True
                )
                return (_owned(*made),)
            work = self._zk.transaction()
            for path in paths:
                work.create(path, self._data, acl=self._acl, ephemeral=True, sequence=True)
            try:
                names = [str(name) for name in await work.commit()]
            except TransactionFailed as failed:
                raise failed.error from failed
            stats = await asyncio.gather(*(self._zk.exists(name) for name in names))
            return tuple(_owned(name, stat) for name, stat in zip(names, stats, strict=True) if stat is not None)

        return await with_parents(self._zk, paths[0], create, self._acl)

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
                remove_beside(self._zk, *(node.path for node in found))
            return ()


async def _remove_prefixed(zk: AsyncClient, directory: str, prefix: str) -> None:
    try:
        names = await steadily(zk, lambda: _names_with(zk, directory, prefix))
    except ClientClosed:
        return
    if names:
        await remove(zk, *(f"{directory.rstrip('/')}/{name}" for name in names))


async def _names_with(zk: AsyncClient, directory: str, prefix: str) -> list[str]:
    """Return the children whose names begin with `prefix`, as of now and not of a server that lags."""
    try:
        _, names = await asyncio.gather(zk.sync(directory), zk.children(directory))
    except NoNode:
        return []
    return sorted(name for name in names if name.startswith(prefix))


def _owned(path: str, stat: ZnodeStat) -> Owned:
    return Owned(path, stat.czxid, stat.ephemeral_owner)
