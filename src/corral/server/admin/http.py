"""The admin server: health, readiness, metrics and the commands, over HTTP, as JSON.

Source: reference "AdminServer". What it shows is what the four-letter words show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from corral.base.ids import session_hex
from corral.replica.connection import UP, Connection
from corral.replica.metrics import Percentiles
from corral.server.admin.monitor import counters, gauges, monitored, summaries
from corral.server.admin.words import VERSION_LINE, configuration, environment
from corral.tree.node import to_int64

if TYPE_CHECKING:
    from corral.server.node import Node

NOT_SERVING = "This ZooKeeper instance is not currently serving requests"
Answer = Callable[["Node"], dict[str, Any]]


class Collector:
    """Hands the server's numbers to Prometheus, under ZooKeeper's names."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterable[Metric]:
        """Yield every metric with its value now."""
        for name, value in gauges(self._node).items():
            yield GaugeMetricFamily(name, name.replace("_", " "), value=float(value))
        for name, count in counters(self._node).items():
            yield CounterMetricFamily(name, name.replace("_", " "), value=count)
        for name, summary in summaries(self._node).items():
            family = SummaryMetricFamily(name, name.replace("_", " "))
            family.add_metric([], count_value=summary.count, sum_value=summary.sum)
            if isinstance(summary, Percentiles):
                for share in (0.5, 0.9, 0.99):
                    family.add_sample(name, {"quantile": str(share)}, summary.quantile(share))
            yield family


class AdminServer:
    """One HTTP listener. Other addresses than the configured one are never listened on."""

    def __init__(self, node: Node, config: Any, log: Any) -> None:
        self._node = node
        self._config = config
        self._log = log
        self._runners: list[web.AppRunner] = []
        self._registry = CollectorRegistry()
        self._registry.register(Collector(node))
        self.port = 0

    async def start(self) -> None:
        """Listen; where that fails the server goes on without, and says so."""
        config = self._config
        if config.admin_enabled:
            self.port = await self._listen(self._application(), config.admin_address, config.admin_port, "admin server")
        if config.metrics_provider == "prometheus":
            app = web.Application()
            app.router.add_get("/metrics", self._metrics)
            await self._listen(app, config.metrics_http_host, config.metrics_http_port, "metrics")

    async def stop(self) -> None:
        """Stop listening."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners = []

    async def _listen(self, app: web.Application, host: str, port: int, what: str) -> int:
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, shutdown_timeout=1).start()
        except OSError as error:
            await runner.cleanup()
            self._log.warning(f"no {what}: cannot listen", address=host, port=port, why=error.strerror or str(error))
            return 0
        self._runners.append(runner)
        bound: int = runner.addresses[0][1]
        self._log.info(f"{what} listens", address=host, port=bound)
        return bound

    def _application(self) -> web.Application:
        app = web.Application()
        url = self._config.admin_command_url.rstrip("/")
        app.router.add_get("/health", self._health)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(url, self._index)
        app.router.add_get(url + "/", self._index)
        app.router.add_get(url + "/{name}", self._command)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _ready(self, request: web.Request) -> web.Response:
        serving = self._node.replica.is_serving
        return web.json_response({"ready": serving}, status=200 if serving else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain", charset="utf-8")

    async def _index(self, request: web.Request) -> web.Response:
        url = self._config.admin_command_url.rstrip("/")
        links = "".join(f'<a href="{url}/{name}">{name}</a>\n<br/>\n' for name in sorted(COMMANDS))
        return web.Response(text=links, content_type="text/html")

    async def _command(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        primary = ALIASES.get(name, name)
        answer = COMMANDS.get(primary)
        if answer is None:
            return _json({"command": name, "error": f"Unknown command: {name}"})
        if not self._node.replica.is_serving and primary not in ALWAYS:
            return _json({"command": primary, "error": NOT_SERVING})
        data = answer(self._node)
        return _json({**data, "command": primary, "error": data.get("error")})


def _json(data: dict[str, Any]) -> web.Response:
    text = json.dumps(data, indent=2, separators=(",", " : "))
    return web.Response(text=text, content_type="application/json")


def _configuration(node: Node) -> dict[str, Any]:
    left_out = ("secureClientPort", "dataDirSize", "dataLogSize")
    return {_snake(key): value for key, value in configuration(node).items() if key not in left_out}


def _connections(node: Node) -> dict[str, Any]:
    return {"connections": [_connection(conn, node) for conn in node.replica.connections], "secure_connections": []}


def _connection(conn: Connection, node: Node) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "remote_socket_address": f"{conn.address}:{conn.port}",
        "interest_ops": 0 if conn.is_unread else 1,
        "outstanding_requests": len(conn.queue),
        "packets_received": conn.received,
        "packets_sent": conn.sent,
    }
    if conn.state == UP:
        count = conn.latency_count
        shown |= {
            "session_id": conn.session_id,
            "last_operation": node.replica.registry.lops.get(conn.last_op, "NA"),
            "established": conn.established + node.replica.wall_offset,
            "session_timeout": conn.timeout,
            "last_cxid": conn.last_xid,
            "last_zxid": conn.last_zxid,
            "last_response_time": conn.last_response_at,
            "last_latency": conn.last_latency,
            "min_latency": conn.latency_min,
            "avg_latency": conn.latency_sum // count if count else 0,
            "max_latency": conn.latency_max,
        }
    return shown


def _reset_connections(node: Node) -> dict[str, Any]:
    for conn in node.replica.connections:
        conn.reset_stats()
    return {}


def _reset(node: Node) -> dict[str, Any]:
    node.replica.metrics.reset()
    return {}


def _dirs(node: Node) -> dict[str, Any]:
    snapshots, logs = node.used_bytes()
    return {"datadir_size": snapshots, "logdir_size": logs}


def _dump(node: Node) -> dict[str, Any]:
    replica = node.replica
    return {
        "expiry_time_to_session_ids": {str(at): ids for at, ids in replica.tracker.buckets()},
        "session_id_to_ephemeral_paths": {
            str(session): [path.decode() for path in paths] for session, paths in replica.tree.ephemerals.items()
        },
    }


def _hash(node: Node) -> dict[str, Any]:
    digests = node.replica.pipeline.digests
    return {"digests": [{"zxid": z, "digest": to_int64(d), "digest_version": 2} for z, d in digests]}


def _last_snapshot(node: Node) -> dict[str, Any]:
    zxid, at = node.replica.last_snapshot
    return {"zxid": f"{zxid & 0xFFFFFFFFFFFFFFFF:x}", "timestamp": at // 1000 if at >= 0 else -1}


def _server_stats(node: Node) -> dict[str, Any]:
    now = gauges(node)
    snapshots, logs = node.used_bytes()
    sizes = {
        "last_buffer_size": now["last_client_response_size"],
        "min_buffer_size": now["min_client_response_size"],
        "max_buffer_size": now["max_client_response_size"],
    }
    stats = {
        "packets_sent": now["packets_sent"],
        "packets_received": now["packets_received"],
        "fsync_threshold_exceed_count": node.disk.slow_syncs if node.disk else 0,
        "client_response_stats": sizes,
        "data_dir_size": snapshots,
        "log_dir_size": logs,
        "last_processed_zxid": node.replica.tree.zxid,
        "outstanding_requests": now["outstanding_requests"],
        "server_state": "standalone",
        "avg_latency": float(now["avg_latency"]),
        "max_latency": now["max_latency"],
        "min_latency": now["min_latency"],
        "num_alive_client_connections": now["num_alive_connections"],
        "auth_failed_count": now["auth_failed_count"],
        "provider_null": False,
        "uptime": now["uptime"],
    }
    return {
        "version": VERSION_LINE,
        "read_only": False,
        "server_stats": stats,
        "client_response": sizes,
        "node_count": now["znode_count"],
    }


def _stats(node: Node) -> dict[str, Any]:
    keys = ("remote_socket_address", "interest_ops", "outstanding_requests", "packets_received", "packets_sent")
    brief = [{key: _connection(conn, node)[key] for key in keys} for conn in node.replica.connections]
    return {**_server_stats(node), "connections": brief, "secure_connections": []}


def _watch_summary(node: Node) -> dict[str, Any]:
    connections, paths, watches = node.replica.tree.watches.counts()
    return {"num_connections": connections, "num_paths": paths, "num_total_watches": watches}


def _watches(node: Node) -> dict[str, Any]:
    found = node.replica.tree.watches.paths_by_watcher()
    paths = {session_hex(w.session_id): [p.decode(errors="replace") for p in found[w]] for w in found}
    return {"session_id_to_watched_paths": paths}


def _watches_by_path(node: Node) -> dict[str, Any]:
    table = node.replica.tree.watches.data
    by_path = {p.decode(errors="replace"): [session_hex(w.session_id) for w in ws] for p, ws in table.items()}
    return {"path_to_session_ids": by_path}


def _leader(_: Node) -> dict[str, Any]:
    return {"error": "server is not initialized"}


COMMANDS: dict[str, Answer] = {
    "configuration": _configuration,
    "connection_stat_reset": _reset_connections,
    "connections": _connections,
    "dirs": _dirs,
    "dump": _dump,
    "environment": lambda _: {key.replace(".", "_"): value for key, value in environment().items()},
    "hash": _hash,
    "is_read_only": lambda _: {"read_only": False},
    "last_snapshot": _last_snapshot,
    "leader": _leader,
    "monitor": lambda node: {"version": VERSION_LINE, "server_state": "standalone", **monitored(node)},
    "observer_connection_stat_reset": lambda _: {},
    "observers": lambda _: {"synced_observers": 0, "observers": []},
    "ruok": lambda _: {},
    "server_stats": _server_stats,
    "stats": _stats,
    "stat_reset": _reset,
    "watch_summary": _watch_summary,
    "watches": _watches,
    "watches_by_path": _watches_by_path,
}
ALIASES = {
    "conf": "configuration", "config": "configuration", "crst": "connection_stat_reset", "cons": "connections",
    "env": "environment", "envi": "environment", "isro": "is_read_only", "lsnp": "last_snapshot", "lead": "leader",
    "mntr": "monitor", "orst": "observer_connection_stat_reset", "obsr": "observers", "srvr": "server_stats",
    "stat": "stats", "srst": "stat_reset", "wchs": "watch_summary", "wchc": "watches", "wchp": "watches_by_path",
}  # fmt: skip
ALWAYS = ("environment", "monitor")


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)
