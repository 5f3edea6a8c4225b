"""A file's bytes as they come from a disk: only a window of them is held at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import adler32

CHUNK_BYTES: Final = 4 << 20
"""How much of a file is best read at once."""


class Window:
    """The part of a file that is being read.

    data: the bytes held. base: the offset in the file of the first of them. adler: the Adler-32 of all before it.
    """

    __slots__ = ("_chunks", "adler", "base", "data")

    def __init__(self, chunks: bytes | Iterable[bytes]) -> None:
        self._chunks = iter((chunks,) if isinstance(chunks, bytes) else chunks)
        self.data = b""
        self.base = 0
        self.adler = 1

    def move(self, at: int, need: int) -> bool:
        """Drop what stands before `at` in `data`; tell whether `need` bytes or more are held from there on."""
        data = self.data
        if at:
            self.adler = adler32(memoryview(data)[:at], self.adler)
            self.base += at
            data = data[at:]
        if len(data) < need:
            parts = [data]
            have = len(data)
            while have < need:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                parts.append(chunk)
                have += len(chunk)
            data = b"".join(parts)
        self.data = data
        return len(data) >= need
