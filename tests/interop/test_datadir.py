"""A data directory written by one server opens in the other, with the same nodes, stats, access lists and sessions."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from tests.support import jute
from tests.support.jute import OPEN, Acl, Op
from tests.support.raw import RawSession
from tests.support.servers import Process, need_apache, word
from tests.support.walk import walk

pytestmark = pytest.mark.interop

HOST = "127.0.0.1"
TIMEOUT_MS = 100_000
KEYS = {"maxSessionTimeout": "120000", "extendedTypesEnabled": "true"}
DIRECTIONS = [
    ("apache", "corral", signal.SIGTERM),
    ("apache", "corral", signal.SIGKILL),
    ("corral", "apache", signal.SIGTERM),
    ("corral", "apache", signal.SIGKILL),
    ("corral", "corral", signal.SIGKILL),
]


def create(
    session: RawSession, path: bytes, data: bytes | None = b"data", flags: int = 0, acl: list[Acl] = OPEN
) -> None:
    if flags in (5, 6):
        reply = session.call(Op.CREATE_TTL, jute.create_ttl(path, data, acl, flags, 10**9))
    else:
        reply = session.call(Op.CREATE_CONTAINER if flags == 4 else Op.CREATE, jute.create(path, data, acl, flags))
    assert reply.err == 0, path


def fill(session: RawSession, other: RawSession) -> None:
    """Make nodes of every kind, over two sessions."""
    session.call(Op.AUTH, jute.auth(b"digest", b"bob:pw"))
    for path in (b"/a", b"/a/b", b"/a/b/c", "/\u00fcn\u00ef".encode(), "/\u65e5\u672c".encode()):
        create(session, path)
    create(session, b"/null", None)
    create(session, b"/empty", b"")
    create(session, b"/big", b"x" * 200_000)
    create(session, b"/e", b"mine", 1)
    create(other, b"/e-other", b"another's", 1)
    create(session, b"/seq-", b"", 2)
    create(session, b"/seq-", b"", 3)
    create(session, b"/container", b"", 4)
    create(session, b"/container/inside", b"")
    create(session, b"/ttl", b"", 5)
    create(session, b"/ttl-", b"", 6)
    create(session, b"/acl", b"", 0, [(31, b"auth", b""), (1, b"world", b"anyone"), (3, b"ip", b"127.0.0.0/8")])
    create(session, b"/closed", b"secret", 0, [(31, b"auth", b"")])
    create(session, b"/zookeeper/quota/a")
    create(session, b"/zookeeper/quota/a/zookeeper_limits", b"count=10,bytes=-1")
    create(session, b"/zookeeper/quota/a/zookeeper_stats", b"")
    for number in range(300):
        create(session, b"/a/n%d" % number, b"%d" % number)
    for number in range(0, 300, 3):
        assert session.call(Op.DELETE, jute.delete(b"/a/n%d" % number)).err == 0
    for _ in range(5):
        assert session.call(Op.SET_DATA, jute.set_data(b"/a", b"changed")).err == 0
    assert session.call(Op.SET_ACL, jute.set_acl(b"/a/b", [(1, b"world", b"anyone")])).err == 0
    multi = jute.multi(
        (Op.CREATE, jute.create(b"/m", b"", OPEN, 0)),
        (Op.SET_DATA, jute.set_data(b"/m", b"2", 0)),
        (Op.CHECK, jute.check(b"/m", 1)),
        (Op.CREATE, jute.create(b"/m/e", b"", OPEN, 1)),
        (Op.DELETE, jute.delete(b"/m/e")),
    )
    assert session.call(Op.MULTI, multi).read(Op.MULTI)[0][0] == Op.CREATE
    assert session.call(Op.MULTI, multi).read(Op.MULTI)[0] == (-1, -110, -110)
    assert session.call(Op.DELETE, jute.delete(b"/none")).err == -101


def digests(port: int) -> dict[bytes, bytes]:
    """The tree's digests at certain zxids, as the server has them."""
    pairs = (line.split(b": ") for line in word(port, b"hash").splitlines())
    return {zxid: digest for zxid, digest in pairs}  # noqa: C416, for the pair's names.


@pytest.mark.parametrize(("writer", "reader", "how"), DIRECTIONS)
def test_a_directory_moves_between_servers(tmp_path: Path, writer: str, reader: str, how: signal.Signals) -> None:
    if "apache" in (writer, reader):
        need_apache()
    with Process(writer, tmp_path / "first", **KEYS) as first:
        with RawSession(HOST, first.port, TIMEOUT_MS) as session, RawSession(HOST, first.port, TIMEOUT_MS) as other:
            fill(session, other)
            before = walk(session)
            digests_before = digests(first.port)
        first.stop(how)
    shutil.copytree(tmp_path / "first" / "data", tmp_path / "second" / "data")

    with Process(reader, tmp_path / "second", **KEYS) as second:
        with RawSession(HOST, second.port, TIMEOUT_MS, session.session_id, session.password) as resumed:
            assert (resumed.session_id, resumed.response.timeout_ms) == (session.session_id, TIMEOUT_MS)
            resumed.call(Op.AUTH, jute.auth(b"digest", b"bob:pw"))
            assert walk(resumed) == before
            # Sequence numbers go on: every child that the root ever had counts, one of them is `/zookeeper`.
            made = resumed.call(Op.CREATE, jute.create(b"/seq-", b"", OPEN, 2)).read(Op.CREATE)
            children = len([path for path in before if path.count(b"/") == 1 and path != b"/"])
            assert made.endswith(b"%010d" % (children - 1))
            resumed.close()
        if reader == "apache":
            # Apache keeps the digests that it meets in a replay. Corral holds them against the log's, and says so.
            digests_after = digests(second.port)
            assert digests_before
            assert {zxid: digests_after.get(zxid) for zxid in digests_before} == digests_before
        with RawSession(HOST, second.port, TIMEOUT_MS, other.session_id, b"not the password") as impostor:
            assert impostor.is_refused
        with RawSession(HOST, second.port, TIMEOUT_MS, other.session_id, other.password) as left:
            assert left.call(Op.EXISTS, jute.exists(b"/e")).err == -101
            assert left.call(Op.EXISTS, jute.exists(b"/e-other")).err == 0
            assert left.call(Op.GET_EPHEMERALS, jute.get_ephemerals(None)).read(Op.GET_EPHEMERALS) == [b"/e-other"]
        log = second.log_text()
    assert "digest differs" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(("writer", "reader"), [("apache", "corral"), ("corral", "apache"), ("corral", "corral")])
def test_a_log_of_closes_without_paths_is_read(tmp_path: Path, writer: str, reader: str) -> None:
    """closeSessionTxn.enabled=false at both; Corral reads such a log with any setting."""
    need_apache()
    setting = {"closeSessionTxn.enabled": "false"}
    with Process(writer, tmp_path / "first", **setting) as first:
        staying, closing = RawSession(HOST, first.port, TIMEOUT_MS), RawSession(HOST, first.port, TIMEOUT_MS)
        create(staying, b"/mine", b"", 1)
        create(closing, b"/gone", b"", 1)
        closing.close()
        create(staying, b"/after")
        first.stop(signal.SIGKILL)
        staying.drop()
    shutil.copytree(tmp_path / "first" / "data", tmp_path / "second" / "data")
    with Process(reader, tmp_path / "second", **(setting if reader == "apache" else {})) as second:
        with RawSession(HOST, second.port, TIMEOUT_MS) as session:
            names = session.call(Op.GET_CHILDREN, jute.get_children(b"/")).read(Op.GET_CHILDREN)
        log = second.log_text()

    assert sorted(names) == [b"after", b"mine", b"zookeeper"]
    assert "digest differs" not in log
