"""A holder that sleeps through its session's timeout in the middle of the lock, for real: SIGSTOP, and SIGCONT.

While it sleeps, its step may end, and another takes the lock and writes. When it goes on, no awaited step ends before
the loss is known, nothing is written in the lost lock's name, and the next holder's token is larger.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.loops import run, until
from tests.support.proxy import Proxy

import corral
from corral.cli.hold import LOST
from corral.recipes.lock import Lock
from corral.wire.opcodes import GET_ACL, MULTI, SET_DATA

PROGRAM = Path(__file__).parents[1] / "support" / "critical_section.py"
ASKED = {"read": GET_ACL, "write": SET_DATA, "guarded": MULTI}
"""Steps whose answer is held until the process sleeps, and lies in its socket when it goes on."""
STOPS_ITSELF = {"late read", "late write", "late guarded", "ready", "handed over"}
COMMAND = """
import os, signal, sys
def stopped(*_):
    print("stopped", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, stopped)
print(os.environ["CORRAL_FENCING_TOKEN"], flush=True)
sys.stdin.read()
"""


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ours, at most as long as the block."""
    process = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def is_asleep(process: subprocess.Popen[str]) -> bool:
    """Tell whether a process is stopped; fails if it has ended."""
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG)
    assert found is None or found.si_code == os.CLD_STOPPED, process.communicate()
    return found is not None


async def take_over(zk: corral.AsyncClient, path: str, token: int) -> None:
    """Take the lock at `path`/lock as soon as it is free, and write in its name."""
    held = await Lock(zk, f"{path}/lock").acquire()
    await held.transaction().set(path, b"of the next holder").commit()
    assert held.fencing_token > token


def story(hosts: str, path: str, block: str, step: str) -> list[list[Any]]:
    """Have a process sleep in the midst of a step until another has its lock; return what it says afterwards."""

    def line(process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        text = process.stdout.readline()
        assert text, process.communicate()
        return json.loads(text)

    async def main() -> list[list[Any]]:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as zk:
            await zk.create(path)
            servers = proxy.hosts if step in ASKED else hosts
            with started(str(PROGRAM), servers, path, block, step) as process:
                # Read in a thread: the proxy needs this one.
                what, token = await asyncio.to_thread(line, process)
                assert what == "token", (what, token)
                if step in ASKED:
                    proxy.hold_replies()
                    asked = proxy.requests[ASKED[step]]
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                assert await asyncio.to_thread(line, process) == ["step", None]
                if step in ASKED:
                    await until(lambda: proxy.requests[ASKED[step]] > asked)
                if step not in STOPS_ITSELF:
                    process.send_signal(signal.SIGSTOP)
                await until(lambda: is_asleep(process))

                await take_over(zk, path, token)
                proxy.flow()
                await until(lambda: not proxy.connections)
                process.send_signal(signal.SIGCONT)
                said, trouble = await asyncio.to_thread(process.communicate)

            assert (await zk.get(path))[0] == b"of the next holder"
            assert process.returncode == 0, trouble
            return [json.loads(text) for text in said.splitlines()]

    return run(main())


@pytest.mark.parametrize(
    ("block", "step"),
    [
        *(("with", step) for step in [*ASKED, "sleep", "late read", "late write", "late guarded"]),
        *(("run", step) for step in ["sleep", "late write", "ready", "handed over"]),
    ],
)
def test_a_block_goes_on_nowhere_after_a_pause_in_which_its_lock_was_lost(
    hosts: str, path: str, block: str, step: str
) -> None:
    said = story(hosts, path, block, step)

    assert "done" not in [what for what, _ in said]
    assert said[:2] in ([["held", "LOST"], ["state", "LOST"]], [["state", "LOST"], ["held", "LOST"]])
    rest = [each for each in said[2:] if each[0] != "state"]
    assert rest == [["cancelled", None], ["failed", "HoldLost"], ["refused", [0, "NoNode"]]]


@pytest.mark.parametrize(
    ("step", "failed"),
    [
        ("read", {"SessionLost"}),
        ("guarded", {"SessionLost"}),
        ("sleep", {"HoldLost"}),
        ("ensure", {"HoldLost"}),
        # Refused by the server in the next session, or not sent in the old one.
        ("late guarded", {"NoNode", "SessionLost"}),
    ],
)
def test_a_thread_is_told_after_a_pause_by_all_that_asks(hosts: str, path: str, step: str, failed: set[str]) -> None:
    said = story(hosts, path, "thread", step)

    assert "done" not in [what for what, _ in said]
    assert {"state": "LOST", "held": "LOST"}.items() <= {each[0]: each[1] for each in reversed(said)}.items()
    assert next(value for what, value in said if what == "failed") in failed
    assert ["refused", [0, "NoNode"]] in said


def test_corral_lock_stops_its_command_after_a_pause(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            options = ["--server", hosts, "--session-timeout", "800", f"{path}/lock"]
            with started("-m", "corral", "lock", *options, "--", sys.executable, "-c", COMMAND) as process:
                assert process.stdout is not None
                token = int(await asyncio.to_thread(process.stdout.readline))
                process.send_signal(signal.SIGSTOP)
                await until(lambda: is_asleep(process))

                await take_over(zk, path, token)
                process.send_signal(signal.SIGCONT)
                # Its input stays open meanwhile: with that it would end by itself.
                said = await asyncio.to_thread(process.stdout.read)
                _, trouble = await asyncio.to_thread(process.communicate)

            assert (said, trouble) == ("stopped\n", f"corral: {path}/lock was lost\n")
            assert process.returncode == LOST
            assert (await zk.get(path))[0] == b"of the next holder"

    run(main())
