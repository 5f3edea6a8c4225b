"""A client's session, driven without a socket and without a clock."""

from __future__ import annotations

import random
import struct
from typing import Any

from corral.client.calls import Calls
from corral.client.effects import Call, StateChanged
from corral.client.exchange import Sasl
from corral.client.hosts import Host, HostRound
from corral.client.session import Session
from corral.client.values import State
from corral.wire import opcodes
from corral.wire.client import ConnectRequest, ConnectResponse, WatcherEvent
from corral.wire.schema import decode, encode

TIMEOUT = 9000
PASSWORD = b"p" * 16
STAT = struct.pack(">qqqqiiiqiiq", 3, 3, 0, 0, 0, 0, 0, 0, 1, 0, 3)
A = b"\0\0\0\1a" + STAT
calls = Calls(0)


class Driver:
    """A session, the time, and what it has said since the last look."""

    def __init__(self, servers: int = 3, *, read_only: bool = False, sasl: Sasl | None = None) -> None:
        hosts = tuple(Host(f"s{number}", 2181) for number in range(servers))
        self.session = Session(HostRound(hosts, random.Random(1)), TIMEOUT, read_only, sasl)
        self.now = 100_000
        self.session.start(self.now)

    def said(self) -> list[Any]:
        effects, self.session.effects = self.session.effects, []
        return effects

    def states(self) -> list[State]:
        return [effect.state for effect in self.said() if isinstance(effect, StateChanged)]

    def sent(self) -> list[tuple[int, int, bytes]]:
        """The frames that were sent since the last look, as (xid, opcode, body)."""
        data = self.session.take_output(self.now)
        frames = []
        while data:
            (size,) = struct.unpack_from(">i", data)
            frames.append((*struct.unpack_from(">ii", data, 4), data[12 : 4 + size]))
            data = data[4 + size :]
        return frames

    def hello(self, session: int = 7, timeout: int = TIMEOUT, *, read_only: bool = False) -> ConnectRequest:
        asked = self.called()
        self.welcome(session, timeout, read_only=read_only)
        return asked

    def called(self) -> ConnectRequest:
        """Open a connection; return what it begins with."""
        self.session.opened(self.now)
        # The flag behind it is no part of the record.
        self.asked_flag = (data := self.session.take_output(self.now))[-1]
        return decode(ConnectRequest, data[4:-1])

    def welcome(self, session: int = 7, timeout: int = TIMEOUT, *, read_only: bool = False) -> None:
        self.frame(encode(ConnectResponse(0, timeout, session, PASSWORD)) + bytes([read_only]))

    def frame(self, body: bytes) -> None:
        self.session.received(struct.pack(">i", len(body)) + body, self.now)

    def reply(self, xid: int, body: bytes = b"", err: int = 0, zxid: int = 1) -> None:
        self.frame(struct.pack(">iqi", xid, zxid, err) + body)

    def event(self, kind: int, path: bytes) -> None:
        self.reply(opcodes.XID_NOTIFICATION, encode(WatcherEvent(kind, 3, path)), zxid=5)

    def get(self, path: bytes = b"/a", listener: Any = None) -> Call:
        call = calls.get(path, listener)
        self.session.submit(call)
        return call

    def wait(self, ms: int) -> None:
        """Let time pass in which the timer is served."""
        until = self.now + ms
        while (due := self.session.deadline()) <= until:
            self.now = max(due, self.now)
            self.session.tick(self.now)
            self.sent_meanwhile = self.sent()
        self.now = until


def up() -> Driver:
    driver = Driver()
    driver.hello()
    driver.said()
    driver.sent()
    return driver
