"""Checking a write against the quota above it."""

from __future__ import annotations

from corral.base.errors import QuotaExceeded
from corral.ops.base import Preparing
from corral.tree.node import data_of
from corral.tree.quota import limits_path, parse_limits


def check_quota(cx: Preparing, path: bytes, nodes: int, size: int) -> None:
    """Refuse a change of `nodes` nodes and `size` bytes below the quota of `path`.

    Raises QuotaExceeded past a hard limit. A soft limit is only reported. Limits and statistics are the committed ones,
    also within a multi. Source: ZooKeeper ZooKeeperServer.checkQuota.
    """
    quotas = cx.tree.quotas
    if not cx.options.enforce_quota or not quotas.active:
        return
    governed = quotas.governing(path)
    if governed is None:
        return
    node = cx.tree.nodes.get(limits_path(governed))
    if node is None:
        return
    limits = parse_limits(data_of(node.body))
    used_nodes, used_size = quotas.active[governed]
    for kind, change, used, hard, soft in (
        ("count", nodes, used_nodes, limits.count_hard, limits.count),
        ("bytes", size, used_size, limits.size_hard, limits.size),
    ):
        if not change:
            continue
        new = used + change
        if hard > -1:
            if new > hard:
                quotas.exceeded[governed] = quotas.exceeded.get(governed, 0) + 1
                raise QuotaExceeded(f"quota of {governed!r}: {kind} {new} > hard limit {hard}")
        elif -1 < soft < new:
            quotas.over_soft.append((governed, kind, new, soft))
