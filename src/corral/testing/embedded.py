"""A whole server in the caller's process: on a thread with its own loop, on a free port, with data of its own.

Its port is kept from the first start to `stop` by a socket that is bound and never listens: nobody else gets the port
while connections are refused or the server restarts, and whoever connects meanwhile is refused.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import uvloop

from corral.base.liblog import LibraryLog
from corral.replica.config import Config
from corral.server.listener import Listener, listen
from corral.server.standalone import Server
from corral.testing import faults
from corral.testing.faults import Fault, FaultError, Pause
from corral.testing.threaddisk import ThreadDisk

HOST = "127.0.0.1"
PATIENCE_S = 30.0
"""How long a control, a start and a stop may take before they are a failure."""

DEFAULTS: dict[str, Any] = {
    "admin_enabled": False,
    "extended_types_enabled": True,
    "force_sync": False,
    "four_lw_whitelist": ("*",),
    "max_client_cnxns": 0,
    "max_session_timeout_ms": 60_000,
    "min_session_timeout_ms": 200,
    "pre_alloc_bytes": 1 << 20,
    "tick_time_ms": 100,
}
"""Where an embedded server's settings differ from a real one's: short sessions, all features, no fsync."""

T = TypeVar("T")


class EmbeddedServer:
    """A server for tests, as a context manager, sync and async.

    data_dir: where its data are and stay; a temporary directory, deleted at the end, unless given. log: what takes its
    log; the logger `corral.server` of Python's logging unless given. settings: fields of
    `corral.replica.config.Config`, over `DEFAULTS`.

    Every method may be called from any thread but the server's, and returns when what it does has taken effect. They
    raise FaultError if the server does not run, is paused, or does not answer in PATIENCE_S; CorralError if a start
    fails.
    """

    def __init__(self, *, data_dir: str | None = None, log: Any = None, **settings: Any) -> None:
        self._given_dir = data_dir
        self._log = LibraryLog("corral.server") if log is None else log
        self._settings = {**DEFAULTS, **settings}
        self._dir = ""
        self._guard: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._server: Server
        self._end: asyncio.Event
        self._pause: Pause | None = None

    # What it is.

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        if self._guard is None:
            raise FaultError("the server was not started, so it has no port")
        port: int = self._guard.getsockname()[1]
        return port

    @property
    def connect_string(self) -> str:
        """What clients take as the address: host:port."""
        return f"{HOST}:{self.port}"

    @property
    def data_dir(self) -> str:
        """The directory of its data, empty before the first start."""
        return self._dir

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since; also true while it is paused."""
        return self._thread is not None

    # Its life.

    def start(self) -> Self:
        """Start; return when it serves."""
        if self._thread is not None:
            raise FaultError(f"the server at {self.connect_string} runs already")
        if self._guard is None:
            self._guard = _guard()
            self._dir = self._given_dir or tempfile.mkdtemp(prefix="corral-")
        try:
            self._launch()
        except BaseException:
            self._clean_up()
            raise
        return self

    def stop(self) -> None:
        """Stop, whatever state it is in, and leave nothing; harmless if it does not run."""
        try:
            self._halt()
        finally:
            self._clean_up()

    def restart(self) -> None:
        """Stop, and start again on the same port and data; sessions last, as with any ZooKeeper."""
        self._running()
        self._halt()
        try:
            self._launch()
        except BaseException:
            self._clean_up()
            raise

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.stop)

    # What can be done to it.

    def session_ids(self) -> list[int]:
        """Return the ids of the sessions that are alive, the oldest first."""
        return self._do(faults.session_ids)

    def expire(self, session_id: int) -> None:
        """End a session as if its time were over: its ephemeral nodes go, and its client learns of it."""
        self._await(faults.expire(self._running(), session_id))

    def drop_connections(self) -> int:
        """Cut every connection, as a network would; return how many. Sessions last, and clients may come back."""
        return self._await(faults.drop_connections(self._running()))

    def refuse_connections(self) -> Fault:
        """Refuse new connections; those that are there stay."""
        self._do(lambda server: server.listener.close())
        return Fault(self._if_running(self.allow_connections))

    def allow_connections(self) -> None:
        """Take new connections again."""
        self._do(_listen)

    def stall_disk(self) -> Fault:
        """Let writes wait as on a disk that does not answer; reads and heartbeats go on."""
        self._do(lambda server: faults.disk_of(server).stall())
        return Fault(self._if_running(self.release_disk))

    def release_disk(self) -> None:
        """Let the disk go on with what waits."""
        self._do(lambda server: faults.disk_of(server).release())

    def pause(self) -> Fault:
        """Let the server do nothing at all, as one that was stopped by SIGSTOP. Time goes on meanwhile."""
        self._running()
        if self._pause is None:
            pause = Pause()
            self._loop.call_soon_threadsafe(pause.hold)
            if not pause.has_begun.wait(PATIENCE_S):
                pause.end()
                raise FaultError(f"the server did not come to a stop within {PATIENCE_S} s")
            self._pause = pause
        return Fault(self.resume)

    def resume(self) -> None:
        """Let a paused server go on; harmless if it is not paused."""
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.end()

    # From the caller's thread to the server's.

    def _running(self) -> Server:
        if self._thread is None:
            raise FaultError("the server does not run")
        return self._server

    def _if_running(self, do: Callable[[], None]) -> Callable[[], None]:
        """Make the end of a fault, which a stop of the server has ended as well."""
        return lambda: do() if self._thread is not None else None

    def _do(self, act: Callable[[Server], T]) -> T:
        server = self._running()

        async def run() -> T:
            return act(server)

        return self._await(run())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        if self._pause is not None:
            work.close()
            raise FaultError("the server is paused and can do nothing: resume it first")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(PATIENCE_S)
        except TimeoutError:
            future.cancel()
            raise FaultError(f"the server did not do it within {PATIENCE_S} s") from None

    def _launch(self) -> None:
        settings = {**self._settings, "client_port": self.port, "client_port_address": HOST, "data_dir": self._dir}
        ready: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(Config(**settings), ready), name="corral-server", daemon=True)
        thread.start()
        try:
            ready.result(PATIENCE_S)
        except TimeoutError:
            raise FaultError(f"the server did not start within {PATIENCE_S} s") from None
        except BaseException:
            thread.join(PATIENCE_S)
            raise
        self._thread = thread

    def _halt(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.resume()
        self._loop.call_soon_threadsafe(self._end.set)
        thread.join(PATIENCE_S)
        if thread.is_alive():
            raise FaultError(f"the server at {self.connect_string} did not stop within {PATIENCE_S} s")

    def _clean_up(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()
            if self._given_dir is None:
                shutil.rmtree(self._dir, ignore_errors=True)

    # On the server's thread.

    def _run(self, config: Config, ready: Future[None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(config, ready))

    async def _serve(self, config: Config, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._server = Server(config, self._log, make_disk=ThreadDisk)
        try:
            await self._server.start()
        except BaseException as error:  # noqa: BLE001  # Whatever it was, it is raised where the start was asked for.
            ready.set_exception(error)
            return
        ready.set_result(None)
        await self._end.wait()
        self._server.listener.close()
        # A client that does not read must not hold up the end.
        await faults.drop_connections(self._server)
        await self._server.stop()


def _guard() -> socket.socket:
    """Find a free port, and keep it."""
    guard = socket.socket()
    guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    guard.bind((HOST, 0))
    return guard


def _listen(server: Server) -> None:
    if not server.listener.is_open:
        config = server.config
        sock = listen(config.client_port_address, config.client_port, config.client_port_listen_backlog)
        server.listener = server.node.listener = Listener(server.node, sock)
