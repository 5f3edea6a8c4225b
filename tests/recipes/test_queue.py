"""Queues: in once, out once, in order; beside kazoo's."""

from __future__ import annotations

import asyncio

import pytest
from kazoo.client import KazooClient
from tests.support.loops import expire, run, until, until_children
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.base.errors import BadArguments, NoAuth
from corral.recipes.asking import Bell
from corral.recipes.errors import NotHeld
from corral.recipes.queue import Queue, QueueForm
from corral.recipes.queue_items import BadItem, frame, in_order, item_name, unframe
from corral.wire import opcodes
from corral.wire.data import ACL


def test_items_are_framed_as_curator_frames_them() -> None:
    """Bytes that Curator wrote."""
    data = bytes.fromhex("0001000101 00000005 68656c6c6f 02".replace(" ", ""))

    assert frame([b"hello"]) == data
    assert unframe(data) == [b"hello"]
    assert unframe(frame([b"a", b""])) == [b"a", b""]


@pytest.mark.parametrize("form", list(QueueForm))
def test_a_queue_at_the_root_of_a_chroot_works_or_is_refused(hosts: str, path: str, form: QueueForm) -> None:
    """kazoo's locking queue has all that it needs below it; the others need a place beside them."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
        async with corral.connect(hosts + path) as zk:
            if form is not QueueForm.KAZOO_LOCKING:
                with pytest.raises(BadArguments, match="nothing is beside /"):
                    Queue(zk, "/", form=form)
                return
            async with Queue(zk, "/", form=form) as queue:
                await queue.put(b"one")
                claimed = await queue.claim(timeout=5)
                assert claimed is not None
                assert claimed.items == [b"one"]
                await queue.consume(claimed)

    run(main())


@pytest.mark.parametrize("data", [b"", b"hello", frame([b"x"])[:-1], frame([b"xyz"])[:-3]])
def test_data_that_is_not_framed_is_refused(data: bytes) -> None:
    """With the bytes in the message."""
    with pytest.raises(BadItem):
        unframe(data)


def test_names_are_those_of_curator_and_kazoo() -> None:
    """Curator's were seen at its own queues."""
    assert item_name(QueueForm.CURATOR_PRIORITY, 5) == "queue-100000005"
    assert item_name(QueueForm.CURATOR_PRIORITY, -5) == "queue-0FFFFFFFB"
    assert item_name(QueueForm.KAZOO, 7) == "entry-007-"
    assert item_name(QueueForm.CURATOR_DELAY, 0x1234) == "queue-|00001234|"
    with pytest.raises(ValueError, match="1000"):
        item_name(QueueForm.KAZOO, 1000)


def test_order_is_by_rank_then_by_wrapping_number() -> None:
    """Negative priorities come first, strangers do not come."""
    names = ["queue-100000005-2147483648", "queue-1000000052147483647", "queue-0FFFFFFFB2147483646", "stranger"]

    order = [(item.rank, item.number) for item in in_order(names, QueueForm.CURATOR_PRIORITY)]

    assert order == [(-5, 2147483646), (5, 2147483647), (5, -2147483648)]


@pytest.mark.parametrize("form", list(QueueForm))
def test_what_goes_in_comes_out(hosts: str, path: str, form: QueueForm) -> None:
    """In order, once, then nothing."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path, form=form) as queue:
            assert await queue.get(timeout=0) is None
            await queue.put(b"1")
            await queue.put_all([b"2", b"3"])
            assert await queue.size() == 3

            assert [await queue.get() for _ in range(3)] == [b"1", b"2", b"3"]
            assert await queue.get(timeout=0.02) is None

    run(main())


@pytest.mark.parametrize("form", [QueueForm.KAZOO, QueueForm.CURATOR_PRIORITY])
def test_the_lowest_priority_is_first(hosts: str, path: str, form: QueueForm) -> None:
    """Also one that came later; kazoo's cached listing makes it wait."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path, form=form) as queue:
            await queue.put(b"b", priority=20)
            await queue.put(b"c", priority=30)
            assert await queue.get() == b"b"
            await queue.put(b"a", priority=10)

            assert [await queue.get(), await queue.get()] == [b"a", b"c"]

    run(main())


def test_an_item_is_there_though_the_directory_of_claims_went(hosts: str, path: str) -> None:
    """Servers remove it when it is empty, also between a look at it and the taking."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path) as queue:
            await queue.put(b"a")
            items = await queue._list(Bell(zk))
            assert await zk.exists(f"{path}-locks") is None

            assert await queue._take(items[0]) == [b"a"]

    run(main())


def test_an_item_waits_until_it_is_due(hosts: str, path: str) -> None:
    """By the clock that is given."""

    async def main() -> None:
        now = [1000.0]
        async with corral.connect(hosts) as zk:
            queue = Queue(zk, path, form=QueueForm.CURATOR_DELAY, clock=lambda: now[0])
            await queue.put(b"later", due=1060)
            await queue.put(b"now")

            assert await queue.get(timeout=0) == b"now"
            assert await queue.get(timeout=0) is None
            now[0] = 1060.0
            assert await queue.get(timeout=0) == b"later"

    run(main())


def test_a_waiter_gets_what_comes(hosts: str, path: str) -> None:
    """Each of two waiters one."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            waiting = [asyncio.ensure_future(Queue(zk, path).get()) for _ in range(2)]
            await until(lambda: len(zk._session.watches) >= 2)
            await Queue(other, path).put_all([b"1", b"2"])

            assert sorted(map(str, await asyncio.gather(*waiting))) == ["b'1'", "b'2'"]

    run(main())


@pytest.mark.parametrize("is_carried_out", [True, False])
def test_lost_replies_neither_double_nor_lose(hosts: str, path: str, is_carried_out: bool) -> None:
    """Curator's put doubles and kazoo's get loses."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, Queue(zk, path) as queue:
            lose = proxy.lose_reply if is_carried_out else proxy.lose_request
            await queue.put(b"0")
            lose(opcodes.MULTI)
            await queue.put(b"1")
            assert await queue.size() == 2
            lose(opcodes.MULTI)
            assert await queue.get() == b"0"
            assert await queue.get() == b"1"
            assert proxy.lost == 2
            assert await queue.size() == 0

    run(main())


def test_a_claim_keeps_an_item_from_others(hosts: str, path: str) -> None:
    """Until it is consumed or released."""

    async def main() -> None:
        async with corral.connect(hosts) as a, corral.connect(hosts) as b:
            one, two = (Queue(zk, path, form=QueueForm.KAZOO_LOCKING) for zk in (a, b))
            await one.put_all([b"1", b"2"])
            first = await one.claim()
            assert first is not None
            assert first.items == [b"1"]
            assert first.fencing_token > 0
            second = await two.claim()
            assert second is not None
            assert second.items == [b"2"]
            assert await two.get(timeout=0) is None

            await one.release(first)
            await two.consume(second)
            assert await two.get() == b"1"
            with pytest.raises(NotHeld):
                await two.consume(second)
            assert await two.size() == 0

    run(main())


def test_who_lost_the_session_consumes_nothing(hosts: str, path: str) -> None:
    """The item is another's then; kazoo's says True, Curator's deletes it (CURATOR-605)."""

    async def main() -> None:
        async with corral.connect(hosts) as a, corral.connect(hosts) as b:
            one, two = (Queue(zk, path, form=QueueForm.KAZOO_LOCKING) for zk in (a, b))
            await one.put(b"1")
            claimed = await one.claim()
            assert claimed is not None
            waiting = asyncio.ensure_future(two.claim())
            await expire(a, hosts)
            taken = await waiting
            assert taken is not None

            with pytest.raises(NotHeld):
                await one.consume(claimed)
            # The server refuses it as well, not only our knowledge of the session.
            claimed.session_id = a.session_id  # type: ignore[misc]
            with pytest.raises(NotHeld):
                await one.consume(claimed)

            await two.consume(taken)
            assert await one.size() == 0

    run(main())


def test_claims_made_at_once_leave_nothing(hosts: str, path: str) -> None:
    """What tells that the session goes on is made once for all of them, and goes with the queue."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            async with Queue(zk, path) as queue:
                await queue.put_all([b"a", b"b", b"c"])
                claims = await asyncio.gather(*(queue.claim(timeout=5) for _ in range(3)))
                for claimed in claims:
                    assert claimed is not None
                    await queue.consume(claimed)
            await until_children(other, f"{path}-once", 0)

    run(main())


def test_a_lost_reply_of_a_claim_is_our_claim(hosts: str, path: str) -> None:
    """Curator's takes it for another's, and the item is stuck until the session ends."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            queue = Queue(zk, path, form=QueueForm.KAZOO_LOCKING)
            await queue.put_all([b"1", b"2"])
            first = await queue.claim()
            proxy.lose_reply(opcodes.CREATE)
            second = await queue.claim()
            assert first is not None
            assert second is not None
            assert proxy.lost == 1
            await queue.consume(first)
            await queue.consume(second)
            assert await queue.size() == 0

    run(main())


def test_cancelled_at_any_moment_it_loses_no_item(hosts: str, path: str) -> None:
    """What was taken meanwhile comes with the next call."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path) as queue:
            items = [b"%d" % i for i in range(60)]
            await queue.put_all(items)
            got: list[bytes | None] = []
            for turns in range(30):
                task = asyncio.ensure_future(queue.get())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                done = (await asyncio.gather(task, return_exceptions=True))[0]
                if isinstance(done, bytes):
                    got.append(done)
            await until(lambda: not zk._tasks)
            while (item := await queue.get(timeout=0)) is not None:
                got.append(item)

            assert sorted(map(str, got)) == sorted(map(str, items))

    run(main())


def test_a_bad_item_is_left_and_hinders_nobody(hosts: str, path: str) -> None:
    """Its name is told."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path, form=QueueForm.CURATOR) as queue:
            await zk.create(path)
            bad = await zk.create(path + "/queue-", b"not framed", sequence=True)
            await zk.create(path + "/stranger")
            await queue.put(b"good")

            assert await queue.get() == b"good"
            assert queue.bad_items == [bad.rpartition("/")[2]]

            await zk.delete(bad)
            assert await queue.get(timeout=0) is None
            assert queue.bad_items == []

    run(main())


@pytest.mark.interop
@pytest.mark.parametrize("is_locking", [True, False])
def test_kazoo_puts_and_takes(hosts: str, path: str, is_locking: bool) -> None:
    """Both ways."""

    def kazoo() -> bytes:
        client = KazooClient(hosts)
        client.start()
        try:
            queue = client.LockingQueue(path) if is_locking else client.Queue(path)
            data: bytes = queue.get(5) if is_locking else queue.get()
            if is_locking:
                queue.consume()
            queue.put(b"kazoo")
            return data
        finally:
            client.stop()
            client.close()

    async def main() -> None:
        form = QueueForm.KAZOO_LOCKING if is_locking else QueueForm.KAZOO
        async with corral.connect(hosts) as zk, Queue(zk, path, form=form) as queue:
            await queue.put(b"corral")
            assert await asyncio.to_thread(kazoo) == b"corral"
            assert await queue.get(timeout=5) == b"kazoo"

    run(main())


def test_a_timeout_holds_beside_others_who_wait(hosts: str, path: str) -> None:
    """Also for who only looks, with the same object; and who waits gets what comes."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path, form=QueueForm.CURATOR) as queue:
            waiting = [asyncio.ensure_future(queue.get()) for _ in range(2)]
            await until_children(zk, f"{path}-locks", 0)

            assert await queue.get(timeout=0) is None
            assert await queue.get(timeout=0.05) is None

            await zk.create(f"{path}/queue-", frame([b"a", b"b", b"c"]), sequence=True)
            assert sorted(await asyncio.gather(*waiting)) == [b"a", b"b"]
            assert await queue.get(timeout=0) == b"c"

    run(main())


def test_an_item_taken_for_who_is_cancelled_is_for_who_waits(hosts: str, path: str) -> None:
    """At whatever moment that is."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path) as queue:
            for turns in range(30):
                waiting = asyncio.ensure_future(queue.get())
                await queue.put(b"x")
                looking = asyncio.ensure_future(queue.get(timeout=0))
                for _ in range(turns):
                    await asyncio.sleep(0)
                looking.cancel()
                if (await asyncio.gather(looking, return_exceptions=True))[0] == b"x":
                    await queue.put(b"x")

                assert await waiting == b"x"

    run(main())


def test_who_must_not_take_is_told(hosts: str, path: str) -> None:
    """And does not wait for ever in front of an item."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Queue(zk, path) as queue:
            await queue.put(b"x")
            await zk.set_acl(path, [ACL(1 | 2 | 4, "world", "anyone")])

            with pytest.raises(NoAuth):
                await queue.get(timeout=0)
            claimed = await queue.claim(timeout=0)
            assert claimed is not None
            with pytest.raises(NoAuth):
                await queue.consume(claimed)

    run(main())
