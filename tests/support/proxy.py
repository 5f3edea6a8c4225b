"""A proxy between a client and a server that loses, holds and counts what passes, frame by frame."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from typing import Self

NOTIFICATION_XID = -1


class Proxy:
    """Passes frames on from 127.0.0.1:`port` to a server; used as `async with Proxy("127.0.0.1:2181") as proxy`.

    hosts: where clients connect to. requests: how many requests of each opcode were passed on. events: how many watch
    events were. lost, answered: how many requests and replies were swallowed, and requests answered here.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._replies_flow = asyncio.Event()
        self._replies_flow.set()
        self._is_open = True
        self._lost_replies: Counter[int] = Counter()
        self._lost_requests: Counter[int] = Counter()
        self._answers: dict[int, list[tuple[int, bytes]]] = {}
        self.requests: Counter[int] = Counter()
        self.events = 0
        self.lost = 0
        self.answered = 0

    @property
    def hosts(self) -> str:
        """The connect string of the proxy."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lose_reply(self, op: int) -> None:
        """Swallow the next reply to a request of a kind, which the server has carried out, and cut."""
        self._lost_replies[op] += 1

    def lose_request(self, op: int) -> None:
        """Swallow the next request of a kind, and cut."""
        self._lost_requests[op] += 1

    def answer(self, op: int, err: int, body: bytes = b"") -> None:
        """Answer the next request of a kind in the server's place, which does not get it."""
        self._answers.setdefault(op, []).append((err, body))

    def cut(self) -> None:
        """Break all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def shut(self) -> None:
        """Break all connections and refuse new ones until `open`."""
        self._is_open = False
        self.cut()

    def refuse(self) -> None:
        """Keep the connections there are, and refuse new ones until `open`."""
        self._is_open = False

    def open(self) -> None:
        """Take connections again."""
        self._is_open = True

    def hold(self) -> None:
        """Let nothing pass, either way, until `flow`."""
        self._flows.clear()

    def hold_replies(self) -> None:
        """Let nothing pass to the clients, until `flow`."""
        self._replies_flow.clear()

    def flow(self) -> None:
        """Let pass what was held."""
        self._flows.set()
        self._replies_flow.set()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._writers) // 2

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self._is_open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        ops: dict[int, int] = {}
        there = asyncio.ensure_future(self._pass_requests(reader, far_writer, writer, ops))
        back = asyncio.ensure_future(self._pass_replies(far_reader, writer, ops))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            for each in (writer, far_writer):
                each.transport.abort()
                self._writers.discard(each)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter,
        ops: dict[int, int],
    ) -> None:  # fmt: skip
        is_hello = True
        while (frame := await self._frame(reader)) is not None:
            if not is_hello:
                xid, op = struct.unpack_from(">ii", frame, 4)
                if self._answers.get(op):
                    err, body = self._answers[op].pop(0)
                    self.answered += 1
                    back.write(struct.pack(">iiqi", 16 + len(body), xid, 0, err) + body)
                    continue
                if self._lost_requests[op]:
                    self._lost_requests[op] -= 1
                    self.lost += 1
                    return
                ops[xid] = op
                self.requests[op] += 1
            is_hello = False
            writer.write(frame)

    async def _pass_replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ops: dict[int, int]
    ) -> None:
        is_hello = True
        while (frame := await self._frame(reader)) is not None:
            if not is_hello:
                (xid,) = struct.unpack_from(">i", frame, 4)
                op = ops.get(xid, 0)
                if xid == NOTIFICATION_XID:
                    self.events += 1
                elif self._lost_replies[op]:
                    self._lost_replies[op] -= 1
                    self.lost += 1
                    return
            is_hello = False
            await self._replies_flow.wait()
            writer.write(frame)

    async def _frame(self, reader: asyncio.StreamReader) -> bytes | None:
        try:
            head = await reader.readexactly(4)
            frame = head + await reader.readexactly(struct.unpack(">i", head)[0])
        except (asyncio.IncompleteReadError, OSError):
            return None
        await self._flows.wait()
        return frame
