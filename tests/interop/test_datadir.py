"""A data directory written by one server opens in the other: nodes, stats, access lists and sessions are equal."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.core import multi_body
from tests.support.servers import Process, need_apache
from tests.support.wireclient import WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import ACL, OPEN_ACL
from corral.wire.schema import decode

pytestmark = pytest.mark.interop

DIRECTIONS = [
    ("apache", "corral", signal.SIGTERM),
    ("apache", "corral", signal.SIGKILL),
    ("corral", "apache", signal.SIGTERM),
    ("corral", "apache", signal.SIGKILL),
]


def fill(client: WireClient) -> None:
    """Make nodes of every kind."""

    def create(path: bytes, data: bytes | None = b"data", flags: int = 0, acl: list[ACL] = OPEN_ACL) -> None:
        code = op.CREATE_CONTAINER if flags == 4 else op.CREATE
        assert client.call(code, records.CreateRequest(path, data, acl, flags))[2] == 0

    client.call(op.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4)
    for path in (b"/a", b"/a/b", b"/a/b/c", "/ünï".encode()):
        create(path)
    create(b"/null", None)
    create(b"/empty", b"")
    create(b"/big", b"x" * 200_000)
    create(b"/e", b"mine", 1)
    create(b"/seq-", b"", 2)
    create(b"/seq-", b"", 3)
    create(b"/container", b"", 4)
    create(b"/acl", b"", 0, [ACL(31, "auth", ""), ACL(1, "world", "anyone"), ACL(3, "ip", "127.0.0.0/8")])
    create(b"/zookeeper/quota/a")
    create(b"/zookeeper/quota/a/zookeeper_limits", b"count=10,bytes=-1")
    create(b"/zookeeper/quota/a/zookeeper_stats", b"")
    for i in range(50):
        create(b"/a/n%d" % i, b"%d" % i)
    for i in range(0, 50, 3):
        assert client.call(op.DELETE, records.DeleteRequest(b"/a/n%d" % i, -1))[2] == 0
    for _ in range(5):
        client.call(op.SET_DATA, records.SetDataRequest(b"/a", b"changed", -1))
    client.call(op.SET_ACL, records.SetAclRequest(b"/a/b", [ACL(1, "world", "anyone")], -1))
    parts = [
        (op.CREATE, records.CreateRequest(b"/m", b"", OPEN_ACL, 0)),
        (op.SET_DATA, records.SetDataRequest(b"/m", b"2", 0)),
        (op.CHECK, records.CheckVersionRequest(b"/m", 1)),
    ]
    assert client.call(op.MULTI, multi_body(*parts))[2] == 0
    client.call(op.MULTI, multi_body(*parts))
    client.call(op.DELETE, records.DeleteRequest(b"/none", -1))


def walk(client: WireClient, path: bytes = b"/") -> dict[bytes, Any]:
    """Read the whole tree: data, stat and access list of every node."""
    _, _, err, body = client.call(op.GET_DATA, records.PathWatchRequest(path, False))
    assert err == 0, (path, err)
    _, _, err, acl = client.call(op.GET_ACL, records.PathRequest(path))
    assert err == 0, (path, err)
    found = {path: (body, decode(records.GetAclResponse, acl).acl)}
    _, _, _, listed = client.call(op.GET_CHILDREN, records.PathWatchRequest(path, False))
    for name in decode(records.GetChildrenResponse, listed).children or ():
        found.update(walk(client, path.rstrip(b"/") + b"/" + name))
    return found


@pytest.mark.parametrize(("writer", "reader", "how"), DIRECTIONS)
def test_a_directory_moves_between_servers(tmp_path: Path, writer: str, reader: str, how: signal.Signals) -> None:
    need_apache()
    first = Process(writer, tmp_path / "first", maxSessionTimeout="120000")
    with first:
        client = WireClient(first.port, 100_000)
        fill(client)
        before = walk(client)
        client.close()
        first.stop(how)
    shutil.copytree(tmp_path / "first" / "data", tmp_path / "second" / "data")
    with Process(reader, tmp_path / "second", maxSessionTimeout="120000") as second:
        resumed = WireClient(second.port, 100_000, client.session, client.password)
        assert resumed.session == client.session
        resumed.call(op.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4)

        assert walk(resumed) == before

        made = resumed.call(op.CREATE, records.CreateRequest(b"/seq-", b"", OPEN_ACL, 2))
        # Sequence numbers go on where they were: six nodes stood under the root before, and these two and more after.
        assert made[3].endswith(b"%010d" % (len([p for p in before if p.count(b"/") == 1]) - 2))
        assert resumed.call(op.CLOSE_SESSION)[2] == 0
        resumed.close()
        other = WireClient(second.port)
        assert other.call(op.EXISTS, records.PathWatchRequest(b"/e", False))[2] == -101
        other.close()
        log = second.log.read_text()
    assert "digest differs" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(("writer", "reader"), [("apache", "corral"), ("corral", "apache"), ("corral", "corral")])
def test_a_log_of_closes_without_paths_is_read(tmp_path: Path, writer: str, reader: str) -> None:
    """closeSessionTxn.enabled=false at both; Corral reads such a log with any setting."""
    need_apache()
    setting = {"closeSessionTxn.enabled": "false"}
    with Process(writer, tmp_path / "first", **setting) as first:
        staying, closing = WireClient(first.port), WireClient(first.port)
        for client, path in ((staying, b"/mine"), (closing, b"/gone")):
            assert client.call(op.CREATE, records.CreateRequest(path, b"", OPEN_ACL, 1))[2] == 0
        assert closing.call(op.CLOSE_SESSION)[2] == 0
        assert staying.call(op.CREATE, records.CreateRequest(b"/after", b"", OPEN_ACL, 0))[2] == 0
        first.stop(signal.SIGKILL)
        staying.close()
        closing.close()
    shutil.copytree(tmp_path / "first" / "data", tmp_path / "second" / "data")
    with Process(reader, tmp_path / "second", **(setting if reader == "apache" else {})) as second:
        client = WireClient(second.port)
        _, _, _, listed = client.call(op.GET_CHILDREN, records.PathWatchRequest(b"/", False))
        client.close()
        log = second.log.read_text()

    assert sorted(decode(records.GetChildrenResponse, listed).children) == [b"after", b"mine", b"zookeeper"]
    assert "digest differs" not in log
