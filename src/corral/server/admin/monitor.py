"""The values that `mntr`, the admin server and Prometheus show, under ZooKeeper's names."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

from corral.replica.metrics import Percentiles, Summary

if TYPE_CHECKING:
    from corral.server.node import Node


def average(summary: Summary) -> str:
    """Return the mean with up to four decimals, as ZooKeeper prints it: `0.0` if there is nothing."""
    if not summary.count:
        return "0.0"
    text = f"{summary.sum / summary.count:.4f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def gauges(node: Node) -> dict[str, Any]:
    """Return the current values."""
    replica = node.replica
    metrics = replica.metrics
    metrics.fold_reads()
    latency = metrics.latency
    return {
        "avg_latency": average(latency),
        "max_latency": latency.max,
        "min_latency": latency.min,
        "packets_received": metrics.packets_received,
        "packets_sent": metrics.packets_sent,
        "num_alive_connections": len(replica.connections),
        "outstanding_requests": len(replica.pipeline.outstanding),
        "uptime": node.now() - replica.started,
        "znode_count": len(replica.tree.nodes) + 1,
        "watch_count": replica.tree.watches.total(),
        "ephemerals_count": sum(map(len, replica.tree.ephemerals.values())),
        "approximate_data_size": replica.tree.data_bytes,
        "global_sessions": len(replica.tracker.sessions),
        "local_sessions": 0,
        "open_file_descriptor_count": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else -1,
        "max_file_descriptor_count": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "connection_drop_probability": "0.0",
        "last_client_response_size": metrics.last_response_size,
        "max_client_response_size": metrics.max_response_size,
        "min_client_response_size": metrics.min_response_size,
        "auth_failed_count": metrics.auth_failed,
        "non_mtls_remote_conn_count": 0,
        "non_mtls_local_conn_count": 0,
        "outstanding_tls_handshake": 0,
    }


def counters(node: Node) -> dict[str, int]:
    """Return what only ever grows."""
    replica = node.replica
    metrics = replica.metrics
    names = replica.registry.names
    found = dict(metrics.counters)
    found["bytes_received_count"] = metrics.bytes_received
    for code, count in metrics.op_counts.items():
        found[f"op_count_{_snake(names.get(code, 'unknown'))}"] = count
    found["op_count_total"] = sum(metrics.op_counts.values())
    found["commit_count"] = replica.agreement.committed & 0xFFFFFFFF
    disk = node.disk
    if disk is not None:
        found["fsync_threshold_exceed_count"] = disk.slow_syncs
    for path, count in replica.tree.quotas.exceeded.items():
        namespace = path.split(b"/")[1].decode()
        key = f"{namespace}_quota_exceeded_error_per_namespace"
        found[key] = found.get(key, 0) + count
    return found


def summaries(node: Node) -> dict[str, Summary]:
    """Return the distributions, by name."""
    found = dict(node.replica.metrics.summaries)
    disk = node.disk
    if disk is not None:
        sync = Summary()
        sync.count, sync.sum, sync.max = disk.syncs, disk.sync_ms_sum, disk.sync_ms_max
        found["fsynctime"] = sync
    return found


def monitored(node: Node) -> dict[str, Any]:
    """Return everything, flat, without ZooKeeper's prefix `zk_`."""
    found: dict[str, Any] = {**gauges(node), **counters(node)}
    for name, summary in summaries(node).items():
        mean = summary.sum / summary.count if summary.count else 0.0
        found[f"avg_{name}"] = round(mean, 4)
        found[f"min_{name}"] = summary.min
        found[f"max_{name}"] = summary.max
        found[f"cnt_{name}"] = summary.count
        found[f"sum_{name}"] = summary.sum
        if isinstance(summary, Percentiles):
            for key, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)):
                found[f"{key}_{name}"] = summary.quantile(share)
    return found


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)
