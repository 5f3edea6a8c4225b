"""A whole server without sockets, disk or clock: a replica and clients that speak bytes to it."""

from __future__ import annotations

import struct
from typing import Any

from corral.ops.registry import Registry
from corral.replica.config import Config
from corral.replica.connection import Connection
from corral.replica.effects import Append, Effect
from corral.replica.fanout import Fanout
from corral.replica.inputs import Synced
from corral.replica.metrics import Metrics
from corral.replica.replica import Replica
from corral.server.providers.digest import DigestProvider
from corral.server.providers.ip import IpProvider
from corral.store.retention import RollPolicy
from corral.store.txnlog import entry_of
from corral.tree.access import Access
from corral.tree.tree import Tree
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL, OPEN_ACL
from corral.wire.schema import decode, encode

WALL = 1_700_000_000_000


class Recorder:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, **data: Any) -> None:
        self.lines.append(("info", event, data))

    def warning(self, event: str, **data: Any) -> None:
        self.lines.append(("warning", event, data))

    def error(self, event: str, **data: Any) -> None:
        self.lines.append(("error", event, data))


class Core:
    """A replica with its time and disk in the test's hands. auto: every effect is done at once."""

    def __init__(self, auto: bool = True, tree: Tree | None = None, **config: Any) -> None:
        self.auto = auto
        self.now = 1000
        self.log = Recorder()
        self.config = Config(max_client_cnxns=0, **config)
        self.metrics = Metrics()
        providers = [IpProvider(), DigestProvider(self.config.super_digest)]
        access = Access(providers, self.config.skip_acl)
        self.fanout = Fanout(access, self.metrics)
        self.registry = Registry()
        if tree is None:
            tree = Tree(self.fanout)
            tree.populate()
        self.tree = tree
        self.entries: list[bytes] = []
        self.effects: list[Effect] = []
        self.replica = Replica(
            self.config, tree, self.fanout, self.metrics, access, self.registry,
            RollPolicy(self.config.snap_count, 0, lambda n: 0), self.log, 1 << 56, self.now, WALL,
        )  # fmt: skip

    def sync(self) -> None:
        """Put all appended entries on disk."""
        for effect in self.replica.take():
            self.effects.append(effect)
            if isinstance(effect, Append):
                self.entries += [entry_of(frame) for frame in effect.frames]
                self.replica.handle(Synced(effect.last), self.now)

    def work(self, ms: int = 0) -> None:
        """Let time pass and the background work be done."""
        self.now += ms
        while self.replica.work(self.now):
            self.sync()
        self.sync()

    def dial(self, address: str = "127.0.0.1") -> Client:
        """Open a connection without a session."""
        conn = self.replica.accept(address, 40000, self.now)
        assert conn is not None
        return Client(self, conn)

    def client(self, timeout: int = 10_000) -> Client:
        """Open a connection with a new session."""
        client = self.dial()
        client.connect(timeout)
        return client


class Reply:
    """One frame from the server."""

    def __init__(self, frame: bytes) -> None:
        self.xid, self.zxid, self.err = struct.unpack_from(">iqi", frame)
        self.body = frame[16:]

    def as_(self, record: type[Any]) -> Any:
        """Decode the body."""
        return decode(record, self.body)


class Client:
    """Speaks the client protocol to a core."""

    def __init__(self, core: Core, conn: Connection) -> None:
        self.core = core
        self.conn = conn
        self.xid = 0
        self.events: list[tuple[int, bytes, int]] = []
        self._rest = b""

    def send_bytes(self, data: bytes) -> None:
        self.conn.receive(data, self.core.now)
        if self.core.auto:
            self.core.sync()

    def frames(self) -> list[bytes]:
        """Take everything that the server has sent."""
        data = self._rest + b"".join(self.conn.out)
        self.conn.out.clear()
        found = []
        while len(data) >= 4:
            size = int.from_bytes(data[:4], "big")
            found.append(data[4 : 4 + size])
            data = data[4 + size :]
        self._rest = data
        return found

    def connect(
        self, timeout: int = 10_000, session: int = 0, password: bytes = b"\0" * 16, seen: int = 0
    ) -> records.ConnectResponse | None:
        """Say hello; return the answer, None if there was none."""
        body = encode(records.ConnectRequest(0, seen, timeout, session, password)) + b"\0"
        self.send_bytes(framed(body))
        answers = self.frames()
        return decode(records.ConnectResponse, answers[0]) if answers else None

    def send(self, op: int, body: bytes = b"", xid: int | None = None) -> int:
        """Send a request without waiting; return its xid."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send_bytes(framed(struct.pack(">ii", xid, op) + body))
        return xid

    def replies(self) -> list[Reply]:
        """Take the replies; events are kept in `events` as (type, path, zxid)."""
        found = []
        for frame in self.frames():
            reply = Reply(frame)
            if reply.xid == opcodes.XID_NOTIFICATION:
                event = reply.as_(records.WatcherEvent)
                self.events.append((event.type, event.path, reply.zxid))
            else:
                found.append(reply)
        return found

    def call(self, op: int, request: Any = b"", xid: int | None = None) -> Reply:
        """Send a request and return its reply."""
        sent = self.send(op, request if isinstance(request, bytes) else encode(request), xid)
        replies = self.replies()
        assert [reply.xid for reply in replies] == [sent], [(r.xid, r.err) for r in replies]
        return replies[0]

    def create(self, path: bytes, data: bytes | None = b"", flags: int = 0, acl: list[ACL] | None = OPEN_ACL) -> Reply:
        return self.call(opcodes.CREATE, records.CreateRequest(path, data, acl, flags))

    def get(self, path: bytes, watch: bool = False) -> Reply:
        return self.call(opcodes.GET_DATA, records.PathWatchRequest(path, watch))

    def exists(self, path: bytes, watch: bool = False) -> Reply:
        return self.call(opcodes.EXISTS, records.PathWatchRequest(path, watch))

    def children(self, path: bytes, watch: bool = False) -> Reply:
        return self.call(opcodes.GET_CHILDREN, records.PathWatchRequest(path, watch))

    def set(self, path: bytes, data: bytes | None, version: int = -1) -> Reply:
        return self.call(opcodes.SET_DATA, records.SetDataRequest(path, data, version))

    def delete(self, path: bytes, version: int = -1) -> Reply:
        return self.call(opcodes.DELETE, records.DeleteRequest(path, version))

    def close(self) -> None:
        """Lose the socket, not the session."""
        self.conn.closed()


def framed(body: bytes) -> bytes:
    """Put the length in front."""
    return struct.pack(">i", len(body)) + body


def multi_body(*parts: tuple[int, Any]) -> bytes:
    """Encode the operations of a multi."""
    header = struct.Struct(">i?i")
    body = b"".join(header.pack(op, False, -1) + encode(request) for op, request in parts)
    return body + header.pack(-1, True, -1)
