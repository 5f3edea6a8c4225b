"""corral shell beside zkCli: the same commands at the same server, and the same lines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.servers import APACHE_CLASSES, Process, need_apache

pytestmark = pytest.mark.interop

COMMANDS = """\
create /a hello
get -s /a
set -s /a "two words"
get /a
create /a/b {"x":1}
create -s /a/s- one
create -e /a/e two
create -c /a/box
create /a/acl x world:anyone:r,ip:127.0.0.1:crwda
ls /a
ls -s /a
ls -R /a
stat /a
getAcl /a/acl
getAcl -s /a/acl
setAcl -s /a world:anyone:cdrwa
addauth digest bob:pw
whoami
setquota -n 5 /a
listquota /a
delquota /a
getAllChildrenNumber /a
getEphemerals
getEphemerals /a
get -w /a
set /a seen
addWatch /a
set /a again
removewatches /a
sync /a
printwatches
deleteall /a
quit
"""


def test_the_shell_shows_what_zkcli_shows(tmp_path: Path) -> None:
    need_apache()
    java = ["java", "-Xmx128m", "-cp", APACHE_CLASSES, "org.apache.zookeeper.ZooKeeperMain", "-server"]
    with Process("apache", tmp_path) as server:
        address = f"127.0.0.1:{server.port}"
        theirs = shown([*java, address])
        ours = shown([sys.executable, "-m", "corral", "shell", address])

    # Theirs says more: that it connects, and what was typed.
    assert [line for line in ours if line not in theirs] == []
    assert len(ours) > 80


def shown(command: list[str]) -> list[str]:
    """Run the commands in a shell; return its lines, with times and ids taken out."""
    done = subprocess.run(command, input=COMMANDS, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"(?m)^(ctime|mtime) = .*", r"\1 = a time", done.stdout + done.stderr)
    lines = re.sub(r"0x[0-9a-f]+", "an id", text).splitlines()
    # What a listing has comes in any order there.
    return [f"[{', '.join(sorted(line[1:-1].split(', ')))}]" if line[:1] == "[" else line for line in lines if line]
