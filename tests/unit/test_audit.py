"""The audit log: which requests leave which lines, and when."""

from __future__ import annotations

from tests.support.core import WALL, Client, Core, multi_body

from corral.replica.inputs import Synced
from corral.server.audit import (
    acl_text,
    audit_line,
    create_mode,
    ephemeral_line,
    request_line,
    started_line,
    stopped_line,
    users_text,
)
from corral.server.audittrail import AuditTrail
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL, OPEN_ACL


class Audited:
    """A core with an audit log, and a client. lines: what was written."""

    def __init__(self, auto: bool = True, **config: object) -> None:
        self.core = Core(auto, **config)
        self.lines: list[str] = []
        trail = AuditTrail(self.lines.append, "zookeeper", self.core.registry.multi)
        self.core.replica.pipeline.audit = trail
        self.client = self.core.client()

    def take(self) -> list[str]:
        """Return the lines since the last call, the client's session, user and address shortened to `me`."""
        lines, me = self.lines[:], who(self.client)
        self.lines.clear()
        return [line.replace(me, "me").replace("\t", " ") for line in lines]


def who(client: Client) -> str:
    return f"session=0x{client.conn.session_id:x}\tuser=127.0.0.1\tip=127.0.0.1"


# Lines.


def test_a_line_has_its_pairs_in_order() -> None:
    line = audit_line(
        "create", "success", session=0x100, user="bob", ip="127.0.0.1", znode="/a", znode_type="persistent", acl="x"
    )

    assert line == (
        "session=0x100\tuser=bob\tip=127.0.0.1\toperation=create\tznode=/a\tznode_type=persistent\tacl=x\tresult=success"
    )


def test_a_client_cannot_write_a_line_of_its_own() -> None:
    line = audit_line("create", "failure", user="eve\nsession=0x1\tuser=bob")

    assert line == "user=eve\\nsession=0x1\\tuser=bob\toperation=create\tresult=failure"


def test_lines_of_the_server_itself() -> None:
    assert started_line("zk") == "user=zk\toperation=serverStart\tresult=success"
    assert started_line("zk", is_success=False) == "user=zk\toperation=serverStart\tresult=failure"
    assert stopped_line("zk") == "user=zk\toperation=serverStop\tresult=invoked"
    assert ephemeral_line("zk", 0x2, b"/e") == (
        "session=0x2\tuser=zk\toperation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/e\tresult=success"
    )


def test_the_parts_of_a_line() -> None:
    assert users_text([("digest", "bob:h"), ("x509", "CN=a:b")]) == "bob,CN=a:b"
    assert acl_text([(1, "world", "anyone"), (12, "ip", "::1")]) == "world:anyone:rip:::1:cd"
    assert create_mode(6) == "persistent_sequential_with_ttl"
    assert create_mode(7) is None


def test_no_hash_of_a_password_is_written() -> None:
    identities = [("ip", "127.0.0.1"), ("digest", "bob:aGFzaA==")]
    acl = [(31, "digest", "bob:aGFzaA=="), (1, "digest", "aGFzaA==")]

    line = request_line(opcodes.SET_ACL, True, 1, identities, "127.0.0.1", b"/a", acl=acl[:1])

    assert "aGFzaA" not in line
    assert "user=127.0.0.1,bob\t" in line
    assert line.endswith("acl=digest:bob:x:cdrwa\tresult=success")


# What leaves a line.


def test_each_write_leaves_its_line_and_reads_none() -> None:
    audited = Audited(extended_types_enabled=True)
    client = audited.client

    client.create(b"/a")
    client.create(b"/a/s-", flags=3)
    client.call(opcodes.CREATE_TTL, records.CreateTtlRequest(b"/t", b"", OPEN_ACL, 5, 1000))
    client.call(opcodes.CREATE_CONTAINER, records.CreateRequest(b"/c", b"", OPEN_ACL, 4))
    client.set(b"/a", b"secret")
    client.call(opcodes.SET_ACL, records.SetAclRequest(b"/a", [ACL(1, "world", "anyone")], -1))
    client.delete(b"/c")
    client.get(b"/a")
    client.exists(b"/a")
    client.call(opcodes.SYNC, records.PathRequest(b"/a"))

    assert audited.take() == [
        "me operation=create znode=/a znode_type=persistent result=success",
        "me operation=create znode=/a/s-0000000000 znode_type=ephemeral_sequential result=success",
        "me operation=create znode=/t znode_type=persistent_with_ttl result=success",
        "me operation=create znode=/c znode_type=container result=success",
        "me operation=setData znode=/a result=success",
        "me operation=setAcl znode=/a acl=world:anyone:r result=success",
        "me operation=delete znode=/c result=success",
    ]


def test_a_refused_write_leaves_a_failure_with_what_was_asked_for() -> None:
    audited = Audited()
    client = audited.client

    client.create(b"/no/s-", flags=2)
    client.set(b"/no", b"x")
    client.delete(b"/no")
    client.call(opcodes.SET_ACL, records.SetAclRequest(b"/no", [ACL(31, "digest", "bob:hash")], -1))
    client.call(opcodes.RECONFIG, records.ReconfigRequest(None, None, None, -1))

    assert audited.take() == [
        "me operation=create znode=/no/s- znode_type=persistent_sequential result=failure",
        "me operation=setData znode=/no result=failure",
        "me operation=delete znode=/no result=failure",
        "me operation=setAcl znode=/no acl=digest:bob:x:cdrwa result=failure",
        "me operation=reconfig result=failure",
    ]


def test_a_multi_leaves_a_line_for_each_part_that_changed_something() -> None:
    audited = Audited()
    parts = multi_body(
        (opcodes.CREATE, records.CreateRequest(b"/m", b"", OPEN_ACL, 0)),
        (opcodes.CREATE2, records.CreateRequest(b"/m/s-", b"", OPEN_ACL, 2)),
        (opcodes.CHECK, records.CheckVersionRequest(b"/m", 0)),
        (opcodes.SET_DATA, records.SetDataRequest(b"/m", b"x", -1)),
        (opcodes.CREATE, records.CreateRequest(b"/m/e", b"", OPEN_ACL, 1)),
        (opcodes.DELETE, records.DeleteRequest(b"/m/e", -1)),
    )

    audited.client.call(opcodes.MULTI, parts)

    assert audited.take() == [
        "me operation=create znode=/m znode_type=persistent result=success",
        "me operation=create znode=/m/s-0000000000 result=success",
        "me operation=setData znode=/m result=success",
        "me operation=create znode=/m/e znode_type=ephemeral result=success",
        "me operation=delete znode=/m/e result=success",
    ]


def test_a_multi_that_failed_leaves_one_line() -> None:
    audited = Audited()
    client = audited.client
    create = (opcodes.CREATE, records.CreateRequest(b"/m", b"", OPEN_ACL, 0))

    client.call(opcodes.MULTI, multi_body(create, (opcodes.DELETE, records.DeleteRequest(b"/no", -1))))
    client.call(opcodes.MULTI, b"\0")

    assert audited.take() == ["me operation=multiOperation result=failure"] * 2


def test_ephemerals_that_go_with_their_session_are_noted_in_the_servers_name() -> None:
    audited = Audited()
    audited.client.create(b"/e1", flags=1)
    audited.client.create(b"/e2", flags=1)
    audited.take()

    audited.client.send(opcodes.CLOSE_SESSION)

    session = f"session=0x{audited.client.conn.session_id:x} user=zookeeper"
    operation = "operation=ephemeralZNodeDeletionOnSessionCloseOrExpire"
    assert audited.take() == [f"{session} {operation} znode={path} result=success" for path in ("/e1", "/e2")]


def test_ephemerals_too_many_for_one_transaction_are_all_noted() -> None:
    audited = Audited(jute_maxbuffer=2000, jute_extrasize=1024)
    paths = [b"/" + b"%d" % n * 300 for n in range(9)]
    for path in paths:
        audited.client.create(path, flags=1)
    audited.take()

    audited.client.send(opcodes.CLOSE_SESSION)

    lines = audited.take()
    assert [line.split(" znode=")[1].split(" ")[0].encode() for line in lines] == paths


def test_what_the_server_does_by_itself_otherwise_is_not_noted() -> None:
    audited = Audited()
    audited.client.call(opcodes.CREATE_CONTAINER, records.CreateRequest(b"/c", b"", OPEN_ACL, 4))
    audited.take()

    audited.core.replica.pipeline.delete_container(b"/c", audited.core.now, WALL)
    audited.core.sync()

    assert audited.core.tree.get(b"/c") is None
    assert audited.take() == []


def test_a_line_is_written_when_the_write_is_on_disk_and_not_before() -> None:
    audited = Audited()
    core = audited.core
    core.auto = False
    core.client()
    audited.client.send(opcodes.DELETE, b"\0\0\0\2/a\0\0\0\0")
    audited.client.send(opcodes.DELETE, b"\0\0\0\2/b\0\0\0\0")
    first = core.replica.agreement.proposed - 1
    core.replica.take()

    core.replica.handle(Synced(first), core.now)
    written = audited.take()
    core.replica.handle(Synced(first + 1), core.now)

    assert written == ["me operation=delete znode=/a result=failure"]
    assert audited.take() == ["me operation=delete znode=/b result=failure"]


def test_what_cannot_be_read_from_a_closing_session_is_answered_and_not_noted() -> None:
    audited = Audited(auto=False)
    audited.core.sync()
    audited.client.frames()

    audited.client.send(opcodes.CLOSE_SESSION)
    audited.client.send(opcodes.CREATE, b"\0\0")
    audited.core.sync()

    assert [(reply.xid, reply.err) for reply in audited.client.replies()] == [(1, 0), (2, -112)]
    assert audited.take() == []
