"""kill -9 under write load: what was acknowledged is there after the restart, and nothing is half there.

KILL_ROUNDS: how many kills (default 5). KILL_SEED: when they come.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.support import jute
from tests.support.jute import Op
from tests.support.raw import Closed, RawSession
from tests.support.servers import Process

ROUNDS = int(os.environ.get("KILL_ROUNDS", "5"))
SEED = int(os.environ.get("KILL_SEED", "7"))
WRITERS = 4
HOST = "127.0.0.1"


class Kept(NamedTuple):
    """What one writer was promised: nodes prefix0 … and prefixpair0/1 …, and a counter."""

    prefix: bytes
    created: int
    pairs: int
    version: int


class Writer(threading.Thread):
    """Creates, sets and makes pairs in multis until its connection breaks; knows what was acknowledged."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.session = RawSession(HOST, port)
        self.prefix = f"/{name}-".encode()
        self.created = self.pairs = self.version = 0
        self.failure = ""

    @property
    def acknowledged(self) -> int:
        return self.created + self.pairs + self.version

    def run(self) -> None:
        try:
            self._write(Op.CREATE, jute.create(self.prefix + b"counter"))
            while True:
                self._write(Op.CREATE, jute.create(self.prefix + b"%d" % self.created, b"x"))
                self.created += 1
                number = b"%d" % (self.version + 1)
                self._write(Op.SET_DATA, jute.set_data(self.prefix + b"counter", number, self.version))
                self.version += 1
                names = [self.prefix + b"pair%d-%d" % (self.pairs, half) for half in (0, 1)]
                self._write(Op.MULTI, jute.multi(*((Op.CREATE, jute.create(name)) for name in names)))
                self.pairs += 1
        except (Closed, OSError):
            pass
        except AssertionError as error:
            self.failure = str(error)
        finally:
            self.session.drop()

    def _write(self, op: Op, body: bytes) -> None:
        reply = self.session.call(op, body)
        assert reply.err == 0, f"{op.name} {body!r}: {reply}"


def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    server = Process("corral", tmp_path, snapCount="200")
    kept: list[Kept] = []
    for number in range(ROUNDS):
        with server:
            check(server.port, kept, f"seed {SEED}, round {number}")
            writers = [Writer(server.port, f"r{number}w{i}") for i in range(WRITERS)]
            for writer in writers:
                writer.start()
            wait_for(writers, rng.randrange(20, 400))
            server.stop(signal.SIGKILL)
            for writer in writers:
                writer.join()
        assert [writer.failure for writer in writers] == [""] * WRITERS
        kept += [Kept(w.prefix, w.created, w.pairs, w.version) for w in writers]
    with server:
        check(server.port, kept, f"seed {SEED}, the end")
        assert server.stop() == 0
    assert "Traceback" not in server.log_text()


def wait_for(writers: list[Writer], writes: int) -> None:
    """Wait until so many writes are acknowledged: the moment to kill is counted in work, not in time."""
    deadline = time.monotonic() + 30
    while sum(writer.acknowledged for writer in writers) < writes:
        assert time.monotonic() < deadline, "the writers make no progress"
        time.sleep(0.001)


def check(port: int, kept: list[Kept], when: str) -> None:
    """Look for all that was acknowledged; a last write may stand there without having been."""
    with RawSession(HOST, port) as session:
        names = set(session.call(Op.GET_CHILDREN, jute.get_children(b"/")).read(Op.GET_CHILDREN))
        for prefix, created, pairs, version in kept:
            name = prefix[1:]
            lost = [number for number in range(created) if name + b"%d" % number not in names]
            assert not lost, f"{when}: {prefix!r} {lost} were acknowledged and are lost"
            assert name + b"%d" % (created + 1) not in names, f"{when}: {prefix!r} has a node that was never asked for"
            for pair in range(pairs + 1):
                halves = [name + b"pair%d-%d" % (pair, half) in names for half in (0, 1)]
                assert all(halves) or (pair == pairs and not any(halves)), f"{when}: {prefix!r}, pair {pair}: {halves}"
            counter = session.call(Op.GET_DATA, jute.get_data(prefix + b"counter"))
            if created:
                data, stat = counter.read(Op.GET_DATA)
                assert version <= stat.version <= version + 1, when
                assert int(data or b"0") == stat.version, when
