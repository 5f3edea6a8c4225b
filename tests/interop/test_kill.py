"""kill -9 under write load: what was acknowledged is there after the restart, and nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

from tests.support.servers import Process
from tests.support.wireclient import Closed, WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import OPEN_ACL

ROUNDS = int(os.environ.get("KILL_ROUNDS", "5"))


class Writer(threading.Thread):
    """Creates and sets until its connection breaks; knows what was acknowledged."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__()
        self.client = WireClient(port)
        self.prefix = f"/{name}-".encode()
        self.acknowledged = 0
        self.version = 0

    def run(self) -> None:
        counter = self.prefix + b"counter"
        try:
            assert self.client.call(op.CREATE, records.CreateRequest(counter, b"", OPEN_ACL, 0))[2] == 0
            while True:
                path = self.prefix + b"%d" % self.acknowledged
                assert self.client.call(op.CREATE, records.CreateRequest(path, b"x", OPEN_ACL, 0))[2] == 0
                self.acknowledged += 1
                number = b"%d" % (self.version + 1)
                assert self.client.call(op.SET_DATA, records.SetDataRequest(counter, number, self.version))[2] == 0
                self.version += 1
        except (Closed, OSError):
            self.client.close()


def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", "7"))
    rng = random.Random(seed)
    server = Process("corral", tmp_path, snapCount="200")
    kept: list[tuple[bytes, int, int]] = []
    for number in range(ROUNDS):
        server.start()
        check(server.port, kept, f"seed {seed}, round {number}")
        writers = [Writer(server.port, f"r{number}w{i}") for i in range(4)]
        for writer in writers:
            writer.start()
        wait_for(writers, rng.randrange(20, 200))
        server.stop(signal.SIGKILL)
        for writer in writers:
            writer.join()
        kept += [(w.prefix, w.acknowledged, w.version) for w in writers]
    server.start()
    check(server.port, kept, f"seed {seed}, the end")
    assert server.stop() == 0


def wait_for(writers: list[Writer], writes: int) -> None:
    """Wait until so many writes are acknowledged: the moment to kill is counted in work, not in time."""
    deadline = time.monotonic() + 30
    while sum(w.acknowledged for w in writers) < writes:
        assert time.monotonic() < deadline, "the writers make no progress"
        time.sleep(0.001)


def check(port: int, kept: list[tuple[bytes, int, int]], when: str) -> None:
    client = WireClient(port)
    for prefix, count, version in kept:
        for i in range(count):
            found = client.call(op.EXISTS, records.PathWatchRequest(prefix + b"%d" % i, False))[2]
            assert found == 0, f"{when}: {prefix!r}{i} was acknowledged and is lost"
        if count:
            _, _, err, body = client.call(op.GET_DATA, records.PathWatchRequest(prefix + b"counter", False))
            assert err == 0, when
            size = int.from_bytes(body[:4], "big")
            assert version <= int(body[4 : 4 + size] or b"0") <= version + 1, when
    client.close()
