"""A fence: a znode that is there as long as this client's session is, to be checked within transactions.

What a transaction does together with such a check is not done for a session that has ended meanwhile.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

from corral.base.errors import NodeExists
from corral.client.aio import AsyncClient
from corral.client.values import State
from corral.recipes.asking import remove_beside, steadily, with_parents
from corral.wire.data import ACL


class Fence:
    """The fence of the client's present session, in `directory`; made when it is asked for, anew for each session."""

    def __init__(self, zk: AsyncClient, directory: str, acl: Sequence[ACL] | None = None) -> None:
        self._zk = zk
        self._directory = directory
        self._acl = acl
        self._path = ""
        self._session_id = 0
        self._making = asyncio.Lock()

    @property
    def is_standing(self) -> bool:
        """Whether there is one of the present session, as far as is known."""
        return bool(self._path) and self._session_id == self._zk.session_id

    async def path(self) -> str:
        """Return its path, once it is there."""
        # One at a time: of two that are made, `close` knows only the later.
        async with self._making:
            while not self.is_standing:
                await self._try(f"{self._directory}/{uuid.uuid4()}")
            return self._path

    def close(self) -> None:
        """Have it removed."""
        if self._path and self._zk.state is not State.CLOSED:
            remove_beside(self._zk, self._path)
            self._path = ""

    async def _try(self, path: str) -> None:
        async def create() -> None:
            try:
                await self._zk.create(path, acl=self._acl, ephemeral=True)
            except NodeExists:
                # Made by an attempt whose reply was lost.
                pass

        await with_parents(self._zk, path, lambda: steadily(self._zk, create), self._acl)
        stat = await steadily(self._zk, lambda: self._zk.exists(path))
        if stat is not None and stat.ephemeral_owner == self._zk.session_id:
            self._path, self._session_id = path, stat.ephemeral_owner
