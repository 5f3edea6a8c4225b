"""The shell on a terminal: a prompt, completion, events, Ctrl-C; with prompt_toolkit and without."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.servers import Process

import corral
from corral.cli.connection import Connection
from corral.cli.shell.completion import candidates
from corral.cli.shell.context import Context
from corral.cli.shell.interactive import is_secret

WAIT_S = 40.0
# Keys such as Ctrl-C become signals on the terminal that controls a process.
RICH = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from corral.cli.main import main; main()"
PLAIN = f"import sys; sys.modules['prompt_toolkit'] = None; {RICH}"
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")


class Terminal:
    """A shell on a pseudo-terminal."""

    def __init__(self, program: str, servers: str, home: Path) -> None:
        self._fd, slave = pty.openpty()
        env = os.environ | {"XDG_STATE_HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        command = [sys.executable, "-c", program, "shell", servers]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )  # fmt: skip
        os.close(slave)
        self._seen = b""

    def expect(self, wanted: str, wait_s: float = WAIT_S) -> None:
        """Wait until the terminal has shown a text, after what was expected before."""
        deadline = time.monotonic() + wait_s
        while wanted.encode() not in self._seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise AssertionError(f"{wanted!r} did not come; seen: {self._seen!r}")
            try:
                self._seen = _ESCAPES.sub(b"", self._seen + os.read(self._fd, 65536))
            except OSError as error:
                raise AssertionError(f"the shell ended before {wanted!r}; seen: {self._seen!r}") from error
        self._seen = self._seen.split(wanted.encode(), 1)[1]

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def interrupt_prompt(self) -> None:
        """Type Ctrl-C at a prompt until the line ends: Python's readline misses one between a prompt and its wait."""
        deadline = time.monotonic() + WAIT_S
        while b"\n" not in self._seen:
            assert time.monotonic() < deadline, f"no new line came; seen: {self._seen!r}"
            self.type("\x03")
            if select.select([self._fd], [], [], 1)[0]:
                self._seen = _ESCAPES.sub(b"", self._seen + os.read(self._fd, 65536))
        self.expect("\n")

    def end(self) -> None:
        """Close the terminal, and the shell with it."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_S)
        os.close(self._fd)


@pytest.mark.parametrize("program", [PLAIN, RICH])
def test_ctrl_c_ends_the_wait_for_a_server_and_each_prompt_has_a_line_of_its_own(program: str, tmp_path: Path) -> None:
    if program == RICH:
        pytest.importorskip("prompt_toolkit")
    terminal = Terminal(program, "127.0.0.1:1", tmp_path)
    try:
        terminal.expect("quit leaves.")
        terminal.type("\x03")
        terminal.expect("^C\r\n")
        terminal.expect("(CLOSED) 0]")
        terminal.interrupt_prompt()
        terminal.expect("(CLOSED) 0]")
        terminal.type("\x04")

        assert terminal.process.wait(WAIT_S) == 0
    finally:
        terminal.end()


@pytest.fixture(params=["plain", "toolkit"])
def terminal(request: pytest.FixtureRequest, cli_server: Process, tmp_path: Path) -> Iterator[Terminal]:
    """Give a shell on a terminal, read in both ways."""
    if request.param == "toolkit":
        pytest.importorskip("prompt_toolkit")
    program = RICH if request.param == "toolkit" else PLAIN
    found = Terminal(program, f"127.0.0.1:{cli_server.port}", tmp_path)
    try:
        yield found
    finally:
        found.end()


def test_a_conversation(terminal: Terminal, path: str, tmp_path: Path) -> None:
    terminal.expect("(CONNECTED) 0]")
    terminal.type(f"create {path}\r")
    terminal.expect(f"Created {path}")
    terminal.expect("(CONNECTED) 1]")
    terminal.type("addauth digest bob:secret\r")
    terminal.expect("(CONNECTED) 2]")
    # The rest of the path comes by completion; nobody else is there.
    terminal.type(f"create {path}/child-of-mine\r")
    terminal.expect("(CONNECTED) 3]")
    terminal.type(f"ls {path}/ch\t")
    terminal.expect("-of-mine")
    terminal.type("\r")
    terminal.expect("[]")
    terminal.expect("(CONNECTED) 4]")
    terminal.type("get /nope\r")
    terminal.expect("Node does not exist: /nope")
    terminal.expect("(CONNECTED) 5]")
    terminal.type("quit\r")

    assert terminal.process.wait(WAIT_S) == 0
    [history] = (tmp_path / "corral").iterdir()
    kept = history.read_text()
    assert "get /nope" in kept
    assert "secret" not in kept
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_ends_a_command_and_not_the_shell(terminal: Terminal, cli_server: Process, path: str) -> None:
    async def change() -> None:
        async with corral.connect(f"127.0.0.1:{cli_server.port}") as zk:
            await zk.set(path, b"seen")

    terminal.expect("(CONNECTED) 0]")
    terminal.type(f"create {path} first\r")
    terminal.expect("(CONNECTED) 1]")
    terminal.type(f"get -w {path}\r")
    terminal.expect("first")
    terminal.expect("(CONNECTED) 2]")
    asyncio.run(change())
    terminal.expect(f"type:NodeDataChanged path:{path}")
    terminal.type(f"watch -d {path}\r")
    # Ctrl-C is for the command once that runs, which shows by what it shows.
    for _ in range(40):
        asyncio.run(change())
        try:
            terminal.expect("CHANGED", 0.5)
            break
        except AssertionError:
            continue
    terminal.type("\x03")
    terminal.expect("]")
    terminal.type("get " + path + "\r")
    terminal.expect("seen")
    terminal.expect("(CONNECTED)")
    terminal.expect("]")
    terminal.type("\x04")

    assert terminal.process.wait(WAIT_S) == 0


def test_completion_knows_commands_options_modes_and_paths(cli_server: Process, path: str) -> None:
    async def main() -> None:
        context = Context(Connection(f"127.0.0.1:{cli_server.port}"), print)
        assert await candidates(context, "ls /") == ("/", [])
        await context.connect()
        try:
            await context.zk.ensure_path(f"{path}/alpha")
            await context.zk.ensure_path(f"{path}/beta")

            assert await candidates(context, "geta") == ("geta", [])
            assert await candidates(context, "getA") == ("getA", ["getAcl", "getAllChildrenNumber"])
            assert await candidates(context, "delete -") == ("-", ["-v"])
            assert await candidates(context, "addWatch -m p") == ("p", ["PERSISTENT", "PERSISTENT_RECURSIVE"])
            assert await candidates(context, "printwatches o") == ("o", ["on", "off"])
            assert await candidates(context, f"ls -s {path}/") == (f"{path}/", [f"{path}/alpha", f"{path}/beta"])
            assert await candidates(context, f"ls {path}/b") == (f"{path}/b", [f"{path}/beta"])
            assert await candidates(context, "ls /nope/x") == ("/nope/x", [])
            assert await candidates(context, f"set {path} da") == ("da", [])
            assert await candidates(context, "nonsense /") == ("/", [])
        finally:
            await context.close()

    asyncio.run(main())


def test_lines_with_credentials_are_secret() -> None:
    assert is_secret("  addauth digest bob:pw")
    assert not is_secret("ls /addauth")
    assert not is_secret("")
