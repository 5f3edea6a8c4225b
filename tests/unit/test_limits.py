"""Bad and excessive input: one clear line each, and nobody else notices."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from tests.support.core import Client, Core, framed

from corral.base.errors import ZooKeeperError
from corral.replica.replica import WAITING_MAX
from corral.replica.sessions import session_password
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.schema import encode


def warnings(core: Core) -> list[tuple[str, dict[str, object]]]:
    return [(event, data) for level, event, data in core.log.lines if level == "warning"]


def test_an_oversized_packet_is_refused_with_who_how_large_which_limit_and_key() -> None:
    core = Core()
    client, other = core.client(), core.client()

    client.send_bytes(struct.pack(">iii", 1_733_124, 5, opcodes.SET_DATA))

    ((event, data),) = warnings(core)
    assert event == "connection closed: packet length out of range"
    assert data["client"] == "127.0.0.1:40000"
    assert (data["length"], data["limit"], data["key"]) == (1_733_124, 0xFFFFF, "jute.maxbuffer")
    assert data["operation"] == "setData"
    assert client.conn.is_closing
    assert core.metrics.counters["large_requests_rejected"] == 1
    assert other.exists(b"/").err == 0


@pytest.mark.parametrize("size", [0xFFFFF, 0xFFFFF + 1])
def test_the_limit_is_exact(size: int) -> None:
    core = Core()
    client = core.client()
    client.create(b"/a")
    head = struct.pack(">ii", 9, opcodes.SET_DATA) + b"\0\0\0\2/a"
    data = b"x" * (size - len(head) - 8)

    client.send_bytes(framed(head + struct.pack(">i", len(data)) + data + b"\xff\xff\xff\xff"))

    assert client.conn.is_closing == (size > 0xFFFFF)


def test_set_watches_beyond_the_limit_is_taken() -> None:
    core = Core()
    client = core.client()
    paths = [b"/%0100d" % i for i in range(20_000)]
    body = struct.pack(">ii", -8, opcodes.SET_WATCHES) + encode(records.SetWatches(0, [], paths, []))
    packet = framed(body)
    assert len(packet) > 2_000_000

    for at in range(0, len(packet), 65_536):
        client.send_bytes(packet[at : at + 65_536])

    (reply,) = client.replies()
    assert (reply.xid, reply.err) == (-8, 0)
    assert core.tree.watches.total() == 20_000


def test_even_set_watches_has_a_limit() -> None:
    core = Core(setwatches_maxbuffer=2 << 20)
    client = core.client()

    client.send_bytes(struct.pack(">iii", (2 << 20) + 1, -8, opcodes.SET_WATCHES))

    assert client.conn.is_closing


def test_large_set_watches_packets_are_bounded_together() -> None:
    core = Core(setwatches_maxbuffer=2 << 20)
    clients = [core.client() for _ in range(6)]

    for client in clients:
        client.send_bytes(struct.pack(">iii", 2 << 20, -8, opcodes.SET_WATCHES))
    assert [client.conn.is_closing for client in clients] == [False] * 4 + [True] * 2

    clients[0].close()
    late = core.client()
    late.send_bytes(struct.pack(">iii", 2 << 20, -8, opcodes.SET_WATCHES))
    assert not late.conn.is_closing


@pytest.mark.parametrize(
    ("first", "looks_like"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS handshake"),
        (b"\xff\xff\xff\xff", None),
        (b"\x7f\xff\xff\xff", None),
    ],
)
def test_a_first_packet_of_something_else(first: bytes, looks_like: str | None) -> None:
    core = Core()
    client = core.dial()

    client.send_bytes(first)

    ((_, data),) = warnings(core)
    assert data.get("looks_like") == looks_like
    assert client.conn.is_closing


def test_a_short_connect_request_is_refused() -> None:
    core = Core()
    client = core.dial()

    client.send_bytes(framed(b"\0" * 10))

    assert client.conn.is_closing
    assert "no ConnectRequest" in warnings(core)[0][0]


def test_a_header_too_short_closes() -> None:
    core = Core()
    client = core.client()

    client.send_bytes(framed(b"\0\0\0\1") + b"\0" * 20)

    assert client.conn.is_closing


def test_new_and_renewed_sessions_take_of_one_bucket_which_time_refills() -> None:
    core = Core(connection_throttle_tokens=2, connection_throttle_fill_time_ms=100, connection_throttle_fill_count=1)
    first = core.client(timeout=30_000)
    session = first.conn.session_id
    again = (30_000, session, session_password(session))

    # The second token is there, the third not, neither for a new session nor for a renewal.
    assert core.dial().connect() is not None
    for request in ((30_000,), again):
        early = core.dial()
        assert early.connect(*request) is None
        assert early.conn.is_closing
    assert core.metrics.counters["connection_rejected"] == 2

    core.work(99)
    assert core.dial().connect(*again) is None
    core.work(1)
    renewed = core.dial().connect(*again)
    assert renewed is not None
    assert renewed.session_id == session


def test_the_bucket_may_be_switched_off() -> None:
    core = Core(connection_throttle_tokens=0)

    assert all(core.dial().connect() is not None for _ in range(100))
    assert "connection_rejected" not in core.metrics.counters


def test_connections_of_one_address_are_limited() -> None:
    core = Core()
    core.config.max_client_cnxns = 2
    first = core.dial()
    core.dial()

    assert core.replica.accept("127.0.0.1", 1, core.now) is None
    assert core.replica.accept("127.0.0.2", 1, core.now) is not None
    first.close()
    assert core.replica.accept("127.0.0.1", 1, core.now) is not None


def test_a_connection_without_a_session_is_closed_in_time() -> None:
    core = Core()
    idle = core.dial()
    client = core.client(40_000)

    core.work(10_001)

    assert idle.conn.is_closing
    assert not client.conn.is_closing


def test_too_much_outstanding_stops_reading_until_it_drains() -> None:
    core = Core(global_outstanding_limit=10)
    client = core.client()
    core.auto = False
    request = framed(struct.pack(">ii", 1, opcodes.SET_DATA) + encode(records.SetDataRequest(b"/", b"", -1)))

    client.send_bytes(request * 100)
    assert client.conn.is_unread
    assert 10 < len(core.replica.pipeline.outstanding) < 20
    answered = 0
    for _ in range(50):
        core.sync()
        client.conn.resume(core.now)
        answered += len(client.replies())

    assert answered == 100


def pipelined(op: int, body: bytes, times: int) -> bytes:
    return b"".join(framed(struct.pack(">ii", xid, op) + body) for xid in range(times))


def test_short_requests_for_a_large_node_are_answered_in_many_turns() -> None:
    core = Core()
    client = core.client()
    client.create(b"/large", bytes(1_000_000))

    client.send_bytes(pipelined(opcodes.GET_DATA, encode(records.PathWatchRequest(b"/large", False)), 100))

    turns = []
    while client.conn.backlog:
        turns.append(sum(map(len, client.conn.out)))
        client.conn.out.clear()
        client.conn.resume(core.now)
    assert max(turns) <= 4_000_000
    assert sum(turns) + sum(map(len, client.conn.out)) > 100_000_000


def test_reads_that_wait_behind_a_write_are_few() -> None:
    core = Core()
    client = core.client()
    core.auto = False
    client.send(opcodes.SET_DATA, encode(records.SetDataRequest(b"/", b"", -1)))

    client.send_bytes(pipelined(opcodes.GET_DATA, encode(records.PathWatchRequest(b"/", False)), 1000))

    assert client.conn.is_unread
    assert len(client.conn.queue) <= WAITING_MAX + 1
    core.sync()
    while client.conn.backlog and not client.conn.is_unread:
        client.conn.resume(core.now)
    assert [reply.xid for reply in client.replies()][1:] == list(range(1000))


def large_reads(core: Core, count: int) -> tuple[Client, bytes, bytes]:
    """Return a client that waits for nothing, a write, and reads of a large node, numbered from 0."""
    client = core.client()
    client.create(b"/large", b"x" * 900_000)
    core.auto = False
    write = framed(struct.pack(">ii", -7, opcodes.SET_DATA) + encode(records.SetDataRequest(b"/", b"", -1)))
    return client, write, pipelined(opcodes.GET_DATA, encode(records.PathWatchRequest(b"/large", False)), count)


def test_large_answers_that_waited_for_a_write_take_turns() -> None:
    core = Core()
    client, write, reads = large_reads(core, 100)
    received = core.metrics.packets_received
    client.send_bytes(write + reads + reads[:6])

    core.sync()

    replies = client.replies()
    assert sum(len(reply.body) for reply in replies) < 4 << 20
    while client.conn.backlog:
        client.conn.resume(core.now)
        replies += client.replies()
    client.send_bytes(reads[6:34])
    assert [reply.xid for reply in replies + client.replies()] == [-7, *range(100), 0]
    assert core.metrics.packets_received == received + 102
    assert core.metrics.op_counts[opcodes.GET_DATA] == 101


def test_large_answers_between_two_writes_have_a_limit_together() -> None:
    core = Core(outbuffer_max=8 << 20)
    client, write, reads = large_reads(core, 50)
    client.send_bytes(write + reads + write + reads)

    core.sync()

    assert client.conn.is_closing
    assert sum(len(reply.body) for reply in client.replies()) < 10 << 20
    ((event, data),) = warnings(core)
    assert event == "connection closed: its client asked for too much at once"
    assert (data["limit"], data["key"]) == (8 << 20, "corral.connection.outbuffer.max")
    core.auto = True
    assert core.client().exists(b"/large").err == 0


def test_a_session_that_the_server_itself_does_not_read_does_not_expire() -> None:
    core = Core(global_outstanding_limit=1)
    client = core.client(4000)
    core.auto = False
    request = framed(struct.pack(">ii", 1, opcodes.SET_DATA) + encode(records.SetDataRequest(b"/", b"", -1)))
    client.send_bytes(request * 3)
    assert client.conn.is_unread

    core.now += 60_000
    core.replica.work(core.now)

    assert client.conn.session is not None
    assert not client.conn.session.is_closing


@pytest.mark.parametrize(
    "config",
    [{}, {"large_request_threshold": 40, "request_throttle_max_requests": 1, "enable_eager_acl_check": True}],
    ids=["as set by default", "with every limit set"],
)
def test_mutated_packets_never_raise_and_never_touch_another_client(config: dict[str, Any]) -> None:
    """Random damage to real requests, seeded; every frame is answered, refused or closes its own connection."""
    core = Core(**config)
    bystander = core.client(40_000)
    bystander.create(b"/mine", b"safe")
    rng = random.Random(20_240_601)
    samples = _samples()
    for _ in range(20_000):
        packet = bytearray(rng.choice(samples))
        for _ in range(rng.randint(1, 4)):
            kind = rng.randrange(3)
            if kind == 0:
                packet[rng.randrange(len(packet))] = rng.randrange(256)
            elif kind == 1:
                at = rng.randrange(len(packet))
                packet[at : at + 4] = struct.pack(">i", rng.choice([-1, -2, 0, 1, 2**31 - 1, -(2**31), 255]))
            else:
                del packet[rng.randrange(len(packet)) :]
                packet += b"\0"
        client = core.client() if rng.random() < 0.9 else core.dial()
        client.send_bytes(framed(bytes(packet)) if rng.random() < 0.8 else bytes(packet))
        client.close()
        if client.conn.session is not None and rng.random() < 0.5:
            core.work(10)
            assert bystander.call(opcodes.PING, xid=-2).err == 0

    assert bystander.get(b"/mine").err == 0
    assert [line for line in core.log.lines if line[0] == "error"] == []


def _samples() -> list[bytes]:
    from tests.support.core import multi_body

    from corral.wire.data import OPEN_ACL

    head = struct.Struct(">ii").pack
    path = records.PathWatchRequest(b"/some/path", True)
    create = records.CreateRequest(b"/new", b"data", OPEN_ACL, 1)
    requests = [
        *((op, encode(path)) for op in (3, 4, 8, 12)),
        *((op, encode(create)) for op in (1, 15, 19)),
        (2, encode(records.DeleteRequest(b"/new", -1))),
        (5, encode(records.SetDataRequest(b"/new", b"x", -1))),
        (7, encode(records.SetAclRequest(b"/new", OPEN_ACL, -1))),
        (14, multi_body((1, create), (13, records.CheckVersionRequest(b"/new", 0)))),
        (22, multi_body((4, path), (8, path))),
        (100, encode(records.AuthPacket(0, "digest", b"a:b"))),
        (101, encode(records.SetWatches(1, [b"/a"], [b"/b"], [b"/c"]))),
        (105, encode(records.SetWatches2(1, [b"/a"], [b"/b"], [b"/c"], [b"/d"], [b"/e"]))),
        (106, encode(records.AddWatchRequest(b"/a", 1))),
        (18, encode(records.WatchesRequest(b"/a", 3))),
        (103, encode(records.GetEphemeralsRequest(b"/"))),
        (104, encode(records.PathRequest(b"/"))),
        (9, encode(records.PathRequest(b"/"))),
        (107, b""),
        (11, b""),
        (-11, b""),
    ]
    return [head(1, op) + body for op, body in requests]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in ZooKeeperError.__subclasses__() if not cls.__name__.startswith("_")]

    assert len(codes) == len(set(codes))
