"""The same random operations at both servers, in lock step; every reply and every event must be equal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.compare import Normal
from tests.differential.operations import Generator
from tests.support.servers import Process, need_apache
from tests.support.wireclient import Closed, WireClient

from corral.wire import opcodes

pytestmark = [pytest.mark.differential, pytest.mark.interop]

SESSIONS = 3
OPERATIONS = int(os.environ.get("DIFFERENTIAL_OPS", "2000"))
SEEDS = (1, 2)


class Side:
    """One server and the sessions at it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.normal = Normal()
        self.clients = [self._client() for _ in range(SESSIONS)]

    def _client(self) -> WireClient:
        client = WireClient(self.port)
        self.normal.session(client.session)
        return client

    def play(self, number: int, code: int, body: bytes) -> object:
        """Do one operation; return its reply in normal form, and the events of all sessions."""
        client = self.clients[number]
        try:
            outcome = self.normal.reply(code, client.call(code, body))
        except Closed:
            outcome = "closed"
            client.close()
            self.clients[number] = self._client()
        events = []
        for each in self.clients:
            # A round trip brings in whatever was sent before it.
            each.call(opcodes.EXISTS, b"\0\0\0\1/\0", xid=1_000_000)
            events.append(each.events)
            each.events = []
        return outcome, events

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Process, Process]]:
    need_apache()
    keys = {"reconfigEnabled": "false", "maxSessionTimeout": "60000"}
    with (
        Process("apache", tmp_path / "apache", **keys) as apache,
        Process("corral", tmp_path / "corral", **keys) as mine,
    ):
        yield apache, mine


@pytest.mark.parametrize("seed", SEEDS)
def test_both_answer_alike(both: tuple[Process, Process], seed: int) -> None:
    sides = [Side(process.port) for process in both]
    generator = Generator(seed, SESSIONS)
    history: list[str] = []

    try:
        for step in range(OPERATIONS // len(SEEDS)):
            number, code, body = generator.next()
            history.append(f"step {step}: session {number}, operation {code}, {body!r}")
            theirs, mine = (side.play(number, code, body) for side in sides)
            assert mine == theirs, "\n".join([f"seed {seed}", *history[-8:]])
    finally:
        for side in sides:
            side.close()
