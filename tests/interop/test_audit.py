"""The same requests at Corral and at Apache ZooKeeper leave the same audit lines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.support.core import multi_body
from tests.support.servers import Process, need_apache
from tests.support.wireclient import WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import ACL, OPEN_ACL

JAVA = ("-Dzookeeper.audit.enable=true",)
APACHE_LINE = re.compile(r" org\.apache\.zookeeper\.audit\.Slf4jAuditLogger - (.*)")


@pytest.mark.interop
def test_lines_are_those_of_apache(tmp_path: Path) -> None:
    need_apache()

    apache = _lines_after_requests(Process("apache", tmp_path / "apache", JAVA, extendedTypesEnabled="true"))
    keys = {"audit.enable": "true", "corral.log.format": "json", "corral.log.level": "error"}
    corral = _lines_after_requests(Process("corral", tmp_path / "corral", **keys, extendedTypesEnabled="true"))

    # Apache 3.8 says nothing of a node with a time to live that is made outside a multi; later ones do, as Corral does.
    with_ttl = [line for line in corral if "_with_ttl" in line]
    assert len(apache) > 20
    assert [line for line in corral if line not in with_ttl] == apache
    assert [line.split("\t", 4)[-1] for line in with_ttl] == [
        "znode=/t\tznode_type=persistent_with_ttl\tresult=success",
        "znode=/t-0000000005\tznode_type=persistent_sequential_with_ttl\tresult=success",
    ]


def _lines_after_requests(server: Process) -> list[str]:
    with server:
        client = WireClient(server.port)
        client.call(op.AUTH, records.AuthPacket(0, "digest", b"bob:secret"), xid=op.XID_AUTH)
        _send_all(client)
        client.call(op.CLOSE_SESSION)
        client.close()
        server.stop()
    lines = [_normal(line) for line in _audit_lines(server)]
    # Apache deletes the ephemerals of a session in no particular order.
    gone = sorted(line for line in lines if "ephemeralZNodeDeletion" in line)
    return [gone.pop(0) if "ephemeralZNodeDeletion" in line else line for line in lines]


def _send_all(client: WireClient) -> None:
    def create(path: bytes, flags: int = 0, code: int = op.CREATE) -> None:
        client.call(code, records.CreateRequest(path, b"data", OPEN_ACL, flags))

    def multi(*parts: tuple[int, object]) -> None:
        client.call(op.MULTI, multi_body(*parts))

    part = records.CreateRequest
    create(b"/a")
    create(b"/a")
    create(b"/a/s-", 2, op.CREATE2)
    create(b"/e-", 3)
    create(b"/e", 1)
    create(b"/c", 4, op.CREATE_CONTAINER)
    create(b"/no/s-", 2)
    client.call(op.CREATE_TTL, records.CreateTtlRequest(b"/t", b"", OPEN_ACL, 5, 100_000))
    client.call(op.CREATE_TTL, records.CreateTtlRequest(b"/t-", b"", OPEN_ACL, 6, 100_000))
    client.call(op.SET_DATA, records.SetDataRequest(b"/a", b"new", -1))
    client.call(op.SET_DATA, records.SetDataRequest(b"/a", b"new", 77))
    client.call(op.SET_ACL, records.SetAclRequest(b"/a", [ACL(31, "world", "anyone"), ACL(9, "ip", "10.0.0.1")], -1))
    client.call(op.SET_ACL, records.SetAclRequest(b"/t", [ACL(31, "auth", "")], -1))
    client.call(op.SET_ACL, records.SetAclRequest(b"/no", [ACL(31, "world", "anyone")], -1))
    client.call(op.DELETE, records.DeleteRequest(b"/c", -1))
    client.call(op.DELETE, records.DeleteRequest(b"/a", -1))
    client.call(op.RECONFIG, records.ReconfigRequest(None, None, None, -1))
    client.call(op.GET_DATA, records.PathWatchRequest(b"/a", False))
    multi(
        (op.CREATE, part(b"/m", b"", OPEN_ACL, 0)),
        (op.CREATE2, part(b"/m/s-", b"", OPEN_ACL, 2)),
        (op.CREATE, part(b"/m/e", b"", OPEN_ACL, 1)),
        (op.CREATE_CONTAINER, part(b"/m/c", b"", OPEN_ACL, 4)),
        (op.CREATE_TTL, records.CreateTtlRequest(b"/m/t", b"", OPEN_ACL, 5, 100_000)),
        (op.CHECK, records.CheckVersionRequest(b"/m", 0)),
        (op.SET_DATA, records.SetDataRequest(b"/m", b"x", -1)),
        (op.DELETE, records.DeleteRequest(b"/m/e", -1)),
    )
    multi((op.CREATE, part(b"/n", b"", OPEN_ACL, 0)), (op.DELETE, records.DeleteRequest(b"/no", -1)))


def _audit_lines(server: Process) -> list[str]:
    text = server.log.read_text()
    if server.kind == "apache":
        return APACHE_LINE.findall(text)
    events = [str(json.loads(line)["event"]) for line in text.splitlines() if line.startswith("{")]
    return [event for event in events if "\tresult=" in event]


def _normal(line: str) -> str:
    """Replace what cannot be equal: the session's id, and the order of a client's identities, which Apache has none."""
    line = re.sub(r"session=0x[0-9a-f]+", "session=S", line)
    users = re.search(r"user=([^\t]*)", line)
    return line if users is None else line.replace(users[1], ",".join(sorted(users[1].split(","))), 1)
