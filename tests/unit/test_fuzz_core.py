"""Spoilt packets into the core: it refuses or closes, holds on to nothing, and other clients notice nothing.

FUZZ_PACKETS: how many packets (default 20000). FUZZ_SEED: which ones (default 1).
"""

from __future__ import annotations

import os
import random
import resource

import pytest
from tests.support.core import Client, Core
from tests.support.jute import Op
from tests.support.mutations import REQUESTS, Mutator

from corral.replica.connection import UP
from corral.replica.replica import LARGE_AT_ONCE
from corral.wire import client as records
from corral.wire.data import ACL, OPEN_ACL

PACKETS = int(os.environ.get("FUZZ_PACKETS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
HONEST, HOSTILE = "10.0.0.1", "10.0.0.66"
# No packet here asks for more: the largest nodes that they make have some 5 kB, and a multiRead has two parts.
ANSWER_BYTES_MAX = 1 << 20
LINE_CHARS_MAX = 1000
GROWTH_BYTES_MAX = 300 << 20
# All that is logged. Besides, a client may close its session.
REASONS = {
    "authentication failed",
    "connection closed: its first packet is no ConnectRequest",
    "connection closed: malformed auth packet",
    "connection closed: packet length out of range",
    "connection closed: the client has seen a later zxid than this server has; it must try another server",
    "connection closed: unknown operation",
    "session refused: wrong password",
}


class Witness:
    """The honest client: keeps a node to itself, watches it, and checks every answer and event."""

    def __init__(self, core: Core) -> None:
        self.client = core.dial(HONEST)
        self.client.connect(40_000)
        self.rounds = 0
        own = [ACL(31, "ip", HONEST)]
        assert self.client.create(b"/own", acl=own).err == 0
        assert self.client.create(b"/own/node", b"", acl=own).err == 0
        assert self.client.call(Op.ADD_WATCH, records.AddWatchRequest(b"/own", 1)).err == 0

    def check(self) -> None:
        value = b"%d" % self.rounds
        assert self.client.set(b"/own/node", value, self.rounds).err == 0
        got = self.client.get(b"/own/node")
        assert (got.err, got.as_(records.GetDataResponse).data) == (0, value)
        self.rounds += 1
        events, self.client.events = self.client.events, []
        assert [event[:2] for event in events] == [(3, b"/own/node")]
        assert self.client.conn.state == UP
        assert not self.client.conn.is_closing


class Attacker:
    """Connections that send spoilt packets, in pieces, as a socket would give them."""

    def __init__(self, core: Core, rng: random.Random, sessions: list[int]) -> None:
        self._core = core
        self._rng = rng
        self._mutator = Mutator(rng)
        self._sessions = sessions
        self.sent = 0
        self.ends = 0
        self.last = b""

    def attack(self) -> None:
        """Open a connection, send until it ends or enough is sent, and lose it."""
        client = self._core.dial(HOSTILE)
        if self._rng.random() < 0.15:
            self._send(client, self._mutator.first(self._sessions))
        else:
            client.connect(4000)
            for _ in range(self._rng.randrange(1, 60)):
                self._send(client, self._mutator.request())
                if client.conn.is_closing:
                    self.ends += 1
                    break
        client.close()

    def _send(self, client: Client, packet: bytes) -> None:
        self.last = packet
        self.sent += 1
        conn = client.conn
        before = self._held(client)
        cut = self._rng.randrange(len(packet) + 1) if self._rng.random() < 0.3 else len(packet)
        for piece in (packet[:cut], packet[cut:]):
            if piece:
                client.send_bytes(piece)
            while conn.backlog and conn.state == UP and not conn.is_unread and not conn.is_closing:
                conn.resume(self._core.now)
                self._core.sync()
        answer = sum(map(len, conn.out))
        assert answer <= ANSWER_BYTES_MAX, f"{answer} bytes of answer to {packet!r}"
        assert self._held(client) <= before + len(packet)
        client.frames()

    @staticmethod
    def _held(client: Client) -> int:
        return sum(map(len, client.conn.parts)) + len(client.conn.backlog)


def test_every_request_is_among_the_spoilt_ones() -> None:
    assert {op for op, _ in REQUESTS} == set(Op)


def test_spoilt_packets_harm_nobody() -> None:
    # No snapshots, as nothing here writes them.
    core = Core(extended_types_enabled=True, jute_maxbuffer=1 << 20, snap_count=10**9)
    witness = Witness(core)
    attacker = Attacker(core, random.Random(SEED), [witness.client.conn.session_id, 77])
    before = peak_bytes()
    said: set[str] = set()

    while attacker.sent < PACKETS:
        try:
            attacker.attack()
            witness.check()
            # Some time passes, so that what the attackers leave behind runs out.
            core.work(ms=100)
        except Exception as error:  # noqa: BLE001, as whatever it is, the packet has to be named.
            pytest.fail(f"seed {SEED}, packet {attacker.sent}, {attacker.last[:300]!r}: {error!r}")
        for level, event, data in core.log.lines:
            # A stranger must not be able to fill the disk with its log lines.
            assert len(repr(data)) < LINE_CHARS_MAX, (event, len(repr(data)))
            if level != "info":
                said.add(event)
        # What the core is told to keep would grow for a million packets.
        for kept in (core.log.lines, core.entries, core.effects):
            kept.clear()

    print(f"core: seed {SEED}, {attacker.sent} packets, {attacker.ends} ends, {witness.rounds} rounds of the witness")
    assert attacker.ends > 0
    assert said == REASONS
    assert_nothing_is_left(core, witness)
    assert peak_bytes() - before < GROWTH_BYTES_MAX


def assert_nothing_is_left(core: Core, witness: Witness) -> None:
    """Once the attackers' sessions have expired, the server knows the witness alone."""
    for _ in range(60):
        witness.check()
        core.work(ms=1000)
    replica, own = core.replica, witness.client.conn
    assert list(replica.connections) == [own]
    assert replica.by_address == {HONEST: 1}
    assert list(core.tree.sessions) == [own.session_id]
    assert core.tree.watches.total() == 1
    assert not replica.throttled
    assert not replica.pipeline.outstanding
    # Whatever was set aside for the attackers' long packets is given back: all that there is can be had.
    assert replica.reserve(LARGE_AT_ONCE * replica.setwatches_bytes_max)
    assert all(node.acl is not None for node in core.tree.nodes.values())
    assert core.client().create(b"/after", acl=OPEN_ACL).err == 0


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
