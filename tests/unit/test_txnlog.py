"""The transaction log's format: golden bytes of a real server, and every way a file can end."""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from zlib import adler32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corral.base.errors import StorageError
from corral.store.txnlog import FILE_HEADER, LogReader, Torn, entry_of, frame, padded_size

CREATE_SESSION = bytes.fromhex(
    "01000021382f0000 00000000 0000000000000001 000001a1fbf4bca5 fffffff6 00002710 00000002 0000000051c6d660"
)
CREATE_SESSION_FRAME = bytes.fromhex("00000000c48a0af6 00000030") + CREATE_SESSION + b"B"
CREATE_A = bytes.fromhex(
    "01000021382f0000 00000001 0000000000000003 000001a1fbf4bcb1 00000001 00000002 2f61 00000001 78"
    "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00 00000001 00000002 00000001a296b9b3"
)
CREATE_A_FRAME = bytes.fromhex("00000000d9070d1d 00000057") + CREATE_A + b"B"


def entry(zxid: int, body: bytes = b"") -> bytes:
    return struct.pack(">qiqqi", 7, 1, zxid, 0, 5) + body


def log(*frames: bytes) -> bytes:
    return FILE_HEADER + b"".join(frames)


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_frames_are_byte_for_byte_those_of_zookeeper() -> None:
    assert bytes.fromhex("5a4b4c47 00000002 0000000000000000") == FILE_HEADER
    assert frame(CREATE_SESSION) == CREATE_SESSION_FRAME
    assert frame(CREATE_A) == CREATE_A_FRAME
    assert entry_of(CREATE_A_FRAME) == CREATE_A


def test_a_padded_log_is_read_to_its_zeros() -> None:
    data = log(CREATE_SESSION_FRAME, CREATE_A_FRAME)
    reader = LogReader("log.1", data + bytes(5000))

    assert list(reader) == [(1, CREATE_SESSION, 16), (3, CREATE_A, 16 + len(CREATE_SESSION_FRAME))]
    assert reader.torn is None
    assert reader.end == len(data)


@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(1, 80), st.integers(0, 40), st.data())
def test_any_prefix_of_a_log_yields_its_whole_entries(
    bodies: list[bytes], chunk: int, padding: int, data: st.DataObject
) -> None:
    """A cut tears at most the entry it falls into, whatever the chunks that the file is read in."""
    entries = [entry(zxid, body) for zxid, body in enumerate(bodies, 1)]
    ends = [16]
    for each in entries:
        ends.append(ends[-1] + len(frame(each)))
    whole = log(*map(frame, entries)) + bytes(padding)
    cut = data.draw(st.integers(16, len(whole)))

    reader = LogReader("log.1", chunked(whole[:cut], chunk))
    found = list(reader)

    complete = sum(1 for end in ends[1:] if end <= cut)
    assert [e for _, e, _ in found] == entries[:complete]
    assert [offset for _, _, offset in found] == ends[:complete]
    assert reader.end == ends[complete]
    is_cut_inside = complete < len(entries) and any(whole[ends[complete] : cut])
    assert (reader.torn is not None) == is_cut_inside
    if reader.torn is not None:
        assert (reader.torn.name, reader.torn.offset) == ("log.1", ends[complete])


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_every_cut_of_a_log_is_told_from_a_clean_end(chunk: int) -> None:
    frames = [frame(entry(1)), frame(entry(2, b"body")), frame(entry(3))]
    whole = log(*frames)
    ends = [16, 16 + len(frames[0]), 16 + len(frames[0] + frames[1]), len(whole)]

    for cut in range(16, len(whole) + 1):
        reader = LogReader("log.1", chunked(whole[:cut], chunk))
        complete = sum(1 for end in ends[1:] if end <= cut)
        assert [zxid for zxid, _, _ in reader] == [1, 2, 3][:complete]
        # The first bytes of a checksum are zeros, as is the space after the last entry.
        assert (reader.torn is None) == (not any(whole[ends[complete] : cut])), cut


def test_an_entry_without_its_end_mark_is_torn_before_its_checksum_is_looked_at() -> None:
    torn = bytearray(frame(entry(2, b"never written whole")))
    torn[-20:] = bytes(20)

    reader = LogReader("log.1", log(frame(entry(1)), bytes(torn)) + bytes(100))

    assert [zxid for zxid, _, _ in reader] == [1]
    assert reader.torn is not None
    assert reader.torn.offset == 16 + len(frame(entry(1)))


@given(st.sets(st.integers(0, 30)), st.integers(1, 9000), st.integers(0, 9000), st.integers(1, 5000))
@example(missing={0}, before=440, size=0, chunk=1)
def test_whatever_sectors_of_the_last_append_are_missing_what_was_synced_before_is_read(
    missing: set[int], before: int, size: int, chunk: int
) -> None:
    """A power cut during an fsync leaves some of what it was to write, and zeros; an entry may be there by chance."""
    synced = log(frame(entry(1, b"a" * before)))
    data = bytearray(synced + frame(entry(2, b"b" * size)) + bytes(1000))
    for sector in missing:
        start = max(len(synced), 512 * sector)
        stop = max(start, min(512 * (sector + 1), len(data)))
        data[start:stop] = bytes(stop - start)

    found = [zxid for zxid, _, _ in LogReader("log.1", chunked(bytes(data), chunk))]

    assert found in ([1], [1, 2])


@pytest.mark.parametrize("chunk", [100, 1 << 20])
@pytest.mark.parametrize(("zeros", "behind"), [(1022, b""), (1023, frame(entry(3)))], ids=["no sector", "more behind"])
def test_zeros_that_no_power_cut_explains_are_an_error(zeros: int, behind: bytes, chunk: int) -> None:
    data = bytearray(log(frame(entry(2, b"b" * 3000)), behind))
    data[1537 - 512 : 1537 - 512 + zeros] = bytes(zeros)

    with pytest.raises(StorageError, match=r"log\.1: corrupt at offset 16"):
        list(LogReader("log.1", chunked(bytes(data), chunk)))


@pytest.mark.parametrize("chunk", [100, 1 << 20])
def test_that_more_is_behind_a_missing_entry_is_told(chunk: int) -> None:
    """A power cut may leave an append without the sector in which one of its entries begins."""
    first = frame(entry(1, bytes(512 - 16 - 45)))

    reader = LogReader("log.1", chunked(log(first, bytes(512), frame(entry(3))) + bytes(5000), chunk))

    assert [zxid for zxid, _, _ in reader] == [1]
    assert reader.torn == Torn("log.1", 512, "an entry has no length, but more was written")


def test_damage_says_how_to_keep_what_is_before_it(tmp_path: Path) -> None:
    """And that nothing behind it was acknowledged, where it is a power cut's."""
    path = tmp_path / "log 1"
    data = bytearray(log(frame(entry(1)), frame(entry(2, b"b" * 3000)), frame(entry(3))) + bytes(5000))
    data[1024:1536] = bytes(512)
    path.write_bytes(data)

    with pytest.raises(StorageError, match="while it was being written, nothing from there on was") as caught:
        list(LogReader(str(path), bytes(data)))
    advice = re.search(r"cut it off \((.*?)\) and move", str(caught.value))
    assert advice is not None
    subprocess.run(shlex.split(advice[1]), check=True)

    reader = LogReader(str(path), path.read_bytes())
    assert [zxid for zxid, _, _ in reader] == [1]
    assert reader.torn is None


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_changed_byte_inside_an_entry_is_an_error(at: int, flip: int) -> None:
    damaged = bytearray(log(frame(entry(1)), frame(entry(2))))
    damaged[16 + 12 + at] ^= flip

    with pytest.raises(StorageError, match=r"dir/log\.1: corrupt at offset 16: .*checksum.*restore this file"):
        list(LogReader("dir/log.1", bytes(damaged)))


def test_a_negative_length_is_an_error() -> None:
    data = log(frame(entry(1)), struct.pack(">qi", 5, -1) + bytes(64))

    with pytest.raises(StorageError, match=r"log\.1: corrupt at offset 61: an entry claims a length of -1 bytes"):
        list(LogReader("log.1", data))


def test_an_entry_too_short_for_a_transaction_is_an_error() -> None:
    with pytest.raises(StorageError, match="too short for a transaction"):
        list(LogReader("log.1", log(struct.pack(">qi", adler32(b"short"), 5) + b"shortB")))


def test_no_entry_is_too_long_for_a_reader() -> None:
    """Logs stay readable whatever jute.maxbuffer was lowered to."""
    large = entry(1, bytes(5 << 20))

    assert [e for _, e, _ in LogReader("log.1", chunked(log(frame(large)), 1 << 20))] == [large]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes are too short"),
        (FILE_HEADER[:15], "15 bytes are too short"),
        (b"ZKSN" + FILE_HEADER[4:], "starts with 0x5a4b534e, not ZKLG"),
        (b"ZKLG\0\0\0\3" + bytes(8), "version 3 is unknown"),
    ],
)
def test_a_file_that_is_no_log_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(StorageError, match=why):
        LogReader("log.1", data)


@pytest.mark.parametrize(
    ("position", "size", "step", "expected"),
    [
        (16, 16, 64 << 20, 16 + (64 << 20)),
        (100, 10000, 4096, 10000),
        (5903, 10000, 4096, 10000),
        (5904, 10000, 4096, 14096),
        (20000, 10000, 4096, 20480),
        (16, 16, 0, 16),
        (16, 16, -1, 16),
    ],
)
def test_files_are_extended_as_zookeeper_does(position: int, size: int, step: int, expected: int) -> None:
    assert padded_size(position, size, step) == expected
