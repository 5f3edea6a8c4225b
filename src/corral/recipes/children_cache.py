"""A copy of a znode's children with their data, kept up to date.

async with ChildrenCache(zk, "/workers") as cache:
    for name, worker in cache.children.items():
        print(name, worker.data)
"""

from __future__ import annotations

from corral.client.aio import AsyncClient
from corral.recipes.cache import BACKLOG, SPREAD_S, Cache
from corral.recipes.mirror import CachedNode


class ChildrenCache(Cache):
    """See the module. The parent may be missing and is not made; its own changes are reported as well.

    keep_data: False to keep stats only, with empty data. The others as in `Cache`.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, keep_data: bool = True, spread: float = SPREAD_S, backlog: int = BACKLOG,
        has_staying_watch: bool = True, seed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            zk, path, 1, keep_data=keep_data, spread=spread, backlog=backlog, has_staying_watch=has_staying_watch,
            seed=seed,
        )  # fmt: skip

    @property
    def children(self) -> dict[str, CachedNode]:
        """The children by name, in the order of the names."""
        base = "" if self.path == "/" else self.path
        found = ((name, self._mirror.get(f"{base}/{name}")) for name in self._mirror.children(self.path))
        return {name: node for name, node in found if node is not None}

    def get(self, name: str) -> CachedNode | None:
        """Return a child by its name, None if there is none."""
        return self._mirror.get(f"{'' if self.path == '/' else self.path}/{name}")
