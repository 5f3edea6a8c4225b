"""The client between servers without a quorum and servers with one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.badserver import BadServer
from tests.support.clients import Style
from tests.support.loops import run, until
from tests.support.servers import Process, at_apache, free_port, need_apache

import corral
from corral.base.errors import NotReadOnly
from corral.client import tls
from corral.client.values import EventType, State, WatchEvent


class Scripted:
    """A server's behaviour. quorum: whether it has one; None: it serves nobody.

    sessions: the ids that it was asked for; asked: how often it was asked for its quorum. is_silent: it does not answer
    to that.
    """

    def __init__(self, quorum: bool | None) -> None:
        self.quorum = quorum
        self.is_silent = False
        self.sessions: list[int] = []
        self.asked = 0

    async def behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(4)
        if head == b"isro":
            self.asked += 1
            if self.is_silent:
                await reader.read()
            writer.write({True: b"rw", False: b"ro", None: b"null"}[self.quorum])
            await writer.drain()
        elif self.quorum is not None:
            hello = await reader.readexactly(int.from_bytes(head, "big"))
            self.sessions.append(struct.unpack_from(">q", hello, 16)[0])
            session = 0x100 * len(self.sessions) + self.quorum
            writer.write(struct.pack(">iiiqi", 37, 0, 4000, session, 16) + bytes(16) + bytes([not self.quorum]))
            await reader.read()


@contextmanager
def behind(is_secure: bool, directory: Path, *servers: BadServer) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the connect string of servers, behind TLS if wanted, and a client's options for it."""
    if not is_secure:
        yield ",".join(server.hosts for server in servers), {}
        return
    pytest.importorskip("cryptography")
    from tests.support.certificates import Authority
    from tests.support.tlsproxy import TlsProxy

    authority = Authority(directory)
    own = authority.issue("server", "localhost")
    with ExitStack() as stack:
        ports = [int(server.hosts.rpartition(":")[2]) for server in servers]
        proxies = [stack.enter_context(TlsProxy(port, own)) for port in ports]
        hosts = ",".join(f"localhost:{proxy.port}" for proxy in proxies)
        yield hosts, {"ssl_context": tls.context(ca=authority.cert)}


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "tls"])
def test_a_client_without_a_quorum_goes_where_one_is(is_secure: bool, tmp_path: Path, style: Style) -> None:
    async def main() -> None:
        lonely, other = Scripted(False), Scripted(None)
        async with BadServer(lonely.behave) as first, BadServer(other.behave) as second:
            with behind(is_secure, tmp_path, first, second) as (hosts, options):
                # By so long a timeout, one asked for, nobody would be asked in time.
                async with style.open(hosts, read_only=True, session_timeout_ms=120_000, **options) as zk:
                    assert zk.state is State.READ_ONLY
                    await until(lambda: other.asked >= 1 and lonely.asked >= 1)
                    assert zk.state is State.READ_ONLY

                    other.quorum = True
                    await style.ask(zk.wait_for, State.CONNECTED, timeout=10.0)

                    assert zk.session_id == 0x101
                    assert set(lonely.sessions + other.sessions) == {0}

    run(main())


def test_a_question_under_way_ends_with_the_client(style: Style) -> None:
    async def main() -> None:
        lonely = Scripted(False)
        lonely.is_silent = True
        async with BadServer(lonely.behave) as server:
            async with style.open(server.hosts, read_only=True, session_timeout_ms=4000) as zk:
                assert zk.state is State.READ_ONLY
                await until(lambda: lonely.asked == 1)
                tasks = len(asyncio.all_tasks())
            await until(lambda: server.open == 0)
            assert len(asyncio.all_tasks()) < tasks

    run(main())


@at_apache
def test_apaches_ensemble_is_found_from_a_server_that_never_sees_it(tmp_path: Path) -> None:
    need_apache()
    elections = [free_port() for _ in range(10)]

    def server(number: int, known: list[int]) -> Process:
        """Return one of three servers. known: the ports of all, two each, as this one believes them to be."""
        members = {f"server.{each + 1}": f"127.0.0.1:{known[2 * each]}:{known[2 * each + 1]}" for each in range(3)}
        keys = {"initLimit": "10", "syncLimit": "5", "tickTime": "500", "localSessionsEnabled": "true", **members}
        made = Process("apache", tmp_path / str(number), **{"readonlymode.enabled": "true", **keys})
        (made.dir / "data" / "myid").write_text(str(number))
        return made

    async def main() -> None:
        # The third looks for the others where nobody is.
        one, two = server(1, elections[:6]), server(2, elections[:6])
        lonely = server(3, [*elections[6:], *elections[4:6]])
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (one, two, lonely))
        with lonely, ExitStack() as stack:
            async with corral.connect(hosts, read_only=True, connect_timeout=60.0) as zk:
                assert zk.state is State.READ_ONLY
                alone = zk.session_id
                with pytest.raises(NotReadOnly):
                    await zk.create("/refused")
                events: list[WatchEvent] = []
                await zk.exists("/made", watch=events.append)
                two.launch()
                stack.callback(two.stop)
                with one:
                    await zk.wait_for(State.CONNECTED, timeout=90.0)
                    assert zk.session_id != alone
                    await zk.create("/made")
                    await until(lambda: [event.type for event in events] == [EventType.CREATED])

    run(main(), timeout=150.0)
