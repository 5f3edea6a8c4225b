"""A barrier: a znode that keeps everybody waiting as long as it is there.

The same on the wire as kazoo's Barrier and Curator's DistributedBarrier. It is persistent: one whose maker died stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from corral.base.errors import NoNode
from corral.client.aio import AsyncClient
from corral.recipes.asking import Bell, ensure, steadily, within
from corral.recipes.errors import RecipeTimeout
from corral.wire.data import ACL


class Barrier:
    """A barrier at `path`. data: of the znode; Curator's has its maker's address there, kazoo's nothing."""

    def __init__(self, zk: AsyncClient, path: str, *, data: bytes = b"", acl: Sequence[ACL] | None = None) -> None:
        self._zk = zk
        self.path = path
        self._data = data
        self._acl = acl

    async def create(self, timeout: float | None = None) -> bool:
        """Close the barrier; return False if it was closed, as it may also seem after a lost reply.

        Raises RecipeTimeout.
        """
        async with within(timeout, f"the barrier {self.path} was not made"):
            return await ensure(self._zk, self.path, self._data, self._acl)

    async def remove(self, timeout: float | None = None) -> bool:
        """Open the barrier; return False if it was open, as it may also seem after a lost reply.

        Raises RecipeTimeout.
        """
        async with within(timeout, f"the barrier {self.path} was not removed"):
            try:
                await steadily(self._zk, lambda: self._zk.delete(self.path))
            except NoNode:
                return False
            return True

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until the barrier is open; return False if it is closed still after `timeout` seconds."""
        bell = Bell(self._zk)
        try:
            async with within(timeout, f"the barrier {self.path} was not opened"):
                while True:
                    bell.clear()
                    if await steadily(self._zk, lambda: self._zk.exists(self.path, bell.on_event)) is None:
                        return True
                    await bell.wait()
        except RecipeTimeout:
            return False
        finally:
            self._zk.forget_watch(self.path, bell.on_event)
