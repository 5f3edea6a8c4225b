"""The shell for people: a prompt, completion, history, and events that are shown as they happen.

The prompt waits in the main thread, where Ctrl-C arrives; the client lives on a loop in a thread of its own, so the
session goes on while nobody types. With prompt_toolkit (the extra `cli`) lines are edited and events do not disturb
them; without it Python's readline does what it can, where there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import click

from corral.base.errors import CorralError
from corral.cli.connection import Connection
from corral.cli.failures import complain
from corral.cli.shell.completion import candidates
from corral.cli.shell.context import Context
from corral.cli.shell.execute import execute
from corral.cli.shell.session import Quit

T = TypeVar("T")
COMPLETION_S: Final = 5.0
HISTORY_MAX: Final = 2000


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="corral-shell", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Wait for `work`, done on the loop; Ctrl-C or the timeout cancels it."""
        future: Future[T] | None = None
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            return future.result(timeout)
        except (KeyboardInterrupt, TimeoutError):
            if future is not None:
                future.cancel()
            raise

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Reader(Protocol):
    """Where lines come from."""

    def read(self, prompt: str) -> str:
        """Return the next line. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""
        ...


Complete = Callable[[str], tuple[str, list[str]]]


def converse(connection: Connection, is_json: bool) -> int:
    """Run the shell on a terminal until the user leaves; return the exit code."""
    loop = LoopThread()
    context = Context(connection, click.echo, is_json=is_json, is_terminal=True)

    def complete(before: str) -> tuple[str, list[str]]:
        try:
            return loop.run(candidates(context, before), COMPLETION_S)
        except (TimeoutError, CorralError):
            return "", []

    reader = make_reader(complete, history_file())
    try:
        try:
            # In here, as Ctrl-C may come as soon as this is read.
            click.echo(f"Connecting to {connection.servers}; help shows the commands, quit leaves.")
            loop.run(context.connect())
        except CorralError as error:
            complain(error)
        except KeyboardInterrupt:
            click.echo()
        _loop(reader, context, loop)
        loop.run(context.close())
    finally:
        loop.stop()
    return 0


def _loop(reader: Reader, context: Context, loop: LoopThread) -> None:
    while True:
        try:
            line = reader.read(loop.run(_prompt(context)))
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            loop.run(execute(context, line))
        except KeyboardInterrupt:
            # The terminal shows ^C and stays behind it.
            click.echo()
        except Quit:
            return


async def _prompt(context: Context) -> str:
    """Return the prompt; on the loop, where alone a client may be asked how it stands."""
    return f"[zk: {context.connection.servers}({context.state.value}) {context.number}] "


def history_file() -> Path | None:
    """Return where lines are kept, None where there is no home."""
    try:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        path = home / "corral" / "shell_history"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(0o600)
    except (OSError, RuntimeError):
        return None
    return path


def is_secret(line: str) -> bool:
    """Tell whether a line has credentials in it: it is not kept."""
    return line.split(maxsplit=1)[:1] == ["addauth"]


def make_reader(complete: Complete, history: Path | None) -> Reader:
    """Choose how lines are read."""
    try:
        from corral.cli.shell.toolkit import ToolkitReader
    except ImportError:
        return PlainReader(complete, history)
    return ToolkitReader(complete, history, is_secret)


class PlainReader:
    """Lines by `input()`, with readline's editing, completion and history where Python has it."""

    def __init__(self, complete: Complete, history: Path | None) -> None:
        self._history = history
        self._found: list[str] = []
        self._complete = complete
        try:
            import readline
        except ImportError:
            self._readline = None
            return
        self._readline = readline
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._candidate)
        readline.parse_and_bind("tab: complete")
        readline.set_auto_history(False)
        if history is not None:
            with contextlib.suppress(OSError):
                readline.read_history_file(history)
        readline.set_history_length(HISTORY_MAX)

    def _candidate(self, word: str, number: int) -> str | None:
        assert self._readline is not None
        if number == 0:
            before = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            self._found = self._complete(before)[1]
        return self._found[number] if number < len(self._found) else None

    def read(self, prompt: str) -> str:
        """Return the next line; keep it unless it is secret."""
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            # The cursor is behind the prompt still.
            click.echo()
            raise
        if self._readline is not None and line.strip() and not is_secret(line):
            self._readline.add_history(line)
            if self._history is not None:
                with contextlib.suppress(OSError):
                    self._readline.write_history_file(self._history)
        return line
