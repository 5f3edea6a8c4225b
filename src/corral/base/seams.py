"""What the outside is to a core: protocols that a shell and a simulator both fill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Directory(Protocol):
    """A directory of logs or snapshots, for reading."""

    def names(self) -> list[str]:
        """Return the names in it, sorted. Raises StorageError."""

    def size(self, name: str) -> int:
        """Return a file's size in bytes. Raises StorageError."""

    def ends(self, name: str) -> tuple[bytes, bytes]:
        """Return up to 16 bytes of a file's beginning and of its end. Raises StorageError."""

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes as they are on disk, in chunks of any size. Raises StorageError."""

    def path(self, name: str) -> str:
        """Return how messages should call a file."""
