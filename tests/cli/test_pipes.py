"""Commands whose standard input is a pipe that somebody takes time to fill: the session lives, and Ctrl-C ends them."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO

import pytest
from tests.cli.conftest import Corral
from tests.support.servers import Process

WAIT_S = 30.0


def start(server: Process, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `corral` with pipes on all sides."""
    return subprocess.Popen(
        [sys.executable, "-m", "corral", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        env=os.environ | {"CORRAL_CONNECT": f"127.0.0.1:{server.port}"},
    )  # fmt: skip


def feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write to its standard input, and leave that open."""
    assert process.stdin is not None
    while data:
        data = data[process.stdin.write(data) or 0 :]


def await_hunger(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has read what it was fed, and waits for more."""
    assert process.stdin is not None
    deadline = time.monotonic() + WAIT_S
    while True:
        left = fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if not any(left) and state == "S":
            return
        assert time.monotonic() < deadline


def read_line(process: subprocess.Popen[bytes]) -> str:
    """Return the next line of its standard output, "" if none comes."""
    found = b""
    output: IO[bytes] | None = process.stdout
    assert output is not None
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while not found.endswith(b"\n") and selector.select(WAIT_S):
            found += output.read(1)
    return found.decode()


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end, without more input; return the exit code and what was said."""
    try:
        return process.wait(WAIT_S), "" if process.stderr is None else process.stderr.read().decode()
    finally:
        process.kill()
        process.communicate()


def test_a_script_sees_events_while_its_next_line_is_awaited(cli_server: Process, shell: Corral, path: str) -> None:
    process = start(cli_server, "shell")
    feed(process, f"create {path}\naddWatch {path}\nget {path}\n".encode())
    begun = [read_line(process), read_line(process)]

    shell(f"set {path} new")
    seen = [read_line(process), read_line(process)]
    feed(process, b"quit\n")

    assert end(process) == (0, "")
    assert begun == [f"Created {path}\n", "\n"]
    assert seen == ["WATCHER::\n", f"WatchedEvent state:SyncConnected type:NodeDataChanged path:{path}\n"]


@pytest.mark.parametrize("arguments", [("shell",), ("shell", "-c", "create -f - /never"), ("import", "/never")])
def test_ctrl_c_ends_a_command_that_reads_its_standard_input(cli_server: Process, arguments: tuple[str, ...]) -> None:
    process = start(cli_server, *arguments)
    feed(process, b"#")
    await_hunger(process)

    process.send_signal(signal.SIGINT)

    assert end(process) == (130, "")
