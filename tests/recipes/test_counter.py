"""Counters: exactly once, in every form, beside kazoo's and Curator's."""

from __future__ import annotations

import asyncio

import pytest
from kazoo.client import KazooClient
from tests.support.loops import expire, give_up_session, run, until
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.recipes.counter import Counter, NotANumber, NumberForm, read_number, write_number
from corral.wire import opcodes


def test_numbers_are_written_as_kazoo_and_curator_write_them() -> None:
    """Text for kazoo, four or eight big-endian bytes for Curator."""
    assert write_number(2, NumberForm.TEXT) == b"2"
    assert write_number(3.5, NumberForm.TEXT) == b"3.5"
    assert write_number(-2, NumberForm.INT32) == b"\xff\xff\xff\xfe"
    assert write_number(1, NumberForm.INT64) == b"\0\0\0\0\0\0\0\1"
    assert read_number(b"1e3", NumberForm.TEXT) == 1000.0
    assert read_number(b"", NumberForm.INT64) == 0


@pytest.mark.parametrize(("data", "form"), [(b"x", NumberForm.TEXT), (b"\0\0\0", NumberForm.INT32)])
def test_other_data_is_refused(data: bytes, form: NumberForm) -> None:
    """What is no number is an error that shows it."""
    with pytest.raises(NotANumber, match="is no"):
        read_number(data, form)


def test_a_number_past_the_form_is_refused() -> None:
    """It does not wrap as Curator's does."""
    with pytest.raises(NotANumber):
        write_number(1 << 31, NumberForm.INT32)


def test_adds_and_subtracts(hosts: str, path: str) -> None:
    """The znode and its parents are made when they are needed."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Counter(zk, path + "/deep/count") as counter:
            assert await counter.value() == 0
            assert await counter.add(5) == 5
            assert await counter.subtract(2) == 3
            assert (counter.pre_value, counter.post_value) == (5, 3)
            assert (await zk.get(path + "/deep/count"))[0] == b"3"

    run(main())


def test_many_add_at_once(hosts: str, path: str) -> None:
    """None is lost, none counts twice."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            counters = [Counter(zk, path) for _ in range(5)]

            async def work(counter: Counter) -> None:
                for _ in range(8):
                    await counter.add()

            await asyncio.gather(*map(work, counters))

            assert await counters[0].value() == 40

    run(main())


@pytest.mark.parametrize("is_carried_out", [True, False])
def test_a_lost_reply_counts_once(hosts: str, path: str, is_carried_out: bool) -> None:
    """Whether the transaction was carried out or not, it is when `add` returns, and once."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, Counter(zk, path) as counter:
            await counter.add()
            (proxy.lose_reply if is_carried_out else proxy.lose_request)(opcodes.MULTI)

            assert await counter.add() == 2

            assert proxy.lost == 1
            assert (await zk.get(path))[0] == b"2"
            assert await counter.add() == 3

    run(main())


@pytest.mark.parametrize("op", [opcodes.CREATE, opcodes.CREATE_CONTAINER])
def test_a_lost_reply_of_a_preparation_does_no_harm(hosts: str, path: str, op: int) -> None:
    """What a counter needs beside its number is made again."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, Counter(zk, path) as counter:
            proxy.lose_reply(op)

            assert await counter.add() == 1
            assert proxy.lost == 1

    run(main())


def test_a_new_session_counts_on(hosts: str, path: str) -> None:
    """Whether the server or the client ended the old one."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Counter(zk, path) as counter:
            await counter.add()
            await expire(zk, hosts)
            assert await counter.add() == 2
            await give_up_session(zk)
            assert await counter.add() == 3

    run(main())


def test_cancelled_at_any_moment_it_counts_once_or_not(hosts: str, path: str) -> None:
    """And what comes after counts as ever; no permit is left behind."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Counter(zk, path) as counter:
            for turns in range(40):
                before = await counter.value()
                task = asyncio.ensure_future(counter.add())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                after = await counter.add()
                assert after in (before + 1, before + 2)

    run(main())


def test_the_time_that_is_given_is_the_time_that_is_taken(hosts: str, path: str) -> None:
    """A server that is silent ends in RecipeTimeout, which is a TimeoutError."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, Counter(zk, path) as counter:
            proxy.hold()
            with pytest.raises(TimeoutError, match="not added"):
                await counter.add(timeout=0.05)
            proxy.flow()

    run(main())


@pytest.mark.interop
@pytest.mark.parametrize("form", [NumberForm.TEXT, NumberForm.INT32])
def test_counts_together_with_kazoo(hosts: str, path: str, form: NumberForm) -> None:
    """Both forms of kazoo's."""

    def kazoo_adds() -> int:
        client = KazooClient(hosts)
        client.start()
        try:
            counter = client.Counter(path, support_curator=form is NumberForm.INT32)
            counter += 4
            value: int = counter.value
            return value
        finally:
            client.stop()
            client.close()

    async def main() -> None:
        async with corral.connect(hosts) as zk, Counter(zk, path, form=form) as counter:
            await counter.add(3)
            assert await asyncio.to_thread(kazoo_adds) == 7
            assert await counter.add() == 8

    run(main())


@pytest.mark.interop
@pytest.mark.parametrize("form", [NumberForm.TEXT, NumberForm.INT32])
def test_a_sum_with_kazoo_is_exact(hosts: str, path: str, form: NumberForm) -> None:
    """Both add at once, and begin without a node."""

    def kazoo_adds() -> None:
        client = KazooClient(hosts)
        client.start()
        try:
            counter = client.Counter(path, support_curator=form is NumberForm.INT32)
            for _ in range(20):
                counter += 3
        finally:
            client.stop()
            client.close()

    async def main() -> None:
        async with corral.connect(hosts) as zk, Counter(zk, path, form=form) as counter:
            theirs = asyncio.ensure_future(asyncio.to_thread(kazoo_adds))
            for _ in range(20):
                await counter.add(-1)
            await theirs
            assert await counter.value() == 40

    run(main())


def test_permits_go_with_the_counter(hosts: str, path: str) -> None:
    """Nothing but the number stays."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            async with Counter(zk, path) as counter:
                await counter.add()
                permits = await zk.children(path + "-once")

            async def is_empty() -> bool:
                return not await zk.children(path + "-once")

            await until(is_empty)
            assert len(permits) == 1

    run(main())


def test_a_permit_that_vanished_is_made_again(hosts: str, path: str) -> None:
    """As nothing was under way with it."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Counter(zk, path) as counter:
            await counter.add()
            await zk.delete_tree(path + "-once")

            assert await counter.add() == 2

    run(main())
