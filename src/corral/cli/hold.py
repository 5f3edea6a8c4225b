"""A command that runs while a lock is held: started when it is, stopped when it is lost.

The command gets `CORRAL_FENCING_TOKEN`, a number higher than every earlier holder's, and `CORRAL_LOCK_NODE`. When the
lock is lost it gets SIGTERM, and SIGKILL if it is there still after the grace. Signals are passed on to it. Neither
helps where this process itself is stopped or killed: then what the command writes to has to refuse old tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from corral.client.aio import AsyncClient
from corral.recipes.election import Election
from corral.recipes.errors import RecipeTimeout
from corral.recipes.held import Held
from corral.recipes.lock import Lock

LOST: Final = 123
"""The lock was lost while the command ran; it was stopped."""
NOT_ACQUIRED: Final = 124
"""Others held the lock for all of the time to wait; the command did not run."""
FAILED: Final = 125
"""The lock could not be asked for; the command did not run."""
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALLED: Final = 128
"""And the signal's number: the command, or the wait for the lock, was ended by it."""

RELEASE_S: Final = 5.0
_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Holder:
    """Runs `command` under the lock at `path`. grace_s: between SIGTERM and SIGKILL. say: told what happens."""

    def __init__(self, path: str, command: Sequence[str], grace_s: float, say: Callable[[str], None]) -> None:
        self._path = path
        self._command = list(command)
        self._grace_s = grace_s
        self._say = say
        self._child: asyncio.subprocess.Process | None = None
        # At a terminal the command has to stay in the group that reads from it, and gets Ctrl-C by itself.
        self._is_at_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._waiting: asyncio.Task[Held] | None = None
        self._ended_by: signal.Signals | None = None

    async def run(self, zk: AsyncClient, wait_s: float | None, again: bool) -> int:
        """Wait for the lock, run the command; return the exit code.

        wait_s: how long to wait for the lock, None for ever. again: whether it is an election, where the command runs
        again in the next term when one was lost. Raises what asking for the lock fails with.
        """
        loop = asyncio.get_running_loop()
        for number in _FORWARDED:
            loop.add_signal_handler(number, self._on_signal, number)
        while True:
            held = await self._acquire(zk, wait_s, Election if again else Lock)
            if held is None:
                return NOT_ACQUIRED if self._ended_by is None else SIGNALLED + self._ended_by
            try:
                code = await self._run_while(held)
            finally:
                await held.release(RELEASE_S)
            if code is not None:
                return code
            self._say(f"{self._path} was lost")
            if self._ended_by is not None or not again:
                return LOST

    async def _acquire(self, zk: AsyncClient, wait_s: float | None, kind: type[Lock | Election]) -> Held | None:
        identifier = f"{os.uname().nodename} {os.getpid()}".encode()
        self._waiting = asyncio.ensure_future(kind(zk, self._path, identifier=identifier).acquire(wait_s))
        try:
            return await self._waiting
        except RecipeTimeout as error:
            self._say(str(error))
            return None
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            return None
        finally:
            self._waiting = None

    async def _run_while(self, held: Held) -> int | None:
        """Run the command; return its exit code, None if it was stopped as the lock was lost."""
        if self._ended_by is not None:
            return SIGNALLED + self._ended_by
        env = os.environ | {"CORRAL_FENCING_TOKEN": str(held.fencing_token), "CORRAL_LOCK_NODE": held.path}
        try:
            self._child = await asyncio.create_subprocess_exec(
                *self._command, env=env, process_group=None if self._is_at_terminal else 0
            )
        except OSError as error:
            self._say(f"{self._command[0]}: {error.strerror}")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        ended = asyncio.ensure_future(self._child.wait())
        lost = asyncio.ensure_future(held.wait_lost())
        try:
            await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._stop(ended)
                return None
            code = ended.result()
            return code if code >= 0 else SIGNALLED - code
        finally:
            if not ended.done():
                self._signal(signal.SIGKILL)
                await ended
            lost.cancel()
            self._child = None

    async def _stop(self, ended: asyncio.Future[int]) -> None:
        self._signal(signal.SIGTERM)
        await asyncio.wait({ended}, timeout=self._grace_s)
        if not ended.done():
            self._signal(signal.SIGKILL)
            await ended

    def _on_signal(self, number: signal.Signals) -> None:
        if self._child is None:
            self._ended_by = number
            if self._waiting is not None:
                self._waiting.cancel()
        elif not (self._is_at_terminal and number in (signal.SIGINT, signal.SIGQUIT)):
            self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the command, and to all that it started where it has a group of its own."""
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            if self._is_at_terminal:
                self._child.send_signal(number)
            else:
                os.killpg(self._child.pid, number)
