"""A program that does one step while it holds a lock, and says what happens: for tests that stop it meanwhile.

Arguments: servers, path, block ("with", "run", or "thread" for `with` in a thread), step. It needs `path`, and goes on
when it reads a line. For each thing that happens it writes a line of JSON, [what, value]:

    token        the lock at `path`/lock is held, with this fencing token
    step         it is about to await the step
    done         the step is over, though it must not be
    state, held  the session's state, and how the lock is held, whenever that changes
    cancelled    the step was
    failed       with what the block ended
    refused      a guarded write that was made in the block, and sent after it, was refused: by which part, and why
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import corral
from corral.base.errors import CorralError
from corral.client.transaction import TransactionFailed
from corral.client.values import State
from corral.recipes import blocking
from corral.recipes.held import Held
from corral.recipes.lock import Lock

SESSION_MS = 800
SLEEP_S = 0.2


def tell(what: str, value: object = None) -> None:
    """Say what happens. In one write: two threads do."""
    os.write(1, json.dumps([what, value]).encode() + b"\n")


def stop() -> None:
    """Sleep here, until somebody continues this process."""
    os.kill(os.getpid(), signal.SIGSTOP)


async def _ready() -> None:
    stop()
    await asyncio.sleep(0)


async def _handed_over() -> None:
    there = asyncio.Event()

    def hand_over() -> None:
        there.set()
        stop()

    asyncio.get_running_loop().call_soon(hand_over)
    await there.wait()


def steps_of(zk: corral.AsyncClient, path: str, held: Held) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return what may be awaited, by name."""

    async def guarded() -> None:
        await held.transaction().set(path, b"late").commit()

    async def late_read() -> None:
        stop()
        await zk.get_acl(path)

    async def late_write() -> None:
        stop()
        await zk.set(path, b"late")

    async def late_guarded() -> None:
        work = held.transaction().set(path, b"late")
        stop()
        await work.commit()

    return {
        "read": lambda: zk.get_acl(path),
        "write": lambda: zk.set(path, b"late"),
        "guarded": guarded,
        "sleep": lambda: asyncio.sleep(SLEEP_S),
        "late read": late_read,
        "late write": late_write,
        "late guarded": late_guarded,
        "ready": _ready,
        "handed over": _handed_over,
    }


async def hold(hosts: str, path: str, block: str, step: str) -> None:
    """Do the step inside `async with lock` ("with") or `lock.run` ("run")."""
    async with corral.connect(hosts, session_timeout_ms=SESSION_MS) as zk:
        zk.on_state(lambda state: tell("state", state.name))
        late = None

        async def work(held: Held) -> None:
            nonlocal late
            held.on_change(lambda state: tell("held", state.name))
            late = held.transaction().set(path, b"late")
            each = steps_of(zk, path, held)[step]
            tell("token", held.fencing_token)
            await asyncio.to_thread(sys.stdin.readline)
            tell("step")
            try:
                await each()
                tell("done")
                while True:
                    await asyncio.sleep(SLEEP_S)
                    tell("done")
            except asyncio.CancelledError:
                tell("cancelled")
                raise

        lock = Lock(zk, f"{path}/lock")
        try:
            if block == "run":
                await lock.run(work)
            else:
                async with lock as held:
                    await work(held)
        except CorralError as error:
            tell("failed", type(error).__name__)
        await zk.wait_for(State.CONNECTED)
        assert late is not None
        try:
            await late.commit()
        except TransactionFailed as failed:
            tell("refused", [failed.index, type(failed.error).__name__])


def hold_in_thread(hosts: str, path: str, step: str) -> None:
    """Do the step inside `with lock`, in a thread."""
    with corral.Client(hosts, session_timeout_ms=SESSION_MS) as zk:
        zk.on_state(lambda state: tell("state", state.name))
        try:
            with blocking.Lock(zk, f"{path}/lock") as held:
                held.on_change(lambda state: tell("held", state.name))
                late = held.transaction().set(path, b"late")
                tell("token", held.fencing_token)
                sys.stdin.readline()
                tell("step")
                if step == "read":
                    zk.get_acl(path)
                    tell("done")
                elif step == "guarded":
                    held.transaction().set(path, b"late").commit()
                    tell("done")
                elif step == "late guarded":
                    stop()
                    late.commit()
                    tell("done")
                else:
                    # This cannot be ended early, nor kept from ending.
                    time.sleep(SLEEP_S)
                    if step == "ensure":
                        held.ensure()
                        tell("done")
        except TransactionFailed as failed:
            tell("failed", type(failed.error).__name__)
        except CorralError as error:
            tell("failed", type(error).__name__)
        zk.wait_for(State.CONNECTED)
        try:
            late.commit()
        except TransactionFailed as failed:
            tell("refused", [failed.index, type(failed.error).__name__])


if __name__ == "__main__":
    if sys.argv[3] == "thread":
        hold_in_thread(sys.argv[1], sys.argv[2], sys.argv[4])
    else:
        asyncio.run(hold(*sys.argv[1:5]))
