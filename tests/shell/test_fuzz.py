"""Spoilt packets and strangers at a running server: it refuses or closes, and goes on serving others meanwhile.

FUZZ_PACKETS: how many packets the server takes (default 20000): nothing behind one that ends its connection counts.
FUZZ_SEED: which ones (default 1).
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import jute
from tests.support.jute import Op
from tests.support.mutations import Mutator
from tests.support.raw import Closed, RawSession, Wire
from tests.support.servers import Process, word

PACKETS = int(os.environ.get("FUZZ_PACKETS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
HOST = "127.0.0.1"
ANSWER_S = 10.0
GROWTH_BYTES_MAX = 300 << 20


class Witness(threading.Thread):
    """A client that behaves: writes and reads back, and counts; `failure` says what it saw of the others."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.session = RawSession(HOST, port, io_timeout_s=ANSWER_S)
        self.rounds = 0
        self.failure = ""
        self._done = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        except (AssertionError, Closed, OSError) as error:
            self.failure = repr(error)

    def _work(self) -> None:
        # Behind a user of its own, as everyone here comes from one address.
        assert self.session.call(Op.AUTH, jute.auth(b"digest", b"witness:secret")).err == 0
        for path in (b"/own", b"/own/node"):
            assert self.session.call(Op.CREATE, jute.create(path, b"", [(31, b"auth", b"")])).err == 0
        while not self._done.is_set():
            value = b"%d" % self.rounds
            assert self.session.call(Op.SET_DATA, jute.set_data(b"/own/node", value, self.rounds)).err == 0
            reply = self.session.call(Op.GET_DATA, jute.get_data(b"/own/node"))
            assert reply.read(Op.GET_DATA)[0] == value
            self.rounds += 1
            # It leaves the machine to the others between its rounds; nothing waits for this.
            self._done.wait(0.005)

    def finish(self) -> None:
        self._done.set()
        self.join()
        self.session.drop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    with Process("corral", tmp_path, maxSessionTimeout="30000", extendedTypesEnabled="true") as process:
        yield process


def test_spoilt_packets_harm_nobody(server: Process) -> None:
    rng = random.Random(SEED)
    mutator = Mutator(rng)
    witness = Witness(server.port)
    witness.start()
    before = server.resident_bytes()
    sent = taken = 0

    while taken < PACKETS:
        sent += sum(attack(server.port, rng, mutator, witness.session.session_id) for _ in range(50))
        where = f"seed {SEED}, {sent} packets"
        assert not witness.failure, f"{where}: the other client saw {witness.failure}\n{tail(server)}"
        assert server.is_running(), f"{where}: the server ended\n{tail(server)}"
        taken = packets_received(server) - 2 * witness.rounds

    witness.finish()
    grown = server.resident_bytes() - before
    print(f"server: seed {SEED}, {sent} packets sent, {taken} of them taken, {witness.rounds} rounds of the witness, "
          f"{grown >> 20} MiB more memory")  # fmt: skip
    assert not witness.failure
    assert witness.rounds > 0
    assert grown < GROWTH_BYTES_MAX
    with RawSession(HOST, server.port) as after:
        assert after.call(Op.EXISTS, jute.exists(b"/own/node")).err in (0, -102)
    log = server.log_text()
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 2000) :][:6000]
    assert server.stop() == 0, tail(server)


def attack(port: int, rng: random.Random, mutator: Mutator, witness: int) -> int:
    """Open a connection and send packets over it until it breaks or all are sent; return how many."""
    if rng.random() < 0.15:
        wire = Wire(HOST, port)
        send(wire, mutator.first([witness, 77]))
        hang_up(wire.sock, rng)
        wire.drop()
        return 1
    with RawSession(HOST, port, 4_000) as session:
        packets = [mutator.request() for _ in range(rng.randrange(1, 60))]
        all(send(session, packet) for packet in packets)
        hang_up(session.sock, rng)
        return len(packets)


def send(wire: Wire, packet: bytes) -> bool:
    """Send a packet; tell whether the connection stands."""
    try:
        wire.send_bytes(packet)
    except Closed:
        return False
    return True


def hang_up(sock: socket.socket, rng: random.Random) -> None:
    """End as clients do: at once, or after all that comes has been read. A server that does not close is an error."""
    if rng.random() < 0.1:
        return
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # The server was faster.
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        pass


def packets_received(server: Process) -> int:
    lines = (line.split(b"\t") for line in word(server.port, b"mntr").splitlines())
    return int(dict(lines)[b"zk_packets_received"])


def tail(server: Process) -> str:
    return server.log_text()[-3000:]
