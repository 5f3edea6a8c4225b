"""create and setData are served from their requests' bytes: whatever these are, as by taking them apart."""

from __future__ import annotations

import struct
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from tests.support.core import Client, Core

from corral.ops.base import WriteOp
from corral.wire import opcodes
from corral.wire.client import CreateRequest, SetDataRequest
from corral.wire.data import ACL, OPEN_ACL, StoredAcls
from corral.wire.schema import encode

OPEN = encode(StoredAcls(OPEN_ACL))
PATHS = st.sampled_from([b"/", b"/a", b"/a/b", b"/a/b/c", b"/b", b"b", b"", b"/a/", b"/a/..", b"/\xff", b"/a/b "])
DATA = st.sampled_from([None, b"", b"x", b"y" * 40, encode(CreateRequest(b"", b"", OPEN_ACL, 0))])
ACLS = st.sampled_from(
    [OPEN_ACL, [ACL(31, "world", "anyone")], [ACL(1, "world", "anyone")], [ACL(31, "auth", "")], None]
)
FLAGS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, -1])
VERSIONS = st.sampled_from([-1, 0, 1, 5, -2])
CREATES = st.builds(CreateRequest, PATHS, DATA, ACLS, FLAGS).map(encode)
SETS = st.builds(SetDataRequest, PATHS, DATA, VERSIONS).map(encode)


def spoilt(request: bytes, cut: int, more: bytes, at: int, value: int) -> bytes:
    """Cut the end off, put something behind, and write a length over another."""
    request = request[: len(request) - cut] + more
    if at % 3 == 0 and len(request) >= 4:
        at = at % (len(request) - 3)
        request = request[:at] + struct.pack(">i", value) + request[at + 4 :]
    return request


ODDITIES = st.tuples(
    st.sampled_from([0, 0, 0, 1, 4, 31]), st.sampled_from([b"", b"", b"\0", b"\0\0\0\0", OPEN + b"\0\0\0\0"]),
    st.integers(0, 100), st.sampled_from([-1, 0, 1, 3, 40, 1 << 30]),
)  # fmt: skip
REQUESTS = st.tuples(
    st.one_of(
        st.tuples(st.sampled_from([opcodes.CREATE, opcodes.CREATE2]), CREATES),
        st.tuples(st.just(opcodes.SET_DATA), SETS),
    ),
    st.one_of(st.just((0, b"", 1, 0)), ODDITIES),
)


Request = tuple[tuple[int, bytes], tuple[int, bytes, int, int]]


@given(st.lists(REQUESTS, max_size=12))
def test_requests_mean_the_same_however_they_are_read(
    requests: list[tuple[tuple[int, bytes], tuple[int, bytes, int, int]]],
) -> None:
    quick, plain = Core(), Core()
    for op in plain.registry.writes.values():
        op.take = partial(WriteOp.take, op)  # type: ignore[method-assign]
    clients: list[Client] = [quick.client(), plain.client()]
    for client in clients:
        client.create(b"/a")

    for (kind, request), oddity in requests:
        body = spoilt(request, *oddity)
        answers = [client.call(kind, body) for client in clients]
        assert vars(answers[0]) == vars(answers[1]), (kind, body)

    assert quick.entries == plain.entries
    shown = [{path: (node.body, node.acl.encoded) for path, node in core.tree.nodes.items()} for core in (quick, plain)]
    assert shown[0] == shown[1]
    assert quick.tree.digest.value == plain.tree.digest.value
