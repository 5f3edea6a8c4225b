"""The C client library against Corral."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.servers import Process, missing_peer

pytestmark = pytest.mark.interop

SOURCE = Path(__file__).with_name("c_client.c")
EXPECTED = """\
create 0
create again -110
wget 0 one 0
event 3 /c
set 0
set with an old version -103
aget starts 0
aget 0 two version 1
exists -101
create sequential ephemeral 0 /c/s-0000000000
children 0 1 s-0000000000
multi 0
failing multi -101 0 -101
delete -111
close 0
"""


def test_the_c_client_does_its_calls(tmp_path: Path) -> None:
    if shutil.which("gcc") is None or not os.path.exists("/usr/include/zookeeper/zookeeper.h"):
        missing_peer("the C client library (libzookeeper-mt-dev) or gcc is not installed")
    program = tmp_path / "c_client"
    subprocess.run(
        ["gcc", "-Wall", "-DTHREADED", "-o", str(program), str(SOURCE), "-lzookeeper_mt", "-lpthread"], check=True
    )
    with Process("corral", tmp_path / "server") as server:
        done = subprocess.run([program, f"127.0.0.1:{server.port}"], capture_output=True, text=True, timeout=60)
        log = server.log.read_text()

    assert done.returncode == 0, done.stderr
    # The event is printed by another thread than the call that caused it: only its own place may differ.
    assert sorted(done.stdout.splitlines()) == sorted(EXPECTED.splitlines()), done.stdout + done.stderr
    assert "Traceback" not in log
