"""Four-letter words: a command of four bytes instead of a first packet, answered in ZooKeeper's exact forms.

The forms are functions of a Status, one for each word. Source: reference "Four-letter words".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from corral.base.ids import session_hex, zxid_hex
from corral.replica.connection import Connection
from corral.server.admin.monitor import Number, mean, read
from corral.server.admin.status import ConnectionStatus, Status, texts
from corral.tree.node import to_int64

if TYPE_CHECKING:
    from corral.server.node import Node

NOT_SERVING: Final = "This ZooKeeper instance is not currently serving requests"
TELNET_CLOSE: Final = b"\xff\xf4\xff\xfd"
STMK: Final = b"stmk"
WORD_BYTES: Final = 4
STMK_BYTES: Final = 12
"""The word and the new mask behind it."""

# Answered whether or not the server serves.
ALWAYS: Final = (b"ruok", b"envi", b"gtmk", b"isro")


class Commands:
    """Answers the words that the whitelist allows; `srvr` always."""

    def __init__(self, node: Node) -> None:
        self.status = Status(node)
        whitelist = node.config.four_lw_whitelist
        self._is_open = "*" in whitelist
        self._allowed = {*whitelist, "srvr"}
        if node.config.read_only_mode_enabled:
            self._allowed.add("isro")

    def knows(self, first: bytes) -> bool:
        """Tell whether the first four bytes of a connection are a word."""
        return first in FORMS or first in (STMK, TELNET_CLOSE)

    def answer(self, first: bytes, conn: Connection | None) -> bytes | None:
        """Return the whole answer; None while more bytes are needed. conn: the one that asks, if it is known."""
        answer = self._answer(first, conn)
        if answer:
            self.status.replica.metrics.other_sent += 1
        return answer

    def _answer(self, first: bytes, conn: Connection | None) -> bytes | None:
        word = first[:4]
        name = "telnet close" if word == TELNET_CLOSE else word.decode()
        is_allowed = self._is_open or name in self._allowed
        if word == STMK and is_allowed and len(first) < STMK_BYTES:
            return None
        self._count(conn)
        if not is_allowed:
            return f"{name} is not executed because it is not in the whitelist.\n".encode()
        if word == STMK:
            self.status.trace_mask = int.from_bytes(first[4:STMK_BYTES], "big", signed=True)
            return str(self.status.trace_mask).encode()
        if word == TELNET_CLOSE:
            # There is nothing to say: the connection closes.
            return b""
        if not self.status.is_serving and word not in ALWAYS:
            return (NOT_SERVING if word == b"hash" else NOT_SERVING + "\n").encode()
        return FORMS[word](self.status, conn).encode()

    def _count(self, conn: Connection | None) -> None:
        """Count the word as a packet, as ZooKeeper does, and like its answer."""
        metrics = self.status.replica.metrics
        metrics.other_received += 1
        metrics.bytes_received += WORD_BYTES
        if conn is not None:
            conn.received += 1


# The forms.


def server_text(status: Status, clients: Iterable[ConnectionStatus] | None = None) -> str:
    """Write the answer to `srvr`, and with clients the one to `stat`."""
    metrics = status.replica.metrics
    latency = status.latency
    lines = [f"Zookeeper version: {status.version}"]
    if status.is_read_only:
        lines.append("READ-ONLY mode; serving only read-only clients")
    if clients is not None:
        lines += ["Clients:", *(f" {brief(client)})" for client in clients), ""]
    lines += [
        f"Latency min/avg/max: {latency.min}/{mean(latency)}/{latency.max}",
        f"Received: {metrics.packets_received}",
        f"Sent: {metrics.packets_sent}",
        f"Connections: {len(status.replica.connections)}",
        f"Outstanding: {status.outstanding}",
        f"Zxid: {zxid_hex(status.replica.tree.zxid)}",
        f"Mode: {status.mode}",
        f"Node count: {status.node_count}",
    ]
    return _lines(lines)


def brief(client: ConnectionStatus) -> str:
    """Write what `stat` and `cons` begin a connection with, the bracket left open."""
    return (
        f"/{_host(client.address)}:{client.port}[{client.interest:x}]"
        f"(queued={client.queued},recved={client.received},sent={client.sent}"
    )


def full(client: ConnectionStatus) -> str:
    """Write a connection as `cons` does."""
    text = brief(client)
    if client.has_session:
        cxid = f",lcxid=0x{client.last_xid:x}" if client.last_xid >= 0 else ""
        text += (
            f",sid={session_hex(client.session)},lop={client.last_op},est={client.established},to={client.timeout}"
            f"{cxid},lzxid={zxid_hex(client.last_zxid)},lresp={client.last_response_at},llat={client.last_latency}"
            f",minlat={client.min_latency},avglat={client.mean_latency},maxlat={client.max_latency}"
        )
    return text + ")"


def connections_text(clients: Iterable[ConnectionStatus]) -> str:
    """Write the answer to `cons`."""
    return _lines([*(f" {full(client)}" for client in clients), ""])


def dump_text(status: Status) -> str:
    """Write the answer to `dump`: who expires when, who owns ephemerals, and the connections."""
    replica = status.replica
    offset = replica.wall_offset
    sessions = replica.tracker.buckets()
    lines = ["SessionTracker dump:", f"Session Sets ({len(sessions)})/({len(replica.tracker.sessions)}):"]
    for deadline, ids in sessions:
        lines += [f"{len(ids)} expire at {date(deadline + offset)}:", *(f"\t{session_hex(each)}" for each in ids)]
    ephemerals = replica.tree.ephemerals
    lines += ["ephemeral nodes dump:", f"Sessions with Ephemerals ({len(ephemerals)}):"]
    for session, paths in ephemerals.items():
        lines += [f"{session_hex(session)}:", *(f"\t{path}" for path in texts(paths))]
    deadlines = status.connection_deadlines()
    lines += ["Connections dump:", f"Connections Sets ({len(deadlines)})/({len(replica.connections)}):"]
    for deadline, conns in deadlines:
        lines.append(f"{len(conns)} expire at {date(deadline + offset)}:")
        lines += [f"\tip: /{_host(c.address)}:{c.port} sessionId: {session_hex(c.session_id)}" for c in conns]
    return _lines(lines)


def watch_summary_text(counts: tuple[int, int, int]) -> str:
    """Write the answer to `wchs`. counts: watchers, paths, watches."""
    return f"{counts[0]} connections watching {counts[1]} paths\nTotal watches:{counts[2]}\n"


def grouped_text(groups: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Write the answer to `wchc` or `wchp`: a line for each group, its members below it behind a tab."""
    lines = []
    for group, members in groups:
        lines += [group, *(f"\t{member}" for member in members)]
    return _lines([*lines, ""])


def monitor_text(version: str, mode: str, values: Mapping[str, Number]) -> str:
    """Write the answer to `mntr`."""
    lines = [f"zk_version\t{version}", f"zk_server_state\t{mode}"]
    return _lines([*lines, *(f"zk_{key}\t{value}" for key, value in values.items())])


def date(wall_ms: int) -> str:
    """Write a time as Java's Date does."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(wall_ms / 1000))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _pairs(values: Mapping[str, str | int]) -> str:
    return _lines(f"{key}={value}" for key, value in values.items())


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _reset(status: Status, _conn: Connection | None) -> str:
    status.reset()
    return "Server stats reset.\n"


def _reset_connections(status: Status, _conn: Connection | None) -> str:
    status.reset_connections()
    return "Connection stats reset.\n"


def _isro(status: Status, _conn: Connection | None) -> str:
    if not status.is_serving:
        return "null"
    return "ro" if status.is_read_only else "rw"


def _directories(status: Status, _conn: Connection | None) -> str:
    snapshots, logs = status.node.used_bytes()
    return f"datadir_size: {snapshots}\nlogdir_size: {logs}\n"


def _watches_by_session(status: Status, _conn: Connection | None) -> str:
    found = status.replica.tree.watches.paths_by_watcher()
    return grouped_text((session_hex(watcher.session_id), texts(paths)) for watcher, paths in found.items())


def _watches_by_path(status: Status, _conn: Connection | None) -> str:
    table = status.replica.tree.watches.data
    return grouped_text(
        (path.decode(errors="replace"), [session_hex(watcher.session_id) for watcher in watchers])
        for path, watchers in table.items()
    )


def _digests(status: Status, _conn: Connection | None) -> str:
    return _lines(f"{zxid:x}: {to_int64(digest)}" for zxid, digest in status.replica.pipeline.digests)


FORMS: Final[dict[bytes, Callable[[Status, Connection | None], str]]] = {
    b"ruok": lambda _status, _conn: "imok",
    b"isro": _isro,
    b"srvr": lambda status, _conn: server_text(status),
    b"stat": lambda status, conn: server_text(status, status.connections(conn)),
    b"cons": lambda status, conn: connections_text(status.connections(conn)),
    b"crst": _reset_connections,
    b"srst": _reset,
    b"conf": lambda status, _conn: _pairs(status.configuration()),
    b"dirs": _directories,
    b"dump": lambda status, _conn: dump_text(status),
    b"envi": lambda status, _conn: "Environment:\n" + _pairs(status.environment()),
    b"wchs": lambda status, _conn: watch_summary_text(status.replica.tree.watches.counts()),
    b"wchc": _watches_by_session,
    b"wchp": _watches_by_path,
    b"mntr": lambda status, _conn: monitor_text(status.version, status.mode, read(status).flat()),
    b"hash": _digests,
    b"gtmk": lambda status, _conn: str(status.trace_mask),
}
