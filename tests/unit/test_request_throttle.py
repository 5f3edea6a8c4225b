"""Writes held back while too many are under way."""

from __future__ import annotations

import struct

import pytest
from tests.support.core import Client, Core, framed

from corral.base.errors import ThrottledOp
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.schema import encode

SET = encode(records.SetDataRequest(b"/", b"", -1))
EXISTS = encode(records.PathWatchRequest(b"/", False))


def writes(*xids: int) -> bytes:
    return b"".join(framed(struct.pack(">ii", xid, opcodes.SET_DATA) + SET) for xid in xids)


def stalled(most: int, clients: int, timeout: int = 40_000, **config: int | bool) -> tuple[Core, list[Client]]:
    """Return a core whose disk waits for `sync`, and its clients."""
    core = Core(request_throttle_max_requests=most, **config)
    connected = [core.client(timeout) for _ in range(clients)]
    core.auto = False
    return core, connected


def xids(client: Client) -> list[int]:
    return [reply.xid for reply in client.replies()]


def test_no_more_than_the_limit_is_under_way_however_many_connections_write() -> None:
    core, clients = stalled(3, 5)

    for client in clients:
        client.send_bytes(writes(1, 2))
        assert len(core.replica.pipeline.outstanding) <= 3

    assert [client.conn.is_unread for client in clients] == [False, True, True, True, True]
    assert core.metrics.counters["request_throttle_wait_count"] == 4
    answered = []
    for _ in range(4):
        core.sync()
        assert len(core.replica.pipeline.outstanding) <= 3
        answered.append([xids(client) for client in clients])
    # The second client had one write in before the limit; then each gets one in turn.
    assert answered == [
        [[1, 2], [1], [], [], []],
        [[], [2], [1], [1], []],
        [[], [], [2], [2], [1]],
        [[], [], [], [], [2]],
    ]
    assert [client.conn.is_unread for client in clients] == [False] * 5


def test_a_limit_of_the_very_number_under_way_holds_nothing() -> None:
    core, (client,) = stalled(2, 1)

    client.send_bytes(writes(1, 2))

    assert not client.conn.is_unread
    assert "request_throttle_wait_count" not in core.metrics.counters


def test_who_comes_later_does_not_overtake_who_waits() -> None:
    core, (first, second, late) = stalled(1, 3)
    first.send_bytes(writes(1))
    second.send_bytes(writes(1))
    core.replica.pipeline.outstanding.clear()

    late.send_bytes(writes(1))

    assert late.conn.is_unread


def test_reads_are_served_and_those_behind_a_held_write_keep_their_place() -> None:
    core, (writer, held, reader) = stalled(1, 3)
    writer.send_bytes(writes(1))

    held.send_bytes(writes(1) + framed(struct.pack(">ii", 2, opcodes.EXISTS) + EXISTS))
    reader.send_bytes(framed(struct.pack(">ii", 1, opcodes.EXISTS) + EXISTS))

    assert xids(reader) == [1]
    assert xids(held) == []
    core.sync()
    assert xids(held) == []
    core.sync()
    assert xids(held) == [1, 2]


def test_a_closed_connection_makes_room_for_the_next() -> None:
    core, (writer, gone, next_one) = stalled(1, 3)
    writer.send_bytes(writes(1))
    gone.send_bytes(writes(1))
    next_one.send_bytes(writes(1))

    gone.close()
    assert core.replica.request_throttle is not None
    assert list(core.replica.request_throttle.waiting) == [next_one.conn]
    core.sync()
    core.sync()

    assert xids(next_one) == [1]


def test_the_shell_is_told_of_a_connection_that_may_be_read_again() -> None:
    core, (writer, client) = stalled(1, 2)
    writer.send_bytes(writes(1))
    client.send_bytes(writes(1))
    core.replica.take_dirty()

    core.sync()

    assert client.conn in core.replica.take_dirty()
    assert not client.conn.is_unread


@pytest.mark.parametrize(("waited", "error"), [(50, 0), (51, ThrottledOp.code)])
def test_a_write_that_waited_too_long_is_refused_in_its_place(waited: int, error: int) -> None:
    core, (writer, client) = stalled(1, 2, throttled_op_wait_time_ms=50)
    writer.send_bytes(writes(1))
    client.send_bytes(writes(1))

    core.now += waited
    core.sync()
    core.sync()

    (reply,) = client.replies()
    assert (reply.xid, reply.err) == (1, error)
    assert core.metrics.counters.get("throttled_ops", 0) == (1 if error else 0)


@pytest.mark.parametrize("drops", [True, False])
@pytest.mark.parametrize("waited", [4000, 4001])
def test_a_write_that_waited_longer_than_its_session_ends_its_connection_where_that_is_asked_for(
    drops: bool, waited: int
) -> None:
    core, (writer, client) = stalled(1, 2, 4000, request_stale_latency_check=True, request_throttle_drop_stale=drops)
    writer.send_bytes(writes(1))
    client.send_bytes(writes(1))

    core.now += waited
    core.sync()
    core.sync()

    is_dropped = drops and waited > 4000
    assert client.conn.is_closing == is_dropped
    assert xids(client) == ([] if is_dropped else [1])
    assert core.metrics.counters.get("stale_requests_dropped", 0) == is_dropped


def test_a_held_write_counts_once_and_its_wait_is_measured() -> None:
    core, (writer, client) = stalled(1, 2)
    writer.send_bytes(writes(1))
    client.send_bytes(writes(1))

    core.now += 30
    core.sync()
    core.sync()

    assert core.metrics.op_counts[opcodes.SET_DATA] == 2
    wait = core.metrics.summaries["request_throttle_queue_time_ms"]
    assert (wait.count, wait.max) == (1, 30)
