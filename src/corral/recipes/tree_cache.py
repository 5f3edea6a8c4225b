"""A copy of a znode and everything below it, kept up to date.

    async with TreeCache(zk, "/config") as cache:
        node = cache.get("/config/db/host")
        async for change in cache.changes():
            print(change.type, change.path)

It follows the server: what it shows was true a moment ago, and it says when it cannot know (`is_in_step`, STALE). It is
no snapshot of one moment; two znodes may be seen at different ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from corral.client.aio import AsyncClient
from corral.recipes.cache import BACKLOG, SPREAD_S, Cache
from corral.recipes.mirror import CachedNode


class TreeCache(Cache):
    """See the module.

    path: of the topmost znode, which may be missing. depth: how many levels below it are kept, None for all.
    keep_data: False to keep stats only, with empty data. The others as in `Cache`.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, depth: int | None = None, keep_data: bool = True,
        spread: float = SPREAD_S, backlog: int = BACKLOG, has_staying_watch: bool = True, seed: int | None = None,
    ) -> None:  # fmt: skip
        if depth is not None and depth < 0:
            raise ValueError(f"depth {depth}: must not be negative")
        super().__init__(
            zk, path, depth, keep_data=keep_data, spread=spread, backlog=backlog, has_staying_watch=has_staying_watch,
            seed=seed,
        )  # fmt: skip

    def get(self, path: str) -> CachedNode | None:
        """Return a znode by its whole path, None if there is none."""
        return self._mirror.get(path)

    def children(self, path: str) -> list[str]:
        """Return the names of a znode's children, sorted; none if there is no such znode."""
        return self._mirror.children(path)

    def __len__(self) -> int:
        return len(self._mirror)

    def __iter__(self) -> Iterator[CachedNode]:
        """Return all znodes, in no promised order."""
        return iter(self._mirror)
