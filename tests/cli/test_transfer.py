"""Export and import: what goes out comes back, and what cannot is said."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.cli.conftest import Corral
from tests.support.servers import Process

import corral as library
from corral.cli import transfer
from corral.cli.failures import UsageError
from corral.cli.main import main

HEADER = '{"corral_export": 1, "root": "/r"}'


def test_a_subtree_goes_out_and_comes_back_elsewhere(corral: Corral, shell: Corral, path: str, tmp_path: Path) -> None:
    file = tmp_path / "tree.jsonl"
    shell(
        f"create {path} root", f"create {path}/a text world:anyone:r", f"create -b {path}/bin /wA=", f"create {path}/b",
        f"create -p {path}/b/c/d {{}}",
    )  # fmt: skip

    out = corral("export", path, "-o", str(file))
    back = corral("import", f"{path}-copy/deep", "-i", str(file))
    seen = shell(f"ls -R {path}-copy/deep", f"getAcl {path}-copy/deep/a", f"get -b {path}-copy/deep/bin")

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert (out.stderr, out.exit_code) == ("6 nodes exported\n", 0)
    assert lines[0]["root"] == path
    assert lines[1:4] == [
        {"path": "", "data": "root", "acl": ["world:anyone:cdrwa"]},
        {"path": "/a", "data": "text", "acl": ["world:anyone:r"]},
        {"path": "/b", "data": "", "acl": ["world:anyone:cdrwa"]},
    ]
    assert (back.stderr, back.exit_code) == ("6 nodes created, 0 overwritten, 0 left as they are\n", 0)
    top = f"{path}-copy/deep"
    assert seen.stdout.splitlines() == [
        *(top + below for below in ("", "/a", "/b", "/b/c", "/b/c/d", "/bin")), "'world,'anyone", ": r", "/wA=",
    ]  # fmt: skip


def test_more_nodes_than_are_under_way_at_a_time_keep_their_order(corral: Corral, shell: Corral, path: str) -> None:
    nodes = [f"/{number}" for number in range(3 * transfer.IN_FLIGHT_MAX)]
    paths = ["", *nodes, *(f"{node}/leaf" for node in nodes)]
    text = "\n".join([HEADER, *(json.dumps({"path": each, "data": each}) for each in paths)])

    made = corral("import", path, stdin=text)
    out = corral("export", path)

    assert made.stderr == f"{len(paths)} nodes created, 0 overwritten, 0 left as they are\n"
    found = [json.loads(line) for line in out.stdout.splitlines()][1:]
    assert sorted(each["path"] for each in found) == sorted(paths)
    assert all(each["data"] == each["path"] for each in found)


def test_ephemerals_are_left_out_and_counted(corral: Corral, cli_server: Process, path: str) -> None:
    async def main() -> tuple[str, str]:
        async with library.connect(f"127.0.0.1:{cli_server.port}") as zk:
            await zk.create(path)
            await zk.create(f"{path}/e", ephemeral=True)
            done = await asyncio.to_thread(corral, "export", path)
            return done.stdout, done.stderr

    out, err = asyncio.run(main())

    assert [json.loads(line).get("path") for line in out.splitlines()] == [None, ""]
    assert err == "1 node exported, 1 ephemeral left out\n"


@pytest.mark.parametrize(
    ("existing", "says", "data", "code"),
    [
        ("fail", "corral: stopped at {path}: Node already exists: {path}; 1 created, 0 overwritten", "old", 1),
        ("skip", "1 node created, 0 overwritten, 1 left as they are", "old", 0),
        ("overwrite", "1 node created, 1 overwritten, 0 left as they are", "new", 0),
    ],
)
def test_what_is_there_is_treated_as_told(
    corral: Corral, shell: Corral, path: str, existing: str, says: str, data: str, code: int
) -> None:
    shell(f"create {path} old")
    text = f'{HEADER}\n{{"path": "", "data": "new"}}\n{{"path": "/b", "data": ""}}'

    done = corral("import", path, "--existing", existing, stdin=text)

    assert (done.stderr, done.exit_code) == (says.format(path=path) + "\n", code)
    assert shell(f"get {path}").stdout == f"{data}\n"


def test_a_dry_run_changes_nothing(corral: Corral, shell: Corral, path: str) -> None:
    text = f'{HEADER}\n{{"path": "", "data": ""}}\n{{"path": "/b", "data": ""}}'

    done = corral("import", f"{path}/deep", "--dry-run", stdin=text)

    assert done.stderr == "2 nodes would be created, 0 overwritten, 0 left as they are\n"
    assert shell(f"ls {path}").stderr == f"Node does not exist: {path}\n"


def test_the_root_goes_out_without_the_servers_own_nodes(corral: Corral, shell: Corral, path: str) -> None:
    shell(f"create {path} x")

    out = corral("export", "/", "--no-acl", "--auth", "digest:bob:pw")

    paths = [json.loads(line)["path"] for line in out.stdout.splitlines()[1:]]
    assert path in paths
    assert not [each for each in paths if each.startswith("/zookeeper")]
    assert '"acl"' not in out.stdout


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["{}"], "line 1: this is no file of corral export, or one of a later version"),
        ([""], "line 1: this is no file of corral export, or one of a later version"),
        (["what"], "line 1: it is no JSON: "),
        ([HEADER, *['{"path": "/a", "data": ""}'] * 2], "line 3: /a is there already, in line 2"),
        ([HEADER, "[]"], "line 2: it is no JSON object"),
        ([HEADER, '{"path": ""}'], "line 2: data is missing"),
        ([HEADER, '{"path": "", "data": ""}', '{"path": "a", "data": ""}'], "line 3: invalid path 'a'"),
        ([HEADER, '{"path": "", "data": 5}'], "line 2: a value is of a wrong type"),
        ([HEADER, '{"path": "", "data": "", "acl": ["x"]}'], "line 2: 'x' is no entry of an access list"),
        ([HEADER, '{"path": "", "data_base64": "?"}'], "line 2: "),
    ],
)
def test_a_damaged_file_is_named_by_line(lines: list[str], says: str) -> None:
    def read() -> list[transfer.Node]:
        transfer.parse_header(lines[0])
        return list(transfer.parse_nodes(lines[1:]))

    with pytest.raises(UsageError) as caught:
        read()

    assert str(caught.value).startswith(says)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"{\xe4}")

    latin = CliRunner().invoke(main, ["import", "-i", str(tmp_path / "latin")])
    directory = CliRunner().invoke(main, ["import", "-i", str(tmp_path)])

    assert latin.stderr == f"corral: {tmp_path}/latin is not UTF-8: invalid continuation byte at byte 1\n"
    assert directory.stderr == f"corral: cannot read {tmp_path}: Is a directory\n"
    assert (latin.exit_code, directory.exit_code) == (2, 2)


def test_a_damaged_file_changes_nothing(corral: Corral, shell: Corral, path: str) -> None:
    done = corral("import", path, stdin=f'{HEADER}\n{{"path": "", "data": ""}}\nnonsense\n')

    assert (done.stderr.partition(":")[0], done.exit_code) == ("corral", 2)
    assert shell(f"ls {path}").stderr == f"Node does not exist: {path}\n"


def test_an_export_that_fails_leaves_the_old_file(corral: Corral, tmp_path: Path) -> None:
    file = tmp_path / "tree.jsonl"
    file.write_text("old")

    done = corral("export", "/nope", "-o", str(file))

    assert (done.stderr, done.exit_code) == ("corral: Node does not exist: /nope\n", 1)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_an_export_to_a_pipe_leaves_the_pipe_and_a_link_leads_to_a_file(
    corral: Corral, shell: Corral, path: str, tmp_path: Path
) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("file")
    shell(f"create {path} text")

    # Open both ways, so that neither end waits for the other.
    end = os.open(pipe, os.O_RDWR)
    try:
        piped = corral("export", path, "-o", str(pipe))
        assert pipe.is_fifo()
        read = os.read(end, 65536).decode()
    finally:
        os.close(end)
    linked = corral("export", path, "-o", str(link))

    assert (piped.exit_code, linked.exit_code) == (0, 0)
    assert link.is_symlink()
    assert read.splitlines()[1] == (tmp_path / "file").read_text().splitlines()[1]


@pytest.mark.parametrize("program", ["export", "shell"])
def test_what_cannot_be_written_is_one_sentence(cli_server: Process, shell: Corral, path: str, program: str) -> None:
    shell(f"create {path} {'x' * 100_000}")
    arguments = [path] if program == "export" else ["-c", f"get {path}"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "corral", program, *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"CORRAL_CONNECT": f"127.0.0.1:{cli_server.port}"}, timeout=60, check=False,
        )  # fmt: skip

    assert (done.stderr, done.returncode) == ("corral: cannot write standard output: No space left on device\n", 2)


@pytest.mark.parametrize("arguments", [["export", "/zookeeper"], ["shell", "-c", "ls /"]])
def test_a_closed_output_is_one_sentence(cli_server: Process, arguments: list[str]) -> None:
    done = run_without(">&-", cli_server, arguments)

    assert (done.stderr, done.returncode) == ("corral: cannot write standard output: Bad file descriptor\n", 2)


def test_a_closed_input_is_an_empty_one(cli_server: Process) -> None:
    script = run_without("<&-", cli_server, ["shell"])
    copy = run_without("<&-", cli_server, ["import", "/never"])

    assert (script.stderr, script.returncode) == ("", 0)
    assert copy.stderr.startswith("corral: line 1: this is no file of corral export")
    assert copy.returncode == 2


def run_without(closed: str, server: Process, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `corral` with a stream closed by the redirection `closed`."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "corral", *arguments], text=True,
        capture_output=True, env=os.environ | {"CORRAL_CONNECT": f"127.0.0.1:{server.port}"}, timeout=60, check=False,
    )  # fmt: skip


def test_a_directory_is_no_place_for_an_export(corral: Corral, shell: Corral, path: str, tmp_path: Path) -> None:
    shell(f"create {path}")

    done = corral("export", path, "-o", str(tmp_path))

    assert (done.stderr, done.exit_code) == (f"corral: cannot write {tmp_path}: Is a directory\n", 2)


def test_an_export_is_utf8_whatever_the_locale_is(cli_server: Process, shell: Corral, path: str) -> None:
    shell(f"create {path} \N{LATIN SMALL LETTER U WITH DIAERESIS}")
    env = os.environ | {"CORRAL_CONNECT": f"127.0.0.1:{cli_server.port}", "PYTHONIOENCODING": "latin-1"}

    command = [sys.executable, "-m", "corral"]
    out = subprocess.run([*command, "export", path], capture_output=True, env=env, timeout=60, check=True)
    subprocess.run([*command, "import", f"{path}-copy"], input=out.stdout, env=env, timeout=60, check=True)

    assert '"data": "\N{LATIN SMALL LETTER U WITH DIAERESIS}"' in out.stdout.decode()
    assert shell(f"get {path}-copy").stdout == "\N{LATIN SMALL LETTER U WITH DIAERESIS}\n"
