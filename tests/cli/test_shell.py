"""The shell against a server: zkCli's commands, JSON, exit codes, errors of one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Corral
from tests.support.servers import Process

from corral.cli.shell.session import COMMANDS
from corral.cli.text import acl_text
from corral.client.values import digest_acl

ZKCLI = """
addauth addWatch close config connect create delete deleteall delquota exit get getAcl getAllChildrenNumber
getEphemerals history listquota ls ls2 printwatches quit reconfig redo removewatches set setAcl setquota stat sync
version whoami
"""


def test_every_command_of_zkcli_is_there() -> None:
    assert [name for name in ZKCLI.split() if name not in COMMANDS] == []


def test_nodes_are_made_read_changed_and_deleted(shell: Corral, path: str) -> None:
    done = shell(
        f"create {path} 'two words'", f"get {path}", f'set {path} {{"a":1}}', f"get {path}", f"create {path}/b",
        f"ls {path}", f"ls -R {path}", f"getAllChildrenNumber {path}", f"deleteall {path} -b 100", f"ls {path}",
    )  # fmt: skip

    assert done.stdout.splitlines() == [
        f"Created {path}", "two words", '{"a":1}', f"Created {path}/b", "[b]", path, f"{path}/b", "1",
    ]  # fmt: skip
    assert done.stderr == f"Node does not exist: {path}\n"
    assert done.exit_code == 1


def test_a_stat_has_zkclis_lines(shell: Corral, path: str) -> None:
    done = shell(f"create {path} x", f"get -s {path}")

    lines = done.stdout.splitlines()[2:]
    names = [line.partition(" = ")[0] for line in lines]
    assert names == [
        "cZxid", "ctime", "mZxid", "mtime", "pZxid", "cversion", "dataVersion", "aclVersion", "ephemeralOwner",
        "dataLength", "numChildren",
    ]  # fmt: skip
    assert lines[0].startswith("cZxid = 0x")
    assert lines[-3:] == ["ephemeralOwner = 0x0", "dataLength = 1", "numChildren = 0"]


def test_kinds_of_nodes_are_made(shell: Corral, path: str) -> None:
    made = shell(
        f"create -p {path}/a/b", f"create -s {path}/n-", f"create -c {path}/box", f"create -t 60000 {path}/brief",
        f"create -e {path}/e", f"create -e -s {path}/es-", f"getEphemerals {path}",
        options=("--json",),
    )  # fmt: skip

    found = [json.loads(line) for line in made.stdout.splitlines()]
    assert [each["path"] for each in found[:6]] == [
        f"{path}/a/b", f"{path}/n-0000000001", f"{path}/box", f"{path}/brief", f"{path}/e", f"{path}/es-0000000005",
    ]  # fmt: skip
    assert found[6] == [f"{path}/e", f"{path}/es-0000000005"]


@pytest.mark.parametrize(
    ("command", "says", "code"),
    [
        ("lss /", "there is no command 'lss'; did you mean ls?", 2),
        ("ls", "the command needs more; usage: ls [-s] [-w] [-R] path", 2),
        ("ls nope", "invalid path 'nope': it must start with /\n", 2),
        ("get /nope", "Node does not exist: /nope", 1),
        ("create / x", "Node already exists: /", 1),
        ("create -t 1099511627776 {path}/x", "ttl_ms 1099511627776: must be from 1 to 1099511627775", 2),
        ("delete -v 9 {path}", "The version given is not the present one: {path}", 1),
        ("set {path} @@ -b", "-b needs base64, not '@@': Only base64 data is allowed", 2),
        ("set {path} -f /nope", "cannot read /nope: No such file or directory", 2),
        ("create -e -c {path}/x", "a znode is ephemeral, a container or has a time to live, not several of these", 2),
        ("delete /", "The server does not accept these arguments: /", 2),
        ("setAcl {path} world:x", "'world:x' is no entry of an access list; write scheme:id:permissions", 2),
        ("removewatches {path}", "There is no such watch: {path}", 1),
        ("listquota {path}", "quota for {path} does not exist", 1),
        ("watch -n 0 {path}", "-n 0: must be at least 1; usage: watch", 2),
        ("redo 99", "history has no command 99", 2),
        ("reconfig -file /nope", "cannot read /nope: No such file or directory\n", 2),
        ("reconfig -remove 1", "The server does not allow reconfig; it needs reconfigEnabled=true", 1),
        ("addauth nosuch x", "The server does not accept these credentials", 1),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    shell: Corral, path: str, command: str, says: str, code: int
) -> None:
    done = shell(f"create {path}", command.format(path=path))

    assert done.stderr.startswith(says.format(path=path)), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.exit_code == code


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--session-timeout", "2147483648", "2147483648 is not in the range 1<=x<=2147483647"),
        ("--timeout", "0", "0.0 is not in the range x>0"),
        ("--timeout", "nan", "'nan' is no number of seconds"),
    ],
)
def test_a_timeout_that_cannot_be_is_refused(corral: Corral, option: str, value: str, says: str) -> None:
    done = corral("shell", option, value, "-c", "ls /")

    assert says in done.stderr
    assert done.exit_code == 2


def test_nobody_there_is_exit_code_3(corral: Corral) -> None:
    done = corral("shell", "127.0.0.1:1", "--timeout", "0.2", "-c", "ls /")

    assert done.exit_code == 3
    assert done.stderr.startswith("corral: ")
    assert done.stderr.count("\n") == 1


def test_a_script_stops_at_its_first_failure_unless_told_to_go_on(corral: Corral, path: str) -> None:
    script = f"# a comment\n\ncreate {path}\nget {path}/nope\ncreate {path}/b\nnonsense\n"

    stopped = corral("shell", stdin=script)
    kept_on = corral("shell", "--keep-going", stdin=script)

    assert (stopped.stdout, stopped.exit_code) == (f"Created {path}\n", 1)
    assert (kept_on.stdout, kept_on.exit_code) == (f"Created {path}/b\n", 1)


def test_a_command_that_is_not_utf8_is_refused(shell: Corral, path: str) -> None:
    done = shell(f"create {path} \udcff")

    assert (done.stderr, done.exit_code) == ("the command is not UTF-8\n", 2)


def test_a_reader_that_has_enough_is_no_error(cli_server: Process, shell: Corral, path: str) -> None:
    shell(f"create {path}", *(f"create {path}/{'n' * 200}{number}" for number in range(400)))
    command = [sys.executable, "-m", "corral", "shell", f"127.0.0.1:{cli_server.port}", "-c", f"ls -R {path}"]

    # Without a buffer nothing would be left to be written at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    process.stdout.close()
    with process.stderr as stderr:
        said = stderr.read()

    assert (first, said, process.wait(30)) == (f"{path}\n", "", 0)


def test_errors_are_json_too(shell: Corral) -> None:
    done = shell("get /nope", options=("--json",))

    assert json.loads(done.stderr) == {
        "error": "NoNode", "message": "Node does not exist: /nope", "outcome": "NOT_APPLIED",
    }  # fmt: skip


def test_access_lists_bind_and_credentials_open(shell: Corral, path: str) -> None:
    denied = shell(f"create {path} secret {acl_text(digest_acl('bob', 'pw'))}", f"get {path}")
    opened = shell("addauth digest bob:pw", "whoami", f"create -s {path}-own x auth::r", options=("--json",))
    own = json.loads(opened.stdout.splitlines()[1])["path"]
    listed = shell(f"getAcl {own}", f"setAcl {own} world:anyone:r", options=("--auth", "digest:bob:pw"))

    assert (denied.stderr, denied.exit_code) == (f"Insufficient permission: {path}\n", 1)
    assert {"scheme": "digest", "id": "bob"} in json.loads(opened.stdout.splitlines()[0])
    assert listed.stdout.startswith("'digest,'bob:")
    assert listed.stdout.endswith("\n: r\n")
    assert listed.stderr == f"Insufficient permission: {own}\n"


def test_quotas_are_set_listed_bound_and_ended(shell: Corral, path: str) -> None:
    done = shell(
        f"create {path}", f"setquota -N 2 {path}", f"setquota -b 5 {path}", f"listquota {path}", f"create {path}/one",
        f"setquota -n 9 {path}/one", options=("-k",),
    )  # fmt: skip
    refused = shell(f"create {path}/two")
    ended = shell(f"delquota -N {path}", f"create {path}/two", f"delquota {path}", f"stat /zookeeper/quota{path}")

    assert done.stdout.splitlines()[1:4] == [
        f"absolute path is /zookeeper/quota{path}/zookeeper_limits",
        f"Output quota for {path} count=-1,bytes=5=;byteHardLimit=-1;countHardLimit=2",
        f"Output stat for {path} count=1,bytes=0",
    ]
    assert done.stderr == f"{path}/one has a parent {path} which has a quota\n"
    assert refused.stderr == f"The quota is exceeded: {path}/two\n"
    assert ended.stdout == f"Created {path}/two\n"
    assert ended.stderr == f"Node does not exist: /zookeeper/quota{path}\n"


def test_watches_print_as_zkclis(shell: Corral, path: str) -> None:
    done = shell(
        f"create {path}", f"get -w {path}", f"set {path} x", f"addWatch -m PERSISTENT {path}", f"set {path} y",
        "printwatches off", f"set {path} z", "printwatches", f"removewatches -p {path}", "printwatches on",
        f"set {path} z", f"ls -w {path}", f"create {path}/b",
    )  # fmt: skip

    told = f"WATCHER::\nWatchedEvent state:SyncConnected type:NodeDataChanged path:{path}\n"
    child = f"WATCHER::\nWatchedEvent state:SyncConnected type:NodeChildrenChanged path:{path}\n"
    assert done.stdout == (f"Created {path}\n\n{told}{told}printwatches is off\n[]\n{child}Created {path}/b\n")
    assert done.exit_code == 0


def test_a_tree_is_drawn(shell: Corral, path: str) -> None:
    done = shell(f"create -p {path}/a/b", f"create -p {path}/c/d", f"tree {path}", f"tree -L 1 {path}")

    assert done.stdout.splitlines()[2:] == [
        path, "├── a", "│   └── b", "└── c", "    └── d", path, "├── a  (1 below)", "└── c  (1 below)",
    ]  # fmt: skip


def test_a_tree_is_nested_json(shell: Corral, path: str) -> None:
    done = shell(f"create -p {path}/a/b", f"tree {path}", options=("--json",))

    leaf = {"path": f"{path}/a/b", "children": []}
    assert json.loads(done.stdout.splitlines()[1]) == {
        "path": path, "children": [{"path": f"{path}/a", "children": [leaf]}],
    }  # fmt: skip


def test_a_tree_that_is_too_deep_for_json_says_so(shell: Corral, path: str) -> None:
    done = shell(f"create -p {path}{'/a' * 1000}", f"tree {path}", options=("--json",))

    assert "is too deep for JSON: give it a depth with -L" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.exit_code == 2


def test_data_comes_from_files_and_base64(shell: Corral, path: str, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"\x00\xff")

    done = shell(f"create -f {file} {path}", f"get -b {path}", f"set -b {path} aGk=", f"get {path}")

    assert done.stdout == f"Created {path}\nAP8=\nhi\n"


def test_history_and_redo(shell: Corral) -> None:
    done = shell("ls /zookeeper/config", "redo 0", "history")

    assert done.stdout == "[]\n[]\n0 - ls /zookeeper/config\n1 - ls /zookeeper/config\n2 - history\n"


def test_a_closed_shell_connects_again(shell: Corral) -> None:
    done = shell("close", "ls /zookeeper/config", "connect", "ls /zookeeper/config", options=("-k",))

    assert done.stdout.startswith("Connected to 127.0.0.1:")
    assert done.stdout.endswith("\n[]\n")
    assert (done.stderr, done.exit_code) == ("not connected; say: connect HOST:PORT\n", 3)


def test_a_chroot_is_the_root(corral: Corral, shell: Corral, path: str) -> None:
    servers = json.loads(shell("connect", options=("--json",)).stdout)["connected"]
    shell(f"create -p {path}/a")

    done = corral("shell", servers + path, "-c", "ls -R /", "-c", "setquota -n 5 /a")

    assert done.stdout == "/\n/a\n"
    assert done.stderr == f"quotas are not below the chroot {path}; connect without it\n"


def test_help_knows_every_command(shell: Corral) -> None:
    done = shell("help", "help ls")

    assert done.stdout.count("\n    ") == len(COMMANDS) + 1
    assert done.stdout.endswith(
        "ls [-s] [-w] [-R] path\n    the children of a node; with its stat, a watch, all below it\n"
    )
