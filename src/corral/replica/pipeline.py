"""The way of a write: checked and numbered, agreed on, applied, answered.

    submit      decode, prepare on the overlay, next zxid, hand to agreement     (leader's part)
    committed   install in the tree, watches fire, answer the request's connection   (everyone's part)

An entry of `outstanding` waits for agreement; they leave it strictly in order of zxid. A refused write is an entry
too, with an error transaction of its own zxid; an undecodable one is answered without a zxid, and so is one without
rights where enableEagerACLCheck is set.

Bounds: no transaction longer than `Options.txn_bytes_max` is made. A multi that would be is refused; a session's
close that would be is preceded by transactions that delete part of its ephemerals.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from corral.base.errors import InvalidAcl, MarshallingError, NoAuth, SessionExpired, ZooKeeperError
from corral.ops.base import Options, Preparing, WriteOp
from corral.ops.registry import Registry
from corral.quorum.solo import Solo
from corral.replica.metrics import Metrics
from corral.replica.sessions import Session, SessionTracker
from corral.store.txnlog import frame
from corral.tree.access import Access
from corral.tree.digest import DIGEST_VERSION
from corral.tree.node import to_int64
from corral.tree.overlay import Overlay
from corral.tree.tree import Change, SessionChange, Tree
from corral.wire.opcodes import CLOSE_SESSION, CREATE_SESSION, DELETE, DELETE_CONTAINER, ERROR, MULTI
from corral.wire.schema import encode, encoder
from corral.wire.txns import CreateSessionTxn, DeleteTxn, ErrorTxn, MultiTxn, SubTxn, Unread

if TYPE_CHECKING:
    from corral.replica.connection import Connection

_header = struct.Struct(">qiqqi").pack
_digest = struct.Struct(">iq").pack
_encode_error = encoder(ErrorTxn)

WRITE: Final = 0
CONNECT: Final = 1
CLOSE: Final = 2
SYNC: Final = 3
DIGEST_EVERY: Final = 128
DIGESTS_KEPT: Final = 1024
_NO_CHANGES: Final[list[Change]] = []
_NO_SESSIONS: Final[list[SessionChange]] = []


class Entry:
    """A write, or a sync, that waits for agreement. conn: who is answered, None for the server's own."""

    __slots__ = (
        "at", "changes", "code", "conn", "digest", "err", "kind", "op", "reply", "session", "session_changes", "xid",
        "zxid",
    )  # fmt: skip

    def __init__(self, kind: int, conn: Connection | None, session: int, xid: int, op: int, zxid: int, at: int) -> None:
        self.kind = kind
        self.conn = conn
        self.session = session
        self.xid = xid
        self.op = op
        self.zxid = zxid
        self.at = at
        self.err = 0
        self.reply = b""
        self.changes = _NO_CHANGES
        self.session_changes = _NO_SESSIONS
        self.digest = 0


Submit = Callable[["Connection", Session, int, WriteOp[Any], bytes, int, int, int, int], None]
"""How a client's write goes in: `Pipeline.submit`, or what stands before it."""


class Pipeline:
    """All writes of one server between their arrival and their answer."""

    def __init__(
        self,
        tree: Tree,
        registry: Registry,
        access: Access,
        options: Options,
        tracker: SessionTracker,
        agreement: Solo,
        metrics: Metrics,
    ) -> None:
        self.tree = tree
        self.overlay = Overlay(tree)
        self.outstanding: deque[Entry] = deque()
        self.digests: deque[tuple[int, int]] = deque(maxlen=DIGESTS_KEPT)
        self._registry = registry
        self._tracker = tracker
        self._agreement = agreement
        self._metrics = metrics
        self._options = options
        self._txn_bytes_max = options.txn_bytes_max
        self._cx = Preparing(tree, self.overlay, access, options)

    def submit(
        self, conn: Connection, session: Session, xid: int, op: WriteOp[Any], buf: bytes, at: int, end: int, now: int,
        wall: int,
    ) -> None:  # fmt: skip
        """Take a client's write.

        Raises WireError or struct.error if it cannot be decoded, and ZooKeeperError where enableEagerACLCheck refuses
        it; nothing happened then.
        """
        request = op.decode(buf, at, end)[0]
        self._cx.identities = conn.identities
        entry = Entry(WRITE, conn, session.id, xid, op.code, 0, now)
        self._prepare(entry, op, request, wall, session)
        conn.queue.append(entry)

    def sync(self, conn: Connection, xid: int, op: int, reply: bytes, now: int) -> bool:
        """Let a sync wait for all writes before it; False if there are none, and it can be answered at once."""
        if not self.outstanding:
            return False
        entry = Entry(SYNC, conn, conn.session_id, xid, op, self.outstanding[-1].zxid, now)
        entry.reply = reply
        self.outstanding.append(entry)
        conn.queue.append(entry)
        return True

    def create_session(self, conn: Connection, session: int, timeout: int, now: int, wall: int) -> None:
        """Propose a new session; its connection is answered when it is committed."""
        entry = Entry(CONNECT, conn, session, 0, CREATE_SESSION, 0, now)
        self._prepare(entry, self._registry.writes[CREATE_SESSION], CreateSessionTxn(timeout), wall, None)

    def close_session(self, session: Session, conn: Connection | None, xid: int, now: int, wall: int) -> None:
        """Propose the end of a session. conn: who asked for it, None if it has expired."""
        session.is_closing = True
        for paths in self._too_many(self.overlay.ephemerals_of(session.id)):
            self._delete_all(session.id, paths, now, wall)
        entry = Entry(CLOSE, conn, session.id, xid, CLOSE_SESSION, 0, now)
        self._prepare(entry, self._registry.writes[CLOSE_SESSION], Unread(), wall, None)
        if conn is not None:
            conn.queue.append(entry)

    def delete_container(self, path: bytes, now: int, wall: int) -> None:
        """Propose to delete an empty container or expired TTL node; a child that appeared meanwhile prevents it."""
        op = self._registry.writes[DELETE_CONTAINER]
        cx = self._cx
        cx.is_internal = True
        try:
            self._prepare(Entry(WRITE, None, 0, 0, op.code, 0, now), op, _PathOnly(path), wall, None)
        finally:
            cx.is_internal = False

    def committed(self, zxid: int, now: int) -> None:
        """Install and answer everything up to `zxid`."""
        outstanding = self.outstanding
        tree = self.tree
        latencies: dict[int, int] = {}
        while outstanding and outstanding[0].zxid <= zxid:
            entry = outstanding.popleft()
            if entry.kind != SYNC:
                changes = entry.changes
                tree.install(changes, entry.session_changes, entry.zxid, entry.digest)
                if changes:
                    self.overlay.committed(changes)
                if not entry.zxid % DIGEST_EVERY:
                    self.digests.append((entry.zxid, entry.digest))
            latency = now - entry.at
            latencies[latency] = latencies.get(latency, 0) + 1
            conn = entry.conn
            if entry.kind == WRITE or entry.kind == SYNC:
                if conn is not None and conn.queue:
                    conn.complete(entry, latency)
            elif entry.kind == CONNECT:
                assert conn is not None
                conn.session_opened(entry.session, now)
            else:
                self._session_closed(entry, latency)
        for latency, times in latencies.items():
            self._metrics.update_latency.add_many(latency, times)
            self._metrics.latency.add_many(latency, times)

    def _prepare(self, entry: Entry, op: WriteOp[Any], request: Any, wall: int, session: Session | None) -> None:
        """Check, number and propose a write. session: the one that must not be closing."""
        cx = self._cx
        overlay = self.overlay
        zxid = self._agreement.proposed + 1
        cx.client_id = entry.session
        cx.zxid = zxid
        cx.time = wall
        overlay.begin()
        before = overlay.digest.value
        try:
            if session is not None and session.is_closing:
                raise SessionExpired(f"session 0x{session.id:x} is closing")
            kind, record, entry.reply = op.perform(cx, request)
            body = encode(record)
            if len(body) > self._txn_bytes_max:
                overlay.rollback(before)
                raise MarshallingError(f"a transaction of {len(body)} bytes would be too long to read back")
        except ZooKeeperError as error:
            if self._options.eager_acl_check and session is not None and isinstance(error, (NoAuth, InvalidAcl)):
                raise
            entry.err = error.code
            entry.reply = b""
            entry.changes = _NO_CHANGES
            kind = ERROR
            body = _encode_error(ErrorTxn(error.code))
        else:
            entry.changes = overlay.changes
            if overlay.session_changes:
                entry.session_changes = overlay.session_changes
        digest = entry.digest = overlay.digest.value
        txn = _header(entry.session, entry.xid, zxid, wall, kind) + body
        if kind != ERROR and overlay.digest.enabled:
            txn += _digest(DIGEST_VERSION, to_int64(digest))
        entry.zxid = zxid
        self._agreement.propose(zxid, frame(txn))
        self.outstanding.append(entry)

    def _too_many(self, paths: list[bytes]) -> list[list[bytes]]:
        """Cut off the paths that would not fit the transaction of a session's close, in parts that fit one."""
        parts: list[list[bytes]] = []
        size = 64
        start = 0
        for index, path in enumerate(paths):
            size += 16 + len(path)
            if size > self._options.txn_bytes_max:
                parts.append(paths[start:index])
                start = index
                size = 80 + len(path)
        return parts

    def _delete_all(self, session: int, paths: list[bytes], now: int, wall: int) -> None:
        subs = [SubTxn(DELETE, encode(DeleteTxn(path))) for path in paths]
        op = _Prepared(self._registry.by_txn[MULTI], MultiTxn(subs), self._registry)
        self._prepare(Entry(WRITE, None, session, 0, DELETE, 0, now), op, None, wall, None)

    def _session_closed(self, entry: Entry, latency: int) -> None:
        session = self._tracker.sessions.get(entry.session)
        owner: Connection | None = None
        if session is not None:
            self._tracker.close(session)
            owner = session.conn
        if entry.conn is not None:
            entry.conn.complete(entry, latency)
            entry.conn.end()
        if owner is not None and owner is not entry.conn:
            owner.session_expired()


class _PathOnly:
    __slots__ = ("path",)

    def __init__(self, path: bytes) -> None:
        self.path = path


class _Prepared(WriteOp[None]):
    """A transaction of the server's own making, that needs no check."""

    code = MULTI
    name = "multi"
    lop = "MULT"

    def __init__(self, op: WriteOp[Any], body: MultiTxn, registry: Registry) -> None:
        self._op = op
        self._body = body

    def perform(self, cx: Preparing, request: None) -> tuple[int, Any, bytes]:
        cx.type = MULTI
        self._op.apply(cx.view, cx, self._body)
        return MULTI, self._body, b""
