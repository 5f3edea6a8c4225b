"""Apache's own command line, on Java: it says the same at Corral as at Apache ZooKeeper."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.servers import APACHE_CLASSES, Process, need_apache

pytestmark = pytest.mark.interop

COMMANDS = """\
create /a hello
create /a again
get -s /a
set -s /a world
set -v 7 /a never
get -w /a
set /a seen
create -s /a/s- one
create -e /a/e two
create -e -s /a/es- three
create -c /box
create -c /box/inside data
create -t 100000 /ttl data
create /nope/x
ls /a
ls -s /a
ls -R /
ls -w /a
stat /a
stat -w /a
stat /nope
getAcl /a
getAcl -s /zookeeper/config
addauth digest bob:pw
create /locked secret auth::cdrwa
create /partly data world:anyone:r
getAcl /locked
set /partly denied
setAcl /a world:anyone:cdrwa
setAcl -s -R /a world:anyone:cdrwa
setAcl /a nosuch:x:r
addWatch -m PERSISTENT /a
addWatch -m PERSISTENT_RECURSIVE /a
setquota -n 5 /a
setquota -b 100 /a
setquota -N 50 /box
listquota /a
listquota /box
delquota -n /a
listquota /a
getAllChildrenNumber /
getEphemerals
getEphemerals /a
whoami
sync /a
config
delete /a/none
delete /a
delete -v 9 /a/e
delete /a/e
deleteall /a
deleteall /zookeeper/quota/box
removewatches /box
printwatches off
version
ls /
quit
"""
SPOKEN = (
    "Created /a", "Node already exists: /a", "hello", "dataVersion = 0", "world", "Created /a/s-0000000000",
    "Created /a/e", "Created /box", "Created /ttl", "e, es-0000000002, s-0000000000", "'world,'anyone",
    "Created /locked", "'digest,'bob:", "count=5", "numChildren = 3", "box, locked, partly, ttl, zookeeper",
    "digest: bob", "Insufficient permission : /partly", "Acl is not valid : /a", "Sync is OK",
)  # fmt: skip
"""What some of the answers contain, so that not two silent shells are compared."""


def test_the_java_shell_says_the_same(tmp_path: Path) -> None:
    need_apache()
    said = {}
    for kind in ("apache", "corral"):
        with Process(kind, tmp_path / kind, extendedTypesEnabled="true") as server:
            said[kind] = say(server.port)
            log = server.log_text()
        assert "Traceback" not in log

    for expected in SPOKEN:
        assert any(expected in line for line in said["corral"]), f"{expected!r} is not in {said['corral']}"
    assert not [line for line in said["corral"] if "Exception" in line]
    assert said["corral"] == said["apache"]


def say(port: int) -> list[str]:
    """Do the commands; return the lines in which the answers stand, with the times and session ids taken out."""
    shell = ["java", "-Xmx128m", "-cp", APACHE_CLASSES, "org.apache.zookeeper.ZooKeeperMain"]
    done = subprocess.run(
        [*shell, "-server", f"127.0.0.1:{port}"], input=COMMANDS, capture_output=True, text=True, timeout=90
    )
    assert done.returncode in (0, 1), done.stderr
    lines = []
    for line in (done.stdout + done.stderr).splitlines():
        line = re.sub(r"^(ctime|mtime) = .*", r"\1 = a time", line)
        line = re.sub(r"0x[0-9a-f]{9,16}", "a session", line)
        line = line.replace(str(port), "a port")
        if line.startswith("["):
            line = ", ".join(sorted(line.strip("[]").split(", ")))
        # Events are printed by another thread, between any two lines.
        if line and not line.startswith(("WATCHER::", "WatchedEvent", "SLF4J")):
            lines.append(line)
    # Who one is comes in no order.
    ids = sorted(line for line in lines if line.startswith(("digest: ", "ip: ")))
    return [line for line in lines if line not in ids] + ids
