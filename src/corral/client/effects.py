"""What passes between a session's core and its shell: requests, and what the core wants done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corral.base.errors import NoNode
from corral.base.records import record
from corral.client.exchange import Exchange
from corral.client.hosts import Host
from corral.client.values import EventType, State
from corral.client.watches import Listener
from corral.wire.opcodes import CLOSE_SESSION, EXISTS

Decode = Callable[[bytes, int, int], Any]
"""decode(buf, at, end) -> the result of a reply whose body is buf[at:end]."""


class Call:
    """One request and, in the end, its `value` or its `error`.

    is_write: whether it may change something, so that its loss leaves the outcome unknown. watch: the listener to
    enter when it is answered: its kind where the znode exists, and where it does not (-1: in no table). sink: the
    shell's. zxid: the newest transaction that the server knew when it answered; a write's own.
    """

    # Of the class, so that a request needs no time for what it does not have, or not yet.
    path = b""
    watch: tuple[int, int, Listener] | None = None
    xid = 0
    zxid = 0
    sink: Any = None
    value: Any = None
    error: Exception | None = None

    def __init__(
        self, op: int, payload: bytes, decode: Decode, is_write: bool, path: bytes = b"",
        watch: tuple[int, int, Listener] | None = None,
    ) -> None:  # fmt: skip
        self.op = op
        self.frame = payload
        self.decode = decode
        self.is_write = is_write
        if path:
            self.path = path
        if watch is not None:
            self.watch = watch


@record
class StateChanged:
    """The client's state is another one now."""

    state: State


@record
class Fire:
    """A listener is to be told of an event. path: the whole one."""

    listener: Listener
    type: EventType
    path: bytes
    zxid: int


@record
class Connect:
    """Open a connection to a server, after `delay_ms`; give up after `timeout_ms`."""

    host: Host
    delay_ms: int
    timeout_ms: int


@record
class Disconnect:
    """Close the connection, or stop opening it."""

    why: str


@record
class Step:
    """A mechanism of SASL has to answer a challenge, None to begin with; `Session.stepped` takes the answer."""

    exchange: Exchange
    challenge: bytes | None


@record
class Probe:
    """Ask a server, over a connection of its own, whether it has a quorum; give up after `timeout_ms`."""

    host: Host
    timeout_ms: int


@record
class Refused:
    """Tell that a server and this client cannot agree on TLS: news, not told before."""

    host: Host
    why: str


Effect = Call | StateChanged | Fire | Connect | Disconnect | Step | Probe | Refused


def complete(call: Call) -> None:
    """Put a call's value, or its error, where it is waited for, if it still is."""
    sink = call.sink
    if sink is None or sink.done():
        return
    error = call.error
    if error is None:
        sink.set_result(call.value)
    elif call.op == EXISTS and type(error) is NoNode:
        sink.set_result(None)
    else:
        sink.set_exception(error)


def nothing(buf: bytes, at: int, end: int) -> None:
    """Read a reply without a body."""


def close_call() -> Call:
    """Return the request that ends the session."""
    return Call(CLOSE_SESSION, b"", nothing, True)
