"""The client against servers that are none, or not in their right mind: typed errors, no hang, nothing left."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from tests.support.badserver import BadServer, frame
from tests.support.clients import Style
from tests.support.loops import run, until

import corral
from corral.base.errors import NoNode, Outcome
from corral.client.errors import BadConnectString, ConnectionLoss, RequestTimeout
from corral.client.values import EventType, WatchEvent
from corral.testing import EmbeddedServer
from corral.wire.client import WatcherEvent
from corral.wire.schema import encode

HELLO = struct.pack(">iiiqi", 37, 0, 4000, 0x1234, 16) + bytes(17)
REFUSAL = struct.pack(">iiiqi", 37, 0, 0, 0, 16) + bytes(17)
STAT = bytes(68)


def reply(xid: int, body: bytes) -> bytes:
    return struct.pack(">iiqi", 16 + len(body), xid, 1, 0) + body


def refusal(xid: int, err: int) -> bytes:
    return struct.pack(">iiqi", 16, xid, 1, err)


def says(data: bytes, *, hangs_up: bool = False) -> Any:
    """Return the behaviour of one that answers the first packet with `data`."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frame(reader)
        writer.write(data)
        if not hangs_up:
            await reader.read()

    return behave


def answers(*replies: Callable[[int], bytes]) -> Any:
    """Return the behaviour of one that takes the session and as many requests as it has replies, and leaves then."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frame(reader)
        writer.write(HELLO)
        xids = []
        while len(xids) < len(replies):
            xid = struct.unpack_from(">i", await frame(reader))[0]
            if xid > 0:
                xids.append(xid)
        for make, xid in zip(replies, xids, strict=True):
            writer.write(make(xid))
        await frame(reader)

    return behave


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        pytest.param(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "1213486160 bytes: it is no ZooKeeper", id="http"),
        pytest.param(silent, "does not answer the hello", id="silent"),
        pytest.param(hangs_up, "closed|reset", id="hangs-up"),
        pytest.param(says(struct.pack(">i", -5)), "-5 bytes: it is no ZooKeeper", id="negative"),
        pytest.param(says(struct.pack(">i", 9) + bytes(9)), "cannot be read", id="short-hello"),
        pytest.param(says(struct.pack(">i", 3_000_000) + b"x"), "does not answer the hello", id="half-a-hello"),
        pytest.param(says(REFUSAL), "the session has ended", id="refuses"),
    ],
)
def test_no_session_is_a_typed_error_that_says_why(behaviour: Any, why: str, style: Style) -> None:
    async def main() -> None:
        async with BadServer(behaviour) as server:
            # The first loop of uvloop in a process opens what all of them use.
            uvloop.new_event_loop().close()
            files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
            with pytest.raises(RequestTimeout, match=rf"the last server {server.hosts}: .*({why})"):
                async with style.open(server.hosts, session_timeout_ms=1000, connect_timeout=0.8):
                    pass
            await until(lambda: server.open == 0)
            await until(lambda: len(os.listdir("/proc/self/fd")) <= files and len(asyncio.all_tasks()) <= tasks)
            assert server.taken < 20

    run(main())


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        pytest.param([lambda xid: reply(xid + 1, STAT)], "expected reply 1, got 2", id="another"),
        pytest.param([lambda xid: reply(xid, STAT) * 2], "reply 1 without a request", id="twice"),
        pytest.param([lambda xid: reply(-77, STAT)], "unknown reply number -77", id="unknown"),
        pytest.param([lambda xid: reply(xid, STAT[:-1])], "cannot be read", id="short"),
        pytest.param([lambda xid: struct.pack(">i", 5) + bytes(5)], "cannot be read", id="headless"),
        pytest.param([lambda xid: struct.pack(">i", -1)], "-1 bytes", id="negative"),
        pytest.param([lambda xid: b"HTTP/1.1"], "no ZooKeeper", id="http"),
    ],
)
def test_answers_without_sense_cost_the_connection_and_nothing_else(replies: Any, why: str, style: Style) -> None:
    async def main() -> None:
        async with BadServer(answers(*replies)) as server:
            async with style.open(server.hosts, session_timeout_ms=4000) as zk:
                first = asyncio.ensure_future(style.ask(zk.exists, "/a"))
                await asyncio.wait([first])
                error = first.exception()
                if error is not None:
                    assert isinstance(error, ConnectionLoss), error
                    assert error.outcome is Outcome.NOT_APPLIED
                await until(lambda: server.taken >= 2)
                inner = zk._zk if style.is_blocking else zk
                assert why in inner._session.why
            await until(lambda: server.open == 0)

    run(main())


def test_replies_out_of_order_fail_all_that_wait(style: Style) -> None:
    async def main() -> None:
        swapped = answers(lambda xid: reply(xid + 1, STAT), lambda xid: reply(xid - 1, STAT))
        async with BadServer(swapped) as server, style.open(server.hosts, session_timeout_ms=4000) as zk:
            asked = [style.ask(zk.set, "/a", b""), style.ask(zk.exists, "/a")]
            errors = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(error) for error in errors] == [ConnectionLoss, ConnectionLoss]
            outcomes = sorted(error.outcome.value for error in errors)  # type: ignore[union-attr]
            assert outcomes == ["NOT_APPLIED", "UNKNOWN"]

    run(main())


@pytest.mark.parametrize("count", [-1, 1 << 20, 0x7FFFFFFF])
def test_wrong_lengths_within_an_answer_are_found(count: int, style: Style) -> None:
    """Data and names that claim more than there is, or less than nothing."""

    async def main() -> None:
        wrong = struct.pack(">i", count) + b"\0\0\0\1a"
        bad = answers(lambda xid: reply(xid, wrong))
        async with BadServer(bad) as server, style.open(server.hosts, session_timeout_ms=4000) as zk:
            with pytest.raises(ConnectionLoss, match="cannot be read"):
                await style.ask(zk.get, "/")
            if count == -1:
                # That is an empty vector, on the wire.
                assert await style.ask(zk.children, "/") == []
            else:
                with pytest.raises(ConnectionLoss, match="names in"):
                    await style.ask(zk.children, "/")

    run(main())


def test_a_server_that_closes_after_each_packet_is_not_stormed() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frame(reader)
        writer.write(HELLO)
        await writer.drain()

    async def main() -> None:
        async with BadServer(once) as server:
            began = time.monotonic()
            async with corral.connect(server.hosts, session_timeout_ms=4000):
                await until(lambda: server.taken == 5)
            # Halves of 100, 200 and 400 ms, at least.
            assert time.monotonic() - began >= 0.35

    run(main())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "'' is no server"),
        (",", "'' is no server"),
        ("a:2181,,b", "'' is no server"),
        ("a:port", "'a:port' is no server"),
        ("a:99999", "port 99999"),
        ("a:0", "port 0"),
        ("::1:2181", "'::1:2181' is no server"),
        ("[::1", r"'\[::1' is no server"),
        ("a b:1", "'a b:1' is no server"),
        ("a..b:1", r"'a\.\.b' can be no server's name"),
        (f"a:1,{'x' * 64}:1", "x' can be no server's name"),
        ("a:1//x", "empty component"),
        ("a:1/x/../y", "relative component"),
        ("/only/chroot", "'' is no server"),
        (None, "None"),
        (7, "7"),
        (["a:1"], "a:1"),
    ],
)
@pytest.mark.parametrize("make", [corral.connect, corral.Client])
def test_malformed_connect_strings_are_refused_by_value(make: Any, text: Any, why: str) -> None:
    with pytest.raises(BadConnectString, match=why):
        make(text)


def test_an_event_right_behind_the_answer_about_a_watch_is_remembered() -> None:
    """Whether the znode was there decides on what is told when it is not there after a reconnect."""
    created = WatcherEvent(EventType.CREATED, 3, b"/a")

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frame(reader)
        writer.write(HELLO)
        if server.taken == 1:
            await frame(reader)
            await frame(reader)
            event = encode(created)
            writer.write(reply(1, b"") + refusal(2, NoNode.code) + reply(-1, event))
            await writer.drain()
            return
        # Watches are set, and a look is taken.
        await frame(reader)
        await frame(reader)
        writer.write(refusal(3, NoNode.code))
        await reader.read()

    server = BadServer(behave)
    events: list[WatchEvent] = []

    async def main() -> None:
        async with server, corral.connect(server.hosts, session_timeout_ms=4000) as zk:
            await zk.add_watch("/a", events.append)
            await until(lambda: len(events) == 2)

    run(main())
    assert [event.type for event in events] == [EventType.CREATED, EventType.DELETED]


def test_every_server_behind_one_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a headless service: the system gives all addresses of a name, and always in the same order."""

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> None:
        with EmbeddedServer() as server:
            first = await asyncio.start_server(hangs_up, "127.0.0.2", server.port)

            async def look_up(*args: Any, **kwargs: Any) -> list[Any]:
                here = [("127.0.0.2", server.port), ("127.0.0.1", server.port)]
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in here]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
            async with corral.connect(f"zookeeper.test:{server.port}", seed=2) as zk:
                assert await zk.exists("/") is not None
            first.close()

    run(main())


def test_a_server_that_grants_much_less_than_was_asked_for_gets_its_heartbeats(style: Style) -> None:
    """The timer was set for the hello, by the timeout asked for, and is to be set anew by the one granted."""
    xids: list[int] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frame(reader)
        writer.write(HELLO)
        while True:
            xids.append(struct.unpack_from(">i", await frame(reader))[0])
            writer.write(struct.pack(">iiqi", 16, xids[-1], 1, 0))

    async def main() -> None:
        async with BadServer(behave) as server:
            async with style.open(server.hosts, session_timeout_ms=120_000) as zk:
                assert zk.timeout_ms == 4000
                await until(lambda: xids[:1] == [-2])
                assert zk.session_id == 0x1234
            await until(lambda: server.open == 0)

    run(main())
