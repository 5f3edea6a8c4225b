"""What a command of the shell works with: the client, the way out for results, and what lasts between commands."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from corral.base.ids import zxid_hex
from corral.base.records import record
from corral.cli.connection import Connection
from corral.cli.failures import NotConnected
from corral.cli.shell.words import Args
from corral.client.aio import AsyncClient
from corral.client.values import EventType, State, WatchEvent

HISTORY_MAX: Final = 500
EVENT_NAMES: Final = {
    EventType.NONE: "None",
    EventType.CREATED: "NodeCreated",
    EventType.DELETED: "NodeDeleted",
    EventType.CHANGED: "NodeDataChanged",
    EventType.CHILD: "NodeChildrenChanged",
}


class Context:
    """One shell's state.

    out: takes each piece of output. is_json: whether it is JSON, one value a line. is_terminal: whether a terminal
    gets it. connection: the servers and options that `connect` without an argument uses. prints_watches: whether
    events are shown.
    """

    def __init__(
        self, connection: Connection, out: Callable[[str], None], *, is_json: bool = False, is_terminal: bool = False
    ) -> None:
        self.connection = connection
        self.is_json = is_json
        self.is_terminal = is_terminal
        self.prints_watches = True
        self.history: deque[tuple[int, str]] = deque(maxlen=HISTORY_MAX)
        self.number = 0
        self._out = out
        self._zk: AsyncClient | None = None

    @property
    def zk(self) -> AsyncClient:
        """The client. Raises NotConnected."""
        if self._zk is None:
            raise NotConnected("not connected; say: connect HOST:PORT")
        return self._zk

    @property
    def state(self) -> State:
        """How the client stands, CLOSED if there is none."""
        return State.CLOSED if self._zk is None else self._zk.state

    async def connect(self, servers: str | None = None) -> None:
        """Connect, in place of an earlier connection. Raises what a connection fails with."""
        connection = self.connection if servers is None else self.connection.at(servers)
        await self.close()
        self._zk = await connection.open()
        self.connection = connection

    async def close(self) -> None:
        """End the session, if there is one."""
        client, self._zk = self._zk, None
        if client is not None:
            await client.close()

    def emit(self, text: str, data: Any) -> None:
        """Give out a result: `text` for people, `data` as JSON."""
        self._out(json.dumps(data, ensure_ascii=False) if self.is_json else text)

    def on_event(self, event: WatchEvent) -> None:
        """Show what a watch saw."""
        if self.prints_watches:
            kind = EVENT_NAMES[event.type]
            text = f"WATCHER::\nWatchedEvent state:SyncConnected type:{kind} path:{event.path}"
            self.emit(text, event_json(event))

    async def bounded(self, work: Awaitable[None]) -> None:
        """Await `work`, for as long as the connection's timeout allows. Raises TimeoutError."""
        timeout = self.connection.timeout_s
        try:
            async with asyncio.timeout(timeout):
                await work
        except TimeoutError as error:
            if str(error):
                raise
            where = f"the last server was {self._zk.server}" if self._zk is not None else "there is no connection"
            raise TimeoutError(f"no answer within {timeout:g} s; {where}") from error


def event_json(event: WatchEvent) -> dict[str, Any]:
    """Return an event as JSON has it."""
    found = {"event": event.type.name, "path": event.path}
    return found | {"zxid": zxid_hex(event.zxid)} if event.zxid >= 0 else found


Run = Callable[[Context, Args], Awaitable[None]]


@record
class Command:
    """A command. usage: as zkCli has it. flags, valued: its options without and with a value. least, most: how many
    arguments. is_endless: whether it may take as long as it takes, as all with -R may. choices: what its argument may
    be, unless it is a path.
    """

    name: str
    usage: str
    summary: str
    run: Run
    flags: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    is_endless: bool = False
    choices: tuple[str, ...] = ()
