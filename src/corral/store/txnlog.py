"""The format of transaction logs: frames to append, and reading a file back with its faults told apart.

    file    FileHeader(magic "ZKLG", version 2, dbid 0), then entries, then zeros
    entry   int64 Adler-32, int32 length, `length` bytes, 0x42

The bytes of an entry are a TxnHeader, a body and maybe a digest; here they are opaque but for their zxid. A torn tail
is what a crash leaves and ends the file; everything else that does not fit is damage and an error. A disk writes the
sectors of one append in any order, so a power cut may leave the end of a long last entry and zeros before it. A length
is held against the file alone: a lowered `jute.maxbuffer` makes no log unreadable.
Source: ZooKeeper FileTxnLog; reference "Transaction log" and "Torn and corrupt data".
"""

from __future__ import annotations

import shlex
import struct
from collections.abc import Iterable, Iterator
from typing import Final
from zlib import adler32

from corral.base.errors import StorageError
from corral.base.records import record
from corral.store.window import Window

MAGIC: Final = 0x5A4B4C47
VERSION: Final = 2
FILE_HEADER: Final = struct.pack(">iiq", MAGIC, VERSION, 0)
HEADER_BYTES: Final = 16
PAD_MARGIN: Final = 4096

_head: Final = struct.Struct(">qi")
_pack_head: Final = _head.pack
_unpack_head: Final = _head.unpack_from
_unpack_zxid: Final = struct.Struct(">q").unpack_from
_END: Final = b"B"
_END_CODE: Final = 0x42
_ENTRY_AT: Final = 12
_ZXID_AT: Final = 12
_TXN_HEADER_BYTES: Final = 32
_SECTOR_BYTES: Final = 512
_NO_SECTOR: Final = bytes(_SECTOR_BYTES)
_AFTER_A_POWER_CUT: Final = "if the power was cut while it was being written, nothing from there on was acknowledged"


@record
class Torn:
    """Why reading a file ended before its end; ordinary after a crash. offset: of the entry, in bytes."""

    name: str
    offset: int
    why: str


def frame(entry: bytes) -> bytes:
    """Frame an entry for the log."""
    return b"".join((_pack_head(adler32(entry), len(entry)), entry, _END))


def entry_of(framed: bytes) -> bytes:
    """Return the entry of a frame."""
    return framed[_ENTRY_AT:-1]


def padded_size(position: int, size: int, step: int) -> int:
    """Return the size a file should be extended to before an append at `position`; `size` if it is enough.

    step: the preallocation in bytes, 0 or less for none. Source: ZooKeeper FilePadding.
    """
    if step <= 0 or position + PAD_MARGIN < size:
        return size
    if position > size:
        size = position + step
        return size - size % step
    return size + step


class LogReader:
    """The entries of one log file, in order; iterated once.

    torn: after the iteration, why it ended early, if it did. end: the offset after the last whole entry.
    """

    def __init__(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """Read the file's header. data: the file's bytes, whole or in chunks. Raises StorageError."""
        self.name = name
        self.torn: Torn | None = None
        self.end = HEADER_BYTES
        self._window = window = Window(data)
        if not window.move(0, HEADER_BYTES):
            raise StorageError(
                f"{name}: {len(window.data)} bytes are too short for a transaction log's header; move the file away "
                "if it is the newest one, or restore it from a backup"
            )
        magic, version, _ = struct.unpack(">iiq", window.data[:HEADER_BYTES])
        if magic != MAGIC:
            raise StorageError(
                f"{name}: no transaction log: it starts with 0x{magic & 0xFFFFFFFF:08x}, not ZKLG; restore the file "
                "from a backup, or move it away if it does not belong here"
            )
        if version != VERSION:
            raise StorageError(
                f"{name}: transaction log version {version} is unknown; this server reads version {VERSION}: "
                "use the software that wrote it"
            )

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        """Yield (zxid, entry, offset). Raises StorageError for damage that no crash explains."""
        window = self._window
        data = window.data
        size = len(data)
        at = HEADER_BYTES
        while True:
            if at + _ENTRY_AT > size:
                has_head = window.move(at, _ENTRY_AT)
                data, size, at = window.data, len(window.data), 0
                if not has_head:
                    if any(data):
                        self._tear(at, "an entry's header is cut off by the end of the file")
                    return
            crc, length = _unpack_head(data, at)
            if length == 0:
                if not self._is_empty_from(at):
                    self.torn = Torn(self.name, self.end, "an entry has no length, but more was written")
                return
            if length < 0:
                raise self._corrupt(at, f"an entry claims a length of {length} bytes")
            stop = at + _ENTRY_AT + length
            if stop >= size:
                is_whole = window.move(at, _ENTRY_AT + length + 1)
                data, size, at = window.data, len(window.data), 0
                stop = _ENTRY_AT + length
                if not is_whole:
                    self._tear(at, f"an entry of {length} bytes is cut off by the end of the file")
                    return
            if data[stop] != _END_CODE:
                self._tear(at, "an entry was not written to its end")
                return
            entry = data[at + _ENTRY_AT : stop]
            if adler32(entry) != crc:
                why = f"an entry's checksum is 0x{crc:x}, but its bytes give 0x{adler32(entry):x}"
                if not self._lacks_sector(at, stop):
                    raise self._corrupt(at, why)
                damage = self._corrupt(at, f"{why}. A part of it was not written: {_AFTER_A_POWER_CUT}")
                self._tear(at, "a part of an entry was not written")
                if self._is_whole(stop + 1):
                    raise damage
                return
            if length < _TXN_HEADER_BYTES:
                raise self._corrupt(at, f"an entry of {length} bytes is too short for a transaction")
            yield _unpack_zxid(entry, _ZXID_AT)[0], entry, window.base + at
            at = stop + 1
            self.end = window.base + at

    def _lacks_sector(self, at: int, stop: int) -> bool:
        """Tell whether the entry of the window from `at` to `stop` has nothing but zeros in a sector.

        In its first one as well, if the checksum begins there: of that the first half is zeros anyway, the rest never.
        """
        data = self._window.data
        first = at + -(self._window.base + at) % _SECTOR_BYTES
        if at + 4 < first < stop and not any(data[at:first]):
            return True
        last = stop - _SECTOR_BYTES
        return any(data.startswith(_NO_SECTOR, sector) for sector in range(first, last + 1, _SECTOR_BYTES))

    def _is_whole(self, at: int) -> bool:
        """Tell whether a sound entry begins at `at`; the window moves there."""
        window = self._window
        if not window.move(at, _ENTRY_AT):
            return False
        crc, length = _unpack_head(window.data)
        if length <= 0 or not window.move(0, _ENTRY_AT + length + 1):
            return False
        stop = _ENTRY_AT + int(length)
        return window.data[stop] == _END_CODE and adler32(window.data[_ENTRY_AT:stop]) == int(crc)

    def _is_empty_from(self, at: int) -> bool:
        """Tell whether there is nothing but zeros from `at` to the end of the file; the window moves on."""
        window = self._window
        while True:
            size = len(window.data) - at
            if window.data[at:] != bytes(size):
                return False
            if not window.move(at + size, 1):
                return True
            at = 0

    def _tear(self, at: int, why: str) -> None:
        self.torn = Torn(self.name, self._window.base + at, why)

    def _corrupt(self, at: int, why: str) -> StorageError:
        offset = self._window.base + at
        return StorageError(
            f"{self.name}: corrupt at offset {offset}: {why}; restore this file from a backup or another server, or, "
            f"giving up everything from there on, cut it off (truncate -s {offset} {shlex.quote(self.name)}) and move "
            "all later log files away"
        )
