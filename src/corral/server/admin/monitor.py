"""The values that `mntr`, the admin server and Prometheus show, under ZooKeeper's names.

Every name that ZooKeeper has is there, with zeros for stages that this server does not have, so that what reads them
finds them. Left out are `write_per_namespace` and `read_per_namespace` (bytes by a path's first name), which would cost
every read and write, and what Java's exporter adds about its machine (`jvm_`). Beyond ZooKeeper's:
fsync_threshold_exceed_count and slow_readers_cut_off. Source: reference "mntr keys".
"""

from __future__ import annotations

from typing import Final

from corral.base.records import record
from corral.replica.metrics import Percentiles, Summary
from corral.server.admin.status import Status
from corral.wire import opcodes

Number = int | float

QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999))

COUNTERS: Final = [
    "add_dead_watcher_stall_time",
    "bytes_received_count",
    "cnxn_closed_without_zk_server_running",
    "commit_count",
    "connection_drop_count",
    "connection_rejected",
    "connection_request_count",
    "connection_revalidate_count",
    "dead_watchers_cleared",
    "dead_watchers_queued",
    "diff_count",
    "digest_mismatches_count",
    "ensemble_auth_fail",
    "ensemble_auth_skip",
    "ensemble_auth_success",
    "insecure_admin_count",
    "large_requests_rejected",
    "learner_commit_received_count",
    "learner_proposal_received_count",
    "looking_count",
    "op_count_add_watch",
    "op_count_check",
    "op_count_check_watches",
    "op_count_close_session",
    "op_count_create",
    "op_count_create_session",
    "op_count_delete",
    "op_count_exists",
    "op_count_get_acl",
    "op_count_get_all_children_number",
    "op_count_get_children",
    "op_count_get_data",
    "op_count_get_ephemerals",
    "op_count_multi",
    "op_count_multi_read",
    "op_count_ping",
    "op_count_reconfig",
    "op_count_remove_watches",
    "op_count_set_acl",
    "op_count_set_data",
    "op_count_set_watches",
    "op_count_sync",
    "op_count_total",
    "op_count_who_am_i",
    "outstanding_changes_queued",
    "outstanding_changes_removed",
    "prep_processor_request_queued",
    "proposal_count",
    "quit_leading_due_to_disloyal_voter",
    "request_commit_queued",
    "request_throttle_wait_count",
    "requests_not_forwarded_to_commit_processor",
    "response_bytes",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    "restore_error_count",
    "restore_rate_limited_count",
    "revalidate_count",
    "sessionless_connections_expired",
    "skip_learner_request_to_next_processor_count",
    "snap_count",
    "snapshot_error_count",
    "snapshot_rate_limited_count",
    "stale_replies",
    "stale_requests",
    "stale_requests_dropped",
    "stale_sessions_expired",
    "sync_processor_request_queued",
    "throttled_ops",
    "tls_handshake_exceeded",
    "ttl_node_created_count",
    "ttl_node_deleted_count",
    "unrecoverable_error_count",
    "unsuccessful_handshake",
    "watch_bytes",
    "fsync_threshold_exceed_count",
    "slow_readers_cut_off",
]

BASIC: Final = [
    "commit_commit_proc_req_queued",
    "commit_process_time",
    "concurrent_request_processing_in_commit_processor",
    "connection_token_deficit",
    "dbinittime",
    "election_time",
    "follower_sync_time",
    "fsynctime",
    "inflight_diff_count",
    "inflight_snap_count",
    "leader_unavailable_time",
    "learner_request_processor_queue_size",
    "netty_queued_buffer_capacity",
    "node_changed_watch_count",
    "node_children_watch_count",
    "node_created_watch_count",
    "node_deleted_watch_count",
    "observer_sync_time",
    "pending_session_queue_size",
    "prep_process_time",
    "prep_processor_queue_size",
    "proposal_process_time",
    "read_commit_proc_issued",
    "read_commit_proc_req_queued",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "requests_in_session_queue",
    "restore_time",
    "session_queues_drained",
    "snapshottime",
    "socket_closing_time",
    "startup_snap_load_time",
    "startup_txns_load_time",
    "startup_txns_loaded",
    "sync_process_time",
    "sync_processor_batch_size",
    "sync_processor_queue_size",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "unavailable_time",
    "write_batch_time_in_commit_processor",
    "write_commit_proc_issued",
    "write_commit_proc_req_queued",
]

ADVANCED: Final = [
    "close_session_prep_time",
    "commit_propagation_latency",
    "dead_watchers_cleaner_latency",
    "jvm_pause_time_ms",
    "local_write_committed_time_ms",
    "om_commit_process_time_ms",
    "om_proposal_process_time_ms",
    "prep_processor_queue_time_ms",
    "propagation_latency",
    "proposal_ack_creation_latency",
    "proposal_latency",
    "quorum_ack_latency",
    "read_commitproc_time_ms",
    "read_final_proc_time_ms",
    "readlatency",
    "request_throttle_queue_time_ms",
    "server_write_committed_time_ms",
    "sync_processor_queue_and_flush_time_ms",
    "sync_processor_queue_flush_time_ms",
    "sync_processor_queue_time_ms",
    "updatelatency",
    "write_commitproc_time_ms",
    "write_final_proc_time_ms",
]

OP_COUNTS: Final = {
    opcodes.ADD_WATCH: "add_watch",
    opcodes.CHECK: "check",
    opcodes.CHECK_WATCHES: "check_watches",
    opcodes.CLOSE_SESSION: "close_session",
    opcodes.CREATE: "create",
    opcodes.CREATE2: "create",
    opcodes.CREATE_CONTAINER: "create",
    opcodes.CREATE_TTL: "create",
    opcodes.CREATE_SESSION: "create_session",
    opcodes.DELETE: "delete",
    opcodes.DELETE_CONTAINER: "delete",
    opcodes.EXISTS: "exists",
    opcodes.GET_ACL: "get_acl",
    opcodes.GET_ALL_CHILDREN_NUMBER: "get_all_children_number",
    opcodes.GET_CHILDREN: "get_children",
    opcodes.GET_CHILDREN2: "get_children",
    opcodes.GET_DATA: "get_data",
    opcodes.GET_EPHEMERALS: "get_ephemerals",
    opcodes.MULTI: "multi",
    opcodes.MULTI_READ: "multi_read",
    opcodes.PING: "ping",
    opcodes.RECONFIG: "reconfig",
    opcodes.REMOVE_WATCHES: "remove_watches",
    opcodes.SET_ACL: "set_acl",
    opcodes.SET_DATA: "set_data",
    opcodes.SET_WATCHES: "set_watches",
    opcodes.SET_WATCHES2: "set_watches",
    opcodes.SYNC: "sync",
    opcodes.WHO_AM_I: "who_am_i",
}


@record
class Readings:
    """All values of one moment, each kind by name; the sets by name and then by member."""

    gauges: dict[str, Number]
    gauge_sets: dict[str, dict[str, int]]
    counters: dict[str, int]
    counter_sets: dict[str, dict[str, int]]
    summaries: dict[str, Summary]

    def flat(self) -> dict[str, Number]:
        """Return everything under the names of `mntr`, without its prefix `zk_`."""
        found: dict[str, Number] = {**self.gauges, **self.counters}
        for name, members in (*self.gauge_sets.items(), *self.counter_sets.items()):
            found |= {f"{member}_{name}": value for member, value in members.items()}
        for name, summary in self.summaries.items():
            found |= flat_summary(name, summary)
        return found


def read(status: Status) -> Readings:
    """Read everything."""
    status.replica.metrics.fold()
    return Readings(gauges(status), status.quotas(), counters(status), _counter_sets(status), summaries(status))


def _counter_sets(status: Status) -> dict[str, dict[str, int]]:
    return {"quota_exceeded_error_per_namespace": status.quotas_exceeded()}


def gauges(status: Status) -> dict[str, Number]:
    """Return what goes up and down."""
    replica = status.replica
    metrics = replica.metrics
    latency = status.latency
    return {
        "avg_latency": mean(latency),
        "max_latency": latency.max,
        "min_latency": latency.min,
        "packets_received": metrics.packets_received,
        "packets_sent": metrics.packets_sent,
        "num_alive_connections": len(replica.connections),
        "outstanding_requests": status.outstanding,
        "uptime": status.uptime,
        "znode_count": status.node_count,
        "watch_count": replica.tree.watches.total(),
        "ephemerals_count": status.ephemerals_count,
        "approximate_data_size": replica.tree.data_bytes,
        "global_sessions": len(replica.tracker.sessions),
        "local_sessions": 0,
        "open_file_descriptor_count": status.open_files(),
        "max_file_descriptor_count": status.max_files(),
        "connection_drop_probability": 0.0,
        "last_client_response_size": metrics.last_response_size,
        "max_client_response_size": metrics.max_response_size,
        "min_client_response_size": metrics.min_response_size,
        "outstanding_tls_handshake": 0,
        "auth_failed_count": metrics.auth_failed,
        "non_mtls_remote_conn_count": 0,
        "non_mtls_local_conn_count": 0,
    }


def counters(status: Status) -> dict[str, int]:
    """Return what only ever grows, until `srst`."""
    metrics = status.replica.metrics
    found = dict.fromkeys(COUNTERS, 0)
    found |= metrics.counters
    for code, count in metrics.op_counts.items():
        name = OP_COUNTS.get(code)
        if name is not None:
            found["op_count_" + name] += count
    found["op_count_total"] = sum(metrics.op_counts.values())
    found["bytes_received_count"] = metrics.bytes_received
    found["response_bytes"] = metrics.response_bytes
    found["fsync_threshold_exceed_count"] = status.slow_syncs
    return found


def summaries(status: Status) -> dict[str, Summary]:
    """Return the distributions; those with quantiles are Percentiles."""
    found: dict[str, Summary] = {name: Summary() for name in BASIC}
    found |= {name: Percentiles() for name in ADVANCED}
    found |= status.replica.metrics.summaries
    found["fsynctime"] = status.syncs()
    return found


def flat_summary(name: str, summary: Summary) -> dict[str, Number]:
    """Return a distribution under the names of `mntr`."""
    found: dict[str, Number] = {
        f"avg_{name}": mean(summary),
        f"min_{name}": summary.min,
        f"max_{name}": summary.max,
        f"cnt_{name}": summary.count,
        f"sum_{name}": summary.sum,
    }
    if isinstance(summary, Percentiles):
        found |= {f"{key}_{name}": summary.quantile(share) for key, share in QUANTILES}
    return found


def mean(summary: Summary) -> float:
    """Return the mean to four decimals, as ZooKeeper prints it; 0.0 if there is nothing."""
    return round(summary.sum / summary.count, 4) if summary.count else 0.0
