"""A value that many see: never backwards, never frozen."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.loops import expire, run, until
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.recipes.shared_value import SharedValue
from corral.wire import opcodes
from corral.wire.data import ACL


def test_a_value_is_seen_by_others(hosts: str, path: str) -> None:
    """The seed is written once; a change reaches everyone."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as a,
            corral.connect(hosts) as b,
            SharedValue(a, path, b"seed") as one,
            SharedValue(b, path, b"other") as two,
        ):
            assert two.value == b"seed"
            seen = two.versioned

            await one.set(b"next")

            assert (await two.wait_change(seen)).data == b"next"
            assert two.is_current

    run(main())


def test_only_the_newest_may_be_replaced(hosts: str, path: str) -> None:
    """`try_set` from an old value is refused by the server's word."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as a,
            corral.connect(hosts) as b,
            SharedValue(a, path) as one,
            SharedValue(b, path) as two,
        ):
            old = one.versioned
            assert await two.try_set(two.versioned, b"two")

            assert not await one.try_set(old, b"one")
            assert await one.try_set(one.versioned, b"one")
            assert (await a.get(path))[0] == b"one"

    run(main())


def test_a_value_that_was_deleted_comes_back(hosts: str, path: str) -> None:
    """Curator's freezes until the next reconnect."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, SharedValue(zk, path, b"1") as shared:
            seen = shared.versioned
            await zk.delete(path)
            gone = await shared.wait_change(seen)
            assert (gone.data, gone.version) == (b"", -1)

            await zk.create(path, b"2")

            assert (await shared.wait_change(gone)).data == b"2"
            await zk.set(path, b"3")
            assert (await shared.wait_change(shared.versioned)).data == b"3"

    run(main())


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_lost_reply_is_no_failure(hosts: str, path: str, is_missing: bool) -> None:
    """Our own write is known for ours, and not taken for another's."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, SharedValue(zk, path, b"1") as shared:
            if is_missing:
                await zk.delete(path)
                await shared.wait_change(shared.versioned)
            proxy.lose_reply(opcodes.MULTI)

            assert await shared.try_set(shared.versioned, b"2")

            assert shared.value == b"2"
            assert (await zk.get(path))[1].version == (0 if is_missing else 1)

    run(main())


def test_a_change_in_a_time_without_connection_is_seen(hosts: str, path: str) -> None:
    """Also over a new session."""

    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as zk,
            corral.connect(hosts) as other,
            SharedValue(zk, path, b"1") as shared,
        ):
            seen = shared.versioned
            proxy.shut()
            await other.set(path, b"2")
            proxy.open()
            seen = await shared.wait_change(seen)
            assert seen.data == b"2"

            await expire(zk, hosts)
            await other.set(path, b"3")
            assert (await shared.wait_change(seen)).data == b"3"

    run(main())


def test_listeners_hear_each_change_once(hosts: str, path: str) -> None:
    """And nothing after they were ended."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, SharedValue(zk, path, b"0") as shared:
            heard: list[bytes] = []
            forget = shared.on_change(lambda versioned: heard.append(versioned.data))
            await shared.set(b"1")
            await shared.set(b"2")
            forget()
            await shared.set(b"3")
            await asyncio.sleep(0)

            assert heard == [b"1", b"2"]

    run(main())


def _fail(told: object) -> None:
    raise RuntimeError(str(told))


def test_a_listener_that_fails_ends_nothing(hosts: str, path: str) -> None:
    """The value is followed on, and who writes it does not get the listener's error."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other, SharedValue(zk, path, b"0") as shared:
            shared.on_change(_fail)
            for data in (b"1", b"2"):
                seen = shared.versioned
                await other.set(path, data)
                assert (await shared.wait_change(seen)).data == data

            assert (await shared.set(b"3")).data == b"3"

    run(main())


def test_a_value_that_may_not_be_read_for_a_while_is_followed_again(hosts: str, path: str) -> None:
    """And is not current meanwhile."""

    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as zk,
            corral.connect(hosts) as other,
            SharedValue(zk, path, b"0") as shared,
        ):
            seen = shared.versioned
            await other.set_acl(path, [ACL(2 | 16, "world", "anyone")])
            asked = proxy.requests[opcodes.GET_DATA]
            proxy.cut()
            await until(lambda: proxy.requests[opcodes.GET_DATA] > asked + 1)
            assert not shared.is_current

            await other.set(path, b"1")
            await other.set_acl(path, [ACL(31, "world", "anyone")])

            assert (await shared.wait_change(seen)).data == b"1"
            assert shared.is_current

    run(main())
