"""One client connection, as a core: bytes of a read in, replies into one buffer.

States: NEW until the ConnectRequest is complete; WAITING while the session is being created; UP; CLOSED.

Reads are served where they stand; a write goes into the pipeline and its connection's `queue`, and reads that come
after it wait there too, so a session's requests are answered in order and see its own writes. Pings are answered at
once even behind a write: a stalled disk must not cost a client its session (ZooKeeper answers them in order).

A shell feeds `receive`, sends what is in `out` after each call, and obeys `is_unread`, `backlog` and `is_closing`.

One file in spite of its length: these are the transitions of one machine, and what nearly every packet passes is
written out, as each call would cost it as much as its work.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from corral.base.errors import WireError, ZooKeeperError
from corral.base.ids import session_hex
from corral.ops.base import ReadOp, WriteOp
from corral.replica.requestthrottle import Held
from corral.replica.sessions import Session, session_password
from corral.tree.access import SHOWN_CHARS_MAX, AuthRefused, Identity
from corral.wire.client import AuthPacket, ConnectRequest, ConnectResponse, SyncRequest
from corral.wire.opcodes import (
    AUTH,
    CLOSE_SESSION,
    PING,
    SASL,
    SET_WATCHES,
    SET_WATCHES2,
    SYNC,
    XID_PING,
)
from corral.wire.schema import decoder, encode

if TYPE_CHECKING:
    from corral.replica.replica import Replica

NEW: Final = 0
WAITING: Final = 1
UP: Final = 2
CLOSED: Final = 3

# What came in one read from a socket.
ANYTHING: Final = 0
A_READ: Final = 1
A_WRITE: Final = 2

MARSHALLING: Final = -5
UNIMPLEMENTED: Final = -6
SESSION_EXPIRED: Final = -112
AUTH_FAILED: Final = -115
REQUIRES_AUTH: Final = -124

# How much one turn takes from one connection before the others are served: so many requests, of which one with a large
# answer counts as many as its bytes have units.
TURN_MAX: Final = 512
UNIT_BYTES: Final = 4096
LATENCY_MAX: Final = 1 << 62
SIZE_MAX: Final = 1 << 62

_unpack_head: Final = struct.Struct(">iii").unpack_from
_unpack_int: Final = struct.Struct(">i").unpack_from
_pack_head: Final = struct.Struct(">iii").pack
_pack_reply: Final = struct.Struct(">iiqi").pack
_decode_connect: Final = decoder(ConnectRequest)
_decode_auth: Final = decoder(AuthPacket)
_decode_sync: Final = decoder(SyncRequest)
_NO_READS: Final[dict[int, ReadOp]] = {}
_NO_WRITES: Final[dict[int, WriteOp[Any]]] = {}
_NO_HEAD: Final = (0, 0, 0)
_NULL_TOKEN: Final = b"\xff\xff\xff\xff"

Waiting = tuple[int, ReadOp, bytes]


class Connection:
    """A client's connection and, once it is UP, its session's.

    identities: who the client has shown to be. queue: the zxids of writes that wait for agreement, and the reads that
    wait behind them.
    served: reads that were answered at once, which neither `received` nor `sent` nor the latencies count.
    latency_count: writes that were answered, which `sent` leaves out.
    backlog: bytes that were received and wait for the next turn. is_unread: nothing more is to be read for now.
    last_latency: of the last write, in ms; -1 before the first.
    """

    __slots__ = (
        "address", "backlog", "established", "have", "identities", "is_closing", "is_dirty", "is_read_only_client",
        "is_unread", "last_latency", "last_op", "last_response_at", "last_xid", "last_zxid", "latency_count",
        "latency_max", "latency_min", "latency_sum", "need", "out", "parts", "port", "queue", "reads", "received",
        "replica", "reserved", "sent", "served", "session", "session_id", "shell", "state", "timeout", "writes",
    )  # fmt: skip

    def __init__(self, replica: Replica, address: str, port: int, now: int) -> None:
        self.replica = replica
        self.address = address
        self.port = port
        self.identities: dict[Identity, None] = {("ip", address): None}
        self.session: Session | None = None
        self.session_id = 0
        self.timeout = 0
        self.state = NEW
        self.reads = _NO_READS
        self.writes = _NO_WRITES
        self.queue: deque[int | Waiting] = deque()
        self.out: list[bytes] = []
        self.parts: list[bytes] = []
        self.have = 0
        self.need = 0
        self.reserved = 0
        self.backlog = b""
        self.is_unread = False
        self.is_closing = False
        self.is_dirty = False
        self.is_read_only_client: bool | None = None
        self.shell: Any = None
        self.received = 0
        self.sent = 0
        self.established = now
        self.last_op = 0
        self.last_xid = -1
        self.last_zxid = -1
        self.last_response_at = 0
        self.last_latency = -1
        self.served = 0
        self.latency_count = self.latency_sum = self.latency_max = 0
        self.latency_min = LATENCY_MAX

    def receive(self, data: bytes, now: int) -> int:
        """Take the bytes of one read from the socket, at monotonic `now` ms; return what they were.

        A_READ, A_WRITE: a single request, and there is nothing to do but to send its answer, or to let the disk have
        it. ANYTHING: whatever else, and all that the core asks of a shell may have changed.
        """
        if self.state == CLOSED or self.is_closing:
            return ANYTHING
        replica = self.replica
        metrics = replica.metrics
        metrics.bytes_received += len(data)
        if self.parts:
            self.parts.append(data)
            self.have += len(data)
            if self.have < self.need:
                return ANYTHING
            data = b"".join(self.parts)
            self.parts = []
            if self.reserved:
                self._release()
        elif self.backlog:
            self.backlog += data
            return ANYTHING
        session = self.session
        if session is not None:
            session.heard = now
        if replica.fanout.waiting:
            replica.fanout.settle(self)
        end = len(data)
        size, xid, op = _unpack_head(data) if end >= 12 else _NO_HEAD
        read = self.reads.get(op)
        if size + 4 != end or size > replica.frame_bytes_plain:
            self._take(data, now)
            return ANYTHING
        if read is None or self.queue:
            write = self.writes.get(op)
            if write is None:
                self._take(data, now)
                return ANYTHING
            counts = metrics.op_counts
            counts[op] = counts.get(op, 0) + 1
            came = A_WRITE
            try:
                if replica.submit(self, xid, write, data, 12, end, now):
                    self._throttle()
                    came = ANYTHING
            except (ZooKeeperError, WireError, struct.error, Held) as error:
                if self._is_held(error, op, xid, now):
                    self._leave(data)
                    return ANYTHING
                came = ANYTHING
            self.last_op = op
            self.last_xid = xid
            self.received += 1
            metrics.other_received += 1
            return came if not self.out else ANYTHING
        # One read, as of every client that waits for its answers: as `_take` serves it, without a turn's accounts.
        zxid = replica.tree.zxid
        try:
            body = read.serve(replica.serving, self, data, 12, end)
        except ZooKeeperError as error:
            answer = _pack_reply(16, xid, zxid, error.code)
        except (WireError, struct.error):
            answer = _pack_reply(16, xid, zxid, MARSHALLING)
        else:
            answer = _pack_reply(16 + len(body), xid, zxid, 0) + body
        self.out.append(answer)
        size = len(answer) - 4
        metrics.last_response_size = size
        sizes = metrics.reply_sizes
        sizes[size] = sizes.get(size, 0) + 1
        metrics.reads_at_once += 1
        counts = metrics.op_counts
        counts[op] = counts.get(op, 0) + 1
        self.served += 1
        self.last_op = op
        self.last_xid = xid
        self.last_zxid = zxid
        self.last_response_at = now
        return A_READ

    def resume(self, now: int) -> None:
        """Go on with the backlog."""
        if self.state == CLOSED or self.is_closing or self.is_unread:
            return
        data, self.backlog = self.backlog, b""
        if self.session is not None:
            self.session.heard = now
        if self.replica.fanout.waiting:
            self.replica.fanout.settle(self)
        self._take(data, now)

    def _take(self, data: bytes, now: int) -> None:
        """Take the frames of `data` apart and serve them, up to a turn's measure."""
        at = 0
        end = len(data)
        if self.state != UP:
            if self.state == WAITING:
                self._leave(data)
                return
            at = self._hello(data, now)
            if self.state != UP or at == 0:
                return
        replica = self.replica
        reads = self.reads
        writes = self.writes
        queue = self.queue
        serving = replica.serving
        submit = replica.submit
        limit = replica.frame_bytes_plain
        zxid = replica.tree.zxid
        append = self.out.append
        metrics = replica.metrics
        counts = metrics.op_counts
        turn = TURN_MAX
        handled = served = op = xid = 0
        answer = total = most = 0
        least = SIZE_MAX
        while end - at >= 12:
            size, xid, op = _unpack_head(data, at)
            stop = at + 4 + size
            if stop > end or size < 8 or size > limit:
                if stop > end or not self._is_admitted(size, op):
                    break
            handled += 1
            read = reads.get(op)
            if read is not None and not queue:
                try:
                    body = read.serve(serving, self, data, at + 12, stop)
                except ZooKeeperError as error:
                    append(_pack_reply(16, xid, zxid, error.code))
                    answer = 0
                except (WireError, struct.error):
                    append(_pack_reply(16, xid, zxid, MARSHALLING))
                    answer = 0
                else:
                    answer = len(body)
                    append(_pack_reply(16 + answer, xid, zxid, 0))
                    append(body)
                    if answer > UNIT_BYTES:
                        turn -= answer // UNIT_BYTES
                served += 1
                total += answer
                if answer > most:
                    most = answer
                if answer < least:
                    least = answer
                counts[op] = counts.get(op, 0) + 1
            else:
                write = writes.get(op)
                if write is not None:
                    counts[op] = counts.get(op, 0) + 1
                    try:
                        if submit(self, xid, write, data, at + 12, stop, now):
                            self._throttle()
                    except (ZooKeeperError, WireError, struct.error, Held) as error:
                        if self._is_held(error, op, xid, now):
                            handled -= 1
                            break
                else:
                    self._other(read, op, xid, data, at + 12, stop, now)
                    reads = self.reads
                    writes = self.writes
                if self.is_closing or self.is_unread:
                    at = stop
                    break
            at = stop
            turn -= 1
            if turn <= 0:
                break
        if handled:
            self.last_op = op
            self.last_xid = xid
            if served:
                self.served += served
                self.last_zxid = zxid
                self.last_response_at = now
                metrics.reads_at_once += served
                if served == 1:
                    metrics.response_sized(16 + answer)
                else:
                    metrics.responses_sized(16 + answer, 16 + least, 16 + most, 16 * served + total)
            if handled != served:
                self.received += handled - served
                metrics.other_received += handled - served
        if self.is_closing:
            return
        if at < end:
            rest = data[at:] if at else data
            if turn > 0 and not self.is_unread:
                self._partial(rest)
            else:
                self._leave(rest)

    def _is_held(self, error: Exception, op: int, xid: int, now: int) -> bool:
        """Answer a write that was refused before it got a zxid; True if it is held back, and has to come again."""
        if isinstance(error, Held):
            self.replica.metrics.op_counts[op] -= 1
            return True
        self._in_order(xid, error.code if isinstance(error, ZooKeeperError) else MARSHALLING, b"", now)
        return False

    def _leave(self, rest: bytes) -> None:
        self.backlog = rest

    def _partial(self, rest: bytes) -> None:
        """Keep the beginning of a frame, or refuse it for its length before any more of it is taken."""
        have = len(rest)
        self.parts = [rest]
        self.have = have
        self.need = 4
        if have < 4:
            return
        size = _unpack_int(rest, 0)[0]
        op = _unpack_int(rest, 8)[0] if have >= 12 else None
        if 8 <= size <= self.replica.frame_bytes_plain or (self.state == NEW and 0 <= size <= 1024):
            self.need = 4 + size
        elif op is None and 8 <= size <= self.replica.setwatches_bytes_max and self.state == UP:
            self.need = 12
        elif op is not None and self._is_admitted(size, op) and self.replica.reserve(size):
            self.reserved = size
            self.need = 4 + size
        else:
            self.parts = []
            self._refuse_length(size, rest)

    def _is_admitted(self, size: int, op: int) -> bool:
        """Tell whether a frame is taken: large ones where there is room, longer than the limit a client's watches."""
        replica = self.replica
        if size <= replica.frame_bytes_max:
            return size >= 8 and (replica.large is None or replica.large.has_room(size))
        return op in (SET_WATCHES, SET_WATCHES2) and size <= replica.setwatches_bytes_max

    def _release(self) -> None:
        self.replica.reserve(-self.reserved)
        self.reserved = 0

    def _refuse_length(self, size: int, rest: bytes) -> None:
        self.replica.refuse_length(self, size, rest)
        self.end()

    # The first frame.

    def _hello(self, data: bytes, now: int) -> int:
        """Take the ConnectRequest; return where it ends, 0 if it is not complete or was refused."""
        if len(data) < 4:
            self._partial(data)
            return 0
        size = _unpack_int(data, 0)[0]
        if not 0 <= size <= self.replica.frame_bytes_max:
            self._refuse_length(size, data)
            return 0
        stop = 4 + size
        if stop > len(data):
            self.parts = [data]
            self.have = len(data)
            self.need = stop
            return 0
        try:
            request, at = _decode_connect(data, 4, stop)
        except WireError as error:
            self.replica.log.warning("connection closed: its first packet is no ConnectRequest",
                                     client=f"{self.address}:{self.port}", why=str(error))  # fmt: skip
            self.end()
            return 0
        self.is_read_only_client = bool(data[at]) if at < stop else None
        self.received += 1
        self.replica.metrics.other_received += 1
        self.replica.connect(self, request, now)
        if self.state != UP:
            if stop < len(data) and not self.is_closing:
                self._leave(data[stop:])
            return 0
        return int(stop)

    def session_opened(self, session_id: int, now: int) -> None:
        """Learn that the session asked for is committed."""
        if self.state == CLOSED:
            return
        session = self.replica.tracker.sessions[session_id]
        self.attach(session, now)
        self.replica.touched(self)

    def attach(self, session: Session, now: int) -> None:
        """Become the owner of a session and tell the client."""
        session.conn = self
        session.heard = now
        self.session = session
        self.session_id = session.id
        self.timeout = session.timeout
        self.state = UP
        if not self.replica.needs_auth(self):
            self._admit()
        self._answer_connect(session.timeout, session.id, session_password(session.id))

    def _admit(self) -> None:
        """Open all operations: nothing more has to be shown first."""
        self.reads = self.replica.registry.reads
        self.writes = self.replica.registry.requests

    def refuse_session(self) -> None:
        """Tell the client that its session is gone, and close."""
        self._answer_connect(0, 0, b"\0" * 16)
        self.end()

    def _answer_connect(self, timeout: int, session: int, password: bytes) -> None:
        body = encode(ConnectResponse(0, timeout, session, password))
        if self.is_read_only_client is not None:
            body += b"\0"
        self.out.append(len(body).to_bytes(4, "big") + body)
        self.sent += 1
        self.replica.metrics.other_sent += 1
        self.replica.metrics.response_sized(len(body))

    # Everything that is not a read served at once.

    def _other(self, read: ReadOp | None, op: int, xid: int, data: bytes, at: int, stop: int, now: int) -> None:
        replica = self.replica
        session = self.session
        assert session is not None
        counts = replica.metrics.op_counts
        counts[op] = counts.get(op, 0) + 1
        if read is not None:
            self.queue.append((xid, read, data[at:stop]))
            self._throttle()
            return
        if op == AUTH:
            self._authenticate(xid, data, at, stop)
            return
        if op == SASL:
            self._reply(xid, 0, 0, _NULL_TOKEN)
            return
        if self.reads is _NO_READS and replica.needs_auth(self):
            replica.log.warning("connection closed: it must authenticate first", client=f"{self.address}:{self.port}")
            self._reply(xid, 0, REQUIRES_AUTH, b"")
            self.end()
            return
        if op == PING:
            self.last_response_at = now
            self._reply(XID_PING, replica.tree.zxid, SESSION_EXPIRED if session.is_closing else 0, b"")
            return
        if op == CLOSE_SESSION:
            if not session.is_closing:
                replica.pipeline.close_session(session, self, xid, now, now + replica.wall_offset)
        elif op == SYNC:
            self._sync(xid, data, at, stop, now)
        else:
            replica.log.warning("connection closed: unknown operation", client=f"{self.address}:{self.port}", op=op)
            self._reply(xid, -1, UNIMPLEMENTED, b"")
            self.end()
        self._throttle()

    def _sync(self, xid: int, data: bytes, at: int, stop: int, now: int) -> None:
        try:
            request = _decode_sync(data, at, stop)[0]
        except WireError:
            self._in_order(xid, MARSHALLING, b"", now)
            return
        reply = encode(request)
        if not self.replica.pipeline.sync(self, xid, reply, now):
            self._reply(xid, self.replica.tree.zxid, 0, reply)

    def _in_order(self, xid: int, err: int, body: bytes, now: int) -> None:
        """Answer after everything that came before."""
        if self.queue:
            self.queue.append((xid, _Refusal(err), b""))
        else:
            self._reply(xid, self.replica.tree.zxid, err, body)

    def _authenticate(self, xid: int, data: bytes, at: int, stop: int) -> None:
        """Answer an auth packet, ahead of whatever waits. Failure ends the connection."""
        replica = self.replica
        try:
            packet = _decode_auth(data, at, stop)[0]
        except WireError as error:
            replica.metrics.auth_failed += 1
            replica.log.warning("connection closed: malformed auth packet", client=f"{self.address}:{self.port}",
                                session=session_hex(self.session_id), why=str(error))  # fmt: skip
            self.end()
            return
        try:
            gained = replica.authenticate(self, packet.scheme or "", packet.auth)
        except AuthRefused as refused:
            replica.metrics.auth_failed += 1
            replica.log.warning("authentication failed", client=f"{self.address}:{self.port}",
                                scheme=(packet.scheme or "")[:SHOWN_CHARS_MAX], why=str(refused))  # fmt: skip
            if refused.silent:
                self.end()
            else:
                self._reply(xid, 0, AUTH_FAILED, b"")
                self.end()
            return
        for identity in gained:
            self.identities[identity] = None
        if not replica.needs_auth(self):
            self._admit()
        self._reply(xid, 0, 0, b"")

    def _throttle(self) -> None:
        """Stop reading a connection with unanswered requests while the server has too many of them."""
        if self.queue and self.replica.is_crowded(self):
            self.is_unread = True
            self.replica.throttled[self] = None

    def complete(self, zxid: int, xid: int, err: int, reply: bytes) -> None:
        """Answer the write at the head of the queue, then the reads that waited for it; `completed` follows."""
        replica = self.replica
        if replica.fanout.waiting:
            replica.fanout.settle(self)
        queue = self.queue
        head = queue.popleft()
        assert head == zxid, f"session 0x{self.session_id:x}: completed zxid 0x{zxid:x} is not the oldest"
        size = 16 + len(reply)
        self.out.append(_pack_reply(size, xid, zxid, err) + reply)
        metrics = replica.metrics
        metrics.last_response_size = size
        sizes = metrics.reply_sizes
        sizes[size] = sizes.get(size, 0) + 1
        if queue and type(queue[0]) is tuple:
            self._serve_waiting()

    def completed(self, count: int, latency: int, zxid: int, now: int) -> None:
        """Account for `count` writes that were answered one after the other, the last one's zxid being `zxid`.

        latency: of each, in ms.
        """
        self.replica.metrics.other_sent += count
        self.last_zxid = zxid
        self.last_response_at = now
        self.latency_count += count
        self.latency_sum += count * latency
        if latency != self.last_latency:
            self.last_latency = latency
            if latency < self.latency_min:
                self.latency_min = latency
            if latency > self.latency_max:
                self.latency_max = latency
        if not self.is_dirty:
            self.is_dirty = True
            self.replica.dirty.append(self)

    def _serve_waiting(self) -> None:
        """Answer the reads at the head of the queue, up to a turn's measure."""
        queue = self.queue
        room = TURN_MAX * UNIT_BYTES
        while queue and type(queue[0]) is tuple:
            xid, read, request = queue.popleft()  # type: ignore[misc]  # the type was asked just above
            room -= self._serve_one(xid, read, request)
            if room < 0 and queue:
                self._stop_serving(TURN_MAX * UNIT_BYTES - room)

    def _stop_serving(self, size: int) -> None:
        """Leave the reads that wait for another turn: those before have had large answers, of `size` bytes in all.

        Where a write is among what waits they cannot, as they must not see it. Then they end the connection, once they
        are more than may wait for any client.
        """
        replica = self.replica
        queue = self.queue
        if all(type(each) is tuple and type(each[1]) is not _Refusal for each in queue):
            frames = []
            counts = replica.metrics.op_counts
            for xid, read, request in queue:  # type: ignore[misc]  # the type was asked just above
                frames += [_pack_head(8 + len(request), xid, read.code), request]
                # They are counted when they come again.
                counts[read.code] -= 1
            self.received -= len(queue)
            replica.metrics.other_received -= len(queue)
            queue.clear()
            self.backlog = b"".join([*frames, *self.parts, self.backlog])
            self.parts = []
            if self.reserved:
                self._release()
        elif 0 < replica.config.outbuffer_max < size:
            replica.log.warning("connection closed: its client asked for too much at once",
                                client=f"{self.address}:{self.port}", bytes=size, limit=replica.config.outbuffer_max,
                                key="corral.connection.outbuffer.max")  # fmt: skip
            queue.clear()
            self.end()

    def _serve_one(self, xid: int, read: ReadOp, request: bytes) -> int:
        """Answer a read that had to wait; return the size of the answer's body."""
        zxid = self.replica.tree.zxid
        body = b""
        try:
            body = read.serve(self.replica.serving, self, request, 0, len(request))
        except ZooKeeperError as error:
            self._reply(xid, zxid, error.code, b"")
        except (WireError, struct.error):
            self._reply(xid, zxid, MARSHALLING, b"")
        else:
            self._reply(xid, zxid, 0, body)
        if type(read) is not _Refusal:
            self.replica.metrics.reads_waited += 1
        return len(body)

    def _reply(self, xid: int, zxid: int, err: int, body: bytes) -> None:
        self.out.append(_pack_reply(16 + len(body), xid, zxid, err))
        if body:
            self.out.append(body)
        self.sent += 1
        self.replica.metrics.other_sent += 1
        self.replica.metrics.response_sized(16 + len(body))

    def notify(self, frame: bytes) -> None:
        """Send a watch event."""
        if self.state != CLOSED:
            self.out.append(frame)
            self.replica.metrics.other_sent += 1
            self.sent += 1
            if not self.is_dirty:
                self.is_dirty = True
                self.replica.dirty.append(self)

    def reset_stats(self) -> None:
        """Forget what `cons` shows."""
        self.received = self.sent = self.served = 0
        self.latency_count = self.latency_sum = self.latency_max = 0
        self.latency_min = LATENCY_MAX
        self.last_latency = -1
        self.last_op = self.last_xid = self.last_zxid = -1
        self.last_response_at = 0

    # The end.

    def end(self) -> None:
        """Close once what is in `out` is sent."""
        self.is_closing = True
        self.replica.touched(self)

    def session_expired(self) -> None:
        """Learn that the session has ended: the client gets no packet, it learns when it reconnects."""
        self.session = None
        self.end()

    def closed(self) -> None:
        """Learn that the socket is closed; the session lives on."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        if not self.is_closing:
            # The client has gone of itself, as it does when it has waited too long for this server.
            self.replica.metrics.count("connection_drop_count")
        if self.session is not None and self.session.conn is self:
            self.session.conn = None
        self.replica.forget(self)
        if self.reserved:
            self._release()
        self.queue.clear()
        self.out.clear()
        self.parts = []
        self.backlog = b""


class _Refusal(ReadOp):
    """An error that must wait for its place in the order of replies."""

    code = 0
    name = "refusal"
    lop = "NA"

    def __init__(self, err: int) -> None:
        self._err = err

    def serve(self, cx: Any, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        raise _Refused(self._err)


class _Refused(ZooKeeperError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code  # type: ignore[misc]  # the one error whose code is a value
