"""The client when its connection, its server or its caller goes away: what it keeps, what it tells, what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop
from tests.support.clients import Style
from tests.support.loops import expire, run, until
from tests.support.proxy import Proxy
from tests.support.servers import Process, word

import corral
from corral.base.errors import Outcome
from corral.client import retry
from corral.client.errors import ClientClosed, ConnectionLoss, RequestTimeout, SessionLost
from corral.client.transport import now_ms
from corral.client.values import EventType, State, WatchEvent
from corral.wire import opcodes

CREATED, DELETED, CHANGED, CHILD = EventType.CREATED, EventType.DELETED, EventType.CHANGED, EventType.CHILD
WATCHES = 30_000
LONG = 120


def told(events: list[WatchEvent]) -> list[tuple[EventType, str]]:
    """Return events without their zxids, which older servers do not tell."""
    return [(event.type, event.path) for event in events]


def debris() -> tuple[int, int, int]:
    """Count the clients' threads, this process's open files, and the tasks of the running loop."""
    # The first loop of uvloop in a process opens what all of them use.
    uvloop.new_event_loop().close()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("corral-")]
    return len(threads), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())


# A connection that is cut.


def test_a_cut_keeps_the_session_and_tells_how_it_stands(hosts: str, path: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts, session_timeout_ms=5000) as zk:
            states: list[State] = []
            session = zk.session_id
            await zk.create(path, ephemeral=True)
            zk.on_state(states.append)
            proxy.cut()
            await until(lambda: states[-1:] == [State.CONNECTED])

            assert states == [State.SUSPENDED, State.CONNECTED]
            assert zk.session_id == session
            stat = await zk.exists(path)
            assert stat is not None
            assert stat.ephemeral_owner == session

    run(main())


@pytest.mark.parametrize("is_done", [True, False])
def test_a_write_whose_answer_is_lost_has_an_unknown_outcome(
    hosts: str, path: str, style: Style, is_done: bool
) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, style.open(proxy.hosts, session_timeout_ms=5000) as zk:
            (proxy.lose_reply if is_done else proxy.lose_request)(opcodes.CREATE)
            with pytest.raises(ConnectionLoss, match="before the answer") as caught:
                await style.ask(zk.create, path)
            assert caught.value.outcome is Outcome.UNKNOWN
            assert (await style.ask(zk.exists, path) is not None) == is_done
            assert proxy.requests[opcodes.CREATE] == is_done

    run(main())


def test_what_failed_on_the_way_is_asked_again_if_that_can_be_done_twice(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, style.open(proxy.hosts, session_timeout_ms=5000) as zk:
            policy = retry.times(3, delay_s=0.01)
            proxy.lose_reply(opcodes.GET_DATA)
            data, _ = await style.ask(zk.retry, policy, lambda: zk.get("/"))
            assert data == b""

            proxy.lose_reply(opcodes.CREATE)
            with pytest.raises(ConnectionLoss):
                await style.ask(zk.retry, policy, lambda: zk.create(path))
            proxy.lose_reply(opcodes.SET_DATA)
            stat = await style.ask(zk.retry, policy, lambda: zk.set(path, b"1"), is_idempotent=True)
            assert stat.version == 2
            assert zk.server == proxy.hosts

    run(main())


@pytest.mark.parametrize("is_tried", [True, False])
def test_an_attempt_waits_for_a_server_no_longer_than_there_is_time_for_all(
    hosts: str, path: str, style: Style, is_tried: bool
) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, style.open(proxy.hosts, session_timeout_ms=20_000) as zk:
            await style.ask(zk.create, path)
            if is_tried:
                proxy.lose_reply(opcodes.SET_DATA)
                proxy.refuse()
            else:
                proxy.shut()
                await until(lambda: zk.state is State.SUSPENDED)
            tries = []

            def ask() -> object:
                tries.append(1)
                return zk.set(path, b"1")

            asked = style.ask(zk.retry, retry.until(0.3), ask, is_idempotent=True)
            with pytest.raises(RequestTimeout, match=r"no server to ask within the 0.3 s") as caught:
                await asyncio.wait_for(asked, 5)
            assert caught.value.outcome is (Outcome.UNKNOWN if is_tried else Outcome.NOT_APPLIED)
            assert len(tries) == is_tried

            proxy.open()
            stat = await style.ask(zk.retry, retry.until(10.0), ask, is_idempotent=True)
            assert stat.version == 1 + is_tried

    run(main())


def test_a_read_whose_answer_is_lost_changed_nothing(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, style.open(proxy.hosts, session_timeout_ms=5000) as zk:
            proxy.lose_reply(opcodes.GET_DATA)
            with pytest.raises(ConnectionLoss) as caught:
                await style.ask(zk.get, "/")
            assert caught.value.outcome is Outcome.NOT_APPLIED

    run(main())


def test_one_shot_watches_are_told_what_changed_meanwhile(hosts: str, path: str) -> None:
    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts, session_timeout_ms=10_000) as zk,
            corral.connect(hosts) as other,
        ):
            events: list[WatchEvent] = []
            for name in ("changed", "deleted", "grown", "left"):
                await zk.create(f"{path}-{name}")
                await zk.get(f"{path}-{name}", events.append)
            await zk.children(f"{path}-grown", events.append)
            await zk.exists(f"{path}-made", events.append)
            proxy.shut()
            await other.set(f"{path}-changed", b"1")
            await other.delete(f"{path}-deleted")
            await other.create(f"{path}-grown/a")
            await other.create(f"{path}-made")
            proxy.open()

            await until(lambda: len(events) == 4)
            assert sorted(told(events)) == [
                (CREATED, f"{path}-made"),
                (DELETED, f"{path}-deleted"),
                (CHANGED, f"{path}-changed"),
                (CHILD, f"{path}-grown"),
            ]
            await other.set(f"{path}-left", b"1")
            await until(lambda: len(events) == 5)

    run(main())


def test_a_watch_that_stays_is_told_what_changed_meanwhile(hosts: str, path: str) -> None:
    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts, session_timeout_ms=10_000) as zk,
            corral.connect(hosts) as other,
        ):
            seen: dict[str, list[WatchEvent]] = {}
            for name in ("changed", "deleted", "again", "grown", "made", "left"):
                if name != "made":
                    await zk.create(f"{path}-{name}")
                await zk.add_watch(f"{path}-{name}", seen.setdefault(name, []).append)
            proxy.shut()
            await other.set(f"{path}-changed", b"1")
            await other.delete(f"{path}-deleted")
            await other.delete(f"{path}-again")
            await other.create(f"{path}-again")
            await other.create(f"{path}-grown/a")
            await other.create(f"{path}-made")
            proxy.open()

            await until(lambda: all(events for name, events in seen.items() if name != "left"))
            await until(lambda: len(seen["again"]) == 2)
            # What changes while it is being looked at is told twice.
            await until(lambda: not zk._tasks)
            await other.set(f"{path}-left", b"1")
            await until(lambda: bool(seen["left"]))
            assert {name: [event.type for event in events] for name, events in seen.items()} == {
                "changed": [CHANGED],
                "deleted": [DELETED],
                "again": [DELETED, CREATED],
                "grown": [CHILD],
                "made": [CREATED],
                "left": [CHANGED],
            }

    run(main())


def test_a_look_that_is_cut_short_is_taken_again_from_where_it_began(hosts: str, path: str) -> None:
    """Also if something else was answered meanwhile, which shows a later zxid than that of what was missed."""

    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts, session_timeout_ms=10_000) as zk,
            corral.connect(hosts) as other,
        ):
            events: list[WatchEvent] = []
            await zk.create(path)
            await zk.add_watch(path, events.append)
            proxy.shut()
            await other.set(path, b"1")
            proxy.lose_reply(opcodes.GET_CHILDREN2)
            await zk.wait_for(State.SUSPENDED, timeout=5)
            answered = asyncio.ensure_future(zk.exists(path))
            proxy.open()
            await answered
            await until(lambda: bool(events))
            assert told(events) == [(CHANGED, path)]
            assert zk._session.connections >= 3

    run(main())


def test_deletions_below_a_recursive_watch_show_as_child_of_their_parent(hosts: str, path: str) -> None:
    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts, session_timeout_ms=10_000) as zk,
            corral.connect(hosts) as other,
        ):
            events: list[WatchEvent] = []
            for name in ("", "/a", "/a/gone", "/b", "/c"):
                await zk.create(f"{path}{name}")
            await zk.add_watch(path, events.append, recursive=True)
            proxy.shut()
            await other.delete(f"{path}/a/gone")
            await other.set(f"{path}/b", b"1")
            await other.create(f"{path}/b/new")
            proxy.open()

            await until(lambda: len(events) == 4)
            assert sorted(told(events)) == [
                (CREATED, f"{path}/b/new"),
                (CHANGED, f"{path}/b"),
                (CHILD, f"{path}/a"),
                (CHILD, f"{path}/b"),
            ]

    run(main())


def test_thirty_thousand_watches_with_long_names_come_back(server: Process, hosts: str, path: str) -> None:
    """Together their names are more than three times what Apache takes in one packet."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts, session_timeout_ms=20_000) as zk:
            fired: list[WatchEvent] = []
            session = zk.session_id
            names = [f"{path}-{number:06d}-".ljust(LONG, "x") for number in range(WATCHES)]
            for at in range(0, WATCHES, 1000):
                await asyncio.gather(*(zk.exists(name, fired.append) for name in names[at : at + 1000]))
            states: list[State] = []
            zk.on_state(states.append)
            began = time.monotonic()
            proxy.cut()
            await until(lambda: states[-1:] == [State.CONNECTED])
            # Answered behind all of the re-registration.
            await zk.exists(names[0])
            took = time.monotonic() - began

            assert proxy.requests[opcodes.SET_WATCHES] >= WATCHES * LONG // (128 << 10)
            assert states == [State.SUSPENDED, State.CONNECTED]
            assert zk.session_id == session
            watched = await asyncio.to_thread(word, server.port, b"wchs")
            assert int(watched.split(b"Total watches:")[1]) >= WATCHES
            await zk.create(names[-1])
            await until(lambda: bool(fired))
            assert told(fired) == [(CREATED, names[-1])]
            # The bench holds the second; through a proxy in this very process it is a little more.
            assert took < 5

    run(main(), timeout=60)


def test_after_an_expiry_comes_a_new_session_and_what_stays_goes_on(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            states: list[State] = []
            once: list[WatchEvent] = []
            stays: list[WatchEvent] = []
            old = zk.session_id
            await zk.create(path, ephemeral=True)
            await zk.get(path, once.append)
            await zk.add_watch(path, stays.append)
            zk.on_state(states.append)
            await expire(zk, hosts)

            assert State.LOST in states
            assert states[-1] is State.CONNECTED
            assert zk.session_id != old
            await until(lambda: bool(stays))
            assert stays[0].type is DELETED
            # Deleted while it was there, or gone with the session: either way it is told, once.
            assert [event.type in (EventType.NONE, DELETED) for event in once] == [True]
            await zk.create(path)
            await until(lambda: stays[-1].type is CREATED)

    run(main())


def test_the_loss_of_a_one_shot_watch_says_nothing_of_the_znode(hosts: str, path: str) -> None:
    """A watch that stays would be told that what never was there is gone."""

    async def main() -> None:
        events: list[WatchEvent] = []
        async with corral.connect(hosts) as zk:
            await zk.add_watch(path, events.append)
            await zk.exists(path, watch=lambda event: None)
            await expire(zk, hosts)
            await zk.create(path)
            await until(lambda: len(events) >= 1)
            assert told(events) == [(CREATED, path)]

    run(main())


def test_a_session_is_lost_in_its_time_when_nobody_answers(hosts: str, path: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts, session_timeout_ms=600) as zk:
            once: list[WatchEvent] = []
            states: list[State] = []
            zk.on_state(states.append)
            old, timeout = zk.session_id, zk.timeout_ms
            await zk.exists(path, once.append)
            proxy.hold()
            began = time.monotonic()
            waiting = asyncio.ensure_future(zk.set(path, b"1"))
            await until(lambda: State.LOST in states)
            took = time.monotonic() - began

            with pytest.raises((ConnectionLoss, SessionLost)) as caught:
                await waiting
            assert caught.value.outcome is Outcome.UNKNOWN
            assert states[:2] == [State.SUSPENDED, State.LOST]
            assert zk.certain_for() == 0
            assert took < timeout / 1000 + 1
            assert told(once) == [(EventType.NONE, path)]
            proxy.flow()
            await zk.wait_for(State.CONNECTED, timeout=10)
            assert zk.session_id != old

    run(main())


def test_after_a_pause_on_the_same_connection_nothing_is_told_twice(hosts: str, path: str) -> None:
    """What happened meanwhile lies unread in the socket; looking for it would tell it a second time."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            events: list[WatchEvent] = []
            await zk.create(path)
            await zk.add_watch(path, events.append)
            proxy.hold()
            await other.set(path, b"1")
            ahead = zk.timeout_ms * 3 // 4
            zk._transport.clock = lambda: now_ms() + ahead
            assert zk.state is State.SUSPENDED
            assert zk.certain_for() == 0
            proxy.flow()
            await zk.wait_for(State.CONNECTED, timeout=5)

            await until(lambda: not zk._tasks)
            await zk.get(path)
            assert told(events) == [(CHANGED, path)]

    run(main())


# Callers that go.


def test_cancelled_requests_leave_nothing(hosts: str, path: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            before = debris()
            proxy.hold()
            asked = [asyncio.ensure_future(zk.get("/", watch=print)) for _ in range(100)]
            asked += [asyncio.ensure_future(zk.create(f"{path}-", sequence=True)) for _ in range(100)]  # type: ignore[arg-type]
            await asyncio.sleep(0)
            for each in asked:
                each.cancel()
            ended = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended)
            proxy.flow()
            await zk.get("/")
            await until(lambda: debris() == before)
            assert not zk._session._in_flight
            assert len(zk._session.watches) == 0

            proxy.shut()
            await zk.wait_for(State.SUSPENDED, timeout=5)
            waiting = [zk.set(path, b"1") for _ in range(100)]
            for one in waiting:
                one.cancel()  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            assert not zk._session._waiting

    run(main())


@pytest.mark.parametrize("catch_up", [True, False])
def test_a_cancelled_watch_is_not_set(hosts: str, path: str, catch_up: bool) -> None:
    """Nobody would end it: a block that was never entered is not left either."""

    async def main() -> None:
        events: list[WatchEvent] = []
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            proxy.hold_replies()
            asked = asyncio.ensure_future(zk.add_watch(path, events.append, catch_up=catch_up))
            await until(lambda: zk._session.last_xid > 0 and not zk._session.output_bytes)
            asked.cancel()
            await asyncio.wait([asked])
            proxy.flow()
            await zk.create(path)
            assert len(zk._session.watches) == 0
            assert events == []
            assert not zk._looks_itself

    run(main())


def test_who_watches_without_a_server_is_not_kept_longer_than_he_waits(hosts: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy:
            zk = corral.Client(proxy.hosts, timeout=0.05, session_timeout_ms=10_000)
            await asyncio.to_thread(zk.start)
            zk._timeout = 5
            events = zk.watch("/")
            await asyncio.to_thread(events.__enter__)
            zk._timeout = 0.05
            proxy.shut()
            await asyncio.to_thread(zk.wait_for, State.SUSPENDED)
            with pytest.raises(RequestTimeout):
                await asyncio.to_thread(zk.watch("/").__enter__)
            with pytest.raises(RequestTimeout):
                await asyncio.to_thread(zk.watch("/").next, 0.05)
            with pytest.raises(RequestTimeout):
                await asyncio.to_thread(zk.watch("/").next)
            await asyncio.to_thread(events.close)
            assert len(zk._zk._session.watches) == 0
            await asyncio.to_thread(zk.close)

    run(main())


def test_a_blocking_caller_that_gives_up_leaves_nothing(hosts: str, path: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy:
            zk = corral.Client(proxy.hosts, timeout=0.05, session_timeout_ms=10_000)
            await asyncio.to_thread(zk.start)
            proxy.shut()
            await asyncio.to_thread(zk.wait_for, State.SUSPENDED)
            with pytest.raises(RequestTimeout, match=r"within 0\.05 s") as caught:
                await asyncio.to_thread(zk.create, path)
            assert caught.value.outcome is Outcome.UNKNOWN
            proxy.open()
            await asyncio.to_thread(zk.wait_for, State.CONNECTED)
            zk._timeout = 5
            assert await asyncio.to_thread(zk.exists, path) is None
            await asyncio.to_thread(zk.close)

    run(main())


def test_clients_that_come_and_go_leave_nothing(hosts: str, style: Style) -> None:
    async def main() -> None:
        async def one() -> None:
            async with style.open(hosts) as zk:
                await style.ask(zk.get, "/", print)
                await style.ask(zk.add_watch, "/", print, recursive=True)

        await one()
        before = debris()
        for _ in range(5):
            await one()
        await until(lambda: debris() <= before)

    run(main())


def test_a_start_that_fails_leaves_nothing_and_says_where_it_was_tried(style: Style) -> None:
    async def main() -> None:
        # Bound, not listening: every connection is refused.
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{sock.getsockname()[1]}"
            before = debris()
            with pytest.raises(RequestTimeout, match=rf"within 0\.3 s.*CONNECTING.*{where}: .*111"):
                async with style.open(where, connect_timeout=0.3):
                    pass
            await until(lambda: debris() <= before)

    run(main())


# Servers that go.


def test_closing_is_bounded_when_the_server_does_not_answer(tmp_path: Path, style: Style) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(20))
        with Process("corral", tmp_path) as server:
            async with style.open(f"127.0.0.1:{server.port}", session_timeout_ms=20_000) as held:
                before = debris()
                zk = (corral.Client if style.is_blocking else corral.AsyncClient)(f"127.0.0.1:{server.port}")
                await style.ask(zk.start)
                server.send_signal(signal.SIGSTOP)
                try:
                    # More than the sockets' buffers take, so that something stays unsent.
                    waiting = [asyncio.ensure_future(style.ask(zk.set, "/", bytes(1_000_000))) for _ in range(12)]
                    await asyncio.sleep(0.05)
                    began = time.monotonic()
                    await style.ask(zk.close, 0.3)
                    assert time.monotonic() - began < 3
                    ended = await asyncio.gather(*waiting, return_exceptions=True)
                    assert {type(each) for each in ended} == {ClientClosed}
                    assert {each.outcome for each in ended} == {Outcome.UNKNOWN}  # type: ignore[union-attr]
                    await until(lambda: debris() <= before)
                finally:
                    server.send_signal(signal.SIGCONT)
                assert await style.ask(held.exists, "/") is not None

    run(main())


FORKS = """
import asyncio, os, sys
import corral
from corral.client.errors import WrongProcess

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr)
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0

def blocking():
    with corral.Client(sys.argv[1]) as zk:
        session = zk.session_id
        def refused():
            try:
                zk.get("/")
            except WrongProcess:
                zk.close()
                return
            raise AssertionError("no WrongProcess")
        child(refused)
        zk.get("/")
        assert zk.session_id == session

async def asynchronous():
    async with corral.connect(sys.argv[1]) as zk:
        session = zk.session_id
        def refused():
            try:
                zk.get("/")
            except WrongProcess:
                close = zk.close()
                try:
                    close.send(None)
                except StopIteration:
                    return
            raise AssertionError("no WrongProcess, or a close that waits")
        child(refused)
        await zk.get("/")
        assert zk.session_id == session

blocking()
asyncio.run(asynchronous())
print("ok")
"""


def test_a_forked_process_cannot_use_the_client_nor_end_its_session(hosts: str) -> None:
    """In a process of its own: forking one that has threads is what is tested, and what a test runner should not do."""
    ran = subprocess.run([sys.executable, "-c", FORKS, hosts], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "ok\n"), ran.stderr
