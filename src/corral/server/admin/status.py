"""What a server says of itself, gathered in one place for the words, the admin server and the metrics.

A view: nothing here is counted, it is looked up where it is counted. It decides no form; `words` and `answers` do.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import corral
from corral import __version__
from corral.base.errors import MarshallingError
from corral.base.records import record
from corral.replica.connection import UP, Connection
from corral.replica.metrics import Summary
from corral.tree.node import data_of
from corral.tree.quota import Limits, limits_path, parse_limits

if TYPE_CHECKING:
    from corral.replica.replica import Replica
    from corral.server.node import Node

REPORTED_VERSION: Final = "3.9.3"
"""The version of ZooKeeper whose behaviour clients may expect. Tools compare it, so it comes first."""

TRACE_MASK: Final = 306
_VERSION_FILE: Final = corral.__file__
_DESCRIPTORS: Final = "/proc/self/fd"


def version_line() -> str:
    """Return the version in ZooKeeper's form: `<version>-<revision>, built on <when>`.

    Nothing is built of Python: the time is that of the file that says the version, so of its installation.
    """
    try:
        written = os.stat(_VERSION_FILE).st_mtime
    except OSError:
        # Imported from an archive.
        written = 0.0
    when = time.strftime("%m/%d/%Y %H:%M UTC", time.gmtime(written))
    return f"{REPORTED_VERSION}-corral-{__version__}, built on {when}"


@record
class ConnectionStatus:
    """One connection. interest: 1 while it is read, else 0. has_session: whether what follows it means anything.

    established: wall-clock ms. last_response_at: monotonic ms. Latencies in ms.
    """

    address: str
    port: int
    interest: int
    queued: int
    received: int
    sent: int
    has_session: bool
    session: int
    last_op: str
    established: int
    timeout: int
    last_xid: int
    last_zxid: int
    last_response_at: int
    last_latency: int
    min_latency: int
    mean_latency: int
    max_latency: int


class Status:
    """A node's state, for showing. trace_mask: what `stmk` was told last."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.version = version_line()
        self.trace_mask = TRACE_MASK
        self._syncs_before = (0, 0)

    @property
    def replica(self) -> Replica:
        """The core."""
        return self.node.replica

    @property
    def is_serving(self) -> bool:
        """Whether requests are answered."""
        return self.replica.is_serving

    @property
    def is_read_only(self) -> bool:
        """Whether only reads are answered, for want of a quorum."""
        return False

    @property
    def mode(self) -> str:
        """The server's part in an ensemble."""
        return "standalone"

    @property
    def latency(self) -> Summary:
        """All requests' latencies, in ms."""
        metrics = self.replica.metrics
        metrics.fold()
        return metrics.latency

    @property
    def node_count(self) -> int:
        """The number of nodes; ZooKeeper keeps the root twice, and counts it so."""
        return len(self.replica.tree.nodes) + 1

    @property
    def ephemerals_count(self) -> int:
        """The number of ephemerals."""
        return sum(map(len, self.replica.tree.ephemerals.values()))

    @property
    def outstanding(self) -> int:
        """The number of writes that wait for agreement."""
        return len(self.replica.pipeline.outstanding)

    @property
    def uptime(self) -> int:
        """How long the core has been there, in ms."""
        return self.node.now() - self.replica.started

    @property
    def slow_syncs(self) -> int:
        """How often the disk took longer than the threshold for a warning."""
        return self.node.disk.slow_syncs if self.node.disk is not None else 0

    def syncs(self) -> Summary:
        """Return how long the log's fsyncs took, in ms, since the last reset; the greatest is of all time."""
        found = Summary()
        disk = self.node.disk
        if disk is not None:
            count, total = self._syncs_before
            found.count, found.sum, found.max = disk.syncs - count, disk.sync_ms_sum - total, disk.sync_ms_max
        return found

    def open_files(self) -> int:
        """Return the number of open descriptors, -1 where the system does not tell."""
        try:
            return len(os.listdir(_DESCRIPTORS))
        except OSError:
            return -1

    def max_files(self) -> int:
        """Return the limit on open descriptors."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def connections(self, asking: Connection | None = None) -> list[ConnectionStatus]:
        """Return all connections. asking: the one that wants to know; it is not read any more."""
        return [self._connection(conn, conn is asking) for conn in self.replica.connections]

    def _connection(self, conn: Connection, is_asking: bool) -> ConnectionStatus:
        # Reads that are answered at once take no time.
        count = conn.latency_count + conn.served
        last_latency = 0 if conn.last_op in self.replica.registry.reads else max(conn.last_latency, 0)
        least = 0 if conn.served or not count else conn.latency_min
        # Before the first request the last operation is the session's creation; after a reset there is none.
        last_op = self.replica.registry.lops.get(conn.last_op, "NA") if conn.last_op else "SESS"
        return ConnectionStatus(
            conn.address, conn.port, 0 if is_asking or conn.is_unread else 1, len(conn.queue),
            conn.received + conn.served, conn.sent + conn.served + conn.latency_count,
            conn.state == UP, conn.session_id, last_op, conn.established + self.replica.wall_offset, conn.timeout,
            conn.last_xid, conn.last_zxid, conn.last_response_at, last_latency, least,
            conn.latency_sum // count if count else 0, conn.latency_max,
        )  # fmt: skip

    def connection_deadlines(self) -> list[tuple[int, list[Connection]]]:
        """Return when idle connections are closed, in monotonic ms, in buckets and in order of time."""
        width = self.node.config.sessionless_cnxn_timeout_ms
        buckets: dict[int, list[Connection]] = {}
        for conn in self.replica.connections:
            since, timeout = (conn.established, width) if conn.session is None else (conn.session.heard, conn.timeout)
            buckets.setdefault(((since + timeout) // width + 1) * width, []).append(conn)
        return sorted(buckets.items(), key=lambda bucket: bucket[0])

    def reset(self) -> None:
        """Forget the counters and latencies, as `srst` does."""
        self.replica.metrics.reset()
        disk = self.node.disk
        if disk is not None:
            self._syncs_before = (disk.syncs, disk.sync_ms_sum)

    def reset_connections(self) -> None:
        """Forget what is counted of each connection, as `crst` does."""
        for conn in self.replica.connections:
            conn.reset_stats()

    def quotas(self) -> dict[str, dict[str, int]]:
        """Return limits and usage by kind and namespace, which is a path's first name. Source: QuotaMetricsUtils."""
        tree = self.replica.tree
        found: dict[str, dict[str, int]] = {f"quota_{kind}_per_namespace": {} for kind in _QUOTA_KINDS}
        for path, (count, size) in tree.quotas.active.items():
            limits = self._limits(path)
            values = (
                limits.count_hard if limits.count_hard >= 0 else limits.count,
                limits.size_hard if limits.size_hard >= 0 else limits.size,
                count,
                size,
            )
            for by_namespace, value in zip(found.values(), values, strict=True):
                if value >= 0:
                    _add(by_namespace, path, value)
        return found

    def _limits(self, path: bytes) -> Limits:
        node = self.replica.tree.get(limits_path(path))
        try:
            return parse_limits(data_of(node.body)) if node is not None else Limits()
        except MarshallingError:
            # Whoever may write the node may write nonsense there; writes below complain, showing does not.
            return Limits()

    def quotas_exceeded(self) -> dict[str, int]:
        """Return how often a hard limit refused a write, by namespace."""
        found: dict[str, int] = {}
        for path, count in self.replica.tree.quotas.exceeded.items():
            _add(found, path, count)
        return found

    def configuration(self) -> dict[str, str | int]:
        """Return what `conf` shows, in its order."""
        node, config = self.node, self.node.config
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

    def environment(self) -> dict[str, str]:
        """Return what `envi` shows: Java's keys, filled with what corresponds to them here."""
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") >> 20
        return {
            "zookeeper.version": self.version,
            "host.name": socket.gethostname(),
            "java.version": f"Python {platform.python_version()}",
            "java.vendor": platform.python_implementation(),
            "java.home": sys.prefix,
            "java.class.path": "",
            "java.library.path": "",
            "java.io.tmpdir": tempfile.gettempdir(),
            "java.compiler": "<NA>",
            "os.name": platform.system(),
            "os.arch": platform.machine(),
            "os.version": platform.release(),
            "user.name": os.environ.get("USER", ""),
            "user.home": os.path.expanduser("~"),
            "user.dir": os.getcwd(),
            "os.memory.free": f"{free}MB",
            "os.memory.max": f"{total}MB",
            "os.memory.total": f"{used}MB",
        }


_QUOTA_KINDS: Final = ("count_limit", "bytes_limit", "count_usage", "bytes_usage")


def texts(paths: Iterable[bytes]) -> list[str]:
    """Decode paths for showing."""
    return [path.decode(errors="replace") for path in paths]


def _add(by_namespace: dict[str, int], path: bytes, value: int) -> None:
    namespace = path.split(b"/")[1].decode(errors="replace")
    by_namespace[namespace] = by_namespace.get(namespace, 0) + value
