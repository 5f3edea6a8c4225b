"""The known weaknesses of ZooKeeper: this server has none of them.

A test is named for the number under which a weakness was published; one that has no number that could be confirmed is
named for itself.

Not here, as they concern what is not in this server:

- CVE-2016-5017, a buffer overflow in the C shell, and CVE-2026-24308's own place, the Java client's configuration.
- CVE-2018-8012 and CVE-2023-44981, joining a quorum without the right to: there is no ensemble yet.
- CVE-2026-24281, names in certificates that a reverse look-up confirms: there is no TLS yet.
- What came with Java libraries: log4j (CVE-2021-44228 and its kin), Netty (CVE-2021-21295, CVE-2021-21409 and later),
  Jetty (CVE-2021-28164, CVE-2021-34429 and later).
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from tests.support import jute
from tests.support.core import Client, Core
from tests.support.jute import Acl, Op
from tests.support.raw import RawSession
from tests.support.servers import Process

from corral.base.log import configure
from corral.server.admin.http import AdminServer
from corral.server.admin.restricted import Refused, authorize
from corral.server.admin.words import Commands
from corral.server.audit import acl_text, request_line
from corral.server.configfile import ConfigError, parse
from corral.server.providers.ensemble import EnsembleProvider
from corral.wire.client import GetAclResponse

ALICE, BOB = "10.0.0.1", "10.0.0.2"
ALICES: list[Acl] = [(31, b"ip", ALICE.encode())]
CLOSED_TO_BOB: list[Acl] = [*ALICES, (30, b"ip", BOB.encode())]
"""All rights for Alice; for Bob all but reading."""


def client_at(core: Core, address: str) -> Client:
    client = core.dial(address)
    assert client.connect(30_000) is not None
    return client


def create(client: Client, path: bytes, acl: list[Acl] = jute.OPEN, data: bytes = b"") -> None:
    assert client.call(Op.CREATE, jute.create(path, data, acl)).err == 0


def events(client: Client) -> list[tuple[int, bytes]]:
    """Take the events that the client has been sent, as (type, path)."""
    assert client.replies() == []
    found, client.events = client.events, []
    return [(kind, path) for kind, path, _ in found]


def node_of(core: Core) -> Any:
    return SimpleNamespace(replica=core.replica, config=core.config, commands=None, client_port=lambda: 2181,
                           used_bytes=lambda: (0, 0))  # fmt: skip


def said(core: Core) -> str:
    """All that the core has logged."""
    return repr(core.log.lines)


# Secrets.


def test_cve_2014_0085_passwords_are_in_no_log() -> None:
    core = Core()
    for scheme in (b"digest", b"digets", b"ip", b"ensemble"):
        core.client().send(Op.AUTH, jute.auth(scheme, b"bob:hunter2"), xid=-4)
    core.client().send(Op.AUTH, jute.auth(b"digest", b"bob:hunter2")[:-1], xid=-4)

    stream = io.StringIO()
    configure(stream=stream).warning("somebody came", password="hunter2", credentials=b"hunter2")

    assert "authentication failed" in said(core)
    assert "hunter2" not in said(core) + stream.getvalue()


def test_cve_2026_24308_secret_settings_are_in_no_message() -> None:
    _, warnings = parse(
        "dataDir=/tmp/x\nssl.keyStore.password=hunter2\nssl.trustStore.pasword=hunter2\nsuperdigest=bob:hunter2\n"
        "DigestAuthenticationProvider.superDigest=super:hunter2\n"
    )
    with pytest.raises(ConfigError) as refused:
        parse("dataDir=/tmp/x\nDigestAuthenticationProvider.superDigest=hunter2\n")
    words = Commands(node_of(Core(super_digest="super:hunter2", four_lw_whitelist=("*",))))
    shown = [words.answer(word, None) for word in (b"conf", b"envi")]

    assert warnings, "the wrong keys are not noticed"
    assert "hunter2" not in repr((warnings, str(refused.value), shown))


def test_cve_2019_0201_an_access_list_is_shown_to_who_may_read_it_and_hashes_to_who_may_change_it() -> None:
    core = Core()
    alice, bob = client_at(core, ALICE), client_at(core, BOB)
    hashed: Acl = (1, b"digest", b"carol:7qYdOBLJmT6hLQX6JqSuRuGp4jE=")
    create(alice, b"/closed", [*ALICES, (14, b"world", b"anyone"), hashed])
    create(alice, b"/readable", [*ALICES, (1, b"world", b"anyone"), hashed])

    closed = bob.call(Op.GET_ACL, jute.get_acl(b"/closed"))
    readable = bob.call(Op.GET_ACL, jute.get_acl(b"/readable"))
    own = alice.call(Op.GET_ACL, jute.get_acl(b"/readable"))

    assert (closed.err, closed.body) == (-102, b"")
    assert readable.as_(GetAclResponse).acl[-1].id == "carol:x"
    assert own.as_(GetAclResponse).acl[-1].id == "carol:7qYdOBLJmT6hLQX6JqSuRuGp4jE="


def test_cve_2024_23944_no_watch_tells_of_a_node_that_may_not_be_read() -> None:
    core = Core()
    alice, bob = client_at(core, ALICE), client_at(core, BOB)
    create(alice, b"/top")
    for path, mode in ((b"/top", 1), (b"/top/secret", 0), (b"/", 1)):
        assert bob.call(Op.ADD_WATCH, jute.add_watch(path, mode)).err == 0

    create(alice, b"/top/secret", ALICES)
    alice.call(Op.SET_DATA, jute.set_data(b"/top/secret", b"x"))
    alice.call(Op.DELETE, jute.delete(b"/top/secret"))
    create(alice, b"/top/open")

    assert events(bob) == [(1, b"/top/open")]


def test_setwatches_after_a_reconnect_tells_nothing_of_a_node_that_may_not_be_read() -> None:
    """Published for ZooKeeper in November 2026: a replay of watches told of changes without a look at rights."""
    core = Core()
    alice, bob = client_at(core, ALICE), client_at(core, BOB)
    create(alice, b"/secret", CLOSED_TO_BOB)
    create(alice, b"/secret/child", CLOSED_TO_BOB)
    create(alice, b"/open")
    paths = [b"/secret", b"/open"]

    bob.send(Op.SET_WATCHES, jute.set_watches(0, paths, paths, paths), xid=-8)
    frames = bob.replies()

    assert [reply.err for reply in frames] == [0]
    assert [event[:2] for event in bob.events] == [(3, b"/open"), (1, b"/open"), (4, b"/open")]
    bob.events = []
    alice.call(Op.SET_DATA, jute.set_data(b"/secret", b"x"))
    alice.call(Op.SET_DATA, jute.set_data(b"/open", b"x"))
    assert events(bob) == []


# Rights.


def test_cve_2026_79993_a_client_cannot_delete_by_the_servers_own_operation() -> None:
    core = Core()
    alice, bob = client_at(core, ALICE), client_at(core, BOB)
    create(alice, b"/own", ALICES)
    create(alice, b"/own/node", ALICES)
    create(alice, b"/open")

    for path in (b"/own/node", b"/open"):
        assert bob.call(Op.DELETE_CONTAINER, jute.delete_container(path)).err == -102

    assert alice.exists(b"/own/node").err == 0
    assert alice.exists(b"/open").err == 0


def test_a_right_is_gone_as_soon_as_its_loss_is_under_way() -> None:
    core = Core(auto=False)
    alice, bob = core.dial(ALICE), core.dial(BOB)
    for client in (alice, bob):
        client.connect(30_000)
        core.sync()
        client.frames()
    alice.send(Op.CREATE, jute.create(b"/node"))
    core.sync()
    alice.frames()

    # Nothing is committed between the two: the second is checked while the first waits for the disk.
    alice.send(Op.SET_ACL, jute.set_acl(b"/node", [*ALICES, (1, b"world", b"anyone")]))
    bob.send(Op.SET_DATA, jute.set_data(b"/node", b"bob's"))
    bob.send(Op.SET_ACL, jute.set_acl(b"/node", [(31, b"ip", BOB.encode())]))
    core.sync()

    assert [reply.err for reply in alice.replies()] == [0]
    assert [reply.err for reply in bob.replies()] == [-102, -102]


@pytest.mark.parametrize("missing", [1, 2, 4, 8, 16])
def test_cve_2025_58457_the_admin_server_wants_every_single_right_on_the_root(missing: int) -> None:
    core = Core()
    acl: list[Acl] = [*ALICES, (31 - missing, b"ip", BOB.encode())]
    assert core.client().call(Op.SET_ACL, jute.set_acl(b"/", acl)).err == 0

    authorize(node_of(core), "ip", ALICE)
    with pytest.raises(Refused) as refused:
        authorize(node_of(core), "ip", BOB)

    assert refused.value.status == 403


def test_cve_2024_51504_a_header_does_not_say_who_asks_the_admin_server() -> None:
    core = Core(admin_port=0)
    core.client().call(Op.SET_ACL, jute.set_acl(b"/", ALICES))

    async def ask() -> tuple[int, int]:
        admin = AdminServer(node_of(core), core.config, core.log)
        await admin.start()
        url = f"http://127.0.0.1:{admin.port}/commands/shed_connections"
        headers = {"Authorization": "ip", "X-Forwarded-For": ALICE}
        found = []
        try:
            async with aiohttp.ClientSession() as session:
                for trusted in (False, True):
                    core.config.ip_use_x_forwarded_for = trusted
                    async with session.post(url, headers=headers, data="[]") as answer:
                        found.append(answer.status)
        finally:
            await admin.stop()
        return found[0], found[1]

    assert not Core().config.ip_use_x_forwarded_for
    # Once it is switched on Alice is let in, and told that her request is nonsense.
    assert asyncio.run(ask()) == (403, 400)


def test_cve_2017_5637_the_words_that_list_all_watches_are_off_by_default() -> None:
    words = Commands(node_of(Core()))

    for word in (b"wchp", b"wchc"):
        assert words.answer(word, None) == word + b" is not executed because it is not in the whitelist.\n"


# Lines of a log.


def test_cve_2026_84501_a_client_writes_no_line_of_its_own_into_the_log() -> None:
    core = Core()
    stream = io.StringIO()
    core.replica.log = configure(stream=stream)
    core.replica.access.providers["ensemble"] = EnsembleProvider(["right"], core.metrics.count)
    forged = b"x\n2026-11-01T00:00:00Z [info] session expired\r" + b"y" * 100_000

    core.client().send(Op.AUTH, jute.auth(b"ensemble", forged), xid=-4)
    core.client().send(Op.AUTH, jute.auth(forged, b""), xid=-4)

    lines = stream.getvalue().splitlines()
    assert [line.count("authentication failed") for line in lines] == [1, 1]
    assert max(map(len, lines)) < 1000


def test_cve_2026_84439_a_client_writes_no_pair_of_its_own_into_the_audit_log() -> None:
    forged = "eve\tresult=success\noperation=delete"

    line = request_line(Op.SET_ACL, False, 1, [("digest", forged)], BOB, b"/a\tznode=/b", acl=[(31, "digest", forged)])

    assert acl_text([(31, "digest", forged)]) not in line
    names = [pair.split("=", 1)[0] for pair in line.split("\t")]
    assert names == ["session", "user", "ip", "operation", "znode", "acl", "result"]
    assert len(line.splitlines()) == 1


# Exhaustion.


def read_many(client: Client, path: bytes, times: int) -> tuple[int, int]:
    """Read a node many times in one multiRead; return the error and how many bytes came."""
    client.send(Op.MULTI_READ, jute.multi(*[(Op.GET_DATA, jute.get_data(path))] * times))
    size = sum(map(len, client.conn.out))
    (reply,) = client.replies()
    return reply.err, size


def test_a_short_multiread_has_no_endless_answer() -> None:
    client = Core().client()
    create(client, b"/large", data=b"x" * 1_000_000)
    create(client, b"/small")

    assert read_many(client, b"/large", 67)[0] == 0
    assert read_many(client, b"/large", 68) == (-8, 20)
    assert read_many(client, b"/small", 1000)[0] == 0
    assert read_many(client, b"/small", 1001) == (-8, 20)


def test_the_limits_of_a_multiread_are_settings() -> None:
    config, warnings = parse("dataDir=/tmp/x\nmultiRead.maxOps=2\nmultiRead.maxResponseBytes=-1\n")
    limits = {"multi_read_ops_max": config.multi_read_ops_max, "multi_read_bytes_max": config.multi_read_bytes_max}
    client = Core(**limits).client()
    create(client, b"/large", data=b"x" * 1_000_000)

    assert warnings == []
    assert read_many(client, b"/large", 2)[0] == 0
    assert read_many(client, b"/large", 3)[0] == -8


QUOTA = b"/zookeeper/quota/q"
NONSENSE: list[bytes | None] = [None, b"", b"nonsense", b"count=x", b"\xff\xfe", b"=", b",;=", b"count=" + b"9" * 5000]


def test_nonsense_in_a_quota_neither_ends_the_server_nor_keeps_it_from_starting(tmp_path: Path) -> None:
    keys = {"enforceQuota": "true", "snapCount": "20"}
    with Process("corral", tmp_path, **keys) as server:
        with RawSession("127.0.0.1", server.port) as session:
            for path in (b"/q", QUOTA):
                assert session.call(Op.CREATE, jute.create(path)).err == 0
            for data in NONSENSE:
                for name in (b"/zookeeper_limits", b"/zookeeper_stats"):
                    session.call(Op.CREATE, jute.create(QUOTA + name, data))
                    session.call(Op.SET_DATA, jute.set_data(QUOTA + name, data))
                session.call(Op.CREATE, jute.create(b"/q/below"))
                session.call(Op.SET_DATA, jute.set_data(b"/q", b"x"))
                session.call(Op.DELETE, jute.delete(b"/q/below"))
                if data != NONSENSE[-1]:
                    for name in (b"/zookeeper_limits", b"/zookeeper_stats"):
                        assert session.call(Op.DELETE, jute.delete(QUOTA + name)).err == 0
        restart_and_check(server, [QUOTA + b"/zookeeper_limits"])


def test_a_deep_tree_is_written_and_read_back(tmp_path: Path) -> None:
    depth = 3000
    deepest = b"/d" * depth
    with Process("corral", tmp_path, snapCount="1000") as server:
        with RawSession("127.0.0.1", server.port) as session:
            for level in range(1, depth + 1):
                assert session.call(Op.CREATE, jute.create(deepest[: 2 * level])).err == 0
        restart_and_check(server, [deepest])
    assert list((tmp_path / "data" / "version-2").glob("snapshot.*")), "no snapshot was written of it"


def restart_and_check(server: Process, paths: Iterable[bytes]) -> None:
    """Kill the server, start it on what it has on disk, and look for nodes."""
    for how in ("the log", "a snapshot"):
        server.stop()
        server.start()
        with RawSession("127.0.0.1", server.port) as session:
            for path in paths:
                assert session.call(Op.EXISTS, jute.exists(path)).err == 0, how
            assert session.call(Op.CREATE, jute.create(b"/made-", b"", jute.OPEN, 2)).err == 0, how
    assert "Traceback" not in server.log_text()
