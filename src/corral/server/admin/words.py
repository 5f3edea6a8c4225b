"""Four-letter words: a command of four bytes instead of a first packet, answered in ZooKeeper's exact forms.

Source: reference "Four-letter words" and "mntr keys".
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from corral.base.ids import session_hex, zxid_hex
from corral.replica.connection import UP, Connection
from corral.server.admin.monitor import average, monitored
from corral.tree.node import to_int64

if TYPE_CHECKING:
    from corral.server.node import Node

VERSION = "3.9.3"
"""The version of ZooKeeper whose behaviour clients may expect."""

VERSION_LINE = f"{VERSION}-corral, built on 11/21/2026 00:00 UTC"
NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"
_TELNET_CLOSE = b"\xff\xf4\xff\xfd"


class Commands:
    """Answers the words that the whitelist allows; `srvr` always."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._trace_mask = 306
        whitelist = node.config.four_lw_whitelist
        self._is_open = "*" in whitelist
        self._allowed = {*whitelist, "srvr"}
        if node.config.read_only_mode_enabled:
            self._allowed.add("isro")
        self._words: dict[bytes, Callable[[], str]] = {
            b"ruok": lambda: "imok",
            b"isro": lambda: "rw" if self._replica.is_serving else "null",
            b"srvr": lambda: self._server(False),
            b"stat": lambda: self._server(True),
            b"cons": self._connections,
            b"crst": self._reset_connections,
            b"srst": self._reset_server,
            b"conf": self._configuration,
            b"dirs": self._directories,
            b"dump": self._dump,
            b"envi": self._environment,
            b"wchs": self._watch_summary,
            b"wchc": self._watches_by_session,
            b"wchp": self._watches_by_path,
            b"mntr": self._monitor,
            b"hash": self._digests,
            b"gtmk": lambda: str(self._trace_mask),
        }

    @property
    def _replica(self) -> Any:
        return self._node.replica

    def knows(self, first: bytes) -> bool:
        """Tell whether the first four bytes of a connection are a word."""
        return first in self._words or first in (b"stmk", _TELNET_CLOSE)

    def answer(self, first: bytes, conn: Connection | None) -> bytes | None:
        """Return the whole answer; None while more bytes are needed."""
        word = first[:4]
        name = "telnet close" if word == _TELNET_CLOSE else word.decode()
        if not self._is_open and name not in self._allowed:
            return f"{name} is not executed because it is not in the whitelist.\n".encode()
        if word == b"stmk":
            if len(first) < 12:
                return None
            self._trace_mask = int.from_bytes(first[4:12], "big", signed=True)
            return str(self._trace_mask).encode()
        if word == _TELNET_CLOSE:
            return b""
        if not self._replica.is_serving and word not in (b"ruok", b"envi", b"gtmk", b"isro"):
            return NOT_SERVING.encode()
        return self._words[word]().encode()

    def _server(self, has_clients: bool) -> str:
        replica = self._replica
        metrics = replica.metrics
        metrics.fold_reads()
        lines = [f"Zookeeper version: {VERSION_LINE}"]
        if has_clients:
            lines.append("Clients:")
            lines += [" " + _brief(conn) for conn in replica.connections]
            lines.append("")
        latency = metrics.latency
        lines += [
            f"Latency min/avg/max: {latency.min}/{average(latency)}/{latency.max}",
            f"Received: {metrics.packets_received}",
            f"Sent: {metrics.packets_sent}",
            f"Connections: {len(replica.connections)}",
            f"Outstanding: {len(replica.pipeline.outstanding)}",
            f"Zxid: {zxid_hex(replica.tree.zxid)}",
            "Mode: standalone",
            # ZooKeeper keeps the root twice.
            f"Node count: {len(replica.tree.nodes) + 1}",
        ]
        return "\n".join(lines) + "\n"

    def _connections(self) -> str:
        return "".join(" " + _full(conn, self._replica) + "\n" for conn in self._replica.connections) + "\n"

    def _reset_connections(self) -> str:
        for conn in self._replica.connections:
            conn.reset_stats()
        return "Connection stats reset.\n"

    def _reset_server(self) -> str:
        self._replica.metrics.reset()
        return "Server stats reset.\n"

    def _configuration(self) -> str:
        return "".join(f"{key}={value}\n" for key, value in configuration(self._node).items())

    def _directories(self) -> str:
        snapshots, logs = self._node.used_bytes()
        return f"datadir_size: {snapshots}\nlogdir_size: {logs}\n"

    def _dump(self) -> str:
        replica = self._replica
        buckets = replica.tracker.buckets()
        lines = ["SessionTracker dump:", f"Session Sets ({len(buckets)})/({len(replica.tracker.sessions)}):"]
        for deadline, sessions in buckets:
            lines.append(f"{len(sessions)} expire at {_date(deadline + replica.wall_offset)}:")
            lines += [f"\t{session_hex(session)}" for session in sessions]
        ephemerals = replica.tree.ephemerals
        lines += ["ephemeral nodes dump:", f"Sessions with Ephemerals ({len(ephemerals)}):"]
        for session, paths in ephemerals.items():
            lines.append(f"{session_hex(session)}:")
            lines += [f"\t{path.decode()}" for path in paths]
        lines += ["Connections dump:", f"Connections Sets (1)/({len(replica.connections)}):"]
        lines.append(f"{len(replica.connections)} expire at {_date(self._node.now() + replica.wall_offset)}:")
        for conn in replica.connections:
            lines.append(f"\tip: /{conn.address}:{conn.port} sessionId: {session_hex(conn.session_id)}")
        return "\n".join(lines) + "\n"

    def _environment(self) -> str:
        return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in environment().items())

    def _watch_summary(self) -> str:
        connections, paths, watches = self._replica.tree.watches.counts()
        return f"{connections} connections watching {paths} paths\nTotal watches:{watches}\n"

    def _watches_by_session(self) -> str:
        lines = []
        for watcher, paths in self._replica.tree.watches.paths_by_watcher().items():
            lines.append(session_hex(watcher.session_id))
            lines += [f"\t{path.decode(errors='replace')}" for path in paths]
        return "".join(line + "\n" for line in lines) + "\n"

    def _watches_by_path(self) -> str:
        lines = []
        for path, watchers in self._replica.tree.watches.data.items():
            lines.append(path.decode(errors="replace"))
            lines += [f"\t{session_hex(watcher.session_id)}" for watcher in watchers]
        return "".join(line + "\n" for line in lines) + "\n"

    def _monitor(self) -> str:
        lines = [f"zk_version\t{VERSION_LINE}", "zk_server_state\tstandalone"]
        lines += [f"zk_{key}\t{value}" for key, value in monitored(self._node).items()]
        return "\n".join(lines) + "\n"

    def _digests(self) -> str:
        digests = self._replica.pipeline.digests
        return "".join(f"{zxid:x}: {to_int64(digest)}\n" for zxid, digest in digests)


def configuration(node: Node) -> dict[str, Any]:
    """Return what `conf` shows, in its order."""
    config = node.config
    snapshots, logs = node.used_bytes()
    return {
        "clientPort": node.client_port(),
        "secureClientPort": config.secure_client_port,
        "dataDir": os.path.join(config.data_dir, "version-2"),
        "dataDirSize": snapshots,
        "dataLogDir": os.path.join(config.log_dir, "version-2"),
        "dataLogSize": logs,
        "tickTime": config.tick_time_ms,
        "maxClientCnxns": config.max_client_cnxns,
        "minSessionTimeout": config.min_session_timeout,
        "maxSessionTimeout": config.max_session_timeout,
        "clientPortListenBacklog": config.client_port_listen_backlog,
        "serverId": config.server_id,
    }


def environment() -> dict[str, str]:
    """Return what `envi` shows; Java's keys, filled with what corresponds to them here."""
    return {
        "zookeeper.version": VERSION_LINE,
        "host.name": socket.gethostname(),
        "java.version": f"Python {platform.python_version()}",
        "java.vendor": platform.python_implementation(),
        "java.home": sys.prefix,
        "java.class.path": "",
        "java.library.path": "",
        "java.io.tmpdir": os.environ.get("TMPDIR", "/tmp"),  # what would be used, nothing is written
        "java.compiler": "<NA>",
        "os.name": platform.system(),
        "os.arch": platform.machine(),
        "os.version": platform.release(),
        "user.name": os.environ.get("USER", ""),
        "user.home": os.path.expanduser("~"),
        "user.dir": os.getcwd(),
    }


def _brief(conn: Connection) -> str:
    interest = 0 if conn.is_unread else 1
    return f"/{conn.address}:{conn.port}[{interest}](queued={len(conn.queue)},recved={conn.received},sent={conn.sent})"


def _full(conn: Connection, replica: Any) -> str:
    text = _brief(conn)[:-1]
    if conn.state == UP:
        mean = conn.latency_sum // conn.latency_count if conn.latency_count else 0
        cxid = f",lcxid=0x{conn.last_xid:x}" if conn.last_xid >= 0 else ""
        lop = replica.registry.lops.get(conn.last_op, "NA") if conn.last_xid != -1 or conn.last_op else "SESS"
        text += (
            f",sid={session_hex(conn.session_id)},lop={lop},est={conn.established + replica.wall_offset}"
            f",to={conn.timeout}{cxid},lzxid={zxid_hex(conn.last_zxid)},lresp={conn.last_response_at}"
            f",llat={conn.last_latency},minlat={conn.latency_min},avglat={mean},maxlat={conn.latency_max}"
        )
    return text + ")"


def _date(wall_ms: int) -> str:
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(wall_ms / 1000))
