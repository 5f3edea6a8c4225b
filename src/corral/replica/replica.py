"""One server, whole, as a deterministic core.

What a shell does with it:

- `accept` for each connection, `Connection.receive` for its bytes, `Connection.closed` at its end;
- `handle(input, now)` for what the disk and the clock have to say;
- after each of these: `take_dirty` (connections with output to send or a state to obey) and, once a loop turn,
  `take` (effects for the disk);
- `work(now)` when `deadline` is reached, or at the next turn while it says that more is waiting.

Time is given, never read: `now` in monotonic ms; `wall_offset` turns it into wall-clock ms.

One file in spite of its length: it is what a shell may call, and each call is short; what has a state or rules of its
own stands beside it, from `connection.py` and `pipeline.py` to `reaper.py` and `throttle.py`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol, assert_never

from corral.base.ids import session_hex, zxid_hex
from corral.ops.base import Options, Serving
from corral.ops.registry import Registry
from corral.quorum.solo import Solo
from corral.replica.config import Config
from corral.replica.connection import WAITING, Connection
from corral.replica.effects import Append, BeginSnapshot, Effect, EndSnapshot, Roll, SnapshotChunk, Stop
from corral.replica.fanout import Fanout
from corral.replica.inputs import ChunkWritten, DiskFailed, Input, SnapshotFailed, SnapshotWritten, Synced
from corral.replica.largerequests import LargeRequests
from corral.replica.metrics import Metrics
from corral.replica.pipeline import Pipeline, Submit
from corral.replica.reaper import Reaper
from corral.replica.requestthrottle import RequestThrottle
from corral.replica.sessions import SessionTracker, session_password
from corral.replica.throttle import TokenBucket
from corral.store.retention import RollPolicy
from corral.store.snapshot_write import SnapshotWriter
from corral.tree.access import SHOWN_CHARS_MAX, Access, AuthProvider, AuthRefused, Identity
from corral.tree.tree import Tree
from corral.wire.client import ConnectRequest

# How much of each background job one call of `work` does.
EXPIRED_PER_STEP: Final = 64
FORGOTTEN_PER_STEP: Final = 64
TOLD_PER_STEP: Final = 128
# What waits in one connection behind its oldest write is answered in one turn with it.
WAITING_MAX: Final = 128
LOGGED_SINGLY_MAX: Final = 4
# How many packets of the greatest length that setWatches may have are taken in at the same time.
LARGE_AT_ONCE: Final = 4
SNAPSHOT_NODES_MIN: Final = 128
SNAPSHOT_NODES_MAX: Final = 1536
SNAPSHOT_NODES_PER_TXN: Final = 6
CHUNKS_IN_FLIGHT_MAX: Final = 64


class Log(Protocol):
    """Where a core says what an operator cares about."""

    def info(self, event: str, **data: Any) -> Any: ...
    def warning(self, event: str, **data: Any) -> Any: ...
    def error(self, event: str, **data: Any) -> Any: ...


class Replica:
    """A standalone server's state and decisions.

    dirty: connections that the shell must look at. throttled: those not read while too much is outstanding. is_serving:
    False from a failure of the log on, and around a restore; then no session is opened and nothing is done in the
    background. next_session: the id of the next new session. submit: how a write goes in. frame_bytes_plain: up to
    which length a frame needs no second look.
    """

    def __init__(
        self,
        config: Config,
        tree: Tree,
        fanout: Fanout,
        metrics: Metrics,
        access: Access,
        registry: Registry,
        rolls: RollPolicy,
        log: Log,
        first_session: int,
        now: int,
        wall_offset: int,
    ) -> None:
        self.config = config
        self.tree = tree
        self.metrics = metrics
        self.access = access
        self.registry = registry
        self.log = log
        self.wall_offset = wall_offset
        self.fanout = fanout
        options = options_of(config)
        self.serving = Serving(tree, access, options)
        self.tracker = SessionTracker(config.tick_time_ms)
        self.agreement = Solo(tree.zxid)
        self.pipeline = Pipeline(
            tree, registry, access, options, self.tracker, self.agreement, metrics, config.global_outstanding_limit
        )
        self.frame_bytes_max = self.frame_bytes_plain = config.jute_maxbuffer
        self.submit: Submit = self.pipeline.submit
        self.large: LargeRequests | None = None
        self.request_throttle: RequestThrottle | None = None
        if config.large_request_threshold > 0:
            self.large = LargeRequests(config, self.submit, self.pipeline.outstanding)
            self.frame_bytes_plain = min(self.frame_bytes_max, config.large_request_threshold)
            self.submit = self.large.submit
        if config.request_throttle_max_requests > 0:
            self.request_throttle = RequestThrottle(config, self.submit, self.pipeline.outstanding, metrics)
            self.submit = self.request_throttle.submit
        self.reaper = Reaper(config, tree, self.pipeline)
        self.connections: dict[Connection, None] = {}
        self.by_address: dict[str, int] = {}
        self.dirty: list[Connection] = []
        self.throttled: dict[Connection, None] = {}
        self.setwatches_bytes_max = max(config.setwatches_maxbuffer, config.jute_maxbuffer)
        self._reserved = 0
        self.is_serving = True
        self.started = now
        self._admission = TokenBucket(
            config.connection_throttle_tokens,
            config.connection_throttle_fill_time_ms,
            config.connection_throttle_fill_count,
            now,
        )
        self._gone: deque[Connection] = deque()
        self._forgets_left = FORGOTTEN_PER_STEP
        self._sessionless: dict[Connection, int] = {}
        self.next_session = first_session
        self.rolls = rolls
        self._effects: list[Effect] = []
        self._snapshot: SnapshotWriter | None = None
        self._snapshot_zxid = 0
        self._snapshot_seen = 0
        self._chunks_in_flight = 0
        self.last_snapshot: tuple[int, int] = (-1, -1)
        self.snapshots_failed = 0
        for session, timeout in tree.sessions.items():
            self.tracker.open(session, timeout, now)

    # Connections.

    def accept(self, address: str, port: int, now: int) -> Connection | None:
        """Take a new connection, or refuse it (None) for the limits on their number."""
        count = self.by_address.get(address, 0)
        limit, total = self.config.max_client_cnxns, self.config.max_cnxns
        if (limit and count >= limit) or (total and len(self.connections) >= total):
            key, most = ("maxClientCnxns", limit) if limit and count >= limit else ("maxCnxns", total)
            self.metrics.count("connection_rejected")
            self.log.warning("connection refused: too many", client=f"{address}:{port}", limit=most, key=key)
            return None
        conn = Connection(self, address, port, now)
        self.connections[conn] = None
        self.by_address[address] = count + 1
        self._sessionless[conn] = now
        return conn

    def forget(self, conn: Connection) -> None:
        """Drop all that belongs to a closed connection; O(what it had).

        The watches of thousands that go at once are dropped by `work`; nobody hears of them meanwhile.
        """
        self.connections.pop(conn, None)
        self._sessionless.pop(conn, None)
        self.throttled.pop(conn, None)
        if self.request_throttle is not None:
            self.request_throttle.waiting.pop(conn, None)
        count = self.by_address.get(conn.address, 0) - 1
        if count > 0:
            self.by_address[conn.address] = count
        else:
            self.by_address.pop(conn.address, None)
        if self._forgets_left > 0:
            self._forgets_left -= 1
            self.tree.watches.forget(conn)
        else:
            self._gone.append(conn)
        if self.fanout.waiting:
            self.fanout.forget(conn)

    def touched(self, conn: Connection) -> None:
        """Have the shell look at a connection."""
        if not conn.is_dirty:
            conn.is_dirty = True
            self.dirty.append(conn)

    def connect(self, conn: Connection, request: ConnectRequest, now: int) -> None:
        """Decide about a ConnectRequest. Source: ZooKeeperServer.processConnectRequest, but see `_renew`."""
        client = f"{conn.address}:{conn.port}"
        if not self.is_serving:
            self.metrics.count("cnxn_closed_without_zk_server_running")
            conn.end()
            return
        if not self._admission.take(now):
            self.metrics.count("connection_rejected")
            conn.end()
            return
        self.metrics.count("connection_request_count")
        self.metrics.summary("connection_token_deficit").add(self._admission.deficit())
        if request.last_zxid_seen > self.tree.zxid:
            self.log.warning(
                "connection closed: the client has seen a later zxid than this server has; it must try another server",
                client=client, seen=zxid_hex(request.last_zxid_seen), here=zxid_hex(self.tree.zxid),
            )  # fmt: skip
            conn.end()
            return
        timeout = min(max(request.timeout, self.min_session_timeout), self.max_session_timeout)
        self._sessionless.pop(conn, None)
        if request.session_id == 0:
            session = self.next_session
            self.next_session += 1
            conn.state = WAITING
            self.tracker.open(session, timeout, now)
            self.pipeline.create_session(conn, session, timeout, now, now + self.wall_offset)
        else:
            self._renew(conn, request, timeout, now)

    def _renew(self, conn: Connection, request: ConnectRequest, timeout: int, now: int) -> None:
        """Give a session to its client's new connection.

        Deviation: ZooKeeper closes the session's old connection before it has looked at the password, so that anyone
        who knows an id can cut its owner off; here only the right password does.
        """
        session = self.tracker.sessions.get(request.session_id)
        client = f"{conn.address}:{conn.port}"
        if request.passwd != session_password(request.session_id):
            self.log.warning("session refused: wrong password", client=client, session=session_hex(request.session_id))
            conn.refuse_session()
            return
        if session is None or session.is_closing:
            self.metrics.count("stale_sessions_expired")
            conn.refuse_session()
            return
        self.metrics.count("connection_revalidate_count")
        old: Connection | None = session.conn
        if old is not None:
            old.session = None
            session.conn = None
            old.end()
        self.tracker.renew(session, timeout, now)
        conn.attach(session, now)
        self.touched(conn)

    @property
    def min_session_timeout(self) -> int:
        """The least session timeout, in ms."""
        return self.config.min_session_timeout

    @property
    def max_session_timeout(self) -> int:
        """The greatest session timeout, in ms."""
        return self.config.max_session_timeout

    def authenticate(self, conn: Connection, scheme: str, credentials: bytes | None) -> list[Identity]:
        """Return the identities that an auth packet gives. Raises AuthRefused."""
        provider: AuthProvider | None = self.access.providers.get(scheme)
        if provider is None:
            raise AuthRefused(f"there is no authentication scheme {scheme[:SHOWN_CHARS_MAX]!r}")
        return list(provider.authenticate(credentials, conn.address))

    def needs_auth(self, conn: Connection) -> bool:
        """Tell whether a connection must authenticate before anything else."""
        schemes: tuple[str, ...] = ()
        if self.config.enforce_auth_enabled:
            schemes = tuple(self.config.enforce_auth_schemes)
        if self.config.session_require_client_sasl_auth:
            schemes += ("sasl",)
        return bool(schemes) and not any(scheme in schemes for scheme, _ in conn.identities)

    def is_crowded(self, conn: Connection) -> bool:
        """Tell whether more is outstanding than the limit on it, or more reads than a turn should answer wait."""
        return len(self.pipeline.outstanding) > self.config.global_outstanding_limit or len(conn.queue) > WAITING_MAX

    def reserve(self, size: int) -> bool:
        """Set bytes aside for a packet longer than `frame_bytes_plain`; negative gives them back.

        False if all such packets together would take more than a few times the limit of one.
        """
        if self.large is not None and abs(size) <= self.frame_bytes_max:
            return self.large.reserve(size)
        if size > 0 and self._reserved + size > LARGE_AT_ONCE * self.setwatches_bytes_max:
            return False
        self._reserved += size
        return True

    def refuse_length(self, conn: Connection, size: int, start: bytes) -> None:
        """Say why a connection is closed whose next packet claims `size` bytes; `start` is its beginning."""
        self.metrics.count("large_requests_rejected")
        if self.large is not None and 8 <= size <= self.frame_bytes_max:
            self.log.warning(
                "connection closed: too many large requests at once",
                client=f"{conn.address}:{conn.port}", session=session_hex(conn.session_id), length=size,
                under_way=self.large.under_way(), limit=self.config.large_request_max_bytes, key="largeRequestMaxBytes",
            )  # fmt: skip
            return
        guess = _guess_protocol(start)
        op = int.from_bytes(start[8:12], "big", signed=True) if len(start) >= 12 and conn.session else None
        self.log.warning(
            "connection closed: packet length out of range",
            client=f"{conn.address}:{conn.port}",
            session=session_hex(conn.session_id),
            length=size,
            limit=self.frame_bytes_max,
            key="jute.maxbuffer",
            **({"operation": self.registry.names.get(op, str(op))} if op is not None else {}),
            **({"looks_like": guess} if guess else {}),
        )

    # Inputs from the disk.

    def handle(self, event: Input, now: int) -> None:
        """Take what happened outside."""
        match event:
            case Synced(zxid):
                self.pipeline.committed(self.agreement.synced(zxid), now)
                if self.throttled:
                    self._release()
                if self.request_throttle is not None:
                    self.request_throttle.release(now)
            case DiskFailed(why):
                self.is_serving = False
                self.log.error("the log cannot be written; this server stops, nothing acknowledged is lost", why=why)
                self._effects.append(Stop(why))
            case ChunkWritten():
                self._chunks_in_flight -= 1
            case SnapshotWritten(zxid, took_ms):
                self.last_snapshot = (zxid, now + self.wall_offset)
                self.metrics.count("snap_count")
                self.metrics.summary("snapshottime").add(took_ms)
                self.log.info("snapshot written", zxid=zxid_hex(zxid))
            case SnapshotFailed(zxid, why):
                # An older one may fail at its very end, when the next one has been begun already.
                if zxid == self._snapshot_zxid:
                    self._snapshot = None
                    self.snapshots_failed += 1
                self.metrics.count("snapshot_error_count")
                self.log.error("snapshot failed; the log is kept whole, the next one will be tried", why=why)
            case _:
                assert_never(event)

    def _release(self) -> None:
        if len(self.pipeline.outstanding) > self.config.global_outstanding_limit // 2:
            return
        for conn in self.throttled:
            conn.is_unread = False
            self.touched(conn)
        self.throttled = {}

    # What the shell takes.

    def has_output(self) -> bool:
        """Tell whether `take_dirty` or `take` has anything to give."""
        return bool(self.dirty or self.agreement.waiting or self._effects)

    def take_dirty(self) -> list[Connection]:
        """Return the connections with output or a state to obey since the last call."""
        dirty = self.dirty
        self.dirty = []
        for conn in dirty:
            conn.is_dirty = False
        return dirty

    def take(self) -> list[Effect]:
        """Return what the disk must do, in order."""
        effects = self._effects
        if effects:
            self._effects = []
        elif not self.agreement.waiting:
            return effects
        frames = self.agreement.take()
        if frames:
            last = self.agreement.proposed
            effects = [Append(frames, last - len(frames) + 1, last), *effects]
            if self.rolls.appended(len(frames), sum(map(len, frames))):
                effects.append(Roll())
                self.start_snapshot()
                effects += self._effects
                self._effects = []
        return effects

    # Background work.

    def work(self, now: int) -> bool:
        """Do a slice of what is due; tell whether more is waiting right now."""
        if not self.is_serving:
            return False
        wall = now + self.wall_offset
        expired = self.tracker.due(now, EXPIRED_PER_STEP)
        for session in expired:
            if not session.is_closing:
                self.metrics.count("stale_sessions_expired")
                if len(expired) <= LOGGED_SINGLY_MAX:
                    self.log.info("session expired", session=session_hex(session.id), timeout_ms=session.timeout)
                self.pipeline.close_session(session, None, 0, now, wall)
        if len(expired) > LOGGED_SINGLY_MAX:
            self.log.info("sessions expired", count=len(expired), first=session_hex(expired[0].id))
        self._drop_sessionless(now)
        self._report_quotas()
        self.metrics.fold_if_many()
        self._forget_watches()
        self.fanout.step(TOLD_PER_STEP)
        self.reaper.step(now, wall)
        return len(expired) >= EXPIRED_PER_STEP or bool(self.fanout.waiting or self._gone)

    def excuse(self, ms: int, now: int) -> None:
        """Learn that nothing was read for `ms`: clients may have spoken meanwhile, so it counts for no session."""
        self.log.warning("this server was held up for a while; no session expires for that", ms=ms)
        self.tracker.excuse(ms, now)

    def expire(self, session_id: int, now: int) -> bool:
        """End a session as if its time were over; False if there is none of that id, or it is ending already."""
        session = self.tracker.sessions.get(session_id)
        if session is None or session.is_closing:
            return False
        self.metrics.count("stale_sessions_expired")
        self.log.info("session expired on demand", session=session_hex(session_id))
        self.pipeline.close_session(session, None, 0, now, now + self.wall_offset)
        return True

    def _forget_watches(self) -> None:
        for _ in range(min(len(self._gone), FORGOTTEN_PER_STEP)):
            self.tree.watches.forget(self._gone.popleft())
        self._forgets_left = FORGOTTEN_PER_STEP

    def _report_quotas(self) -> None:
        over = self.tree.quotas.over_soft
        for path, kind, current, limit in over[:10]:
            self.log.warning("quota exceeded", path=path.decode(), kind=kind, current=current, soft_limit=limit)
        if len(over) > 10:
            self.log.warning("quota exceeded: more of the same left out", count=len(over) - 10)
        over.clear()

    def _drop_sessionless(self, now: int) -> None:
        limit = now - self.config.sessionless_cnxn_timeout_ms
        while self._sessionless:
            conn, since = next(iter(self._sessionless.items()))
            if since > limit:
                return
            del self._sessionless[conn]
            self.metrics.count("sessionless_connections_expired")
            conn.end()

    # Snapshots.

    @property
    def is_snapshotting(self) -> bool:
        """Whether a snapshot is being made, or pieces of one are still to be written."""
        return self._snapshot is not None or self._chunks_in_flight > 0

    @property
    def is_snapshot_ahead(self) -> bool:
        """Whether `snapshot_step` makes nothing until pieces have been written."""
        return self._chunks_in_flight >= CHUNKS_IN_FLIGHT_MAX

    def start_snapshot(self) -> bool:
        """Begin a snapshot of the tree as it is, unless one is still being made."""
        if self._snapshot is not None:
            self.log.warning("a snapshot is due while the last one is still being written; it is left out")
            return False
        config = self.config
        self._snapshot = SnapshotWriter(self.tree, config.digest_enabled, config.serialize_last_processed_zxid_enabled)
        self._snapshot_zxid = self._snapshot_seen = self.tree.zxid
        self._effects.append(BeginSnapshot(self.tree.zxid))
        return True

    def roll_with_snapshot(self) -> None:
        """Begin a new log file and a snapshot of the tree as it is."""
        self._effects.append(Roll())
        self.start_snapshot()

    def snapshot_step(self) -> bool:
        """Make a piece of the snapshot; tell whether there is more to do.

        The more transactions there were since the last piece, the larger it is: turns are long then anyway, and a
        snapshot that does not keep up with them leaves a start all the more to replay.
        """
        if self._snapshot is None:
            return False
        if self.is_snapshot_ahead:
            return True
        txns = self.tree.zxid - self._snapshot_seen
        self._snapshot_seen = self.tree.zxid
        nodes = max(SNAPSHOT_NODES_PER_TXN * txns, SNAPSHOT_NODES_MIN)
        chunk = self._snapshot.next_chunk(min(nodes, SNAPSHOT_NODES_MAX))
        if chunk is None:
            self._snapshot = None
            self._effects.append(EndSnapshot(self._snapshot_zxid))
            return False
        self._chunks_in_flight += 1
        self._effects.append(SnapshotChunk(chunk))
        return True


def options_of(config: Config) -> Options:
    """Return the part of the configuration that operations need."""
    return Options(
        extended_types=config.extended_types_enabled,
        enforce_quota=config.enforce_quota,
        reconfig_enabled=config.reconfig_enabled,
        txn_bytes_max=config.jute_maxbuffer + config.jute_maxbuffer_extrasize - 64,
        children_cached_max=config.max_get_children_response_cache_size,
        eager_acl_check=config.enable_eager_acl_check,
        close_session_txn=config.close_session_txn_enabled,
        multi_read_ops_max=config.multi_read_ops_max,
        multi_read_bytes_max=config.multi_read_bytes_max,
    )


def _guess_protocol(start: bytes) -> str | None:
    if start[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"CONN"):
        return "an HTTP request"
    if start[:2] == b"\x16\x03":
        return "a TLS handshake"
    if start[:4] == b"SSH-":
        return "an SSH client"
    return None
