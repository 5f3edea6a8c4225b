"""Locks: one holder at a time, found again, never orphaned, and told when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.loops import expire, give_up_session, run, until
from tests.support.proxy import Proxy

import corral
from corral.client.transaction import TransactionFailed
from corral.client.values import CREATOR_ALL, State
from corral.client.watches import CHILD, DATA
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout
from corral.recipes.guard import Guard
from corral.recipes.held import Held, HoldState
from corral.recipes.lock import Lock, Scope, Style
from corral.wire.opcodes import CREATE2, DELETE, EXISTS, GET_CHILDREN, MULTI


async def _is_empty(zk: corral.AsyncClient, path: str) -> bool:
    return await zk.exists(path) is None or not await zk.children(path)


@pytest.mark.parametrize("style", ["curator", "kazoo", "bridge"])
def test_one_at_a_time_in_order_of_arrival(hosts: str, path: str, style: Style) -> None:
    """Ten contenders hold the lock one after another, in the order in which they came."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            first = await Lock(zk, path, style=style).acquire()
            order: list[int] = []
            tokens = [first.fencing_token]
            inside = 0

            async def contend(number: int) -> None:
                nonlocal inside
                async with Lock(zk, path, style=style) as held:
                    inside += 1
                    assert inside == 1
                    order.append(number)
                    tokens.append(held.fencing_token)
                    await zk.sync()
                    inside -= 1

            tasks = []
            lock = Lock(zk, path)
            for number in range(10):
                tasks.append(asyncio.create_task(contend(number)))

                async def is_in_line(wanted: int = number + 2) -> bool:
                    found = len(await lock.contenders())
                    return found == (wanted * 2 if style == "bridge" else wanted)

                await until(is_in_line)
            await first.release()
            await asyncio.gather(*tasks)

            assert order == list(range(10))
            assert tokens == sorted(tokens)
            assert await _is_empty(zk, path)

    run(main())


@pytest.mark.parametrize("scope", ["task", "object"])
def test_a_block_that_is_left_in_another_task_releases_the_lock(hosts: str, path: str, scope: Scope) -> None:
    """The loop ends an asynchronous generator that nobody goes on with in a task of its own."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = Lock(zk, path, scope=scope)

            async def guarded() -> AsyncIterator[Held]:
                async with lock as held, lock:
                    yield held

            held = await anext(guarded())

            assert await held.wait_lost(5) is HoldState.RELEASED
            async with lock:
                pass
            await until(lambda: _is_empty(zk, path))

    run(main())


def test_a_lost_block_that_is_left_in_another_task_says_so(hosts: str, path: str) -> None:
    """The entering task is not the one to cancel any more."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = Lock(zk, path)
            held = await asyncio.create_task(lock.__aenter__())
            await zk.delete(held.path)
            await held.wait_lost(5)
            with pytest.raises(HoldLost):
                await lock.__aexit__(None, None, None)
            async with lock:
                pass

    run(main())


def test_a_holder_acquires_again_and_releases_as_often(hosts: str, path: str) -> None:
    """A task holds the lock until its last release; another task contends on its own."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = Lock(zk, path, identifier=b"me")
            async with lock as outer, lock as inner:
                assert inner is outer
                assert [each.identifier for each in await lock.contenders()] == [b"me"]
                assert await asyncio.create_task(lock.try_acquire()) is None
            with pytest.raises(NotHeld):
                await lock.release()
            assert await _is_empty(zk, path)

    run(main())


def test_a_lock_of_an_object_is_released_by_any_task(hosts: str, path: str) -> None:
    """With scope="object" the lock object is the holder."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = Lock(zk, path, scope="object")
            held = await asyncio.create_task(lock.acquire())
            assert await lock.acquire() is held

            assert await asyncio.create_task(lock.release())
            assert held.is_held
            assert await lock.release()

            assert held.state is HoldState.RELEASED

    run(main())


def test_a_timeout_is_total_and_leaves_nothing(hosts: str, path: str) -> None:
    """Who does not get the lock in time leaves the line, and the next one does not wait for it."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            held = await Lock(zk, path).acquire()

            with pytest.raises(RecipeTimeout):
                await Lock(zk, path).acquire(timeout=0.05)

            await until(lambda: _count(zk, path, 1))
            assert len(zk._session.watches) == 1
            await held.release()
            assert len(zk._session.watches) == 0
            assert await _is_empty(zk, path)

    run(main())


def test_a_lost_reply_makes_no_second_contender(hosts: str, path: str) -> None:
    """The create was carried out and its reply lost: the node is found again, and the lock is held by it."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            proxy.lose_reply(CREATE2)

            held = await Lock(zk, path).acquire()

            assert proxy.lost == 1
            assert await zk.children(path) == [held.node.name]
            assert await held.still_held()

    run(main())


def test_a_lost_reply_of_a_bridge_finds_both_nodes(hosts: str, path: str) -> None:
    """Both nodes of the one transaction are found again."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            proxy.lose_reply(MULTI)

            held = await Lock(zk, path, style="bridge").acquire()

            assert proxy.lost == 1
            assert len(await zk.children(path)) == 2
            assert "-lock-" in held.path
            await held.release()
            assert await zk.children(path) == []

    run(main())


@pytest.mark.parametrize("op", [CREATE2, EXISTS, GET_CHILDREN])
@pytest.mark.parametrize("is_reply", [True, False])
def test_a_loss_anywhere_in_acquire_is_survived(hosts: str, path: str, op: int, is_reply: bool) -> None:
    """Whatever is lost on the way, in the end one node is there and it is held."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            (proxy.lose_reply if is_reply else proxy.lose_request)(op)

            held = await Lock(zk, path).acquire()

            assert proxy.lost == 1
            await until(lambda: held.is_held)
            assert await zk.children(path) == [held.node.name]

    run(main())


def test_a_release_goes_through_though_its_reply_or_request_is_lost(hosts: str, path: str) -> None:
    """The delete is repeated until the server says that the node is gone."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            for lose in (proxy.lose_reply, proxy.lose_request):
                held = await Lock(zk, path).acquire()
                lose(DELETE)

                assert await held.release()

                assert await zk.children(path) == []

    run(main())


def test_cancelled_at_every_await_leaves_no_orphan(hosts: str, path: str) -> None:
    """An acquire is cancelled after 0, 1, 2 ... turns of the loop; each time the line is empty in the end."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            for turns in range(60):
                task = asyncio.create_task(Lock(zk, path).acquire())
                for _ in range(turns):
                    await asyncio.sleep(0)
                    if task.done():
                        break
                if turns % 4 == 3:
                    await zk.sync()

                task.cancel()
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]

                if not isinstance(outcome, BaseException):
                    await outcome.release()
                await until(lambda: _is_empty(zk, path))

    run(main())


def test_cancelled_while_the_create_is_held_up_leaves_no_orphan(hosts: str, path: str) -> None:
    """The create arrives after its caller has gone."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            await zk.create(path)
            proxy.hold()
            task = asyncio.create_task(Lock(zk, path).acquire())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            proxy.flow()

            await zk.sync()
            await until(lambda: _is_empty(other, path))
            assert proxy.requests[CREATE2] == 1

    run(main())


def test_a_waiter_whose_session_was_replaced_does_not_hold_by_its_old_node(hosts: str, path: str) -> None:
    """CURATOR-604: the node of the session given up is still there when the predecessor goes; it must not count."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            first = await Lock(other, path).acquire()
            waiting = asyncio.create_task(Lock(zk, path).acquire())
            await until(lambda: _count(other, path, 2))

            await give_up_session(zk)
            await first.release()
            held = await waiting

            assert held.node.session_id == zk.session_id
            stat = await other.exists(held.path)
            assert stat is not None
            assert stat.ephemeral_owner == zk.session_id
            assert await other.children(path) == [held.node.name]

    run(main())


def test_a_node_of_an_earlier_session_found_again_is_not_ours(hosts: str, path: str) -> None:
    """CURATOR-498: the create's reply is lost, and before it is looked for the session is another one."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            proxy.refuse()
            proxy.lose_reply(CREATE2)
            acquiring = asyncio.create_task(Lock(zk, path).acquire())
            await until(lambda: proxy.lost == 1 and zk.state is State.SUSPENDED)
            zk._session._lose_connection("the test says so", zk._transport.clock())
            zk._obey()
            proxy.open()

            held = await acquiring

            assert held.node.session_id == zk.session_id
            await until(lambda: _count(zk, path, 1))
            assert await zk.children(path) == [held.node.name]

    run(main())


async def _waits_behind(zk: corral.AsyncClient, ahead: str) -> bool:
    contenders = [each.path for each in await Lock(zk, ahead[: ahead.rfind("/")]).contenders()]
    watches = zk._session.watches
    return len(contenders) == 2 and watches.has(CHILD, ahead.encode()) and watches.has(DATA, contenders[1].encode())


def test_a_waiter_whose_node_is_deleted_by_hand_leaves_no_watch_there(hosts: str, path: str) -> None:
    """It stands in line again, with another node."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            async with Lock(other, path) as held:
                waiting = asyncio.create_task(Lock(zk, path).acquire())
                for _ in range(3):
                    await until(lambda: _waits_behind(zk, held.path))
                    await other.delete((await Lock(other, path).contenders())[1].path)
                await until(lambda: _waits_behind(zk, held.path))

            assert (await waiting).is_held
            assert len(zk._session.watches) == 1

    run(main())


def test_a_look_that_is_answered_behind_the_release_leaves_no_watch(hosts: str, path: str) -> None:
    """As after a reconnect, or when a reader's lock was made of a writer's: the holder asks, and releases meanwhile."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            held = await Lock(zk, path).acquire()
            proxy.hold_replies()
            held.watch()
            await until(lambda: zk._session.expects_watch(held.path.encode()))

            held.abandon()
            proxy.flow()

            assert await held.release()
            await until(lambda: not len(zk._session.watches))

    run(main())


def test_a_predecessor_that_nobody_may_read_is_waited_for(hosts: str, path: str) -> None:
    """Its deletion is seen by the children of the line."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts, auth=[("digest", b"a:b")]) as other:
            await zk.create(path)
            closed = await other.create(f"{path}/lock-", acl=CREATOR_ALL, ephemeral=True, sequence=True)
            waiting = asyncio.create_task(Lock(zk, path).acquire())
            await until(lambda: len(zk._session.watches) == 2)
            assert not waiting.done()

            await other.delete(closed)

            assert (await waiting).is_held

    run(main())


def test_a_lock_of_an_object_that_is_waited_for_is_not_tried(hosts: str, path: str) -> None:
    """`try_acquire` does not wait for another task's `acquire` of the same object."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            held = await Lock(other, path).acquire()
            lock = Lock(zk, path, scope="object")
            waiting = asyncio.create_task(lock.acquire())
            await until(lambda: _count(zk, path, 2))

            assert await lock.try_acquire() is None

            await held.release()
            assert (await waiting).is_held

    run(main())


def test_another_s_cancellation_of_a_block_is_passed_on(hosts: str, path: str) -> None:
    """Only the cancellation by the loss becomes HoldLost; the lock is released either way."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            inside = asyncio.Event()

            async def hold() -> None:
                async with Lock(zk, path):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(hold())
            await inside.wait()
            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
            assert await _is_empty(zk, path)

    run(main())


async def _count(zk: corral.AsyncClient, path: str, count: int) -> bool:
    return len(await zk.children(path)) == count


def test_a_holder_whose_session_expired_is_told_and_its_block_ended(hosts: str, path: str) -> None:
    """kazoo's `is_acquired` stays true; here the block ends with HoldLost, and another gets the lock."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            seen: list[HoldState] = []
            inside = asyncio.Event()

            async def hold() -> None:
                async with Lock(zk, path) as held:
                    held.on_change(seen.append)
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(hold())
            await inside.wait()
            await expire(zk, hosts)

            with pytest.raises(HoldLost):
                await task
            assert seen[-1] is HoldState.LOST
            assert task.cancelling() == 0
            second = await Lock(other, path).acquire()
            assert second.is_held

    run(main())


def test_a_listener_that_fails_keeps_nobody_in_the_dark(hosts: str, path: str) -> None:
    """Its error goes to the loop's handler, and the block is ended all the same."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            faults: list[str] = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context["message"]))

            def fail(state: HoldState) -> None:
                raise ValueError(state)

            async def hold() -> None:
                held = await Lock(zk, path).acquire()
                held.on_change(fail)
                guard = Guard(held, cancels=True)
                try:
                    await other.delete(held.path)
                    await asyncio.Event().wait()
                except asyncio.CancelledError as error:
                    await guard.end(error)

            with pytest.raises(HoldLost):
                await asyncio.create_task(hold())

            assert len(faults) == 1
            assert "told LOST" in faults[0]

    run(main())


def test_a_block_may_ask_not_to_be_ended(hosts: str, path: str) -> None:
    """With cancel_on_loss=False the holder is told, and goes on; it acquires anew without a release."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = Lock(zk, path, cancel_on_loss=False)
            async with lock as held:
                await expire(zk, hosts)

                assert await held.wait_lost() is HoldState.LOST
                assert not await held.still_held()
                assert lock.held is None
                again = await lock.acquire()
                assert again.fencing_token > held.fencing_token
            assert again.is_held

    run(main())


def test_a_suspended_holder_is_in_doubt_and_holds_again(hosts: str, path: str) -> None:
    """Without a connection it is in doubt at once; with the same session back and the node there it is held."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            held = await Lock(zk, path).acquire()
            seen: list[HoldState] = []
            held.on_change(seen.append)
            assert 0 < held.certain_for() <= zk.timeout_ms / 1000

            proxy.shut()
            await until(lambda: held.state is HoldState.IN_DOUBT)
            assert held.certain_for() == 0
            with pytest.raises(HoldLost):
                held.ensure()
            proxy.open()
            await until(lambda: held.state is HoldState.HELD)

            assert seen == [HoldState.IN_DOUBT, HoldState.HELD]

    run(main())


def test_a_holder_that_paused_beyond_its_timeout_is_lost_at_the_first_look(hosts: str, path: str) -> None:
    """The clock has gone on and no timer has run: the state is LOST before anything else is."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            held = await Lock(zk, path).acquire()
            assert held.is_held
            clock = zk._transport.clock
            zk._transport.clock = lambda: clock() + zk.timeout_ms + 1

            assert held.state is HoldState.LOST

            with pytest.raises(HoldLost):
                held.transaction()

    run(main())


def test_a_node_deleted_by_hand_is_a_lost_lock(hosts: str, path: str) -> None:
    """The holder is told; a waiter contends anew."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            held = await Lock(zk, path).acquire()
            waiting = asyncio.create_task(Lock(other, path).acquire())
            await until(lambda: _count(zk, path, 2))

            for each in reversed(await Lock(zk, path).contenders()):
                await zk.delete(each.path)

            assert await held.wait_lost() is HoldState.LOST
            second = await waiting
            assert await zk.children(path) == [second.node.name]

    run(main())


def test_a_parent_that_vanished_is_made_again(hosts: str, path: str) -> None:
    """kazoo remembers that the path exists, and raises NoNode."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            lock = Lock(zk, f"{path}/deep/down")
            async with lock:
                pass
            await zk.delete_tree(path)

            async with lock as held:
                assert held.is_held

    run(main())


def test_strangers_neither_fail_nor_count(hosts: str, path: str) -> None:
    """Children of other names are left alone."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            for name in ("config", "lock-", "n_0000000000", "0000000000"):
                await zk.create(f"{path}/{name}", make_parents=True)

            held = await Lock(zk, path).try_acquire()

            assert held is not None
            assert len(await Lock(zk, path).contenders()) == 1

    run(main())


def test_a_transaction_of_a_holder_happens_only_while_it_holds(hosts: str, path: str) -> None:
    """The lock's own node is checked with every write."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            await zk.create(path)
            held = await Lock(zk, f"{path}/lock").acquire()
            async with held.transaction() as work:
                work.set(path, b"mine")
            stale = held.transaction().set(path, b"stale")
            await other.delete(held.path)

            with pytest.raises(TransactionFailed) as caught:
                await stale.commit()

            assert caught.value.index == 0
            assert (await zk.get(path))[0] == b"mine"

    run(main())


def test_a_holder_hears_that_another_asks_for_the_lock(hosts: str, path: str) -> None:
    """Curator's `__REVOKE__`; a waiter is not woken by it."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            held = await Lock(zk, path).acquire()
            assert not held.is_revoked

            assert await Lock(other, path).revoke()
            await held.wait_revoked()

            assert held.is_held
            await held.release()
            assert not await Lock(other, path).revoke()

    run(main())


def test_a_handover_wakes_one_and_asks_little(hosts: str, path: str) -> None:
    """With ten waiters one release is one event to anybody, one listing and one look at the own node."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(proxy.hosts) as holder:
            first = await Lock(holder, path).acquire()
            tasks = [asyncio.create_task(Lock(zk, path).acquire()) for _ in range(10)]
            await until(lambda: _waits(zk, 20))
            proxy.requests.clear()
            proxy.events = 0

            await first.release()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

            assert proxy.events == 1
            assert proxy.requests[GET_CHILDREN] == 1
            assert proxy.requests[EXISTS] == 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(main())


def _waits(zk: corral.AsyncClient, watches: int) -> bool:
    return len(zk._session.watches) == watches and zk.state is State.CONNECTED
