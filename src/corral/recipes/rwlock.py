"""A lock that readers share and a writer has for itself, in order of arrival.

    lock = ReadWriteLock(zk, "/locks/index")
    async with lock.read:
        ...
    async with lock.write:
        async with lock.read:  # At once: a writer may read, and keeps its place when it stops to write.
            ...

A waiting writer blocks the readers behind it. A reader that asks to write gets WouldDeadlock: it would wait for itself.
The nodes are Curator's (`__READ__`, `__WRIT__`), or kazoo's with style="kazoo" (`__rlock__`, `__lock__`); Curator and
kazoo do not see each other's, so one style a path.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, Literal
from uuid import uuid4

from corral.base.errors import NodeExists, NoNode
from corral.client.aio import AsyncClient
from corral.client.errors import ConnectionLoss, SessionLost
from corral.client.transaction import TransactionFailed
from corral.recipes import sequence
from corral.recipes.asking import remove_beside
from corral.recipes.contender import Contender, Owned
from corral.recipes.errors import HoldLost, WouldDeadlock
from corral.recipes.held import Held
from corral.recipes.line import before_reader, before_writer
from corral.recipes.lock import LineLock, Scope
from corral.wire.data import ACL

ReadWriteStyle = Literal["curator", "kazoo"]

_ENDINGS: Final[dict[ReadWriteStyle, tuple[str, str]]] = {
    "curator": (sequence.READ, sequence.WRITE),
    "kazoo": (sequence.KAZOO_READ, sequence.KAZOO_LOCK),
}


class WriteLock(LineLock):
    """The writers' side of a ReadWriteLock."""

    _reader: ReadLock

    async def _acquire_for(self, owner: Hashable, *, wait: bool) -> Held | None:
        if not self._holds_by(owner) and self._reader._holds_by(self._reader._owner()):
            raise WouldDeadlock(f"{self.path}: who reads cannot wait for the readers to end; release, then write")
        return await super()._acquire_for(owner, wait=wait)


class ReadLock(LineLock):
    """The readers' side of a ReadWriteLock."""

    _writer: WriteLock

    async def _contend(self, *, wait: bool) -> Held | None:
        written = self._writer._holds_by(self._writer._owner())
        if written is not None:
            return await self._downgrade(written)
        return await super()._contend(wait=wait)

    async def _downgrade(self, written: Held) -> Held:
        """Make a reader's node with the writer's number, in one with a check that the writer's is there.

        Source: CURATOR-621, as the reference has it.
        """
        writer = sequence.parse(written.node.name)
        if writer is None:
            raise ValueError(f"{written.node.name!r} is no name of a contender")
        token = uuid4()
        prefix = token.hex if self._is_hex else f"{sequence.PROTECTED}{token}-"
        path = f"{self.path.rstrip('/')}/{prefix}{self._endings[0]}{sequence.number_text(writer.number)}"
        is_sent = False
        try:
            while True:
                try:
                    stat = await self._zk.exists(path) if is_sent else None
                    if stat is None:
                        is_sent = True
                        work = written.transaction().create(path, self.identifier, acl=self._acl, ephemeral=True)
                        await work.commit()
                        continue
                except (ConnectionLoss, SessionLost):
                    continue
                except TransactionFailed as failed:
                    if isinstance(failed.error, NoNode):
                        raise HoldLost(f"{written.path} is gone: the lock is not held for writing any more") from failed
                    if not isinstance(failed.error, NodeExists):
                        raise failed.error from failed
                    continue
                contender = Contender(self._zk, self.path, self._endings, self.identifier, self._acl)
                contender.nodes = (Owned(path, stat.czxid, stat.ephemeral_owner),)
                held = Held(self._zk, contender, self.identifier)
                held.watch()
                return held
        except BaseException:
            if is_sent:
                remove_beside(self._zk, path)
            raise


class ReadWriteLock:
    """Two locks, `read` and `write`, over one line of contenders at `path`.

    Parameters as `Lock` has them. Each of the two has `acquire`, `try_acquire`, `release`, `held`, `contenders` and
    works as `async with`.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, identifier: bytes = b"", style: ReadWriteStyle = "curator",
        scope: Scope = "task", cancel_on_loss: bool = True, acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if style not in _ENDINGS:
            raise ValueError(f"style {style!r}: must be one of {', '.join(_ENDINGS)}")
        read, write = _ENDINGS[style]
        self.path = path
        self.read = ReadLock(
            zk, path, (read,), before_reader, identifier=identifier, scope=scope, cancel_on_loss=cancel_on_loss,
            acl=acl, is_hex=style == "kazoo",
        )  # fmt: skip
        self.write = WriteLock(
            zk, path, (write,), before_writer, identifier=identifier, scope=scope, cancel_on_loss=cancel_on_loss,
            acl=acl, is_hex=style == "kazoo",
        )  # fmt: skip
        self.read._writer = self.write
        self.write._reader = self.read
