"""Random steps, seeded: every opcode, good requests and bad ones, over sessions that come, go and come back.

A request carries traits: words for what is special about it, which `differences` names where two servers differ.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.support import jute
from tests.support.jute import OPEN, Acl, Op

MULTI_HEAD = struct.Struct(">i?i")
NULL = b"\xff\xff\xff\xff"
CHANGING_NODES = frozenset(
    {Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA, Op.MULTI}
)
PATH_FIRST = frozenset(Op) - {Op.MULTI, Op.MULTI_READ, Op.GET_EPHEMERALS, Op.RECONFIG, Op.SASL}
NO_TRAITS: frozenset[str] = frozenset()


class Request(NamedTuple):
    """One request. xid: None for the usual one."""

    op: int
    body: bytes
    traits: frozenset[str] = NO_TRAITS
    xid: int | None = None


class Requests(NamedTuple):
    """Requests of one session, sent in one go."""

    session: int
    requests: tuple[Request, ...]


class Reconnect(NamedTuple):
    """A new connection for a session. how: one of HOW."""

    session: int
    how: str
    timeout_ms: int


Step = Requests | Reconnect

HOW = (
    "drop, resume",
    "resume over a live connection",
    "drop, wrong password, resume",
    "drop, seen the future, resume",
    "wrong password over a live connection",
    "unknown session",
    "old client",
)
PATHS = [
    b"/a", b"/b", b"/c", b"/a/x", b"/a/y", b"/a/x/deep", b"/b/z", b"/q", b"/q/1", b"/q/2", "/\u00fc".encode(),
    "/a/\u65e5\u672c".encode(), b"/a/s-0000000001", b"/zookeeper", b"/zookeeper/config", b"/zookeeper/quota",
    b"/zookeeper/quota/q", b"/",
]  # fmt: skip
BAD_PATHS: list[bytes | None] = [
    b"", b"a", b"//", b"/a/", b"/a//b", b"/.", b"/a/../b", b"/a\0b", b"/\x01", "/\ue000".encode(), "/\ufffd".encode(),
    b"/nope/x", b"/a/x/", b"/c/..", "/\x85".encode(), None,
]  # fmt: skip
DATA = [b"", b"x", b"some data", None, b"y" * 300, b"\0\xff"]
LIMITS = [b"count=3,bytes=20", b"count=-1,bytes=-1", b"count=2,bytes=-1=;countHardLimit=4", b"bytes=4=;byteHardLimit=9"]
BOB = b"bob:7qYdOBLJmT6hLQX6JqSuRuGp4jE="
READERS: list[list[Acl] | None] = [
    OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN,
    [(1, b"world", b"anyone")],
    [(31, b"auth", b""), (1, b"world", b"anyone")],
    [(31, b"auth", b"ignored"), (17, b"world", b"anyone")],
    [(31, b"digest", BOB), (1, b"world", b"anyone")],
    [(31, b"digest", BOB), (9, b"world", b"anyone"), (4, b"ip", b"127.0.0.1")],
    [(31, b"ip", b"127.0.0.1")],
    [(3, b"ip", b"127.0.0.0/8"), (3, b"ip", b"127.0.0.0/8")],
    [(31, b"ip", b"10.1.1.1"), (1, b"world", b"anyone")],
]  # fmt: skip
"""Access lists that let every session read."""
CLOSED_ACLS: list[list[Acl]] = [
    [(31, b"digest", BOB)], [(31, b"auth", b"")], [(30, b"world", b"anyone")], [(0, b"world", b"anyone")],
    [(31, b"ip", b"10.0.0.0/8")], [(16, b"world", b"anyone")],
]  # fmt: skip
WRONG_ACLS: list[list[Acl] | None] = [
    [], None, [(31, b"world", b"nobody")], [(31, b"ip", b"1.2.3.4/77")], [(31, b"ip", b"1.2.3")],
    [(31, b"nosuch", b"x")], [(31, b"digest", b"nocolon")], [(31, b"digest", b"a:b:c")], [(31, b"super", b"")],
    [(31, None, b"x")], [*OPEN, (31, b"world", b"x")],
]  # fmt: skip


class Generator:
    """Draws steps for `sessions` sessions."""

    def __init__(self, seed: int, sessions: int) -> None:
        self._rng = random.Random(seed)
        self._sessions = sessions
        self._session = 0
        # Drawn before all else, so that no seed goes without them.
        self._first = [
            Request(Op.CREATE_TTL, jute.create_ttl(b"/b", b"", OPEN, 5, 10**7)),
            Request(Op.CREATE_CONTAINER, jute.create(b"/c", b"", OPEN, 4)),
        ]
        self._kinds: list[tuple[float, Callable[[], Request]]] = [
            (28, self._create), (12, self._delete), (13, self._set), (14, self._read), (5, self._set_acl),
            (4, self._get_acl), (11, self._multi), (4, self._multi_read), (6, self._add_watch), (5, self._watches),
            (4, self._set_watches), (2, self._sync), (2, self._ephemerals), (2, self._count), (1, self._who),
            (4, self._auth), (3, self._garbage), (1, self._ping), (1, self._reconfig), (6, self._quota), (1, self._odd),
            (0.7, self._close),
        ]  # fmt: skip

    def next(self) -> Step:
        """Draw one step."""
        if self._first:
            return Requests(0, (self._first.pop(),))
        rng = self._rng
        self._session = rng.randrange(self._sessions)
        if rng.random() < 0.03:
            return Reconnect(self._session, rng.choice(HOW), rng.choice([600_000, 500_000, 10**9]))
        if rng.random() < 0.08:
            # Replies to what bypasses the pipeline may overtake others, and a closed connection loses some.
            drawn = [self._request() for _ in range(rng.randrange(2, 9))]
            batch = with_quotas_marked(request for request in drawn if "alone" not in request.traits)
            if batch:
                return Requests(self._session, batch)
        return Requests(self._session, (self._request(),))

    def _request(self) -> Request:
        make = self._rng.choices([make for _, make in self._kinds], [weight for weight, _ in self._kinds])[0]
        request = make()
        if request.op in PATH_FIRST and request.body.startswith(NULL):
            request = request._replace(traits=request.traits | {"no path"})
        return request

    def _path(self) -> bytes | None:
        rng = self._rng
        if rng.random() < 0.06:
            return rng.choice(BAD_PATHS)
        path = rng.choice(PATHS)
        return path + b"/%d" % rng.randrange(3) if rng.random() < 0.2 and path != b"/" else path

    def _acl(self) -> tuple[list[Acl] | None, frozenset[str]]:
        rng = self._rng
        draw = rng.random()
        if draw < 0.12:
            return rng.choice(WRONG_ACLS), NO_TRAITS
        if draw < 0.14:
            return [(31, b"auth", b"ignored"), (31, b"auth", b""), *OPEN], frozenset({"auth named twice"})
        if draw < 0.24:
            return rng.choice(CLOSED_ACLS), frozenset({"unreadable node"})
        return rng.choice(READERS), NO_TRAITS

    def _create(self) -> Request:
        rng = self._rng
        op = rng.choice([Op.CREATE, Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.CREATE_TTL])
        flags = {Op.CREATE_CONTAINER: 4}.get(op, rng.choice([0, 0, 0, 1, 2, 3, 4]))
        path, data, (acl, traits) = self._path(), rng.choice(DATA), self._acl()
        if path and flags in (2, 3) and rng.random() < 0.5:
            path += rng.choice([b"/s-", b"/"])
        if op == Op.CREATE_TTL:
            flags = rng.choice([5, 6, 5, 6, 5, 6, 0, 4, 9])
            ttl = rng.choice([0, -1, 10**7, 10**7, 10**7, 2**40 - 1, 2**40])
            if flags not in (5, 6) and ttl < 0:
                traits |= {"createTTL in another mode"}
            if not 0 <= flags <= 6:
                traits |= {"unknown flags"}
            return Request(op, jute.create_ttl(path, data, acl, flags, ttl), traits)
        if rng.random() < 0.05:
            flags = rng.choice([-1, 0, 1, 5, 6, 7, 100])
        if not 0 <= flags <= 4:
            traits |= {"unknown flags"}
        return Request(op, jute.create(path, data, acl, flags), traits)

    def _version(self) -> int:
        return self._rng.choice([-1, -1, -1, 0, 1, 2, -2])

    def _delete(self) -> Request:
        return Request(Op.DELETE, jute.delete(self._path(), self._version()))

    def _set(self) -> Request:
        return Request(Op.SET_DATA, jute.set_data(self._path(), self._rng.choice(DATA), self._version()))

    def _read(self) -> Request:
        op = self._rng.choice([Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2])
        path, watch = self._path(), self._rng.random() < 0.6
        return Request(op, jute.watched(path, watch), self._watching(path, "standard") if watch else NO_TRAITS)

    def _set_acl(self) -> Request:
        acl, traits = self._acl()
        path = self._path()
        if path == b"/" and "unreadable node" in traits:
            acl, traits = OPEN, NO_TRAITS  # Nothing could be created any more.
        # ZooKeeper checks what is sent behind a setACL against the old list, until it has been applied.
        return Request(Op.SET_ACL, jute.set_acl(path, acl, self._version()), traits | {"alone"})

    def _get_acl(self) -> Request:
        return Request(Op.GET_ACL, jute.get_acl(self._path()))

    def _check(self) -> Request:
        return Request(Op.CHECK, jute.check(self._path(), self._version()))

    def _multi(self) -> Request:
        rng = self._rng
        parts: list[tuple[int, bytes]] = []
        traits: set[str] = set()
        for _ in range(rng.randrange(6)):
            part = rng.choice([self._easy_create, self._create, self._delete, self._set, self._check])()
            if rng.random() < 0.02:
                part = rng.choice([self._set_acl, self._read, self._sync, self._reconfig])()
            if part.op == Op.CREATE2 and rng.random() < 0.95:
                part = part._replace(op=Op.CREATE)
            if part.op == Op.CREATE2 or (part.op == Op.CREATE_CONTAINER and not part.body.endswith(b"\0\0\0\4")):
                traits.add("create of 3.9 in a multi")
            parts.append((part.op, part.body))
            traits |= {"unknown flags in a multi" if trait == "unknown flags" else trait for trait in part.traits}
            if part.body.startswith(NULL):
                traits.add("multi without a path")
        body = jute.multi(*parts)
        if rng.random() < 0.04:
            traits.add("undecodable multi")
            body = body[: rng.randrange(len(body))]
        return Request(Op.MULTI, body, frozenset(traits))

    def _easy_create(self) -> Request:
        """A create that often succeeds, so that a multi with it does."""
        rng = self._rng
        path = rng.choice([b"/a", b"/b", b"/c", b"/q", b"/"]) + b"/" + rng.choice([b"m", b"n", b"o-"])
        path = path.replace(b"//", b"/")
        return Request(rng.choice([Op.CREATE, Op.CREATE2]), jute.create(path, b"", OPEN, rng.choice([0, 1, 2, 3])))

    def _multi_read(self) -> Request:
        rng = self._rng
        parts = []
        for _ in range(rng.randrange(4)):
            op = rng.choice([Op.GET_DATA, Op.GET_CHILDREN])
            parts.append((op, jute.watched(self._path(), rng.random() < 0.5)))
            if rng.random() < 0.03:
                parts[-1] = (Op.DELETE, jute.delete(b"/a"))
        return Request(Op.MULTI_READ, jute.multi(*parts))

    def _watching(self, path: bytes | None, kind: str) -> frozenset[str]:
        """Say whether another kind of watch would stand beside those of this session at the path."""
        homes = ("standard", "persistent", "recursive")
        # The kind that the session has at this path: fixed, so that nothing has to be remembered.
        if path is None:
            return frozenset({"watch without a path"})
        home = homes[(len(path) * 5 + self._session) % 3]
        return NO_TRAITS if kind == home else frozenset({"second kind of watch at a path"})

    def _add_watch(self) -> Request:
        path, mode = self._path(), self._rng.choice([0, 0, 0, 1, 1, 1, 2, -1])
        kinds = {0: "persistent", 1: "recursive"}
        traits = self._watching(path, kinds[mode]) if mode in kinds else NO_TRAITS
        return Request(Op.ADD_WATCH, jute.add_watch(path, mode), traits)

    def _watches(self) -> Request:
        rng = self._rng
        kind = rng.choice([0, 1, 2, 3, 3, 3, 4, 5, 6])
        op = rng.choice([Op.REMOVE_WATCHES, Op.CHECK_WATCHES])
        traits = set()
        if 4 <= kind <= 5:
            traits.add("watch type of 3.9")
        if 1 <= kind <= 2:
            traits.add("typed watch removal")
        if op == Op.CHECK_WATCHES and 1 <= kind <= 5:
            traits.add("watch check")
        return Request(op, jute.remove_watches(self._path(), kind), frozenset(traits))

    def _set_watches(self) -> Request:
        rng = self._rng
        op = rng.choice([Op.SET_WATCHES, Op.SET_WATCHES2])
        kinds = ("standard", "standard", "standard", "persistent", "recursive")[: 3 if op == Op.SET_WATCHES else 5]
        lists = [[self._path() for _ in range(rng.randrange(3))] for _ in kinds]
        traits = set().union(
            *(self._watching(path, kind) for kind, paths in zip(kinds, lists, strict=True) for path in paths)
        )
        since = rng.choice([0, 5, 50, 300, 1 << 40, -1])
        xid = rng.choice([None, None, 77])
        return Request(op, jute.set_watches(since, *lists), frozenset(traits), xid)

    def _sync(self) -> Request:
        return Request(Op.SYNC, jute.sync(self._path()))

    def _ephemerals(self) -> Request:
        prefix = self._rng.choice([None, b"", b"/", b"/a", b"/b/", b" "])
        return Request(Op.GET_EPHEMERALS, jute.get_ephemerals(prefix))

    def _count(self) -> Request:
        return Request(Op.GET_ALL_CHILDREN_NUMBER, jute.get_all_children_number(self._path()))

    def _who(self) -> Request:
        return Request(Op.WHO_AM_I, b"")

    def _auth(self) -> Request:
        draw = self._rng.random()
        traits = frozenset({"alone"})
        if draw < 0.9:
            who = self._rng.choice([b"bob:pw", b"bob:pw", b"alice:x", b"bob:wrong", b"super:test"])
            return Request(Op.AUTH, jute.auth(b"digest", who), traits)
        scheme = self._rng.choice([b"ip", b"world", b"nosuch", b"super", b"auth", b"sasl", b"x509", None])
        return Request(Op.AUTH, jute.auth(scheme, b"data"), traits)

    def _quota(self) -> Request:
        """Touch the nodes that make a quota for /q, and what they count.

        Statistics are always numbers: 3.8 ends itself over others.
        """
        rng = self._rng
        draw = rng.random()
        if draw < 0.3:
            return Request(Op.CREATE, jute.create(b"/q/" + rng.choice([b"1", b"2", b"3", b"4"]), b"12345"))
        if draw < 0.4:
            return Request(Op.SET_DATA, jute.set_data(b"/q/1", b"x" * rng.randrange(20)))
        node = rng.choice([b"/zookeeper_limits", b"/zookeeper_stats", b""])
        path = b"/zookeeper/quota/q" + node
        data = rng.choice(LIMITS)
        if node == b"/zookeeper_limits" and rng.random() < 0.1:
            data = rng.choice([b"what", b"count=x", b""])
        if draw < 0.55:
            limits, stats = (b"/zookeeper/quota/q/zookeeper_" + name for name in (b"limits", b"stats"))
            both = [(Op.CREATE, jute.create(limits, rng.choice(LIMITS))), (Op.CREATE, jute.create(stats, data))]
            return Request(Op.MULTI, jute.multi(*both))
        in_parts = NO_TRAITS if node == b"" else frozenset({"quota in parts"})
        if draw < 0.65:
            return Request(Op.CREATE, jute.create(path, data), in_parts)
        if draw < 0.75:
            return Request(Op.DELETE, jute.delete(path), in_parts)
        if draw < 0.9 and node != b"/zookeeper_stats":
            return Request(Op.SET_DATA, jute.set_data(path, data))
        return Request(Op.GET_DATA, jute.get_data(path))

    def _garbage(self) -> Request:
        """A body that is cut short, or noise."""
        rng = self._rng
        writes = {Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA, Op.SET_ACL}
        if rng.random() < 0.5:
            whole = self._request()
            if "alone" in whole.traits or not whole.body or whole.op not in set(Op):
                return whole
            op, body = whole.op, whole.body[: rng.randrange(len(whole.body))]
        else:
            special = (Op.AUTH, Op.SASL, Op.CREATE_SESSION, Op.CHECK, Op.CLOSE_SESSION, Op.PING)
            op = rng.choice([each for each in Op if each not in special])
            body = rng.randbytes(rng.randrange(12))
        traits = {"undecodable write"} if op in writes else {"undecodable multi"} if op == Op.MULTI else set()
        if op == Op.DELETE_CONTAINER:
            traits.add("deleteContainer")
        return Request(op, body, frozenset(traits))

    def _ping(self) -> Request:
        return Request(Op.PING, b"", frozenset({"alone"}))

    def _reconfig(self) -> Request:
        joining = self._rng.choice([None, b"server.2=127.0.0.1:1:2:participant;3"])
        return Request(Op.RECONFIG, jute.reconfig(joining, None, None, self._rng.choice([-1, 0, 7])))

    def _odd(self) -> Request:
        """What no client sends."""
        rng = self._rng
        draw = rng.randrange(6)
        alone = frozenset({"alone"})
        if draw == 0:
            path = self._path()
            return Request(Op.DELETE_CONTAINER, jute.delete_container(path), frozenset({"deleteContainer"}))
        if draw == 1:
            return Request(Op.SASL, jute.sasl(rng.choice([b"", b"token"])), alone)
        if draw == 2:
            op = rng.choice([0, 10, Op.CHECK, 23, 99, 108, -1, -12, 1 << 30])
            return Request(op, b"", alone | {"check outside a multi"} if op == Op.CHECK else alone)
        if draw == 3:
            return Request(Op.CREATE_SESSION, struct.pack(">i", 600_000), alone | {"createSession from a client"})
        if draw == 4:
            # Bytes after the record mean nothing, and any xid comes back.
            xid = rng.choice([0, -5, 1 << 30, -(1 << 31)])
            return Request(Op.EXISTS, jute.exists(b"/a") + b"tail", NO_TRAITS, xid)
        return Request(Op.CLOSE_SESSION, b"tail", alone)

    def _close(self) -> Request:
        return Request(Op.CLOSE_SESSION, b"", frozenset({"alone"}))


def with_quotas_marked(batch: Iterable[Request]) -> tuple[Request, ...]:
    """Mark writes of the quota's nodes, /q and below, whose answers hang on how much of the batch is done by then."""
    marked = []
    is_quota_written = False
    for request in batch:
        # /zookeeper/quota too.
        if request.op in CHANGING_NODES and b"/q" in request.body:
            if is_quota_written:
                request = request._replace(traits=request.traits | {"quota still being written"})
            if request.op == Op.MULTI:
                request = request._replace(traits=request.traits | {"multi below a quota in a batch"})
            is_quota_written = True
        marked.append(request)
    return tuple(marked)
