"""A copy of one znode, kept up to date, whether it exists or not.

async with NodeCache(zk, "/config/limit") as cache:
    limit = int(cache.data or b"10")
"""

from __future__ import annotations

from corral.client.aio import AsyncClient
from corral.client.values import ZnodeStat
from corral.recipes.cache import BACKLOG, SPREAD_S, Cache
from corral.recipes.mirror import CachedNode


class NodeCache(Cache):
    """See the module. Parents are not made. The parameters are those of `Cache`."""

    def __init__(
        self, zk: AsyncClient, path: str, *, spread: float = SPREAD_S, backlog: int = BACKLOG,
        has_staying_watch: bool = True, seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            zk, path, 0, keep_data=True, spread=spread, backlog=backlog, has_staying_watch=has_staying_watch, seed=seed
        )

    @property
    def node(self) -> CachedNode | None:
        """The znode, None if there is none."""
        return self._mirror.get(self.path)

    @property
    def data(self) -> bytes | None:
        """The znode's data, None if there is no znode."""
        node = self.node
        return None if node is None else node.data

    @property
    def stat(self) -> ZnodeStat | None:
        """The znode's stat, None if there is no znode."""
        node = self.node
        return None if node is None else node.stat
