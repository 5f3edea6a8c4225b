"""Large requests are bounded together."""

from __future__ import annotations

import struct

import pytest
from tests.support.core import Client, Core, framed

from corral.replica.effects import Append
from corral.replica.inputs import Synced
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.schema import encode


def packet(size: int, xid: int = 1) -> bytes:
    """Return a setData whose frame has `size` bytes, without its length."""
    empty = encode(records.SetDataRequest(b"/", b"", -1))
    body = encode(records.SetDataRequest(b"/", b"x" * (size - 8 - len(empty)), -1))
    return framed(struct.pack(">ii", xid, opcodes.SET_DATA) + body)


def stalled(clients: int) -> tuple[Core, list[Client]]:
    """Return a core that counts packets from 1001 bytes, 5000 together, with its disk waiting for `sync`."""
    core = Core(large_request_threshold=1000, large_request_max_bytes=5000)
    connected = [core.client() for _ in range(clients)]
    core.auto = False
    return core, connected


@pytest.mark.parametrize("last", [2000, 2001])
def test_what_exceeds_the_limit_closes_its_connection_with_one_clear_line(last: int) -> None:
    core, (first, second) = stalled(2)
    first.send_bytes(packet(3000))

    second.send_bytes(packet(last))

    assert second.conn.is_closing == (last > 2000)
    assert not first.conn.is_closing
    lines = [(event, data) for level, event, data in core.log.lines if level == "warning"]
    if last > 2000:
        ((event, data),) = lines
        assert event == "connection closed: too many large requests at once"
        assert (data["length"], data["under_way"], data["limit"]) == (2001, 3000, 5000)
        assert data["key"] == "largeRequestMaxBytes"
        assert core.metrics.counters["large_requests_rejected"] == 1
    else:
        assert lines == []


@pytest.mark.parametrize(("size", "count"), [(1000, 0), (1001, 4)])
def test_only_what_is_longer_than_the_threshold_counts(size: int, count: int) -> None:
    core, (client,) = stalled(1)

    client.send_bytes(b"".join(packet(size, xid) for xid in range(4)))

    assert core.replica.large is not None
    assert core.replica.large.under_way() == count * size


def test_an_answered_request_makes_room() -> None:
    core, (client,) = stalled(1)
    client.send_bytes(packet(3000, 1))

    core.sync()
    client.send_bytes(packet(3000, 2))
    core.sync()

    assert [reply.xid for reply in client.replies()] == [1, 2]


def test_each_write_makes_room_when_it_is_answered_itself() -> None:
    core, (client,) = stalled(1)
    client.send_bytes(packet(1500, 1))
    (first,) = core.replica.take()
    client.send_bytes(packet(2000, 2))
    assert isinstance(first, Append)

    core.replica.handle(Synced(first.last), core.now)

    assert core.replica.large is not None
    assert core.replica.large.under_way() == 2000


def test_a_packet_on_its_way_counts_from_its_length_on() -> None:
    core, (slow, other) = stalled(2)
    slow.send_bytes(packet(4000)[:20])

    other.send_bytes(packet(1500)[:12])
    assert other.conn.is_closing
    slow.close()
    late = core.dial()
    core.auto = True
    late.connect()
    late.send_bytes(packet(5000))

    assert [reply.err for reply in late.replies()] == [0]


def test_a_large_packet_in_pieces_is_counted_once() -> None:
    core, (client,) = stalled(1)
    data = packet(4000)

    for at in range(0, len(data), 100):
        client.send_bytes(data[at : at + 100])

    assert core.replica.large is not None
    assert core.replica.large.under_way() == 4000
    core.sync()
    assert core.replica.large.under_way() == 0
    assert [reply.err for reply in client.replies()] == [0]


def test_a_packet_beyond_the_general_limit_is_said_to_be_that() -> None:
    core, (client,) = stalled(1)

    client.send_bytes(struct.pack(">iii", 0xFFFFF + 1, 1, opcodes.SET_DATA))

    ((_, _, data),) = core.log.lines
    assert data["key"] == "jute.maxbuffer"
