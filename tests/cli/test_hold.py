"""`corral lock` and `corral elect`: the command's life is bound to the lock's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Corral
from tests.support.servers import Process

import corral as library
from corral.client.aio import AsyncClient

WAIT_S = 30.0
SHOW = "import os; print(os.environ['CORRAL_FENCING_TOKEN'], os.environ['CORRAL_LOCK_NODE'], flush=True)"
STAY = f"{SHOW}; import signal; signal.pause()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SHOW}; exec('while True: signal.pause()')"


def start(server: Process, verb: str, path: str, program: str, *options: str) -> subprocess.Popen[str]:
    """Start `corral lock` or `corral elect` in a process of its own."""
    command = [sys.executable, "-m", "corral", verb, "--server", f"127.0.0.1:{server.port}", *options, path]
    return subprocess.Popen(
        [*command, "--", sys.executable, "-c", program],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def line(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Read what the command shows: its token and its node."""
    assert process.stdout is not None
    token, node = process.stdout.readline().split()
    return int(token), node


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit code and what was said."""
    _, said = process.communicate(timeout=WAIT_S)
    return process.returncode, said


def with_client(server: Process, work: Callable[[AsyncClient], Awaitable[object]]) -> None:
    """Do something with a client."""

    async def main() -> None:
        async with library.connect(f"127.0.0.1:{server.port}") as zk:
            await work(zk)

    asyncio.run(main())


def test_the_command_has_a_token_and_its_exit_code_comes_back(cli_server: Process, path: str) -> None:
    first = start(cli_server, "lock", path, f"{SHOW}; raise SystemExit(7)")
    token, node = line(first)
    assert ended(first) == (7, "")

    second = start(cli_server, "lock", path, SHOW)
    later, other = line(second)
    assert ended(second) == (0, "")

    assert node.startswith(f"{path}/")
    assert later > token
    assert other != node


def test_who_comes_later_waits_and_gives_up_in_time(cli_server: Process, corral: Corral, path: str) -> None:
    holder = start(cli_server, "lock", path, STAY)
    line(holder)

    late = start(cli_server, "lock", path, SHOW, "--wait", "0.3")
    assert ended(late) == (124, f"corral: {path} was not acquired within 0.3 s\n")

    next_one = start(cli_server, "lock", path, SHOW)
    holder.send_signal(signal.SIGTERM)
    assert ended(holder)[0] == 128 + signal.SIGTERM
    line(next_one)
    assert ended(next_one) == (0, "")


@pytest.mark.parametrize("program", [STAY, STUBBORN])
def test_the_command_is_stopped_when_the_lock_is_lost(cli_server: Process, path: str, program: str) -> None:
    holder = start(cli_server, "lock", path, program, "--grace", "0.2")
    _, node = line(holder)

    with_client(cli_server, lambda zk: zk.delete(node))

    assert ended(holder) == (123, f"corral: {path} was lost\n")


def test_a_signal_ends_the_wait_and_leaves_no_contender(cli_server: Process, path: str) -> None:
    holder = start(cli_server, "lock", path, STAY)
    line(holder)
    waiting = start(cli_server, "lock", path, SHOW)

    async def two_then_one(zk: AsyncClient) -> None:
        changed = asyncio.Event()
        while len(await zk.children(path, lambda _: changed.set())) < 2:
            await asyncio.wait_for(changed.wait(), WAIT_S)
            changed.clear()
        waiting.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(ended, waiting) == (128 + signal.SIGINT, "")
        assert len(await zk.children(path)) == 1

    with_client(cli_server, two_then_one)
    holder.send_signal(signal.SIGTERM)
    ended(holder)


def test_who_is_elected_anew_runs_the_command_anew(cli_server: Process, path: str) -> None:
    candidate = start(cli_server, "elect", path, STAY)
    token, node = line(candidate)

    with_client(cli_server, lambda zk: zk.delete(node))
    again, _ = line(candidate)
    candidate.send_signal(signal.SIGTERM)

    assert again > token
    assert ended(candidate) == (128 + signal.SIGTERM, f"corral: {path} was lost\n")


def test_what_cannot_be_run_asks_for_no_lock(corral: Corral, shell: Corral, path: str, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    os.chmod(text, 0o755)

    missing = corral("lock", path, "--", "no-such-command")
    broken = corral("lock", path, "--", str(text))
    option = corral("elect", path, "--wait", "5", "--", "true")

    assert (option.stderr, option.exit_code) == ("corral: --wait is neither an option nor a command\n", 127)
    assert (missing.stderr, missing.exit_code) == ("corral: there is no command no-such-command\n", 127)
    assert (broken.stderr, broken.exit_code) == (f"corral: {text}: Exec format error\n", 126)
    assert shell(f"ls {path}").stdout == "[]\n"


def test_a_file_that_is_no_program_is_not_called_missing(corral: Corral, path: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")

    done = corral("lock", path, "--", str(tmp_path / "text"))

    assert (done.stderr, done.exit_code) == (f"corral: {tmp_path / 'text'} cannot be run\n", 126)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope", "true"], "invalid path 'nope': it must start with /"),
        (["--wiat", "3", "/path", "true"], "invalid path '--wiat': it must start with /"),
        (["/\udcff", "true"], "invalid path '/\\\\xed\\\\xb3\\\\xbf': it is not UTF-8"),
    ],
)
def test_a_wrong_path_is_one_sentence(corral: Corral, arguments: list[str], says: str) -> None:
    done = corral("lock", *arguments)

    assert (done.stderr, done.exit_code) == (f"corral: {says}\n", 125)


def test_no_server_is_exit_code_125(corral: Corral, path: str) -> None:
    done = corral("lock", "--server", "127.0.0.1:1", "--timeout", "0.2", path, "--", "true")

    assert done.exit_code == 125
    assert done.stderr.count("\n") == 1
