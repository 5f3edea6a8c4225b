"""The admin server's restore: takes a posted snapshot and has the core put it in the place of the database.

What has to happen in which order, and why, stands in `corral.replica.restore`; here are the file, the threads and the
waiting. Until the snapshot has been read whole and found good, the server does not notice.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import IO, TYPE_CHECKING

from corral.base.errors import StorageError
from corral.base.ids import zxid_hex
from corral.replica.replica import Replica
from corral.replica.restore import examine, is_at_rest, resume, retire, successor
from corral.server.admin.restricted import POLL_S, Refused
from corral.server.datadir import UNFINISHED, DataDirectory
from corral.store.compression import suffix_of
from corral.store.names import snapshot_name
from corral.tree.tree import Tree

if TYPE_CHECKING:
    from corral.server.node import Node

UPLOAD = UNFINISHED + "restore"
REST_S_MAX = 30.0


def check_restore(node: Node) -> None:
    """Check that restoring may be asked for. Raises Refused."""
    config = node.config
    if not config.admin_restore_enabled:
        raise Refused(503, "Restore command is disabled")
    if not config.serialize_last_processed_zxid_enabled:
        raise Refused(500, "Restore command requires serializeLastProcessedZxid.enabled=true")


async def restore(node: Node, length: int | None, body: AsyncIterator[bytes], may_be_mixed: bool = False) -> int:
    """Replace the database by the snapshot in `body`; return the zxid of the restored state, which is on disk then.

    length: of the body, if it was announced. Raises Refused if anything is wrong; the database is the old one then.
    """
    assert node.directories is not None
    started = time.monotonic()
    directory = node.directories.snapshots
    try:
        await _take_in(node, directory, length, body)
        tree = Tree(node.replica.fanout, node.config.digest_enabled)
        bytes_max = node.config.admin_restore_max
        await asyncio.to_thread(examine, directory.read(UPLOAD), tree, bytes_max, may_be_mixed)
    except StorageError as error:
        raise Refused(400, f"Nothing was restored: {error}") from error
    finally:
        await asyncio.to_thread(_forget, directory)
    old = node.replica
    await _put_in_place(node, old, tree)
    took = int((time.monotonic() - started) * 1000)
    node.replica.metrics.summary("restore_time").add(took)
    node.log.info("database restored from a snapshot", zxid=zxid_hex(tree.zxid), znodes=len(tree.nodes),
                  sessions_kept=len(tree.sessions), sessions_ended=len(old.tracker.sessions), ms=took)  # fmt: skip
    return tree.zxid


# Taking it in.


async def _take_in(node: Node, directory: DataDirectory, length: int | None, body: AsyncIterator[bytes]) -> None:
    """Put the body into a file. Raises Refused."""
    size, size_max = 0, node.config.admin_restore_max
    too_long = Refused(413, f"The snapshot is longer than {size_max} bytes (corral.admin.restore.max)")
    if length is not None and length > size_max:
        raise too_long
    try:
        file: IO[bytes] = await asyncio.to_thread(open, directory.path(UPLOAD), "wb")
        try:
            while chunk := await _next(body, node.config.admin_idle_timeout_ms / 1000):
                size += len(chunk)
                if size > size_max:
                    raise too_long
                await asyncio.to_thread(file.write, chunk)
        finally:
            await asyncio.to_thread(file.close)
    except OSError as error:
        why = error.strerror or str(error)
        raise Refused(500, f"Nothing was restored: cannot write {directory.path(UPLOAD)}: {why}") from error


async def _next(body: AsyncIterator[bytes], timeout_s: float) -> bytes:
    """Return the next piece of the body, nothing after the last. Raises Refused if none comes in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await anext(body, b"")
    except TimeoutError:
        raise Refused(408, "The snapshot did not arrive whole") from None


def _forget(directory: DataDirectory) -> None:
    try:
        directory.remove(UPLOAD)
    except OSError:
        # It was never there, or is deleted at the next start.
        pass


# Putting it in place.


async def _put_in_place(node: Node, old: Replica, tree: Tree) -> None:
    retire(old)
    node.drain()
    if not await _comes_to_rest(node, old):
        resume(old, node.now())
        raise Refused(503, "Nothing was restored: writes still wait for the log's disk; try again later")
    node.replica = new = successor(old, tree, node.now())
    failures = new.snapshots_failed
    node.drain()
    while new.last_snapshot[0] != tree.zxid:
        if node.stopped.done():
            raise Refused(500, "The server is stopping")
        if new.snapshots_failed != failures:
            await _take_back(node, old, new)
            raise Refused(500, "Nothing was restored: the snapshot cannot be written; the server's log says why")
        await asyncio.sleep(POLL_S)
    resume(new, node.now())


async def _comes_to_rest(node: Node, old: Replica) -> bool:
    until = time.monotonic() + REST_S_MAX
    while not is_at_rest(old):
        if node.stopped.done() or time.monotonic() > until:
            return False
        await asyncio.sleep(POLL_S)
        node.drain()
    return not node.stopped.done()


async def _take_back(node: Node, old: Replica, new: Replica) -> None:
    """Go on with the old database. Its log would be in the way of a snapshot that was written after all."""
    while new.is_snapshotting:  # noqa: ASYNC110  # The core has no events to wait for: what it is told, it counts.
        await asyncio.sleep(POLL_S)
    assert node.directories is not None
    directory = node.directories.snapshots
    name = snapshot_name(new.tree.zxid, suffix_of(node.config.snapshot_compression_method))
    try:
        await asyncio.to_thread(_make_sure_gone, directory, name)
    except OSError as error:
        why = f"{directory.path(name)}, of a restore that failed, cannot be removed: {error.strerror or error}"
        node.log.error("this server stops", why=why)
        node.stopped.set_result(why)
        return
    node.replica = old
    resume(old, node.now())


def _make_sure_gone(directory: DataDirectory, name: str) -> None:
    if os.path.exists(directory.path(name)):
        directory.remove(name)
        directory.sync()
