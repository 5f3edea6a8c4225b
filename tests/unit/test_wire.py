"""Records and their bytes: golden ones from real traffic, and round trips of everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.base.errors import WireError
from corral.wire import client, txns
from corral.wire.data import ACL, OPEN_ACL, Stat
from corral.wire.schema import decode, decoder, encode


def golden(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", "").replace("\n", ""))


GOLDEN = [
    (
        client.ConnectRequest(0, 0, 10000, 0, b"\0" * 16),
        "00000000 0000000000000000 00002710 0000000000000000 00000010 00000000000000000000000000000000",
    ),
    (
        client.CreateRequest(b"/m", b"hi", [ACL(31, "world", "anyone")], 0),
        "00000002 2f6d 00000002 6869 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000000",
    ),
    (client.AuthPacket(0, "digest", b"bob:pw"), "00000000 00000006 646967657374 00000006 626f623a7077"),
    (
        txns.CreateTxn(b"/a", b"x", OPEN_ACL, False, 1),
        "00000002 2f61 00000001 78 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00 00000001",
    ),
    (txns.TxnDigest(2, 0x51C6D660), "00000002 0000000051c6d660"),
]


@pytest.mark.parametrize(("value", "text"), GOLDEN, ids=lambda value: type(value).__name__)
def test_bytes_are_those_of_real_traffic(value: object, text: str) -> None:
    assert encode(value) == golden(text)
    assert decode(type(value), golden(text)) == value


def test_null_and_empty_are_different() -> None:
    null, empty = client.SetDataRequest(b"/a", None, 0), client.SetDataRequest(b"/a", b"", 0)

    assert encode(null) != encode(empty)
    assert decode(client.SetDataRequest, encode(null)).data is None
    assert decode(client.SetDataRequest, encode(empty)).data == b""


def test_the_open_list_is_shared_not_built_anew() -> None:
    decoded = decode(client.CreateRequest, encode(client.CreateRequest(b"/a", b"", [ACL(31, "world", "anyone")], 0)))

    assert decoded.acl is OPEN_ACL


int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
buffers = st.none() | st.binary(max_size=50)
texts = st.none() | st.text(st.characters(max_codepoint=0xD7FF), max_size=20)
acls = st.none() | st.lists(st.builds(ACL, int32, texts, texts), max_size=4)
paths = st.lists(st.binary(max_size=12), max_size=5)


@given(
    st.one_of(
        st.builds(client.CreateRequest, st.binary(max_size=20), buffers, acls, int32),
        st.builds(client.SetWatches2, int64, paths, paths, paths, paths, paths),
        st.builds(Stat, int64, int64, int64, int64, int32, int32, int32, int64, int32, int32, int64),
        st.builds(txns.CreateTtlTxn, st.binary(max_size=20), buffers, acls, int32, int64),
        st.builds(txns.MultiTxn, st.lists(st.builds(txns.SubTxn, int32, buffers), max_size=4)),
        st.builds(client.ReconfigRequest, texts, texts, texts, int64),
    )
)
def test_decoding_gives_back_what_was_encoded(value: object) -> None:
    assert decode(type(value), encode(value)) == value


@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_bytes_decode_or_are_refused(data: bytes, cut: int) -> None:
    data = (encode(client.CreateRequest(b"/abc", b"data", [ACL(3, "ip", "1.2.3.4")], 1)) + data)[:cut] + data
    try:
        _, at = decoder(client.CreateRequest)(data, 0, len(data))
    except WireError:
        return
    assert at <= len(data)


@pytest.mark.parametrize("length", ["7fffffff", "80000000", "fffffffe", "00100000"])
def test_a_length_beyond_the_bytes_is_refused(length: str) -> None:
    with pytest.raises(WireError, match="Unreasonable length"):
        decode(client.PathRequest, golden(length + "2f61"))
