"""A lease by the wall clock: reserved for its holder until a moment, whether the holder lives or not.

    lease = NonBlockingLease(zk, "/leases/hourly-cleanup", timedelta(minutes=70), identifier="host-7")
    if await lease.obtain():
        ...

It suits a task that should stay on one machine, with another taking over some time after that one is gone. It assumes
that the machines' clocks agree; where something must never be done twice, use a `Lock`. The nodes are kazoo's, also the
lock that guards them, so kazoo's leases on the same path are respected and respect ours. Unlike kazoo's it can be given
back.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from corral.base.errors import NoNode
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.client.transaction import TransactionFailed
from corral.recipes.asking import steadily, within
from corral.recipes.errors import HoldLost, RecipeError
from corral.recipes.lock import Lock
from corral.wire.data import ACL

VERSION: Final = 1
_DATE: Final = "%Y-%m-%dT%H:%M:%S"


class BadLease(RecipeError):
    """A lease node that is no lease; the message gives its data."""


@record
class LeaseHolder:
    """Who has a lease. end: until when, UTC, to the second. version: of the format."""

    version: int
    holder: str
    end: datetime


def encode_lease(holder: LeaseHolder) -> bytes:
    """Return a lease as its node holds it."""
    fields = {"version": holder.version, "holder": holder.holder, "end": holder.end.astimezone(UTC).strftime(_DATE)}
    return json.dumps(fields).encode()


def decode_lease(data: bytes) -> LeaseHolder:
    """Read what a lease's node holds. Raises BadLease."""
    try:
        fields = json.loads(data)
        version, holder, end = fields["version"], fields["holder"], fields["end"]
        if not isinstance(version, int) or not isinstance(holder, str):
            raise TypeError
        return LeaseHolder(version, holder, datetime.strptime(end, _DATE).replace(tzinfo=UTC))
    except (ValueError, TypeError, KeyError) as error:
        raise BadLease(f"{data[:100]!r} is no lease") from error


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class NonBlockingLease:
    """A lease at `path`.

    duration: for how long it is reserved from each `obtain` on. identifier: whose it is; the same one renews it. clock:
    gives the time, with its zone.
    """

    def __init__(
        self, zk: AsyncClient, path: str, duration: timedelta, *, identifier: str,
        acl: Sequence[ACL] | None = None, clock: Callable[[], datetime] = utc_now,
    ) -> None:  # fmt: skip
        if duration <= timedelta(0):
            raise ValueError(f"duration {duration}: must be positive")
        self._zk = zk
        self.path = path
        self._node = f"{path.rstrip('/')}/lease_holder"
        self._duration = duration
        self.identifier = identifier
        self._acl = acl
        self._clock = clock

    async def obtain(self, timeout: float | None = None) -> bool:
        """Take or renew the lease; return whether it is ours now. False if another has it, or in a newer format.

        timeout: seconds for all of it, also for who looks at the lease at the same time, and for lost connections.
        Raises RecipeTimeout, after which it may be ours; BadLease.
        """
        async with within(timeout, f"the lease {self.path} was not obtained"):
            # Twice is as good as once: the second time it is renewed.
            return await self._guarded(self._obtain)

    async def _obtain(self) -> bool:
        held = await self._lock().acquire()
        try:
            now = self._clock()
            found = await self.holder()
            if found is not None and (
                found.version != VERSION or (found.holder != self.identifier and now < found.end)
            ):
                return False
            data = encode_lease(LeaseHolder(VERSION, self.identifier, now + self._duration))
            # Each in one with a check of the lock: who lost it meanwhile writes nothing.
            work = held.transaction()
            if found is not None:
                work.delete(self._node)
            await work.create(self._node, data, acl=self._acl).commit()
            return True
        finally:
            # Not waited for: the next in line learns it all the same.
            held.abandon()

    async def holder(self) -> LeaseHolder | None:
        """Return who has the lease, or had it last; None if nobody. Raises BadLease."""
        try:
            data, _ = await self._zk.get(self._node)
        except NoNode:
            return None
        return decode_lease(data)

    async def give_back(self, timeout: float | None = None) -> bool:
        """End the lease before its time; return whether it was ours. Raises RecipeTimeout, BadLease."""
        was_ours = False

        async def give_back() -> bool:
            nonlocal was_ours
            held = await self._lock().acquire()
            try:
                found = await self.holder()
                if found is None or found.version != VERSION or found.holder != self.identifier:
                    return was_ours
                was_ours = True
                await held.transaction().delete(self._node).commit()
                return True
            finally:
                held.abandon()

        async with within(timeout, f"the lease {self.path} was not given back"):
            return await self._guarded(give_back)

    async def _guarded(self, ask: Callable[[], Awaitable[bool]]) -> bool:
        """Await `ask()`, again where the connection or the lock is lost; it has to be what may be done twice."""
        while True:
            try:
                return await steadily(self._zk, ask)
            except HoldLost:
                pass
            except TransactionFailed as error:
                # What is checked first is the lock's node.
                if error.index != 0:
                    raise

    def _lock(self) -> Lock:
        return Lock(self._zk, self.path, identifier=self.identifier.encode(), style="kazoo", acl=self._acl)


class MultiNonBlockingLease:
    """`count` leases below `path`, one for each of as many holders; the other parameters as NonBlockingLease's."""

    def __init__(
        self, zk: AsyncClient, path: str, count: int, duration: timedelta, *, identifier: str,
        acl: Sequence[ACL] | None = None, clock: Callable[[], datetime] = utc_now,
    ) -> None:  # fmt: skip
        if count < 1:
            raise ValueError(f"count {count}: must be at least 1")
        self._zk = zk
        self._leases = [
            NonBlockingLease(zk, f"{path.rstrip('/')}/{n}", duration, identifier=identifier, acl=acl, clock=clock)
            for n in range(count)
        ]
        self.identifier = identifier

    async def obtain(self, timeout: float | None = None) -> bool:
        """Renew our lease, or take the first that is free; return whether one is ours now.

        timeout: seconds for all of it. One that we have is renewed before another is looked for. Raises RecipeTimeout,
        after which one may be ours; BadLease.
        """
        async with within(timeout, f"none of the leases of {self.identifier} was obtained"):
            return await self._obtain()

    async def _obtain(self) -> bool:
        ours: list[NonBlockingLease] = []
        others: list[NonBlockingLease] = []
        for lease in self._leases:
            holder = await steadily(self._zk, lease.holder)
            (ours if holder is not None and holder.holder == self.identifier else others).append(lease)
        for lease in [*ours, *others]:
            if await lease.obtain():
                return True
        return False
