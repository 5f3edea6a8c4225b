"""Sessions: connecting, resuming, expiring, closing, and what a stalled disk must not do to them."""

from __future__ import annotations

import pytest
from tests.support.core import Core, multi_body

from corral.ops.registry import Registry
from corral.replica.effects import Append
from corral.replica.fanout import Fanout
from corral.replica.inputs import Synced
from corral.replica.replay import Replay
from corral.replica.sessions import first_session_id, session_password
from corral.tree.digest import tree_digest
from corral.tree.tree import Tree
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL, OPEN_ACL
from corral.wire.schema import encode
from corral.wire.txns import CloseSessionTxn


def test_the_password_is_the_known_one() -> None:
    assert session_password(0x01000021382F0002).hex() == "7dfca68ab4b77ad9cf1b786eb64864f4"


def test_ids_carry_the_server_in_the_top_byte() -> None:
    assert first_session_id(1, 0) >> 56 == 1
    assert first_session_id(200, 12345) < 0


def test_a_timeout_is_clamped_never_refused() -> None:
    core = Core()

    answers = [core.dial().connect(timeout) for timeout in (-5, 1, 10_000, 1_000_000)]

    assert [a.timeout for a in answers if a] == [4000, 4000, 10_000, 40_000]


def test_an_old_client_gets_an_answer_without_the_read_only_flag() -> None:
    core = Core()
    client = core.dial()

    head = bytes.fromhex("0000002c 00000000 0000000000000000 00002710 0000000000000000 00000010")
    client.send_bytes(head + b"\0" * 16)

    (answer,) = client.frames()
    assert len(answer) == 36


def test_a_request_sent_with_the_hello_is_answered_after_it() -> None:
    core = Core()
    client = core.dial()
    hello = bytes.fromhex("0000002d 00000000 0000000000000000 00002710 0000000000000000 00000010") + b"\0" * 17
    read = bytes.fromhex("0000000e 00000001 00000003 00000001 2f 00")

    client.send_bytes(hello + read)
    client.conn.resume(core.now)

    first, second = client.frames()
    assert len(first) == 37
    assert second[:4] == b"\0\0\0\1"


def test_a_session_is_resumed_with_its_password() -> None:
    core = Core()
    first = core.client()
    session = first.conn.session_id
    first.close()
    second = core.dial()

    answer = second.connect(20_000, session, session_password(session))

    assert answer is not None
    assert (answer.session_id, answer.timeout) == (session, 20_000)


def test_a_wrong_password_is_refused_and_the_owner_stays_connected() -> None:
    core = Core()
    owner = core.client()
    thief = core.dial()

    answer = thief.connect(10_000, owner.conn.session_id, b"x" * 16)

    assert answer is not None
    assert (answer.timeout, answer.session_id, answer.passwd) == (0, 0, b"\0" * 16)
    assert thief.conn.is_closing
    assert not owner.conn.is_closing
    assert owner.exists(b"/").err == 0


def test_the_right_password_moves_the_session_and_closes_the_old_connection() -> None:
    core = Core()
    old = core.client()
    new = core.dial()

    new.connect(10_000, old.conn.session_id, session_password(old.conn.session_id))

    assert old.conn.is_closing
    old.close()
    assert new.exists(b"/").err == 0


def test_a_client_from_the_future_is_sent_to_another_server() -> None:
    core = Core()
    client = core.dial()

    assert client.connect(seen=1 << 40) is None
    assert client.conn.is_closing


def test_a_silent_session_expires_and_its_ephemerals_go() -> None:
    core = Core()
    silent = core.client(4000)
    silent.create(b"/e", b"", 1)
    other = core.client(40_000)
    other.exists(b"/e", watch=True)

    core.work(3900)
    assert other.exists(b"/e").err == 0
    core.work(4200)

    assert other.exists(b"/e").err == -101
    assert other.events == [(2, b"/e", core.tree.zxid)]
    assert silent.conn.is_closing
    assert silent.frames() == []


def test_a_ping_keeps_a_session_alive() -> None:
    core = Core()
    client = core.client(4000)

    for _ in range(10):
        core.work(2000)
        assert client.call(opcodes.PING, xid=-2).err == 0

    assert not client.conn.is_closing


def test_thousands_expire_in_slices() -> None:
    core = Core()
    for _ in range(300):
        core.client(4000).close()
    core.now += 20_000

    calls = 1
    while core.replica.work(core.now):
        core.sync()
        calls += 1
    core.sync()

    assert calls >= 4
    assert core.tree.sessions == {}


def test_closing_answers_then_closes() -> None:
    core = Core()
    client = core.client()
    client.create(b"/e", b"", 1)

    reply = client.call(opcodes.CLOSE_SESSION)

    assert (reply.err, reply.body) == (0, b"")
    assert client.conn.is_closing
    assert b"/e" not in core.tree.nodes


def test_closing_deletes_an_ephemeral_that_was_made_again_while_its_first_creation_was_under_way() -> None:
    core = Core()
    client = core.client()
    core.auto = False
    create = encode(records.CreateRequest(b"/e", b"", OPEN_ACL, 1))
    client.send(opcodes.CREATE, create)
    client.send(opcodes.DELETE, encode(records.DeleteRequest(b"/e", -1)))
    (first,) = core.replica.take()
    assert isinstance(first, Append)
    client.send(opcodes.CREATE, create)
    core.replica.handle(Synced(first.last), core.now)

    client.send(opcodes.CLOSE_SESSION)
    core.sync()

    assert [reply.err for reply in client.replies()] == [0, 0, 0, 0]
    assert b"/e" not in core.tree.nodes


def test_closing_deletes_an_ephemeral_that_a_failed_multi_was_to_replace() -> None:
    core = Core()
    client = core.client()
    core.auto = False
    create = records.CreateRequest(b"/e", b"", OPEN_ACL, 1)
    replace = [(opcodes.DELETE, records.DeleteRequest(b"/e", -1)), (opcodes.CREATE, create)]
    client.send(opcodes.CREATE, encode(create))
    client.send(opcodes.MULTI, multi_body(*replace, (opcodes.DELETE, records.DeleteRequest(b"/none", -1))))

    client.send(opcodes.CLOSE_SESSION)
    core.sync()

    assert [reply.err for reply in client.replies()] == [0, 0, 0]
    assert b"/e" not in core.tree.nodes


def test_a_stalled_disk_stops_writes_and_nothing_else() -> None:
    core = Core()
    client, other = core.client(4000), core.client(4000)
    core.auto = False

    client.send(opcodes.SET_DATA, b"\0\0\0\1/\0\0\0\0\xff\xff\xff\xff")
    assert client.call(opcodes.PING, xid=-2).err == 0
    assert other.exists(b"/").err == 0
    read = client.send(opcodes.EXISTS, b"\0\0\0\1/\0")
    assert client.replies() == []
    core.sync()

    assert [r.xid for r in client.replies()] == [read - 1, read]


def test_the_close_of_a_session_never_outgrows_what_can_be_read_back() -> None:
    core = Core(jute_maxbuffer=4096, jute_extrasize=1024)
    client = core.client()
    for i in range(200):
        assert client.create(b"/ephemeral-with-a-rather-long-name-%05d" % i, b"", 1).err == 0

    client.call(opcodes.CLOSE_SESSION)

    assert max(map(len, core.entries)) <= 4096 + 1024
    assert len(core.tree.nodes) == 4


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("names_paths", [True, False])
def test_the_close_of_a_session_replays_alike_whether_or_not_the_log_names_what_it_deletes(
    digest: bool, names_paths: bool
) -> None:
    core = Core(close_session_txn_enabled=names_paths)
    core.replica.pipeline.overlay.digest.enabled = digest
    client = core.client()
    client.create(b"/stays")
    client.create(b"/gone", b"", 1)

    client.call(opcodes.CLOSE_SESSION)

    assert (b"/gone" in core.entries[-1]) == names_paths
    tree = Tree(Fanout(core.replica.access, core.metrics))
    tree.populate()
    mismatches: list[int] = []
    replay = Replay(tree, Registry(), on_mismatch=lambda zxid, *_: mismatches.append(zxid))
    for entry in core.entries:
        replay.apply(entry)
    assert mismatches == []
    assert (set(tree.nodes), tree.sessions) == (set(core.tree.nodes), {})


@pytest.mark.parametrize("paths", [[], [b"/abc"], [b"/", b"/"], [b"/a", b"/b", b"/c"]])
def test_the_body_of_a_close_is_told_from_a_digest(paths: list[bytes]) -> None:
    body = encode(records.GetEphemeralsResponse(paths))

    closed, at = Registry().decode_txn(opcodes.CLOSE_SESSION, body, 0)

    assert isinstance(closed, CloseSessionTxn)
    assert (closed.paths_to_delete, at) == (paths, len(body))


def test_enforced_authentication_lets_nothing_else_through() -> None:
    core = Core(enforce_auth_enabled=True, enforce_auth_schemes=("digest",))
    client = core.client()
    assert client.call(opcodes.EXISTS, records.PathWatchRequest(b"/", False)).err == -124
    assert client.conn.is_closing
    client = core.client()

    assert client.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4).err == 0
    assert client.exists(b"/").err == 0


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"", "truncated"), (b"\0\0\0\0\0\0\0\x09digest", "length = 9")],
    ids=["nothing", "a scheme cut short"],
)
def test_a_malformed_auth_packet_is_logged_and_counted_and_closes(body: bytes, why: str) -> None:
    core = Core()
    client = core.client()

    client.send(opcodes.AUTH, body, xid=-4)

    ((level, event, data),) = core.log.lines
    assert (level, event) == ("warning", "connection closed: malformed auth packet")
    assert data["client"] == "127.0.0.1:40000"
    assert data["session"] == f"0x{client.conn.session_id:x}"
    assert why in data["why"]
    assert core.metrics.auth_failed == 1
    assert client.conn.is_closing
    assert client.replies() == []


@pytest.mark.parametrize(
    ("credentials", "identity"),
    [
        (b"", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        (b":", ":BaefBs8/Z/cm2uaNGKIpD2yaUMk="),
        (b"a", "a:hvfkN/qlp/zhXR3cuerq6jd2Z7g="),
        (b"\xff\xfe", "\ufffd\ufffd:h1Dsnd/ik80dw5tCRcIcJw+PUrc="),
        (b"u:p\xff", "u:6CtHK7C6iAk/ZYK1Hf0L2NA4tRg="),
        (b"\xed\xa0\x80:p", "\ufffd:CF2aQmKhCpl6NRwvXg6ky6/tkEA="),
        (b"u:\xed\xa0\x80\xed\xb0\x80", "u:tBXHUAUzZXYCqAcMeZihzl82Xwo="),
        (b"u:\xed\xa0", "u:NP+S9gihaPOxs49p+sWDO0/R0ac="),
        (b"u:\xed\xbf\xed", "u:tBXHUAUzZXYCqAcMeZihzl82Xwo="),
        (b"u:\xf4\x90\x80\x80", "u:HCZx0lTy+9lYQAH9rf604FmDKjw="),
        (b"\xc3\xa9:x", "\xe9:vJQ1uRvLi+QDvTkAPJk5WaYa798="),
    ],
)
def test_digest_identities_are_those_of_zookeeper(credentials: bytes, identity: str) -> None:
    """As its server gave them, also for credentials that are empty or not UTF-8."""
    client = Core().client()

    assert client.call(opcodes.AUTH, records.AuthPacket(0, "digest", credentials), xid=-4).err == 0
    client.create(b"/mine", b"", 0, [ACL(31, "auth", "")])
    shown = client.call(opcodes.GET_ACL, records.PathRequest(b"/mine")).as_(records.GetAclResponse)
    assert [each.id for each in shown.acl] == [identity]


def test_digest_refuses_null_credentials() -> None:
    client = Core().client()

    assert client.call(opcodes.AUTH, records.AuthPacket(0, "digest", None), xid=-4).err == -115
    assert client.conn.is_closing


def test_an_unknown_scheme_fails_and_closes() -> None:
    core = Core()
    client = core.client()

    reply = client.call(opcodes.AUTH, records.AuthPacket(0, "nonsense", b"x"), xid=-4)

    assert (reply.err, reply.zxid) == (-115, 0)
    assert client.conn.is_closing


def test_a_digest_that_has_differed_is_the_nodes_own_after_the_replay() -> None:
    core = Core()
    client = core.client()
    client.create(b"/a")
    client.create(b"/b")
    tree = Tree(core.fanout)
    tree.populate()
    # As of a snapshot that showed half a transaction.
    tree.digest.value += 5
    mismatches: list[int] = []

    replay = Replay(tree, Registry(), on_mismatch=lambda zxid, *_: mismatches.append(zxid))
    for entry in core.entries:
        replay.apply(entry)
    replay.finish()

    assert mismatches
    assert tree.digest.value == tree_digest(tree.nodes) == core.tree.digest.value
