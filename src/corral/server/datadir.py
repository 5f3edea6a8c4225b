"""The directories of a server's data: opening, locking, listing and reading their files."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator

from corral.base.errors import StorageError
from corral.server.logwriter import sync_directory
from corral.store.names import log_zxid, snapshot_zxid
from corral.store.recovery import log_names, snapshot_names, valid_snapshots
from corral.store.retention import KEPT_MIN, purgeable
from corral.store.txnlog import HEADER_BYTES
from corral.store.window import CHUNK_BYTES

VERSION_DIR = "version-2"
LOCK_NAME = "corral.lock"
LOCK_PATIENCE_S = 5.0
LOCK_PAUSE_S = 0.02
UNFINISHED = "writing."
"""What the names of files start with until they are complete; neither server takes them for anything."""


class DataDirectory:
    """`version-2` below a configured directory."""

    def __init__(self, root: str, key: str, create: bool = True) -> None:
        self.root = root
        self.dir = os.path.join(root, VERSION_DIR)
        if not os.path.isdir(self.dir):
            if not create:
                raise StorageError(f"{key}={root}: {self.dir} does not exist, and datadir.autocreate is false")
            try:
                os.makedirs(self.dir, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{key}={root}: cannot create {self.dir}: {error.strerror}") from error
        if not os.access(self.dir, os.R_OK | os.W_OK | os.X_OK):
            raise StorageError(f"{key}={root}: no right to read and write {self.dir}")

    def names(self) -> list[str]:
        """Return the names in it, sorted. Raises StorageError."""
        try:
            return sorted(os.listdir(self.dir))
        except OSError as error:
            raise _cannot("read", self.dir, error) from error

    def path(self, name: str) -> str:
        """Return the full path of a file."""
        return os.path.join(self.dir, name)

    def size(self, name: str) -> int:
        """Return a file's size in bytes. Raises StorageError."""
        path = self.path(name)
        try:
            return os.path.getsize(path)
        except OSError as error:
            raise _cannot("read", path, error) from error

    def ends(self, name: str) -> tuple[bytes, bytes]:
        """Return up to 16 bytes of a file's beginning and of its end. Raises StorageError."""
        path = self.path(name)
        try:
            with open(path, "rb") as file:
                first = file.read(16)
                file.seek(max(0, os.path.getsize(path) - 16))
                return first, file.read(16)
        except OSError as error:
            raise _cannot("read", path, error) from error

    def used(self) -> int:
        """Return how many bytes the files of the directory have."""
        total = 0
        with os.scandir(self.dir) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue
        return total

    def remove(self, name: str) -> None:
        """Delete a file."""
        os.unlink(self.path(name))

    def sync(self) -> None:
        """Put the names of the files on disk."""
        sync_directory(self.dir)

    def sync_file(self, name: str) -> None:
        """Put a file's bytes on disk. Raises StorageError."""
        path = self.path(name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise StorageError(f"cannot put {path} on disk: {error.strerror}") from error

    def read(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes in chunks. Raises StorageError."""
        path = self.path(name)
        try:
            with open(path, "rb", buffering=0) as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise _cannot("read", path, error) from error

    def tidy(self) -> list[str]:
        """Delete what a crash left and nobody can use; return the names.

        These are unfinished files, and logs without a whole header: ZooKeeper does not start on an empty log that is
        not the newest one. A log is as long as it is extended to before its first bytes are on disk, so one of nothing
        but zeros is such a log too. Raises StorageError.
        """
        gone = []
        for name in self.names():
            if name.startswith(UNFINISHED) or (log_zxid(name) >= 0 and self._is_blank(name)):
                try:
                    self.remove(name)
                except OSError as error:
                    raise _cannot("delete", self.path(name), error) from error
                gone.append(name)
        return gone

    def _is_blank(self, name: str) -> bool:
        if self.size(name) < HEADER_BYTES:
            return True
        return not any(self.ends(name)[0]) and all(chunk.count(0) == len(chunk) for chunk in self.read(name))


class DataDirectories:
    """Where snapshots and logs are; both the same unless `dataLogDir` is set. The lock is held until `close`.

    patience_s: how long to wait for a lock that another process holds.
    """

    def __init__(
        self, data_dir: str, log_dir: str | None, create: bool = True, patience_s: float = LOCK_PATIENCE_S
    ) -> None:
        self.snapshots = DataDirectory(data_dir, "dataDir", create)
        if log_dir is None or os.path.realpath(log_dir) == os.path.realpath(data_dir):
            self.logs = self.snapshots
        else:
            self.logs = DataDirectory(log_dir, "dataLogDir", create)
            self._check_apart()
        self.tidied: list[str] = []
        """The names of the files that were deleted at the start, see `DataDirectory.tidy`."""
        self.locks: list[int] = []
        """The descriptors that hold the directories' locks."""
        try:
            for directory in {id(d): d for d in (self.snapshots, self.logs)}.values():
                self.locks.append(_lock(directory.root, directory.dir, patience_s))
                self.tidied += directory.tidy()
        except BaseException:
            self.close()
            raise

    def newest_snapshot(self) -> tuple[int, int]:
        """Return the zxid of the newest snapshot and when it was complete, in wall-clock ms."""
        name = valid_snapshots(self.snapshots)[0]
        return snapshot_zxid(name), int(os.path.getmtime(self.snapshots.path(name)) * 1000)

    def purge(self, keep: int) -> list[str]:
        """Delete what is not needed to restore from any of the `keep` newest snapshots; return the names."""
        gone = purgeable(
            snapshot_names(self.snapshots), valid_snapshots(self.snapshots), log_names(self.logs), max(keep, KEPT_MIN)
        )
        for name in gone:
            (self.logs if log_zxid(name) >= 0 else self.snapshots).remove(name)
        return gone

    def close(self) -> None:
        """Give the directories up."""
        for lock in self.locks:
            os.close(lock)
        self.locks = []

    def _check_apart(self) -> None:
        for directory, what, prefix in ((self.logs, "log", "snapshot."), (self.snapshots, "snapshot", "log.")):
            found = [name for name in directory.names() if name.startswith(prefix)]
            if found:
                raise StorageError(
                    f"the {what} directory {directory.dir} has {len(found)} {prefix[:-1]} files, such as {found[0]}; "
                    "dataDir and dataLogDir may be mixed up, or dataLogDir was added later: then move the files"
                )


def _cannot(do: str, path: str, error: OSError) -> StorageError:
    return StorageError(f"cannot {do} {path}: {error.strerror}")


def _lock(root: str, directory: str, patience_s: float) -> int:
    """Lock a directory. The process that writes a killed server's log may hold it for a moment more."""
    path = os.path.join(directory, LOCK_NAME)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from error
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError as error:
            if time.monotonic() >= until:
                os.close(handle)
                raise StorageError(f"{root} is in use by another server (it holds {path})") from error
            time.sleep(LOCK_PAUSE_S)
        except OSError as error:
            os.close(handle)
            raise StorageError(
                f"cannot lock {path}: {error.strerror}; is it on a file system without locks?"
            ) from error
