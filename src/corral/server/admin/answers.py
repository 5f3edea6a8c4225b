"""What the admin server's commands answer, as data for JSON: the same facts as the words, in ZooKeeper's shapes.

Each command is a function of a Status and the query; `COMMANDS` names them all. Source: reference "AdminServer".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from corral import __version__
from corral.replica.config import Config
from corral.server.admin.monitor import gauges, read
from corral.server.admin.status import ConnectionStatus, Status, texts
from corral.server.configfile import SECRET
from corral.server.configkeys import KEYS
from corral.tree.node import to_int64

Data = dict[str, Any]
Query = Mapping[str, str]
Answer = Callable[[Status, Query], Data]

_CONFIGURATION: Final = {
    "client_port": "clientPort",
    "data_dir": "dataDir",
    "data_log_dir": "dataLogDir",
    "tick_time": "tickTime",
    "max_client_cnxns": "maxClientCnxns",
    "min_session_timeout": "minSessionTimeout",
    "max_session_timeout": "maxSessionTimeout",
    "server_id": "serverId",
    "client_port_listen_backlog": "clientPortListenBacklog",
}


def brief(client: ConnectionStatus) -> Data:
    """Return what `stats` shows of a connection."""
    return {
        "remote_socket_address": f"{client.address}:{client.port}",
        "interest_ops": client.interest,
        "outstanding_requests": client.queued,
        "packets_received": client.received,
        "packets_sent": client.sent,
    }


def full(client: ConnectionStatus) -> Data:
    """Return what `connections` shows of a connection."""
    if not client.has_session:
        return brief(client)
    return {
        **brief(client),
        "session_id": client.session,
        "last_operation": client.last_op,
        "established": client.established,
        "session_timeout": client.timeout,
        "last_cxid": client.last_xid,
        "last_zxid": client.last_zxid,
        "last_response_time": client.last_response_at,
        "last_latency": client.last_latency,
        "min_latency": client.min_latency,
        "avg_latency": client.mean_latency,
        "max_latency": client.max_latency,
    }


def _configuration(status: Status, _: Query) -> Data:
    settings = status.configuration()
    return {name: settings[key] for name, key in _CONFIGURATION.items()}


def _connections(status: Status, _: Query) -> Data:
    return {"connections": [full(client) for client in status.connections()], "secure_connections": []}


def _reset_connections(status: Status, _: Query) -> Data:
    status.reset_connections()
    return {}


def _reset(status: Status, _: Query) -> Data:
    status.reset()
    return {}


def _dirs(status: Status, _: Query) -> Data:
    snapshots, logs = status.node.used_bytes()
    return {"datadir_size": snapshots, "logdir_size": logs}


def _dump(status: Status, _: Query) -> Data:
    ephemerals = status.replica.tree.ephemerals
    return {
        "expiry_time_to_session_ids": {str(at): ids for at, ids in status.replica.tracker.buckets()},
        "session_id_to_ephemeral_paths": {str(session): texts(paths) for session, paths in ephemerals.items()},
    }


def _hash(status: Status, _: Query) -> Data:
    digests = status.replica.pipeline.digests
    return {"digests": [{"zxid": z, "digest": to_int64(d), "digest_version": 2} for z, d in digests]}


def _initial_configuration(status: Status, _: Query) -> Data:
    return {"initial_configuration": settings_text(status.node.config)}


def settings_text(config: Config) -> str:
    """Write the settings that differ from the defaults as lines of a zoo.cfg, without secrets, in the keys' own units.

    Where a value is kept in another unit than its key's, or is no plain value, it is left out rather than guessed.
    """
    defaults = Config()
    plain = {field.name for field in fields(Config)}
    lines = []
    for key in KEYS:
        if key.field not in plain or key.unused or SECRET.search(key.name):
            continue
        value = getattr(config, key.field)
        if value == getattr(defaults, key.field):
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            is_same = isinstance(value, bool | int | str) and key.kind.parse(text) == value
        except (ValueError, KeyError):
            is_same = False
        if is_same:
            lines.append(f"{key.name}={text}\n")
    return "".join(lines)


def _last_snapshot(status: Status, _: Query) -> Data:
    zxid, at = status.replica.last_snapshot
    return {"zxid": f"{zxid & 0xFFFFFFFFFFFFFFFF:x}", "timestamp": at // 1000 if at >= 0 else -1}


def _monitor(status: Status, _: Query) -> Data:
    return {"version": status.version, "server_state": status.mode, **read(status).flat()}


def _server_stats(status: Status, _: Query) -> Data:
    now = gauges(status)
    snapshots, logs = status.node.used_bytes()
    sizes = {
        "last_buffer_size": now["last_client_response_size"],
        "min_buffer_size": now["min_client_response_size"],
        "max_buffer_size": now["max_client_response_size"],
    }
    stats = {
        "packets_sent": now["packets_sent"],
        "packets_received": now["packets_received"],
        "fsync_threshold_exceed_count": status.slow_syncs,
        "client_response_stats": sizes,
        "provider_null": False,
        "data_dir_size": snapshots,
        "log_dir_size": logs,
        "last_processed_zxid": status.replica.tree.zxid,
        "server_state": status.mode,
        "outstanding_requests": now["outstanding_requests"],
        "avg_latency": now["avg_latency"],
        "max_latency": now["max_latency"],
        "min_latency": now["min_latency"],
        "num_alive_client_connections": now["num_alive_connections"],
        "uptime": now["uptime"],
        "auth_failed_count": now["auth_failed_count"],
        "non_mtlsremote_conn_count": 0,
        "non_mtlslocal_conn_count": 0,
    }
    return {
        "version": status.version,
        "read_only": status.is_read_only,
        "server_stats": stats,
        "client_response": sizes,
        "node_count": now["znode_count"],
    }


def _stats(status: Status, query: Query) -> Data:
    clients = [brief(client) for client in status.connections()]
    return {**_server_stats(status, query), "connections": clients, "secure_connections": []}


def _set_trace_mask(status: Status, query: Query) -> Data:
    given = query.get("traceMask")
    wanted = "setTraceMask requires long traceMask argument"
    if given is None:
        return {"error": wanted}
    try:
        mask = int(given)
    except ValueError:
        mask = 1 << 63
    if not -(1 << 63) <= mask < 1 << 63:
        return {"error": f"{wanted}, got {given}"}
    status.trace_mask = mask
    return {"tracemask": mask}


def _system_properties(status: Status, _: Query) -> Data:
    found = status.environment()
    found |= {"corral.version": __version__, "python.version": sys.version, "python.executable": sys.executable}
    return dict(sorted(found.items()))


def _watch_summary(status: Status, _: Query) -> Data:
    connections, paths, watches = status.replica.tree.watches.counts()
    return {"num_connections": connections, "num_paths": paths, "num_total_watches": watches}


def _watches(status: Status, _: Query) -> Data:
    found = status.replica.tree.watches.paths_by_watcher()
    return {"session_id_to_watched_paths": {str(watcher.session_id): texts(found[watcher]) for watcher in found}}


def _watches_by_path(status: Status, _: Query) -> Data:
    table = status.replica.tree.watches.data
    by_path = {p.decode(errors="replace"): [watcher.session_id for watcher in ws] for p, ws in table.items()}
    return {"path_to_session_ids": by_path}


COMMANDS: Final[dict[str, Answer]] = {
    "configuration": _configuration,
    "connection_stat_reset": _reset_connections,
    "connections": _connections,
    "dirs": _dirs,
    "dump": _dump,
    "environment": lambda status, _: dict(status.environment()),
    "get_trace_mask": lambda status, _: {"tracemask": status.trace_mask},
    "hash": _hash,
    "initial_configuration": _initial_configuration,
    "is_read_only": lambda status, _: {"read_only": status.is_read_only},
    "last_snapshot": _last_snapshot,
    "leader": lambda _status, _: {"error": "server is not initialized"},
    "monitor": _monitor,
    "observer_connection_stat_reset": lambda _status, _: {},
    "observers": lambda _status, _: {"synced_observers": 0, "observers": []},
    "ruok": lambda _status, _: {},
    "server_stats": _server_stats,
    "set_trace_mask": _set_trace_mask,
    "stat_reset": _reset,
    "stats": _stats,
    "system_properties": _system_properties,
    "voting_view": lambda _status, _: {"current_config": {}},
    "watch_summary": _watch_summary,
    "watches": _watches,
    "watches_by_path": _watches_by_path,
    "zabstate": lambda _status, _: {"voting": False, "zabstate": ""},
}

ALIASES: Final = {
    "conf": "configuration", "config": "configuration", "crst": "connection_stat_reset", "cons": "connections",
    "env": "environment", "envi": "environment", "gtmk": "get_trace_mask", "icfg": "initial_configuration",
    "isro": "is_read_only", "lsnp": "last_snapshot", "lead": "leader", "mntr": "monitor",
    "orst": "observer_connection_stat_reset", "obsr": "observers", "srvr": "server_stats", "stmk": "set_trace_mask",
    "srst": "stat_reset", "stat": "stats", "sysp": "system_properties", "wchs": "watch_summary", "wchc": "watches",
    "wchp": "watches_by_path", "snap": "snapshot", "rest": "restore", "shed": "shed_connections",
}  # fmt: skip

ALWAYS: Final = ("environment", "get_trace_mask", "monitor", "set_trace_mask", "system_properties", "zabstate")
"""Answered whether or not the server serves."""
