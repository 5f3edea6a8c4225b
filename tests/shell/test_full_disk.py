"""A disk that is really full: a small file system of its own, which only the server sees."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.servers import Process
from tests.support.wireclient import Closed, WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import OPEN_ACL

ON_4_MIB = """
directory=$1 code=$2; shift 2
mount -t tmpfs -o size=4m tmpfs "$directory" || exit 99
"""
ONCE = ON_4_MIB + 'exec "$@"'
# Notes the first server's exit code, and starts a second one with more room.
TWICE = (
    ON_4_MIB
    + """
trap 'kill $!; wait $!; exit' TERM
"$@" & wait $!
echo $? > "$code"
mount -o remount,size=64m tmpfs "$directory"
exec "$@"
"""
)
DATA = b"x" * 50_000
NODES = 200


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server by a script, with one of its directories on 4 MiB. Skips where nothing can be mounted."""
    target = tmp_path / "probe"
    target.mkdir()
    for unshare in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        try:
            subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", str(target)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        break
    else:
        pytest.skip("a small file system cannot be mounted here: unshare --mount is not allowed, or is not installed")
    started: list[Process] = []

    def run(script: str, small: Path, **keys: str) -> Process:
        server = Process("corral", tmp_path, **keys)
        started.append(server)
        return server.start([*unshare, "sh", "-c", script, "sh", str(small), str(tmp_path / "code")])

    yield run
    for server in started:
        server.stop()


def create(client: WireClient, number: int) -> None:
    request = records.CreateRequest(b"/n%d" % number, DATA, OPEN_ACL, 0)
    assert client.call(op.CREATE, request)[2] == 0


def write_until_closed(writer: WireClient, reader: WireClient) -> int:
    """Make nodes, and read all the while, until the server closes; return how many were acknowledged."""
    for number in range(NODES):
        assert exists(reader, b"/")
        try:
            create(writer, number)
        except Closed:
            return number
    return NODES


def exists(client: WireClient, path: bytes) -> bool:
    return client.call(op.EXISTS, records.PathWatchRequest(path, False))[2] == 0


def lines(server: Process, level: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if f"[{level}" in line]


def test_a_full_log_disk_stops_the_server_with_one_sentence_and_loses_nothing(tmp_path: Path, start: Start) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    server = start(TWICE, logs, dataLogDir=str(logs))
    writer, reader = WireClient(server.port), WireClient(server.port)

    written = write_until_closed(writer, reader)
    assert 50 < written < NODES
    server.await_answer()

    assert (tmp_path / "code").read_text() == "3\n"
    (line,) = lines(server, "error")
    assert f"why='No space left on device in {logs}/version-2'" in line
    assert "nothing acknowledged is lost" in line
    again = WireClient(server.port)
    assert [number for number in range(written) if not exists(again, b"/n%d" % number)] == []
    create(again, 1000)
    assert server.stop() == 0
    for client in (writer, reader, again):
        client.close()


def test_a_full_snapshot_disk_stops_nothing(tmp_path: Path, start: Start) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    server = start(ONCE, tmp_path / "data", dataLogDir=str(logs), snapCount="20")
    client = WireClient(server.port)

    for number in range(NODES):
        create(client, number)
    while not lines(server, "error"):
        client.call(op.SET_DATA, records.SetDataRequest(b"/n0", DATA, -1))

    assert "snapshot failed; the log is kept whole" in lines(server, "error")[0]
    assert f"No space left on device in {tmp_path}/data/version-2" in lines(server, "error")[0]
    assert exists(client, b"/n%d" % (NODES - 1))
    assert server.stop() == 0
    client.close()
