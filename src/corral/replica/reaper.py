"""Removal of empty containers and of TTL nodes whose time is over.

Source: ZooKeeper ContainerManager: every check interval all candidates, at a bounded rate.
"""

from __future__ import annotations

from corral.replica.config import Config
from corral.replica.pipeline import Pipeline
from corral.tree.node import children_of, creates_of, ctime_of, mtime_of, ttl_of
from corral.tree.tree import Tree

LOOKED_AT_PER_STEP = 1000


class Reaper:
    """Looks through containers and TTL nodes a slice at a time."""

    def __init__(self, config: Config, tree: Tree, pipeline: Pipeline) -> None:
        self._tree = tree
        self._pipeline = pipeline
        self._interval = config.container_check_interval_ms
        self._never_used_max = config.container_max_never_used_interval_ms
        self._pause = 60_000 / max(1, config.container_max_per_minute)
        self._candidates: list[bytes] = []
        self._next_round = 0
        self._next_delete = 0.0

    def step(self, now: int, wall: int) -> None:
        """Propose what is due. now: monotonic ms; wall: wall-clock ms."""
        if not self._candidates:
            if now < self._next_round:
                return
            first = not self._next_round
            self._next_round = now + self._interval
            if first:
                return
            self._candidates = [*self._tree.containers, *self._tree.ttls]
            self._candidates.reverse()
        for _ in range(LOOKED_AT_PER_STEP):
            if not self._candidates or now < self._next_delete:
                return
            path = self._candidates.pop()
            if self._is_due(path, wall):
                self._next_delete = max(self._next_delete, now - 1000) + self._pause
                self._pipeline.delete_container(path, now, wall)

    def deadline(self) -> int:
        """Return when `step` is worth calling, in monotonic ms."""
        return int(self._next_delete) + 1 if self._candidates else self._next_round

    def _is_due(self, path: bytes, wall: int) -> bool:
        node = self._tree.get(path)
        if node is None or children_of(node.body):
            return False
        if path in self._tree.ttls:
            return wall - mtime_of(node.body) > ttl_of(node.owner)
        if path not in self._tree.containers:
            return False
        never_used_max = self._never_used_max
        return creates_of(node.body) > 0 or 0 < never_used_max < wall - ctime_of(node.body)
