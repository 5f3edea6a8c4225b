"""Requests and their answers: order, errors, limits; each op's rules in the order the reference gives them."""

from __future__ import annotations

import struct

import pytest
from tests.support.core import Client, Core, framed, multi_body
from tests.support.jute import multi_refused

from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL, OPEN_ACL, Stat
from corral.wire.schema import decode, encode


@pytest.fixture
def client() -> Client:
    return Core().client()


def test_a_write_then_a_read_in_one_packet_are_answered_in_order(client: Client) -> None:
    client.core.auto = False
    create = framed(struct.pack(">ii", 1, 1) + encode(records.CreateRequest(b"/m", b"hi", OPEN_ACL, 0)))
    read = framed(struct.pack(">ii", 2, 4) + encode(records.PathWatchRequest(b"/m", False)))

    client.send_bytes(create + read + create)
    assert client.replies() == []
    client.core.sync()

    first, second, third = client.replies()
    assert (first.err, second.err, third.err) == (0, 0, -110)
    assert second.as_(records.GetDataResponse).data == b"hi"
    assert second.zxid == first.zxid == third.zxid - 1


def test_a_failed_write_takes_a_zxid_and_an_undecodable_one_does_not(client: Client) -> None:
    before = client.create(b"/a").zxid

    assert client.create(b"/a").zxid == before + 1
    bad = client.call(opcodes.CREATE, b"\0\0\0\x7f/a")
    assert (bad.err, bad.zxid) == (-5, before + 1)
    assert client.call(opcodes.MULTI, b"\0\0").zxid == before + 2


def test_frames_may_arrive_byte_by_byte(client: Client) -> None:
    data = framed(struct.pack(">ii", 7, 3) + encode(records.PathWatchRequest(b"/", False)))

    for byte in data:
        client.send_bytes(bytes([byte]))

    (reply,) = client.replies()
    assert (reply.xid, reply.err) == (7, 0)


CREATES = [
    (b"/a/b", 0, -101),
    (b"/", 0, -110),
    (b"", 0, -8),
    (b"a", 0, -8),
    (b"/x/", 0, -101),
    (b"//x", 0, -8),
    (b"//x", 2, -8),
    (b"/a/", 0, -101),
    (b"/trailing/", 0, -101),
    (b"/zookeeper/", 0, -8),
    (b"//", 0, -8),
    (b"/..", 0, -8),
    (b"/a..b", 0, 0),
    (b"/nul\0", 0, -8),
    (b"/\xef\xbf\xb0", 0, -8),
    (b"/\xff\xfe", 0, -8),
    ("/ü".encode(), 0, 0),
    (b"/f", 7, -8),
    (b"/f", -1, -8),
    (b"/f", 5, -6),
    (b"/f", 4, 0),
]


@pytest.mark.parametrize(("path", "flags", "err"), CREATES)
def test_create_checks(client: Client, path: bytes, flags: int, err: int) -> None:
    assert client.create(path, b"", flags).err == err


def test_children_of_an_ephemeral_are_refused(client: Client) -> None:
    client.create(b"/e", b"", 1)

    assert client.create(b"/e/x").err == -108


def test_sequence_numbers_count_all_creates_under_the_parent(client: Client) -> None:
    client.create(b"/p")
    client.create(b"/p/plain")

    names = [client.create(b"/p/s-", b"", 2).as_(records.PathRequest).path for _ in range(2)]

    assert names == [b"/p/s-0000000001", b"/p/s-0000000002"]


@pytest.mark.parametrize("path", [b"/", b"/zookeeper", b"/zookeeper/quota", b"/zookeeper/config", b"nopath"])
def test_system_nodes_cannot_be_deleted(client: Client, path: bytes) -> None:
    assert client.delete(path).err == -8


def test_versions_are_checked(client: Client) -> None:
    client.create(b"/v", b"0")

    assert client.set(b"/v", b"1", 5).err == -103
    assert client.set(b"/v", b"1", 0).as_(Stat).version == 1
    assert client.delete(b"/v", 0).err == -103
    assert client.delete(b"/v", 1).err == 0


def test_null_data_stays_null(client: Client) -> None:
    client.create(b"/n", None)

    answer = client.get(b"/n").as_(records.GetDataResponse)

    assert answer.data is None
    assert answer.stat.data_length == 0


def test_multi_answers_each_part_and_shares_one_zxid(client: Client) -> None:
    client.create(b"/m", b"")
    parts = [
        (opcodes.CREATE, records.CreateRequest(b"/m1", b"", OPEN_ACL, 0)),
        (opcodes.SET_DATA, records.SetDataRequest(b"/m", b"z", -1)),
        (opcodes.CHECK, records.CheckVersionRequest(b"/m", 1)),
        (opcodes.DELETE, records.DeleteRequest(b"/m1", -1)),
    ]

    reply = client.call(opcodes.MULTI, multi_body(*parts))

    assert reply.err == 0
    head = bytes.fromhex("00000001 00 00000000 00000003 2f6d31 00000005 00 00000000")
    assert reply.body.startswith(head)
    assert reply.body[len(head) + 68 :] == bytes.fromhex("0000000d0000000000 000000020000000000 ffffffff01ffffffff")


def test_a_create2_in_a_multi_answers_with_the_stat(client: Client) -> None:
    part = (opcodes.CREATE2, records.CreateRequest(b"/two", b"data", OPEN_ACL, 0))

    reply = client.call(opcodes.MULTI, multi_body(part))

    stat = encode(client.exists(b"/two").as_(Stat))
    head, end = bytes.fromhex("0000000f 00 00000000 00000004"), bytes.fromhex("ffffffff01ffffffff")
    assert reply.body == head + b"/two" + stat + end


def test_a_container_in_a_multi_is_one_by_its_code_or_its_flags() -> None:
    core = Core()
    codes = [(opcodes.CREATE, 4), (opcodes.CREATE2, 4), (opcodes.CREATE_CONTAINER, 4), (opcodes.CREATE_CONTAINER, 0)]
    parts = [(code, records.CreateRequest(b"/%d" % i, b"", OPEN_ACL, flags)) for i, (code, flags) in enumerate(codes)]

    core.client().call(opcodes.MULTI, multi_body(*parts))

    assert list(core.tree.containers) == [b"/0", b"/1", b"/2", b"/3"]


def test_a_failing_multi_has_a_header_without_error(client: Client) -> None:
    client.create(b"/m", b"")
    parts = [
        (opcodes.CHECK, records.CheckVersionRequest(b"/m", 0)),
        (opcodes.DELETE, records.DeleteRequest(b"/nope", -1)),
        (opcodes.CREATE, records.CreateRequest(b"/q", b"", OPEN_ACL, 0)),
    ]

    reply = client.call(opcodes.MULTI, multi_body(*parts))

    assert reply.err == 0
    assert reply.body == bytes.fromhex(
        "ffffffff 00 00000000 00000000 ffffffff 00 ffffff9b ffffff9b ffffffff 00 fffffffe fffffffe ffffffff 01 ffffffff"
    )


def test_a_multi_may_not_read(client: Client) -> None:
    assert client.call(opcodes.MULTI, multi_body((opcodes.GET_DATA, records.PathWatchRequest(b"/", False)))).err == -5


def test_multi_read_fails_part_by_part(client: Client) -> None:
    client.create(b"/r", b"data")
    parts = [
        (opcodes.GET_DATA, records.PathWatchRequest(b"/none", True)),
        (opcodes.GET_DATA, records.PathWatchRequest(b"/r", True)),
        (opcodes.GET_CHILDREN, records.PathWatchRequest(b"/r", True)),
    ]

    reply = client.call(opcodes.MULTI_READ, multi_body(*parts))

    assert reply.err == 0
    assert reply.body.startswith(bytes.fromhex("ffffffff 00 ffffff9b ffffff9b 00000004 00 00000000 00000004") + b"data")
    client.set(b"/r", b"x")
    assert client.events == []


def test_rights_are_checked_and_hashes_hidden(client: Client) -> None:
    acl = [ACL(31, "digest", "bob:7qYdOBLJmT6hLQX6JqSuRuGp4jE="), ACL(1, "world", "anyone")]
    client.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4)
    client.create(b"/s", b"", 0, [ACL(31, "auth", "whatever"), ACL(1, "world", "anyone")])
    stranger = client.core.client()

    assert stranger.set(b"/s", b"x").err == -102
    assert stranger.create(b"/s/x").err == -102
    shown = stranger.call(opcodes.GET_ACL, records.PathRequest(b"/s")).as_(records.GetAclResponse)
    assert [(a.scheme, a.id) for a in shown.acl] == [("digest", "bob:x"), ("world", "anyone")]
    mine = client.call(opcodes.GET_ACL, records.PathRequest(b"/s")).as_(records.GetAclResponse)
    assert mine.acl[0].id.startswith("bob:")
    assert mine.acl[0].id != "bob:x"
    assert len(acl) == 2


def test_auth_may_come_with_a_null_id(client: Client) -> None:
    """kazoo's CREATOR_ALL_ACL does."""
    client.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4)

    assert client.create(b"/mine", b"", 0, [ACL(31, "auth", None)]).err == 0


BAD_ACLS: list[list[ACL] | None] = [
    None, [], [ACL(31, "world", "x")], [ACL(31, "auth", "")], [ACL(31, "super", "")], [ACL(31, "ip", "1.2.3.4/99")],
    [ACL(31, "ip", "nonsense")], [ACL(31, "digest", "nocolon")], [ACL(31, "digest", "bob:")], [ACL(31, None, "x")],
    [ACL(31, "unknown", "x")],
]  # fmt: skip


@pytest.mark.parametrize("acl", BAD_ACLS)
def test_access_lists_that_say_nothing_are_refused(client: Client, acl: list[ACL] | None) -> None:
    assert client.create(b"/x", b"", 0, acl).err == -114


def test_delete_container_is_not_for_clients(client: Client) -> None:
    client.create(b"/c", b"", 0)

    assert client.call(opcodes.DELETE_CONTAINER, records.PathRequest(b"/c")).err == -102
    assert client.exists(b"/c").err == 0


@pytest.mark.parametrize("op", [0, 10, 13, -1, -10, 99])
def test_an_unknown_operation_is_answered_and_the_connection_closed(client: Client, op: int) -> None:
    reply = client.call(op)

    assert (reply.err, reply.zxid) == (-6, -1)
    assert client.conn.is_closing


def test_reconfig_is_disabled(client: Client) -> None:
    assert client.call(opcodes.RECONFIG, records.ReconfigRequest(None, None, None, -1)).err == -123


def test_sasl_is_not_configured(client: Client) -> None:
    reply = client.call(opcodes.SASL, records.SaslToken(b""))

    assert (reply.err, reply.body) == (0, b"\xff\xff\xff\xff")


def test_sync_echoes_its_path_after_the_writes_before_it(client: Client) -> None:
    client.core.auto = False
    other = client.core.client
    assert other is not None
    client.send(opcodes.SET_DATA, encode(records.SetDataRequest(b"/", b"x", -1)))
    client.send(opcodes.SYNC, encode(records.PathRequest(b"/any")))
    assert client.replies() == []

    client.core.sync()

    write, sync = client.replies()
    assert (write.err, sync.err, sync.body) == (0, 0, b"\0\0\0\4/any")


@pytest.mark.parametrize(
    ("path", "echo"),
    [
        (b"\xff\xff\xff\xff", b"\xff\xff\xff\xff"),
        (b"\0\0\0\0", b"\0\0\0\0"),
        (b"\0\0\0\2/\xff", b"\0\0\0\4/\xef\xbf\xbd"),
    ],
)
def test_sync_echoes_what_is_no_path_as_zookeeper_does(client: Client, path: bytes, echo: bytes) -> None:
    """Null as null, and a replacement character for what is not UTF-8."""
    client.send(opcodes.SYNC, path)

    [reply] = client.replies()
    assert (reply.err, reply.body) == (0, echo)


def test_hard_quotas_refuse_and_statistics_are_kept() -> None:
    client = Core(enforce_quota=True).client()
    client.create(b"/q")
    client.create(b"/zookeeper/quota/q")
    client.create(b"/zookeeper/quota/q/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3")
    client.create(b"/zookeeper/quota/q/zookeeper_stats", b"")

    assert client.create(b"/q/1", b"12345").err == 0
    assert client.create(b"/q/2", b"123456").err == -125
    assert client.create(b"/q/2", b"").err == 0
    assert client.create(b"/q/3", b"").err == -125
    stats = client.get(b"/zookeeper/quota/q/zookeeper_stats").as_(records.GetDataResponse)
    assert stats.data == b"count=3,bytes=5"


@pytest.mark.parametrize(("limits", "err"), [(b"", 0), (None, -5), (b"count", -5), (b"count=x", -5), (b"count=", 0)])
def test_an_empty_quota_limits_nothing_and_nonsense_refuses_writes(limits: bytes | None, err: int) -> None:
    client = Core(enforce_quota=True).client()
    client.create(b"/q")
    client.create(b"/zookeeper/quota/q")
    client.create(b"/zookeeper/quota/q/zookeeper_limits", limits)
    client.create(b"/zookeeper/quota/q/zookeeper_stats", b"")

    assert client.create(b"/q/1").err == err


def test_a_quota_that_is_exceeded_does_not_keep_nodes_from_being_deleted() -> None:
    client = Core(enforce_quota=True).client()
    client.create(b"/q")
    client.create(b"/q/1", b"12345")
    client.create(b"/q/2", b"12345")
    client.create(b"/zookeeper/quota/q")
    client.create(b"/zookeeper/quota/q/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=3")
    client.create(b"/zookeeper/quota/q/zookeeper_stats", b"")

    assert client.set(b"/q/2", b"1234").err == -125
    assert client.delete(b"/q/1").err == 0


def test_a_multi_below_a_quota_that_cannot_be_read_fails_as_a_whole() -> None:
    client = Core(enforce_quota=True).client()
    client.create(b"/q")
    client.create(b"/zookeeper/quota/q")
    client.create(b"/zookeeper/quota/q/zookeeper_limits", b"nonsense")
    create_a, create_b = (records.CreateRequest(path, b"", OPEN_ACL, 0) for path in (b"/a", b"/q/b"))

    reply = client.call(opcodes.MULTI, multi_body((opcodes.CREATE, create_a), (opcodes.CREATE, create_b)))

    assert (reply.err, reply.body) == (-5, b"")
    assert client.exists(b"/a").err == -101
    assert client.create(b"/a").err == 0


def test_new_limits_count_from_the_next_transaction_on() -> None:
    """ZooKeeper checks against committed limits, so a multi that sets some is held to those before."""
    client = Core(enforce_quota=True).client()
    limits = b"/zookeeper/quota/q/zookeeper_limits"
    client.create(b"/q")
    client.create(b"/zookeeper/quota/q")
    client.create(limits, b"count=-1,bytes=-1=;countHardLimit=1")
    client.create(b"/zookeeper/quota/q/zookeeper_stats", b"")
    raised = records.SetDataRequest(limits, b"count=-1,bytes=-1=;countHardLimit=2", -1)
    create = records.CreateRequest(b"/q/1", b"", OPEN_ACL, 0)

    reply = client.call(opcodes.MULTI, multi_body((opcodes.SET_DATA, raised), (opcodes.CREATE, create)))

    assert reply.body == multi_refused(0, -125)
    assert client.set(limits, raised.data).err == 0
    assert client.create(b"/q/1").err == 0


def test_ttl_nodes_where_they_are_enabled() -> None:
    core = Core(extended_types_enabled=True, container_check_interval_ms=1000)
    client = core.client(40_000)
    request = records.CreateTtlRequest(b"/t", b"", OPEN_ACL, 5, 3000)
    assert client.call(opcodes.CREATE_TTL, request).err == 0
    assert client.get(b"/t").as_(records.GetDataResponse).stat.ephemeral_owner == 0

    for _ in range(3):
        core.work(1000)
    assert client.exists(b"/t").err == 0
    for _ in range(3):
        core.work(1000)

    assert client.exists(b"/t").err == -101


def test_an_empty_container_that_was_used_is_reaped() -> None:
    core = Core(container_check_interval_ms=1000)
    client = core.client(40_000)
    client.call(opcodes.CREATE_CONTAINER, records.CreateRequest(b"/c", b"", OPEN_ACL, 4))
    client.create(b"/c/x")
    client.delete(b"/c/x")

    for _ in range(3):
        core.work(1000)

    assert client.exists(b"/c").err == -101


def test_a_transaction_too_long_to_read_back_is_refused_when_it_is_asked_for() -> None:
    core = Core(jute_maxbuffer=2000, jute_extrasize=1024)
    client = core.client()
    for i in range(60):
        client.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"user%d:pw" % i), xid=-4)
    parts = [(opcodes.CREATE, records.CreateRequest(b"/%d" % i, b"", [ACL(31, "auth", "")], 0)) for i in range(9)]

    reply = client.call(opcodes.MULTI, multi_body(*parts))

    assert reply.err == -5
    assert client.exists(b"/0").err == -101
    assert max(map(len, core.entries)) <= 2000 + 1024


def test_who_am_i_names_every_identity(client: Client) -> None:
    client.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4)

    infos = client.call(opcodes.WHO_AM_I).as_(records.WhoAmIResponse).client_info

    assert [(i.auth_scheme, i.user) for i in infos] == [("ip", "127.0.0.1"), ("digest", "bob")]


def test_the_super_user_may_do_everything() -> None:
    core = Core(super_digest="super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
    client = core.client()
    client.create(b"/locked", b"", 0, [ACL(1, "ip", "10.0.0.1")])
    assert client.get(b"/locked").err == -102

    client.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"super:test"), xid=-4)

    assert client.get(b"/locked").err == 0


def test_get_ephemerals_by_prefix(client: Client) -> None:
    for path in (b"/e1", b"/e2", b"/f"):
        client.create(path, b"", 1)

    found = client.call(opcodes.GET_EPHEMERALS, records.GetEphemeralsRequest(b"/e")).as_(records.GetEphemeralsResponse)

    assert found.ephemerals == [b"/e1", b"/e2"]


@pytest.mark.parametrize("limit", [0, 1])
def test_encoded_children_are_kept_of_so_many_nodes(limit: int) -> None:
    core = Core(max_response_cache_size=1 - limit, max_get_children_response_cache_size=limit)
    client = core.client()
    for parent in (b"/a", b"/b"):
        client.create(parent)
        for number in range(20):
            client.create(b"%s/%02d" % (parent, number))

        children = client.children(parent).as_(records.GetChildrenResponse).children

        assert children == [b"%02d" % number for number in range(20)]
        assert list(core.replica.serving.last_children) == [parent] * limit


def test_get_all_children_number(client: Client) -> None:
    for path in (b"/a", b"/a/b", b"/a/b/c"):
        client.create(path)

    reply = client.call(opcodes.GET_ALL_CHILDREN_NUMBER, records.PathRequest(b"/a"))

    assert decode(records.GetAllChildrenNumberResponse, reply.body).total_number == 2


def test_the_sizes_of_all_replies_are_counted() -> None:
    core = Core()
    metrics = core.metrics
    client = core.dial()

    client.connect()
    sizes = [metrics.last_response_size]
    client.create(b"/a", b"x" * 1000)
    sizes.append(metrics.last_response_size)
    get = encode(records.PathWatchRequest(b"/a", False))
    missing = encode(records.PathWatchRequest(b"/b", False))
    requests = [(1, opcodes.GET_DATA, get), (2, opcodes.EXISTS, missing), (3, opcodes.EXISTS, get)]
    client.send_bytes(b"".join(framed(struct.pack(">ii", xid, op) + body) for xid, op, body in requests))
    sizes.append(metrics.last_response_size)

    # A ConnectResponse with its flag; header and path; header and Stat, the last of three.
    assert sizes == [37, 16 + 4 + 2, 16 + 68]
    assert metrics.response_bytes == 37 + 22 + (16 + 4 + 1000 + 68) + 16 + 84
    assert (metrics.min_response_size, metrics.max_response_size) == (16, 1088)


def test_a_read_behind_a_write_has_its_size_counted_too() -> None:
    core = Core(auto=False)
    client = core.dial()
    client.connect()
    core.sync()
    before = core.metrics.response_bytes

    client.send(opcodes.SET_DATA, encode(records.SetDataRequest(b"/", b"xy", -1)))
    client.send(opcodes.GET_DATA, encode(records.PathWatchRequest(b"/", False)))
    core.sync()

    assert core.metrics.response_bytes - before == (16 + 68) + (16 + 4 + 2 + 68)
