"""Random operations, seeded: every opcode, good requests and bad ones."""

from __future__ import annotations

import random
import struct

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import ACL, OPEN_ACL
from corral.wire.schema import encode

Operation = tuple[int, int, bytes]
"""Which session, which opcode, the request's bytes."""

# No zookeeper_limits: ZooKeeper 3.8 ends itself over a limit that is not a number.
PATHS = [
    b"/a", b"/b", b"/c", b"/a/x", b"/a/y", b"/a/x/deep", b"/b/z", b"/q", b"/q/1", b"/q/2", "/ü".encode(),
    b"/zookeeper", b"/zookeeper/config", b"/zookeeper/quota", b"/zookeeper/quota/q",
    b"/",
]  # fmt: skip
BAD_PATHS = [b"", b"a", b"//", b"/a/", b"/a//b", b"/.", b"/a/../b", b"/a\0b", b"/\x01", "/\ue000".encode(), b"/nope/x"]
DATA = [b"", b"x", b"some data", None, b"count=3,bytes=20", b"y" * 300]
# Everyone may always read: until 3.8.4 ZooKeeper asked no right of exists and of those told of a change.
ACLS: list[list[ACL] | None] = [
    OPEN_ACL, OPEN_ACL, OPEN_ACL, OPEN_ACL, OPEN_ACL,
    [ACL(1, "world", "anyone")],
    [ACL(31, "auth", ""), ACL(1, "world", "anyone")],
    [ACL(31, "digest", "bob:7qYdOBLJmT6hLQX6JqSuRuGp4jE="), ACL(1, "world", "anyone")],
    [ACL(31, "ip", "127.0.0.1")],
    [ACL(3, "ip", "127.0.0.0/8"), ACL(3, "ip", "127.0.0.0/8")],
    [ACL(31, "ip", "10.1.1.1"), ACL(1, "world", "anyone")],
    [ACL(31, "world", "nobody")],
    [ACL(31, "ip", "1.2.3.4/77")],
    [ACL(31, "nosuch", "x")],
    [], None,
]  # fmt: skip
MULTI_HEAD = struct.Struct(">i?i")


class Generator:
    """Draws operations for `sessions` sessions.

    The last session alone has persistent and recursive watches, one mode for a path, and no others: until 3.9 ZooKeeper
    kept one mode for a watcher at a path, so that a later watch replaced an earlier one of another kind.
    """

    def __init__(self, seed: int, sessions: int) -> None:
        self._rng = random.Random(seed)
        self._sessions = sessions
        self._number = 0
        self._kinds = [
            (30, self._create), (14, self._delete), (14, self._set), (8, self._read), (5, self._set_acl),
            (4, self._get_acl), (10, self._multi), (3, self._multi_read), (5, self._add_watch), (5, self._watches),
            (3, self._set_watches), (2, self._sync), (2, self._ephemerals), (2, self._count), (1, self._who),
            (2, self._auth), (2, self._garbage), (1, self._ping), (1, self._reconfig),
        ]  # fmt: skip

    def next(self) -> Operation:
        """Draw one operation."""
        weights = [weight for weight, _ in self._kinds]
        self._number = self._rng.randrange(self._sessions)
        make = self._rng.choices([make for _, make in self._kinds], weights)[0]
        code, body = make()
        return self._number, code, body

    @property
    def _is_last(self) -> bool:
        return self._number == self._sessions - 1

    def _path(self) -> bytes:
        rng = self._rng
        if rng.random() < 0.06:
            return rng.choice(BAD_PATHS)
        path = rng.choice(PATHS)
        return path + b"/%d" % rng.randrange(3) if rng.random() < 0.2 and path != b"/" else path

    def _create(self) -> tuple[int, bytes]:
        rng = self._rng
        code = rng.choice([op.CREATE, op.CREATE, op.CREATE2, op.CREATE_CONTAINER, op.CREATE_TTL])
        flags = {op.CREATE_CONTAINER: 4}.get(code, rng.choice([0, 0, 0, 1, 2, 3, 4]))
        path, data, acl = self._path(), rng.choice(DATA), rng.choice(ACLS)
        if code == op.CREATE_TTL:
            return code, encode(records.CreateTtlRequest(path, data, acl, rng.choice([5, 6]), rng.choice([0, 9000])))
        if rng.random() < 0.05:
            flags = rng.choice([-1, 5, 6, 7, 100])
        return code, encode(records.CreateRequest(path, data, acl, flags))

    def _version(self) -> int:
        return self._rng.choice([-1, -1, -1, 0, 1, 2])

    def _delete(self) -> tuple[int, bytes]:
        return op.DELETE, encode(records.DeleteRequest(self._path(), self._version()))

    def _set(self) -> tuple[int, bytes]:
        return op.SET_DATA, encode(records.SetDataRequest(self._path(), self._rng.choice(DATA), self._version()))

    def _read(self) -> tuple[int, bytes]:
        code = self._rng.choice([op.EXISTS, op.GET_DATA, op.GET_CHILDREN, op.GET_CHILDREN2])
        return code, encode(records.PathWatchRequest(self._path(), self._rng.random() < 0.6 and not self._is_last))

    def _set_acl(self) -> tuple[int, bytes]:
        return op.SET_ACL, encode(records.SetAclRequest(self._path(), self._rng.choice(ACLS), self._version()))

    def _get_acl(self) -> tuple[int, bytes]:
        return op.GET_ACL, encode(records.PathRequest(self._path()))

    def _multi(self) -> tuple[int, bytes]:
        rng = self._rng
        parts = []
        for _ in range(rng.randrange(5)):
            code, body = rng.choice([self._plain_create, self._delete, self._set, self._check])()
            if rng.random() < 0.01:
                code = op.SET_ACL
            parts.append(MULTI_HEAD.pack(code, False, -1) + body)
        return op.MULTI, b"".join(parts) + MULTI_HEAD.pack(-1, True, -1)

    def _plain_create(self) -> tuple[int, bytes]:
        rng = self._rng
        request = records.CreateRequest(self._path(), rng.choice(DATA), rng.choice(ACLS), rng.choice([0, 0, 1, 2, 3]))
        return rng.choice([op.CREATE, op.CREATE2]), encode(request)

    def _check(self) -> tuple[int, bytes]:
        return op.CHECK, encode(records.CheckVersionRequest(self._path(), self._version()))

    def _multi_read(self) -> tuple[int, bytes]:
        rng = self._rng
        body = b""
        for _ in range(rng.randrange(4)):
            code = rng.choice([op.GET_DATA, op.GET_CHILDREN])
            body += MULTI_HEAD.pack(code, False, -1) + encode(records.PathWatchRequest(self._path(), True))
        return op.MULTI_READ, body + MULTI_HEAD.pack(-1, True, -1)

    def _add_watch(self) -> tuple[int, bytes]:
        self._number = self._sessions - 1
        path = self._path()
        mode = 7 if self._rng.random() < 0.1 else len(path) % 2
        return op.ADD_WATCH, encode(records.AddWatchRequest(path, mode))

    def _watches(self) -> tuple[int, bytes]:
        # Removing any only: ZooKeeper 3.8 takes persistent watches for standard ones where a type is given, and a
        # check also finds recursive watches above the path.
        return op.REMOVE_WATCHES, encode(records.WatchesRequest(self._path(), self._rng.choice([0, 3, 3, 3, 6])))

    def _set_watches(self) -> tuple[int, bytes]:
        rng = self._rng
        lists = [[self._path() for _ in range(rng.randrange(3))] for _ in range(3)]
        since = rng.choice([0, 5, 50, 1 << 40])
        if not self._is_last:
            return op.SET_WATCHES, encode(records.SetWatches(since, lists[0], lists[1], lists[2]))
        persistent = [path for path in lists[0] if not len(path) % 2]
        recursive = [path for path in lists[1] if len(path) % 2]
        return op.SET_WATCHES2, encode(records.SetWatches2(since, [], [], [], persistent, recursive))

    def _sync(self) -> tuple[int, bytes]:
        return op.SYNC, encode(records.PathRequest(self._path()))

    def _ephemerals(self) -> tuple[int, bytes]:
        prefix = self._rng.choice([None, b"", b"/", b"/a", b"/b/"])
        return op.GET_EPHEMERALS, encode(records.GetEphemeralsRequest(prefix))

    def _count(self) -> tuple[int, bytes]:
        return op.GET_ALL_CHILDREN_NUMBER, encode(records.PathRequest(self._path()))

    def _who(self) -> tuple[int, bytes]:
        return op.WHO_AM_I, b""

    def _auth(self) -> tuple[int, bytes]:
        who = self._rng.choice([b"bob:pw", b"alice:x", b"bob:wrong"])
        return op.AUTH, encode(records.AuthPacket(0, "digest", who))

    def _garbage(self) -> tuple[int, bytes]:
        # Not for single writes: whether an undecodable one takes a zxid changed between ZooKeeper 3.8 and 3.9.
        rng = self._rng
        codes = [3, 4, 6, 8, 9, 12, 14, 18, 22, 101, 104, 105, 106]
        return rng.choice(codes), rng.randbytes(rng.randrange(12))

    def _ping(self) -> tuple[int, bytes]:
        return op.PING, b""

    def _reconfig(self) -> tuple[int, bytes]:
        return op.RECONFIG, encode(records.ReconfigRequest(None, None, None, -1))
