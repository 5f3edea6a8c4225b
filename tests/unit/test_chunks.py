"""Reads and writes are answered and counted alike, however the network has cut or joined them."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.core import Client, Core, framed

from corral.wire import opcodes as op
from corral.wire.client import CreateRequest, PathWatchRequest
from corral.wire.data import OPEN_ACL
from corral.wire.schema import encode

REQUESTS = [
    (op.GET_DATA, encode(PathWatchRequest(b"/a", False))),
    (op.GET_DATA, encode(PathWatchRequest(b"/none", False))),
    (op.GET_DATA, b"\0\0\0\x09/a\0"),
    (op.GET_DATA, b""),
    (op.EXISTS, encode(PathWatchRequest(b"/a/b", True))),
    (op.GET_CHILDREN2, encode(PathWatchRequest(b"/a", False))),
    (op.CREATE, encode(CreateRequest(b"/a/b", b"", OPEN_ACL, 2))),
    (op.CREATE, encode(CreateRequest(b"/a/b", b"x", OPEN_ACL, 0))),
    (op.CREATE, b"\0"),
]


def counted(client: Client) -> list[Any]:
    """Return all that the server has counted of a connection and of all packets.

    But for the size of the last reply: of a turn with reads, that is the last read's.
    """
    metrics, conn = client.core.metrics, client.conn
    sent, response_bytes = metrics.packets_sent, metrics.response_bytes
    metrics.fold()
    assert (metrics.packets_sent, metrics.response_bytes) == (sent, response_bytes)
    return [
        metrics.packets_received, sent, response_bytes, metrics.op_counts, metrics.min_response_size,
        metrics.max_response_size, metrics.latency.count, metrics.update_latency.count,
        metrics.bytes_received, conn.received + conn.served, conn.sent + conn.served + conn.latency_count,
        conn.last_op, conn.last_xid, conn.last_zxid, conn.last_response_at,
    ]  # fmt: skip


@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=8),
    st.lists(st.integers(0, 400), max_size=6),
    st.booleans(),
)
def test_a_stream_means_the_same_however_it_is_cut(
    requests: list[tuple[int, bytes]], cuts: list[int], is_synced_late: bool
) -> None:
    frames = [framed(struct.pack(">ii", xid, kind) + body) for xid, (kind, body) in enumerate(requests, 1)]
    stream = b"".join(frames)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    clients = []
    for pieces in (frames, [stream[at:to] for at, to in pairwise(places)]):
        client = Core().client()
        client.create(b"/a")
        client.core.auto = not is_synced_late
        for piece in pieces:
            client.send_bytes(piece)
        client.core.sync()
        clients.append(client)

    apart, cut = (
        ([vars(reply) for reply in client.replies()], client.events, counted(client), client.core.entries)
        for client in clients
    )
    assert apart == cut
