"""Numbers that are changed exactly once."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.loops import run
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.recipes.atomic import AtomicNumber, Change
from corral.recipes.counter import NotANumber
from corral.wire import opcodes


def test_a_number_is_written_in_curators_form(hosts: str, path: str) -> None:
    """Eight bytes; missing is 0."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, AtomicNumber(zk, path) as number:
            assert await number.get() == 0
            assert await number.add(258) == Change(True, 0, 258)
            assert (await zk.get(path))[0] == b"\0\0\0\0\0\0\1\2"
            assert await number.subtract(260) == Change(True, 258, -2)

    run(main())


@pytest.mark.parametrize(("data", "after"), [(b"41", b"42"), (b"\0\0\0\x29", b"\0\0\0\x2a"), (b"", bytes(7) + b"\1")])
def test_another_form_is_recognised_and_kept(hosts: str, path: str, data: bytes, after: bytes) -> None:
    """kazoo's text and Curator's four bytes."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, AtomicNumber(zk, path) as number:
            await zk.create(path, data)

            await number.add()

            assert (await zk.get(path))[0] == after

    run(main())


def test_a_strict_one_refuses_other_forms(hosts: str, path: str) -> None:
    """Text is no eight bytes."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, AtomicNumber(zk, path, is_strict=True) as number:
            await zk.create(path, b"41")

            with pytest.raises(NotANumber, match="41"):
                await number.add()

    run(main())


def test_compares_and_sets(hosts: str, path: str) -> None:
    """Only from what is expected; `initialize` only where nothing is."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, AtomicNumber(zk, path) as number:
            assert await number.initialize(5)
            assert not await number.initialize(6)
            assert await number.compare_and_set(4, 7) == Change(False, 5, 5)
            assert await number.compare_and_set(5, 7) == Change(True, 5, 7)
            assert await number.set(1) == Change(True, 7, 1)

    run(main())


def test_overflow_is_refused(hosts: str, path: str) -> None:
    """Where Curator wraps silently."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, AtomicNumber(zk, path) as number:
            await number.set((1 << 63) - 1)

            with pytest.raises(NotANumber):
                await number.add()

            assert await number.get() == (1 << 63) - 1

    run(main())


@pytest.mark.parametrize("below", ["", "/a/b"])
def test_who_initializes_is_told_though_the_reply_is_lost(hosts: str, path: str, below: str) -> None:
    """The next one is told that it was there."""

    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as zk,
            AtomicNumber(zk, path + below) as number,
        ):
            for op in (opcodes.CREATE, opcodes.MULTI):
                proxy.lose_reply(op)

            assert await number.initialize(10)

            assert not await number.initialize(11)
            assert await number.get() == 10
            assert proxy.lost == 2

    run(main())


def test_lost_replies_under_contention_count_once(hosts: str, path: str) -> None:
    """Curator's counts twice here: its retry sees another version and adds again."""

    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as lossy,
            corral.connect(hosts) as zk,
            AtomicNumber(lossy, path) as number,
            AtomicNumber(zk, path) as other,
        ):

            async def add(to: AtomicNumber, is_lossy: bool) -> None:
                for _ in range(6):
                    if is_lossy:
                        proxy.lose_reply(opcodes.MULTI)
                    await to.add()

            await asyncio.gather(add(number, True), add(other, False))

            assert await other.get() == 12
            assert proxy.lost >= 6

    run(main())
