"""Spoilt packets: every request of the protocol, cut, flipped, swollen, with lengths that lie; and strangers' bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.support import jute
from tests.support.jute import OPEN, Op

REQUESTS: list[tuple[int, bytes]] = [
    (Op.CREATE, jute.create(b"/fuzz", b"data", OPEN, 0)),
    (Op.CREATE2, jute.create(b"/fuzz/n-", b"data", [*OPEN, (3, b"ip", b"127.0.0.0/8")], 3)),
    (Op.CREATE_CONTAINER, jute.create(b"/box", None, OPEN, 4)),
    (Op.CREATE_TTL, jute.create_ttl(b"/ttl", b"", OPEN, 5, 1000)),
    (Op.DELETE, jute.delete(b"/fuzz", -1)),
    (Op.DELETE_CONTAINER, jute.delete_container(b"/box")),
    (Op.EXISTS, jute.exists(b"/fuzz", True)),
    (Op.GET_DATA, jute.get_data(b"/fuzz", True)),
    (Op.SET_DATA, jute.set_data(b"/fuzz", b"other", -1)),
    (Op.GET_ACL, jute.get_acl(b"/fuzz")),
    (Op.SET_ACL, jute.set_acl(b"/fuzz", [(31, b"digest", b"a:b"), *OPEN], -1)),
    (Op.GET_CHILDREN, jute.get_children(b"/fuzz", True)),
    (Op.GET_CHILDREN2, jute.get_children2(b"/", True)),
    (Op.SYNC, jute.sync(b"/fuzz")),
    (Op.CHECK, jute.check(b"/fuzz", 0)),
    (Op.MULTI, jute.multi((Op.CREATE, jute.create(b"/m")), (Op.CHECK, jute.check(b"/m")))),
    (Op.MULTI, jute.multi((Op.SET_DATA, jute.set_data(b"/m", b"x")), (Op.DELETE, jute.delete(b"/m")))),
    (Op.MULTI_READ, jute.multi((Op.GET_DATA, jute.get_data(b"/")), (Op.GET_CHILDREN, jute.get_children(b"/")))),
    (Op.RECONFIG, jute.reconfig(b"server.1=a:1:2", b"3", None)),
    (Op.CHECK_WATCHES, jute.check_watches(b"/fuzz", 3)),
    (Op.REMOVE_WATCHES, jute.remove_watches(b"/fuzz", 3)),
    (Op.AUTH, jute.auth(b"digest", b"user:password")),
    (Op.AUTH, jute.auth(b"scheme" * 1000, b"")),
    (Op.SET_WATCHES, jute.set_watches(0, [b"/fuzz"], [b"/none"], [b"/"])),
    (Op.SET_WATCHES2, jute.set_watches(0, [b"/fuzz"], [], [b"/"], [b"/fuzz"], [b"/"])),
    (Op.SASL, jute.sasl(b"token")),
    (Op.GET_EPHEMERALS, jute.get_ephemerals(b"/")),
    (Op.GET_ALL_CHILDREN_NUMBER, jute.get_all_children_number(b"/")),
    (Op.ADD_WATCH, jute.add_watch(b"/fuzz", 1)),
    (Op.WHO_AM_I, b""),
    (Op.PING, b""),
    (Op.CREATE_SESSION, struct.pack(">i", 4000)),
    (Op.CLOSE_SESSION, b""),
]
ENDING = {Op.AUTH, Op.CHECK, Op.CREATE_SESSION, Op.CLOSE_SESSION}
LENGTHS = [-1, -2, -(1 << 31), 1 << 20, (1 << 20) + 1, 1 << 26, 0x7FFFFFF, (1 << 31) - 1, 0, 1, 4, 7, 8]
STRANGERS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"ruok" * 10,
    b"nope",
    b"\xff\xf4\xff\xfd",
    b"",
    b"\0",
    b"\0\0\0",
    b"\0\0\0\0",
]
XIDS = [1, 2, 1 << 30, 0, -1, -2, -4, -8, -(1 << 31)]
# One packet in so many is longer than the server takes: it costs a megabyte.
OVERSIZED_EVERY = 2000


class Mutator:
    """Spoils packets. Its results are bytes for the socket, with the length in front."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ways: list[Callable[[bytes], bytes]] = [
            self._cut, self._flip, self._flip, self._number, self._number, self._noise, self._grown, bytes,
        ]  # fmt: skip

    def request(self) -> bytes:
        """Make one spoilt request. What ends a connection is rare: nothing after it is looked at."""
        op, body = self._rng.choice(REQUESTS)
        while op in ENDING and self._rng.random() < 0.9:
            op, body = self._rng.choice(REQUESTS)
        head = struct.pack(">ii", self._rng.choice(XIDS), op)
        # Mostly xid and opcode stay whole.
        return self.spoil(b"", head + body) if self._rng.random() < 0.05 else self.spoil(head, body)

    def first(self, sessions: list[int]) -> bytes:
        """Make what a stranger says first. sessions: ids that it has heard of and whose password it does not know."""
        rng = self._rng
        known = hello(rng.choice([0, *sessions]), rng.randbytes(rng.choice([0, 16, 16, 40])))
        return rng.choice(
            [rng.choice(STRANGERS), self.spoil(b"", known), framed(known), rng.randbytes(rng.randrange(100))]
        )

    def spoil(self, head: bytes, body: bytes) -> bytes:
        """Spoil a packet's body in one of the ways, or leave it as it is."""
        draw = self._rng.random()
        # So is what puts the stream itself out of step.
        if draw < 0.01:
            return self._rng.choice([self._cut_in_stream, self._wrong_length])(head + body)
        if draw > 1 - 1 / OVERSIZED_EVERY:
            return framed(head + body + bytes(1 << 20))
        return framed(head + self._rng.choice(self._ways)(body))

    def _cut_in_stream(self, packet: bytes) -> bytes:
        """Promise more bytes than come before the next packet."""
        whole = framed(packet)
        return whole[: self._rng.randrange(len(whole))]

    def _wrong_length(self, packet: bytes) -> bytes:
        return struct.pack(">i", self._rng.choice(LENGTHS)) + packet

    def _cut(self, body: bytes) -> bytes:
        return body[: self._rng.randrange(len(body) + 1)]

    def _flip(self, body: bytes) -> bytes:
        spoilt = bytearray(body)
        for _ in range(self._rng.randrange(1, 4) if body else 0):
            spoilt[self._rng.randrange(len(spoilt))] ^= 1 << self._rng.randrange(8)
        return bytes(spoilt)

    def _number(self, body: bytes) -> bytes:
        """Put a telling number anywhere: lengths, counts, versions, flags."""
        at = self._rng.randrange(max(1, len(body) - 3))
        return body[:at] + struct.pack(">i", self._rng.choice(LENGTHS)) + body[at + 4 :]

    def _noise(self, body: bytes) -> bytes:
        return body[: self._rng.randrange(9)] + self._rng.randbytes(self._rng.randrange(64))

    def _grown(self, body: bytes) -> bytes:
        return body + self._rng.randbytes(self._rng.choice([1, 100, 5000]))


def hello(session: int, password: bytes) -> bytes:
    """A ConnectRequest for a session, 0 for a new one."""
    return struct.pack(">iqiq", 0, 0, 30_000, session) + jute.text(password) + b"\0"


def framed(body: bytes) -> bytes:
    """Put the length in front."""
    return struct.pack(">i", len(body)) + body
