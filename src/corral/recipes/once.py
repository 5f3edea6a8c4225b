"""Writes that are made exactly once, also when replies get lost.

A counter's number and a queue's item have no room for a mark of who wrote them, so a writer whose reply was lost
cannot tell its own write from another's. Here each write is a transaction with a write to a *permit*: a znode of the
writer's own, whose version is expected. The same transaction may then be sent again and again:

1. Transaction {set permit if version 4; the write} is carried out, its reply is lost.
2. It is sent again. The permit has version 5: it is refused, which says that the first one did it.
3. If the first one had not arrived, the second does it; should the first one arrive after all, it is refused.

A permit is a container with an ephemeral child: it outlives a lost session long enough to settle what was under way,
and the server removes it when nobody needs it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence

from corral.base.errors import BadVersion, NodeExists, NoNode, Outcome, Unimplemented
from corral.client.aio import AsyncClient
from corral.client.errors import ClientError, ConnectionLoss, SessionLost
from corral.client.transaction import Result, Transaction, TransactionFailed
from corral.recipes.asking import make_directory, steadily, with_parents
from corral.recipes.errors import RecipeError
from corral.wire.data import ACL

PERMITS = "-once"
"""What is appended to a recipe's path for the directory of its permits."""


class OutcomeUnknown(RecipeError):
    """A write whose reply was lost, and whose permit was removed meanwhile: it was made once, or not at all."""

    outcome = Outcome.UNKNOWN


class Once:
    """Makes writes exactly once, one after the other. directory: where the permits are."""

    def __init__(self, zk: AsyncClient, directory: str, acl: Sequence[ACL] | None = None) -> None:
        self._zk = zk
        self._directory = directory
        self._acl = acl
        self._lock = asyncio.Lock()
        self._permit = ""
        self._version = 0
        self._session_id = 0

    async def commit(self, fill: Callable[[Transaction], object]) -> list[Result] | None:
        """Commit what `fill` puts into a transaction; return its results, None if they were lost with a reply.

        Raises TransactionFailed, with indexes as `fill` knows them: nothing has happened; OutcomeUnknown. If it is
        cancelled, the write has been made once, or never will be after the permit's removal.
        """
        async with self._lock:
            if self._session_id != self._zk.session_id or not self._permit:
                await self._renew()
            try:
                return await self._commit(fill)
            except TransactionFailed:
                raise
            except BaseException:
                # Whether its version has moved is not known; without it, what is under way is refused.
                self._give_up()
                raise

    def close(self) -> None:
        """Remove the permit, in the background."""
        self._give_up()

    async def _commit(self, fill: Callable[[Transaction], object]) -> list[Result] | None:
        is_unsure = False
        while True:
            work = self._zk.transaction().set(self._permit, b"", self._version)
            fill(work)
            try:
                results = await work.commit()
            except TransactionFailed as failed:
                if failed.index:
                    failed.index -= 1
                    failed.results = failed.results[1:]
                    raise
                if is_unsure and isinstance(failed.error, BadVersion):
                    self._version += 1
                    return None
                if not isinstance(failed.error, BadVersion | NoNode):
                    raise failed.error from failed
                if is_unsure:
                    raise OutcomeUnknown(
                        f"{self._permit} is gone: whether the write before the lost reply was made is not known"
                    ) from failed
                await self._renew()
                continue
            except (ConnectionLoss, SessionLost) as error:
                is_unsure = is_unsure or error.outcome is Outcome.UNKNOWN
                await asyncio.sleep(0.02)
                continue
            self._version += 1
            return results[1:]

    async def _renew(self) -> None:
        self._give_up()
        path = f"{self._directory}/{uuid.uuid4()}"
        try:
            await with_parents(self._zk, path, lambda: self._make(path), self._acl)
        except BaseException:
            self._remove(path)
            raise
        self._permit = path
        self._version = 0

    async def _make(self, path: str) -> None:
        while True:
            session_id = self._zk.session_id
            try:
                await self._zk.create(path, acl=self._acl, container=True)
            except Unimplemented:
                await steadily(self._zk, lambda: self._zk.create(path, acl=self._acl))
            except NodeExists:
                # Made by an attempt whose reply was lost.
                pass
            except ClientError as error:
                if not isinstance(error, ConnectionLoss | SessionLost):
                    raise
                continue
            try:
                await self._zk.create(f"{path}/alive", acl=self._acl, ephemeral=True)
            except NodeExists:
                pass
            except (ConnectionLoss, SessionLost):
                continue
            if session_id and session_id == self._zk.session_id:
                self._session_id = session_id
                return
            await steadily(self._zk, lambda: self._zk.delete_tree(path))
            await make_directory(self._zk, self._directory, self._acl)

    def _give_up(self) -> None:
        permit, self._permit = self._permit, ""
        if permit:
            self._remove(permit)

    def _remove(self, path: str) -> None:
        # Should it never be sent: the child goes with the session, and the container, without one, by itself.
        self._zk.spawn(_remove_after(self._zk, path))


async def _remove_after(zk: AsyncClient, path: str) -> None:
    try:
        await steadily(zk, lambda: zk.delete_tree(path))
    except (ClientError, NoNode):
        pass
