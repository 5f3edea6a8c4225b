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
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from corral.base.errors import InvalidAcl, MarshallingError, NoAuth, SessionExpired, WireError, ZooKeeperError
from corral.ops.base import Options, Preparing, WriteOp
from corral.ops.registry import Registry
from corral.quorum.solo import Solo
from corral.replica.metrics import Metrics
from corral.replica.sessions import Session, SessionTracker
from corral.store.txnlog import frame
from corral.tree.access import Access, Identity
from corral.tree.digest import DIGEST_VERSION
from corral.tree.overlay import Overlay
from corral.tree.tree import Change, SessionChange, Tree
from corral.wire.client import PathRequest
from corral.wire.opcodes import CLOSE_SESSION, CREATE_SESSION, DELETE, DELETE_CONTAINER, ERROR, MULTI
from corral.wire.schema import encode, encoder
from corral.wire.txns import CreateSessionTxn, DeleteTxn, ErrorTxn, MultiTxn, SubTxn

if TYPE_CHECKING:
    from corral.replica.connection import Connection

_header: Final = struct.Struct(">qiqqi").pack
_digest: Final = struct.Struct(">iQ").pack
_encode_error: Final = encoder(ErrorTxn)

WRITE: Final = 0
CONNECT: Final = 1
CLOSE: Final = 2
SYNC: Final = 3
DIGEST_EVERY: Final = 128
DIGESTS_KEPT: Final = 1024
_NO_CHANGES: Final[list[Change]] = []
_NO_SESSIONS: Final[list[SessionChange]] = []


Entry = tuple[int, int, "Connection | None", int, int, int, int, bytes, list[Change], list[SessionChange], int]
"""A write, or a sync, that waits for agreement: (zxid, kind, conn, session, xid, at, err, reply, changes,
session_changes, digest).

conn: who is answered, None for the server's own. session, xid: whose request it is. at: when it came, in monotonic
ms. err, reply: the answer. changes, session_changes: what it does to the tree; digest: of the tree after it.
A plain tuple, as it is made and taken apart once for every write, and nothing is as quick at both.
"""


class Audit(Protocol):
    """Who is told of every write once it is prepared, and again once it is committed; zxids come in order."""

    def prepared(
        self, zxid: int, kind: int, session: int, address: str | None, op: int, request: Any, txn: Any,
        identities: Iterable[Identity],
    ) -> None:  # fmt: skip
        """Take note of a write. address: of its client, None for the server's own. txn: None if it was refused."""

    def committed(self, zxid: int) -> None:
        """Learn that everything up to `zxid` has been installed."""


Submit = Callable[["Connection", int, WriteOp[Any], bytes, int, int, int], bool]
"""How a client's write goes in: `Pipeline.submit`, or what stands before it."""


class Pipeline:
    """All writes of one server between their arrival and their answer. audit: None where nobody wants to know."""

    def __init__(
        self,
        tree: Tree,
        registry: Registry,
        access: Access,
        options: Options,
        tracker: SessionTracker,
        agreement: Solo,
        metrics: Metrics,
        outstanding_max: int,
    ) -> None:
        self.tree = tree
        self.overlay = Overlay(tree)
        self.outstanding: deque[Entry] = deque()
        self.digests: deque[tuple[int, int]] = deque(maxlen=DIGESTS_KEPT)
        self.audit: Audit | None = None
        self._registry = registry
        self._tracker = tracker
        self._agreement = agreement
        self._metrics = metrics
        self._options = options
        self._txn_bytes_max = options.txn_bytes_max
        self._outstanding_max = outstanding_max
        self._cx = Preparing(tree, self.overlay, access, options)

    def submit(self, conn: Connection, xid: int, op: WriteOp[Any], buf: bytes, at: int, end: int, now: int) -> bool:
        """Take a client's write; tell whether more is outstanding now than should be.

        Raises WireError or struct.error if it cannot be decoded, and ZooKeeperError where enableEagerACLCheck refuses
        it; nothing happened then.
        """
        session = conn.session
        assert session is not None
        self._cx.identities = conn.identities
        wall = now + conn.replica.wall_offset
        conn.queue.append(self._prepare(WRITE, conn, session.id, xid, op, buf, at, end, now, wall, session.is_closing))
        return len(self.outstanding) > self._outstanding_max

    def sync(self, conn: Connection, xid: int, reply: bytes, now: int) -> bool:
        """Let a sync wait for all writes before it; False if there are none, and it can be answered at once."""
        if not self.outstanding:
            return False
        zxid = self.outstanding[-1][0]
        self.outstanding.append((zxid, SYNC, conn, conn.session_id, xid, now, 0, reply, _NO_CHANGES, _NO_SESSIONS, 0))
        conn.queue.append(zxid)
        return True

    def create_session(self, conn: Connection, session: int, timeout: int, now: int, wall: int) -> None:
        """Propose a new session; its connection is answered when it is committed."""
        body = encode(CreateSessionTxn(timeout))
        op = self._registry.writes[CREATE_SESSION]
        self._prepare(CONNECT, conn, session, 0, op, body, 0, len(body), now, wall)

    def close_session(self, session: Session, conn: Connection | None, xid: int, now: int, wall: int) -> None:
        """Propose the end of a session. conn: who asked for it, None if it has expired."""
        session.is_closing = True
        for paths in self._too_many(self.overlay.ephemerals_of(session.id)):
            self._delete_all(session.id, paths, now, wall)
        op = self._registry.writes[CLOSE_SESSION]
        zxid = self._prepare(CLOSE, conn, session.id, xid, op, b"", 0, 0, now, wall)
        if conn is not None:
            conn.queue.append(zxid)

    def delete_container(self, path: bytes, now: int, wall: int) -> None:
        """Propose to delete an empty container or expired TTL node; a child that appeared meanwhile prevents it."""
        op = self._registry.writes[DELETE_CONTAINER]
        body = encode(PathRequest(path))
        cx = self._cx
        cx.is_internal = True
        try:
            self._prepare(WRITE, None, 0, 0, op, body, 0, len(body), now, wall)
        finally:
            cx.is_internal = False

    def committed(self, zxid: int, now: int) -> None:
        """Install and answer everything up to `zxid`."""
        outstanding = self.outstanding
        commit = self.overlay.commit
        latencies = self._metrics.write_latencies
        # Writes of one connection that came together mostly leave together: they are accounted for once.
        answered: Connection | None = None
        count = latency = last = 0
        while outstanding:
            entry = outstanding.popleft()
            its_zxid, kind, conn, session, xid, at, err, reply, changes, session_changes, digest = entry
            if its_zxid > zxid:
                outstanding.appendleft(entry)
                break
            if kind != SYNC:
                commit(changes, session_changes, its_zxid, digest)
                if not its_zxid % DIGEST_EVERY:
                    self.digests.append((its_zxid, digest))
            if conn is not answered or now - at != latency:
                if count:
                    latencies[latency] = latencies.get(latency, 0) + count
                    if answered is not None:
                        answered.completed(count, latency, last, now)
                answered, count, latency = conn, 0, now - at
            count += 1
            last = its_zxid
            if kind == CONNECT:
                assert conn is not None
                conn.session_opened(session, now)
                answered = None
                continue
            # Closed connections have nothing in their queues.
            if conn is not None and conn.queue:
                conn.complete(its_zxid, xid, err, reply)
            else:
                answered = None
            if kind == CLOSE:
                self._session_closed(session, conn)
        if count:
            latencies[latency] = latencies.get(latency, 0) + count
            if answered is not None:
                answered.completed(count, latency, last, now)
        if self.audit is not None:
            self.audit.committed(zxid)

    def _prepare(
        self, kind: int, conn: Connection | None, session_id: int, xid: int, op: WriteOp[Any], buf: bytes, at: int,
        end: int, now: int, wall: int, is_refused: bool = False,
    ) -> int:  # fmt: skip
        """Check, number and propose the write that `buf[at:end]` asks for; return its zxid.

        is_refused: its session is closing. Raises WireError or struct.error if it cannot be decoded; nothing happened
        then.
        """
        cx = self._cx
        overlay = self.overlay
        agreement = self._agreement
        zxid = agreement.proposed + 1
        cx.client_id = session_id
        cx.zxid = zxid
        cx.time = wall
        overlay.begin()
        digest = overlay.digest
        before = digest.value
        try:
            if is_refused:
                raise SessionExpired(f"session 0x{session_id:x} is closing")
            txn, body, reply = op.take(cx, buf, at, end)
            if len(body) > self._txn_bytes_max:
                overlay.rollback(before)
                raise MarshallingError(f"a transaction of {len(body)} bytes would be too long to read back")
        except ZooKeeperError as error:
            if self._options.eager_acl_check and conn is not None and isinstance(error, (NoAuth, InvalidAcl)):
                raise
            err = error.code
            reply = b""
            entry = _header(session_id, xid, zxid, wall, ERROR) + _encode_error(ErrorTxn(err))
            changes, session_changes = _NO_CHANGES, _NO_SESSIONS
        else:
            err = 0
            entry = _header(session_id, xid, zxid, wall, txn) + body
            changes, session_changes = overlay.changes, overlay.session_changes
            if digest.enabled:
                entry += _digest(DIGEST_VERSION, digest.value)
        agreement.propose(zxid, frame(entry))
        self.outstanding.append(
            (zxid, kind, conn, session_id, xid, now, err, reply, changes, session_changes, digest.value)
        )
        if self.audit is not None:
            try:
                request = op.decode(buf, at, end)[0]
            except (WireError, struct.error):
                # Nobody has looked at what a closing session asks for. It is refused, and there is nothing to note.
                return zxid
            record = None if err else self._registry.decode_txn(txn, body, 0)[0]
            address = None if conn is None else conn.address
            self.audit.prepared(zxid, kind, session_id, address, op.code, request, record, cx.identities)
        return zxid

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
        op = _Prepared(self._registry.by_txn[MULTI], MultiTxn(subs))
        self._prepare(WRITE, None, session, 0, op, b"", 0, 0, now, wall)

    def _session_closed(self, session_id: int, asked_by: Connection | None) -> None:
        session = self._tracker.sessions.get(session_id)
        owner: Connection | None = None
        if session is not None:
            self._tracker.close(session)
            owner = session.conn
        if asked_by is not None:
            asked_by.end()
        if owner is not None and owner is not asked_by:
            owner.session_expired()


class _Prepared(WriteOp[None]):
    """A transaction of the server's own making, that needs no check."""

    code = MULTI
    name = "multi"
    lop = "MULT"

    def __init__(self, op: WriteOp[Any], body: MultiTxn) -> None:
        self._op = op
        self._body = body
        self.decode = lambda _, __, end: (None, end)

    def take(self, cx: Preparing, buf: bytes, at: int, end: int) -> tuple[int, bytes, bytes]:
        cx.type = MULTI
        self._op.apply(cx.view, cx, self._body)
        return MULTI, encode(self._body), b""
