"""What lies between a session's core and its user: links, portals and hand-overs; no socket."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from corral.client.aio import AsyncClient
from corral.client.effects import Connect
from corral.client.errors import ClientClosed, ConnectionLoss, RequestTimeout
from corral.client.hosts import Host, HostRound
from corral.client.portal import Box, Portal
from corral.client.session import Session
from corral.client.streams import EventStream
from corral.client.transport import Link, Transport


class FakeSocket:
    """What asyncio hands to a protocol. unsent: bytes that the peer has not taken."""

    def __init__(self, unsent: int = 0) -> None:
        self.unsent = unsent
        self.done: list[str] = []

    def get_extra_info(self, name: str) -> Any:
        return None

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes) -> None:
        self.done.append("write")

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


def transport() -> Transport:
    session = Session(HostRound((Host("s", 2181),), random.Random(1)), 9000)
    session.start(0)
    session.effects.clear()
    return Transport(session, session.effects.clear, clock=lambda: 1)


def test_the_late_end_of_a_link_that_was_given_up_does_not_touch_the_next_one() -> None:
    """Under TLS a link's end comes after its closing handshake, when another may long be in use."""

    async def main() -> None:
        shell = transport()
        old, new = Link(shell), Link(shell)
        old.connection_made(FakeSocket())
        shell.disconnect()
        shell.session.closed("the test says so", 1)
        shell.session.effects.clear()

        new.connection_made(FakeSocket())
        old.data_received(b"HTTP/1.1 400")
        old.connection_lost(None)

        assert shell.session._is_open
        assert not any(isinstance(effect, Connect) for effect in shell.session.effects)
        shell.stop()

    asyncio.run(main())


@pytest.mark.parametrize(("unsent", "how"), [(0, "close"), (7, "abort")])
def test_a_link_is_given_up_at_once_also_if_its_peer_does_not_read(unsent: int, how: str) -> None:
    async def main() -> None:
        shell = transport()
        sock = FakeSocket(unsent)
        Link(shell).connection_made(sock)
        shell.disconnect()
        assert sock.done == [how]
        shell.stop()

    asyncio.run(main())


def test_a_hello_that_nobody_answers_is_given_up_in_time_also_by_who_has_a_session_to_save() -> None:
    """A timer for the end of the session is set already; the next server would be asked too late."""

    async def main() -> None:
        now = 100_000
        session = Session(HostRound((Host("hangs", 2181), Host("serves", 2181)), random.Random(1)), 9000)
        shell = Transport(session, session.effects.clear, clock=lambda: now)
        session.start(now)
        session.id = 7
        shell.keep_time()
        assert shell._timer_at == now + 9000

        now += 2000
        Link(shell).connection_made(FakeSocket())

        assert shell._timer_at == now + 3000
        shell.stop()

    asyncio.run(main())


def test_a_caller_that_gives_up_takes_its_request_back() -> None:
    """A write that waits for a connection must not happen minutes after its caller was told of a timeout."""
    portal = Portal("test")
    taken_back: list[bool] = []

    def submit() -> Any:
        box = portal.sink()
        box.add_done_callback(lambda done: taken_back.append(done.cancelled()))
        return box

    with pytest.raises(RequestTimeout, match=r"no answer within 0\.01 s"):
        portal.call(0.01, submit)
    portal.call(5, lambda: None)

    assert taken_back == [True]
    portal.stop()


def test_a_portal_that_was_stopped_answers_everybody() -> None:
    portal = Portal("test")
    portal.stop()
    for _ in range(2):
        with pytest.raises(ClientClosed):
            portal.call(None, lambda: None)
    portal.stop()


def test_a_portal_ends_what_runs_on_its_loop() -> None:
    portal = Portal("test")
    ends: list[str] = []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("ended")

    async def begins() -> None:
        task = asyncio.get_running_loop().create_task(works())
        tasks.append(task)
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    portal.call(5, begins)
    portal.stop()
    assert ends == ["ended"]
    assert tasks[0].cancelled()


def test_who_waits_for_work_that_a_stop_ends_is_told() -> None:
    """As ClientClosed: a bare CancelledError would pass by whoever handles errors."""
    portal = Portal("test")
    has_begun = threading.Event()

    async def wait() -> None:
        has_begun.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(portal.call, None, wait)
        assert has_begun.wait(10.0)
        portal.stop()

        with pytest.raises(ClientClosed):
            waiting.result(10.0)


def test_the_loops_own_thread_cannot_wait_for_it() -> None:
    portal = Portal("test")
    with pytest.raises(RuntimeError, match="own thread cannot wait"):
        portal.call(5, lambda: portal.call(None, lambda: 1))
    portal.stop()


def test_a_listener_is_not_kept_once_it_cannot_be_told_any_more() -> None:
    """A loop that reads with a new function as its watch each time would keep them all."""
    from corral.client.blocking_base import Listeners

    listeners = Listeners(None)

    def listener(event: object) -> None: ...

    assert listeners.wrap(listener) == listeners.wrap(listener)
    assert len({listeners.wrap(listener), listeners.wrap(listener)}) == 1
    gone = weakref.ref(listener)
    del listener
    gc.collect()
    assert gone() is None
    listeners.stop()


def test_a_stream_that_could_not_begin_begins_when_it_is_asked_again() -> None:
    class Client:
        failures = 1
        watches = 0

        async def add_watch(self, path: str, listener: Any, *, recursive: bool) -> None:
            if self.failures:
                self.failures -= 1
                raise ConnectionLoss("the test says so")
            self.watches += 1

        def on_state(self, listener: Any) -> Any:
            return lambda: None

    async def main() -> None:
        client = Client()
        stream = EventStream(client, "/a", False)  # type: ignore[arg-type]  # The little of one that a stream uses.
        with pytest.raises(ConnectionLoss):
            await stream.begin()
        await stream.begin()
        assert client.watches == 1

    asyncio.run(main())


def test_a_box_tells_its_observers_what_a_future_would() -> None:
    """Metrics of a blocking client hang on it."""
    told: list[tuple[bool, BaseException | None]] = []
    error = ConnectionLoss("the test says so")
    done, failed, abandoned = Box(), Box(), Box()
    for box in (done, failed, abandoned):
        box.add_done_callback(lambda box: told.append((box.cancelled(), box.exception())))

    done.set_result(1)
    failed.set_exception(error)
    abandoned.abandon()
    for box in (done, failed, abandoned):
        box.withdraw()

    assert told == [(False, None), (False, error), (True, None)]
    assert done.result() == 1


def test_a_connection_that_is_made_when_it_was_given_up_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop tells of it where the client is closed between the system's word and the loop's."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Link] = loop.create_future()

        async def connect(make: Any, *_: object, **__: object) -> None:
            made.set_result(make())
            await loop.create_future()

        monkeypatch.setattr(loop, "create_connection", connect)
        shell = transport()
        shell.connect(Connect(Host("127.0.0.1", 2181), 0, 60_000))
        link = await made
        shell.disconnect()

        sock = FakeSocket()
        link.connection_made(sock)
        link.connection_lost(None)

        assert sock.done == ["abort"]
        assert not shell.session._is_open
        shell.stop()

    asyncio.run(main())


class DeepTree(AsyncClient):
    """Answers as a server with one branch of `depth` znodes; `deleted`: in which order they went."""

    def __init__(self, depth: int) -> None:
        super().__init__("127.0.0.1:1")
        self.depth = depth
        self.deleted: list[int] = []

    async def children(self, path: str, watch: object = None) -> list[str]:
        return ["a"] * (path.count("/") < self.depth)

    async def delete(self, path: str, version: int = -1) -> None:
        self.deleted.append(path.count("/"))


def test_a_tree_deeper_than_the_stack_is_deleted() -> None:
    async def main() -> None:
        depth = 2 * sys.getrecursionlimit()
        zk = DeepTree(depth)

        await zk.delete_tree("/a")

        assert zk.deleted == [*range(depth, 0, -1)]

    asyncio.run(main())
