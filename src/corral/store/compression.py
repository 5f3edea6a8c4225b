"""Compressed snapshots: gzip, and the framing of Java's snappy streams.

A snappy stream is the magic, int32 version and int32 oldest compatible version, then blocks of int32 length and that
many compressed bytes. Source: xerial snappy-java, SnappyOutputStream; it is not snappy's own framing format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final, Protocol

from corral.base.errors import StorageError
from corral.store.window import CHUNK_BYTES, Window

GZIP: Final = ".gz"
SNAPPY: Final = ".snappy"
SNAPPY_MAGIC: Final = b"\x82SNAPPY\0"
GZIP_MAGIC: Final = b"\x1f\x8b"

_SNAPPY_HEAD: Final = SNAPPY_MAGIC + struct.pack(">ii", 1, 1)
_SNAPPY_BLOCK_BYTES: Final = 32 << 10
_BLOCK_BYTES_MAX: Final = 64 << 20
_GZIP_LEVEL: Final = 4
_WITH_GZIP_HEADER: Final = 31


class Packer(Protocol):
    """Compresses a file piece by piece."""

    def pack(self, data: bytes) -> bytes:
        """Return the next bytes of the file for more of its content."""

    def finish(self) -> bytes:
        """Return the file's last bytes."""


def suffix_of(method: str) -> str:
    """Return the suffix of files compressed by `snapshot.compression.method`; "" for none and for what is unknown."""
    return {"gz": GZIP, "snappy": SNAPPY}.get(method.lower(), "")


def packer(suffix: str) -> Packer:
    """Make the packer for a suffix. Raises StorageError where a library is missing."""
    if suffix == GZIP:
        return GzipPacker()
    if suffix == SNAPPY:
        return SnappyPacker(_snappy("writing snappy snapshots"))
    return Plain()


class Plain:
    """Leaves the bytes as they are."""

    def pack(self, data: bytes) -> bytes:
        """Return `data`."""
        return data

    def finish(self) -> bytes:
        """Return nothing."""
        return b""


class GzipPacker:
    """Makes a gzip file."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _WITH_GZIP_HEADER)

    def pack(self, data: bytes) -> bytes:
        """Return the next bytes of the file for more of its content."""
        return self._stream.compress(data)

    def finish(self) -> bytes:
        """Return the file's last bytes."""
        return self._stream.flush()


class SnappyPacker:
    """Makes what Java's SnappyInputStream reads. library: the `snappy` module of cramjam."""

    def __init__(self, library: Any) -> None:
        self._compress = library.compress_raw
        self._head = _SNAPPY_HEAD

    def pack(self, data: bytes) -> bytes:
        """Return the next bytes of the file for more of its content."""
        parts = [self._head]
        self._head = b""
        for at in range(0, len(data), _SNAPPY_BLOCK_BYTES):
            block = bytes(self._compress(data[at : at + _SNAPPY_BLOCK_BYTES]))
            parts += (struct.pack(">i", len(block)), block)
        return b"".join(parts)

    def finish(self) -> bytes:
        """Return the head if nothing was packed."""
        return self._head


def unpacked(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file's content from its bytes on disk, going by its suffix. Raises StorageError."""
    if name.endswith(GZIP):
        return _gunzip(name, chunks)
    if name.endswith(SNAPPY):
        return _unsnap(name, chunks)
    return iter(chunks)


def _gunzip(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(_WITH_GZIP_HEADER)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                if stream.eof:
                    stream = zlib.decompressobj(_WITH_GZIP_HEADER)
                out = stream.decompress(left, CHUNK_BYTES)
                left = stream.unused_data if stream.eof else stream.unconsumed_tail
                if out:
                    yield out
        while not stream.eof and (out := stream.decompress(b"", CHUNK_BYTES)):
            yield out
    except zlib.error as error:
        raise StorageError(f"{name}: damaged gzip data: {error}") from error
    if not stream.eof:
        raise StorageError(f"{name}: the gzip data are cut off")


def _unsnap(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    decompress = _snappy(f"reading {name}").decompress_raw
    window = Window(chunks)
    if not window.move(0, 16) or window.data[:8] != SNAPPY_MAGIC:
        raise StorageError(f"{name}: no snappy stream of Java's framing")
    at = 16
    while True:
        if at + 4 > len(window.data):
            if not window.move(at, 4):
                break
            at = 0
        size = int.from_bytes(window.data[at : at + 4], "big")
        if size > _BLOCK_BYTES_MAX:
            raise StorageError(f"{name}: damaged snappy data: a block claims {size} bytes")
        if at + 4 + size > len(window.data):
            if not window.move(at, 4 + size):
                break
            at = 0
        try:
            yield bytes(decompress(window.data[at + 4 : at + 4 + size]))
        # The library's own error is a plain Exception, and some versions have raised others.
        except Exception as error:
            raise StorageError(f"{name}: damaged snappy data: {error}") from error
        at += 4 + size
    if window.data:
        raise StorageError(f"{name}: the snappy data are cut off")


def _snappy(purpose: str) -> Any:
    try:
        return import_module("cramjam").snappy
    except ImportError as error:
        raise StorageError(f"{purpose} needs the package cramjam: install corral[snappy]") from error
