"""Changes to a tree that are made once, in order, by whoever comes first.

    migrations = Migrations(zk, "/migrations", "app", [
        Migration("begin", [CreateNode("/app"), CreateNode("/app/config", b"{}")]),
        Migration("limit", [CreateNode("/app/limit", b"10")]),
    ])
    await migrations.run()

What has been applied stands in `<path>/<set id>/meta-<number>`, a digest each, in order. What is outstanding, its
digests, and a change of the directory that only one of several clients can make are one transaction: all of it happens
or nothing, and never twice. The form is Curator's; its digests are made of Java's texts and cannot be computed here, so
a set that Curator began is continued by stating them (`Migration.digest`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Final

from corral.base.errors import BadVersion, NoNode, Outcome, ZooKeeperError
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.client.errors import ConnectionLoss, SessionLost
from corral.client.transaction import Transaction, TransactionFailed
from corral.client.values import ZnodeStat
from corral.recipes.asking import make_directory, within
from corral.recipes.cache import READ_MAX
from corral.recipes.errors import HoldLost, RecipeError
from corral.recipes.held import Held
from corral.recipes.semaphore import Semaphore
from corral.recipes.sequence import in_order
from corral.wire.data import ACL

TRIES_MAX: Final = 64
"""How often others may be faster before `run` gives up."""
META: Final = "meta-"


class MigrationMismatch(RecipeError):
    """What has been applied is not how this set begins; nothing was changed."""


class MigrationFailed(RecipeError):
    """A migration was refused; nothing of this run has happened. migration: its name. error: why."""

    outcome = Outcome.NOT_APPLIED

    def __init__(self, migration: str, what: str, error: ZooKeeperError) -> None:
        self.migration = migration
        self.error = error
        super().__init__(f"migration {migration}, {what}: {type(error).__name__}")


@record
class CreateNode:
    """Make a persistent znode."""

    path: str
    data: bytes = b""
    acl: Sequence[ACL] | None = None


@record
class SetNode:
    """Give a znode new data. version: expected, -1 for any."""

    path: str
    data: bytes
    version: int = -1


@record
class DeleteNode:
    """Delete a znode. version: expected, -1 for any."""

    path: str
    version: int = -1


Operation = CreateNode | SetNode | DeleteNode


@record
class Migration:
    """A step: operations in order. name: for messages. digest: what tells it from others, made of them unless given."""

    name: str
    operations: Sequence[Operation]
    digest: bytes = b""

    def identity(self) -> bytes:
        """Return the digest, 32 bytes: SHA-256 over the operations, each field with its length before it."""
        if self.digest:
            return self.digest
        hasher = hashlib.sha256()
        for operation in self.operations:
            for field in _fields(operation):
                hasher.update(len(field).to_bytes(4, "big") + field)
        return hasher.digest()


class Migrations:
    """See the module.

    path: under which the sets are kept. set_id: of this one. migrations: all of the set, those that were applied long
    ago first; later versions of a program add to its end and change nothing else. lock_path: under which Curator's
    clients lock their runs; needed only where they run the same set. acl: of what is kept.
    """

    def __init__(
        self, zk: AsyncClient, path: str, set_id: str, migrations: Sequence[Migration], *,
        lock_path: str | None = None, acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if not set_id or "/" in set_id:
            raise ValueError(f"set id {set_id!r}: it must not be empty or contain /")
        self._zk = zk
        self._directory = f"{path.rstrip('/')}/{set_id}"
        self._migrations = list(migrations)
        self._lock = None
        if lock_path is not None:
            self._lock = Semaphore(zk, f"{lock_path.rstrip('/')}/{set_id}", limit=1, acl=acl)
        self._acl = acl

    async def run(self, timeout: float | None = None) -> list[str]:
        """Apply what is outstanding; return the names of those that this call applied.

        timeout: seconds for all of it, lost connections included, until RecipeTimeout; then it may have happened or
        not, and the next run finds out. Raises MigrationMismatch, MigrationFailed, RequestTooLarge if what is
        outstanding does not fit into one request, HoldLost if Curator's lock was lost meanwhile.
        """
        async with within(timeout, f"{self._directory} was not migrated"):
            if self._lock is None:
                return await self._run(None)
            held = await self._lock.acquire()
            try:
                return await self._run(held)
            finally:
                await held.release()

    async def applied(self) -> list[bytes]:
        """Return the digests of what has been applied, in order."""
        try:
            names = await self._zk.children(self._directory)
        except NoNode:
            return []
        return await self._digests(names)

    async def _run(self, held: Held | None) -> list[str]:
        token = uuid.uuid4().bytes
        asked: list[str] = []
        for _ in range(TRIES_MAX):
            try:
                data, stat = await self._zk.get(self._directory)
                if asked and data == token:
                    # Only the reply was lost.
                    return asked
                done = await self._done()
                outstanding = self._migrations[done:]
                if not outstanding:
                    return []
                asked = [each.name for each in outstanding]
                await self._apply(outstanding, token, stat, held)
                return asked
            except NoNode:
                await make_directory(self._zk, self._directory, self._acl)
            except (BadVersion, ConnectionLoss, SessionLost):
                continue
        raise RecipeError(f"{self._directory} was changed by others {TRIES_MAX} times while it was to be migrated")

    async def _done(self) -> int:
        """Return how many have been applied. Raises MigrationMismatch, NoNode."""
        found = await self._digests(await self._zk.children(self._directory))
        for at, digest in enumerate(found):
            if at >= len(self._migrations):
                raise MigrationMismatch(
                    f"{self._directory} has {len(found)} applied migrations, this set has {len(self._migrations)}"
                )
            each = self._migrations[at]
            if each.identity() != digest:
                raise MigrationMismatch(
                    f"{self._directory}: applied migration {at} is {digest.hex()}, here {each.name} is "
                    f"{each.identity().hex()}"
                )
        return len(found)

    async def _digests(self, names: Sequence[str]) -> list[bytes]:
        paths = [f"{self._directory}/{each.name}" for each in in_order(names, (META,)) if each.name.startswith(META)]
        digests = []
        for at in range(0, len(paths), READ_MAX):
            for found in await self._zk.multi_read(paths[at : at + READ_MAX]):
                if isinstance(found, ZooKeeperError):
                    raise found
                digests.append(bytes(found[0]) if isinstance(found, tuple) else b"")
        return digests

    async def _apply(
        self, outstanding: Sequence[Migration], token: bytes, stat: ZnodeStat, held: Held | None
    ) -> None:  # fmt: skip
        if held is not None and held.state.is_over:
            raise HoldLost(f"the lock of {self._directory} was lost; nothing was changed")
        work = self._zk.transaction() if held is None else held.transaction()
        guards = len(work)
        # Of several clients that have read the same version one alone gets past this.
        work.set(self._directory, token, stat.version)
        owners = [""] * len(work)
        for each in outstanding:
            for operation in each.operations:
                _add(work, operation)
            work.create(f"{self._directory}/{META}", each.identity(), acl=self._acl, sequence=True)
            owners += [each.name] * (len(work) - len(owners))
        try:
            await work.commit()
        except TransactionFailed as failed:
            if failed.index < guards:
                raise HoldLost(f"the lock of {self._directory} was lost; nothing was changed") from failed
            if failed.index == guards:
                raise failed.error from failed
            raise MigrationFailed(owners[failed.index], str(failed), failed.error) from failed


def _add(work: Transaction, operation: Operation) -> None:
    match operation:
        case CreateNode():
            work.create(operation.path, operation.data, acl=operation.acl)
        case SetNode():
            work.set(operation.path, operation.data, operation.version)
        case DeleteNode():
            work.delete(operation.path, operation.version)


def _fields(operation: Operation) -> list[bytes]:
    match operation:
        case CreateNode():
            acl = "".join(f"{each.perms}:{each.scheme}:{each.id}\n" for each in operation.acl or ())
            return [b"create", operation.path.encode(), operation.data, acl.encode()]
        case SetNode():
            return [b"set", operation.path.encode(), operation.data, str(operation.version).encode()]
        case DeleteNode():
            return [b"delete", operation.path.encode(), str(operation.version).encode()]
