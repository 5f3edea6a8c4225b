"""A process that sleeps through its session's timeout learns of it before it acts.

For real: a program holds an ephemeral node, is stopped by SIGSTOP in the middle of its critical section until the
server has ended its session, and goes on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.support.loops import run, until

import corral

ASYNC = """
import asyncio, sys
import corral

async def main():
    async with corral.connect(sys.argv[1], session_timeout_ms=600) as zk:
        seen, session = [], zk.session_id
        zk.on_state(lambda state: seen.append(state.name))
        await zk.create(sys.argv[2], ephemeral=True)
        print("held", flush=True)
        if sys.argv[3] == "sleep":
            # The step that is under way while the process is stopped; its time is over before any heartbeat is due.
            await asyncio.sleep(0.15)
        elif sys.argv[3] == "pipe":
            # One that the world ends, at the very moment when the process goes on.
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        elif sys.argv[3] == "request":
            try:
                while True:
                    await zk.get("/")
                    assert not seen, seen
            except corral.client.errors.ClientError:
                pass
        # A next session may be there already, and be certain; the one that held the node is not.
        print("LOST" in seen, zk.session_id == session and zk.certain_for() > 0, flush=True)

asyncio.run(main())
"""

BLOCKING = """
import sys
import corral

with corral.Client(sys.argv[1], session_timeout_ms=600) as zk:
    session = zk.session_id
    zk.create(sys.argv[2], ephemeral=True)
    print("held", flush=True)
    sys.stdin.readline()
    is_certain = zk.certain_for() > 0
    print(zk.session_id == session and is_certain, flush=True)
"""


@contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program until it says that it holds its node."""
    process = subprocess.Popen(
        [sys.executable, "-c", text, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def sleep_through(process: subprocess.Popen[str], hosts: str, path: str, word: str = "") -> str:
    """Stop a process until the server has given up its session; return what it says then. word: what it is told."""

    async def gone() -> None:
        async with corral.connect(hosts) as zk:

            async def is_gone() -> bool:
                return await zk.exists(path) is None

            await until(is_gone)

    process.send_signal(signal.SIGSTOP)
    try:
        run(gone())
        if word:
            assert process.stdin is not None
            process.stdin.write(word)
            process.stdin.flush()
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("step", ["sleep", "pipe", "request"])
def test_after_a_pause_the_loss_is_seen_before_an_awaited_step_ends(hosts: str, path: str, step: str) -> None:
    with program(ASYNC, hosts, path, step) as process:
        assert sleep_through(process, hosts, path, "go on\n" * (step == "pipe")) == "True False\n"


def test_after_a_pause_a_thread_is_told_that_nothing_is_certain(hosts: str, path: str) -> None:
    with program(BLOCKING, hosts, path) as process:
        assert sleep_through(process, hosts, path, "go on\n") == "False\n"
