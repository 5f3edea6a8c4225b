"""Leases by the wall clock: kazoo's nodes, taken, renewed, taken over and given back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.loops import run
from tests.support.proxy import Proxy

import corral
from corral.recipes.errors import RecipeTimeout
from corral.recipes.lease import (
    BadLease,
    LeaseHolder,
    MultiNonBlockingLease,
    NonBlockingLease,
    decode_lease,
    encode_lease,
)
from corral.wire import opcodes

HOUR = timedelta(hours=1)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_lease_is_kazoos_json() -> None:
    """Golden bytes, and what is no lease."""
    lease = LeaseHolder(1, "host-7", datetime(2030, 1, 1, 12, tzinfo=UTC))
    golden = b'{"version": 1, "holder": "host-7", "end": "2030-01-01T12:00:00"}'

    assert encode_lease(lease) == golden
    assert decode_lease(golden) == lease
    for bad in (b"", b"[]", b"{}", b'{"version": 1, "holder": 2, "end": "2030-01-01T12:00:00"}'):
        with pytest.raises(BadLease):
            decode_lease(bad)


def test_a_lease_is_its_holders_until_its_end(hosts: str, path: str) -> None:
    """Another gets it at the end, or when it is given back; the holder renews it."""

    async def main() -> None:
        clock = Clock()
        async with corral.connect(hosts) as zk:
            mine = NonBlockingLease(zk, path, HOUR, identifier="a", clock=clock)
            other = NonBlockingLease(zk, path, HOUR, identifier="b", clock=clock)
            assert await mine.obtain()
            assert not await other.obtain()
            clock.now += timedelta(minutes=30)
            assert await mine.obtain()
            clock.now += timedelta(minutes=59)
            assert not await other.obtain()
            assert not await other.give_back()
            clock.now += timedelta(minutes=1)

            assert await other.obtain()

            assert not await mine.obtain()
            assert await other.give_back()
            assert await mine.obtain()
            found = await mine.holder()
            assert found == LeaseHolder(1, "a", clock.now + HOUR)

    run(main())


def test_a_lease_of_another_format_is_left_alone(hosts: str, path: str) -> None:
    """A newer version is somebody's, whatever it says."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            data = b'{"version": 2, "holder": "x", "end": "2000-01-01T00:00:00"}'
            await zk.create(f"{path}/lease_holder", data, make_parents=True)

            assert not await NonBlockingLease(zk, path, HOUR, identifier="a").obtain()

            assert (await zk.get(f"{path}/lease_holder"))[0] == data

    run(main())


def test_so_many_leases_and_one_each(hosts: str, path: str) -> None:
    """Two of three identifiers get one; who has one renews that one."""

    async def main() -> None:
        clock = Clock()
        async with corral.connect(hosts) as zk:
            leases = [MultiNonBlockingLease(zk, path, 2, HOUR, identifier=name, clock=clock) for name in "abc"]

            assert [await lease.obtain() for lease in leases] == [True, True, False]

            clock.now += HOUR
            assert await leases[1].obtain()
            first = await NonBlockingLease(zk, f"{path}/0", HOUR, identifier="x").holder()
            assert first is not None
            assert first.holder == "a"

    run(main())


@pytest.mark.parametrize("is_multi", [False, True])
def test_a_timeout_is_for_all_of_it(hosts: str, path: str, is_multi: bool) -> None:
    """Also for a server that falls silent when the lease is looked at."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:

            def fall_silent() -> datetime:
                proxy.hold()
                return datetime.now(UTC)

            lease: NonBlockingLease | MultiNonBlockingLease
            if is_multi:
                lease = MultiNonBlockingLease(zk, path, 2, HOUR, identifier="a", clock=fall_silent)
            else:
                lease = NonBlockingLease(zk, path, HOUR, identifier="a", clock=fall_silent)

            with pytest.raises(RecipeTimeout):
                async with asyncio.timeout(2.0):
                    await lease.obtain(timeout=0.2)

            proxy.flow()

    run(main())


def test_lost_replies_are_no_errors(hosts: str, path: str) -> None:
    """Neither to the write that takes the lease nor to the one that gives it back, and it is known whose it was."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            lease = NonBlockingLease(zk, path, HOUR, identifier="a")
            await lease.obtain()

            proxy.lose_reply(opcodes.MULTI)
            assert await lease.obtain(timeout=10)
            proxy.lose_reply(opcodes.MULTI)
            assert await lease.give_back(timeout=10)

            assert proxy.lost == 2
            assert await lease.holder() is None

    run(main())


def test_a_lock_that_is_lost_on_the_way_is_taken_again(hosts: str, path: str) -> None:
    """Nothing is written without it."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            taking: list[asyncio.Task[None]] = []

            async def take_lock() -> None:
                for name in await other.children(path):
                    await other.delete(f"{path}/{name}")
                proxy.flow()

            def clock() -> datetime:
                if not taking:
                    proxy.hold()
                    taking.append(asyncio.create_task(take_lock()))
                return datetime.now(UTC)

            lease = NonBlockingLease(zk, path, HOUR, identifier="a", clock=clock)

            assert await lease.obtain(timeout=10)

            assert taking[0].done()
            holder = await lease.holder()
            assert holder is not None
            assert holder.holder == "a"

    run(main())
