"""Elections: one leader at a time, told when it leads no more, and no candidate left behind."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from kazoo.client import KazooClient
from tests.support.loops import expire, give_up_session, run, until
from tests.support.proxy import Proxy

import corral
from corral.base.errors import NoAuth
from corral.client.transaction import TransactionFailed
from corral.recipes.election import Election, Latch, Style
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout
from corral.recipes.held import Held, HoldState
from corral.recipes.line import before_candidate
from corral.recipes.sequence import number_text
from corral.wire.data import ACL
from corral.wire.opcodes import CREATE2

STYLES: list[Style] = ["latch", "selector", "kazoo", "bridge"]
READ_ONLY = [ACL(1, "world", "anyone")]


async def _count(zk: corral.AsyncClient, path: str, count: int) -> bool:
    return (0 if await zk.exists(path) is None else len(await zk.children(path))) == count


@pytest.mark.parametrize("style", STYLES)
def test_one_leads_at_a_time_in_order_of_arrival(hosts: str, path: str, style: Style) -> None:
    """Five candidates lead one after another; everybody sees who does."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            elections = [Election(zk, path, style=style, identifier=b"%d" % n) for n in range(5)]
            led: list[tuple[bytes, int]] = []

            async def lead(held: Held) -> None:
                leader = await elections[0].leader()
                assert leader is not None
                assert (leader.identifier, leader.czxid) == (held.identifier, held.fencing_token)
                led.append((held.identifier, held.fencing_token))

            async with elections[0] as first:
                tasks = []
                for n, election in enumerate(elections[1:], 2):
                    tasks.append(asyncio.create_task(election.run(lead)))
                    await until(lambda n=n: _count(zk, path, n * (2 if style == "bridge" else 1)))
                standing = [each.identifier for each in await elections[0].contenders()]
                assert first.is_held
            await asyncio.gather(*tasks)

            assert list(dict.fromkeys(standing)) == [b"0", b"1", b"2", b"3", b"4"]
            assert [identifier for identifier, _ in led] == [b"1", b"2", b"3", b"4"]
            assert [token for _, token in led] == sorted(token for _, token in led)
            assert await elections[0].leader() is None

    run(main())


def test_the_rule_of_who_leads_survives_the_wrap_and_strangers() -> None:
    """After 2147483647 comes -2147483648; readers, leases and other names do not count."""
    names = [
        f"_c_{uuid.uuid4()}-latch-{number_text(2147483647)}",
        f"_c_{uuid.uuid4()}-latch-{number_text(-2147483648)}",
        f"{uuid.uuid4().hex}__rlock__{number_text(2147483640)}",
        f"lease-{number_text(2147483641)}",
        "config",
    ]

    assert before_candidate(names, {names[1]}, -2147483648) == names[0]
    assert before_candidate(names, {names[0]}, 2147483647) is None


@pytest.mark.parametrize("marker", ["-latch-", "-lock-", "__lock__", "__WRIT__"])
def test_a_candidate_of_any_library_is_waited_for(hosts: str, path: str, marker: str) -> None:
    """A node of another library's form stands before us until it goes."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            foreign = await zk.create(
                f"{path}/_c_{uuid.uuid4()}{marker}", b"them", make_parents=True, ephemeral=True, sequence=True
            )
            election = Election(zk, path)

            assert await election.try_acquire() is None
            leader = await election.leader()
            assert leader is not None
            assert leader.identifier == b"them"
            await zk.delete(foreign)

            assert (await election.acquire()).is_held

    run(main())


def test_a_leader_whose_session_expired_is_stopped_before_the_next_leads(hosts: str, path: str) -> None:
    """kazoo's Election lets the function go on; here it ends with HoldLost, and its stale writes are refused."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            await zk.create(path)
            terms: list[Held] = []

            async def lead(held: Held) -> None:
                terms.append(held)
                await asyncio.Event().wait()

            task = asyncio.create_task(Election(zk, f"{path}/e").run(lead))
            await until(lambda: bool(terms))
            stale = terms[0].transaction().set(path, b"stale")
            waiting = asyncio.create_task(Election(other, f"{path}/e").acquire())
            await until(lambda: _count(other, f"{path}/e", 2))

            await expire(zk, hosts)

            with pytest.raises(HoldLost):
                await task
            second = await waiting
            assert second.fencing_token > terms[0].fencing_token
            with pytest.raises(TransactionFailed) as caught:
                await stale.commit()
            assert caught.value.index == 0
            assert not await terms[0].still_held()

    run(main())


def test_a_selector_stands_again_after_each_term_and_each_loss(hosts: str, path: str) -> None:
    """CURATOR-15, 16: an expiry ends the term and not the candidacy; a failure of the work's own ends it."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            terms: list[Held] = []

            async def lead(held: Held) -> None:
                terms.append(held)
                if len(terms) == 1:
                    await asyncio.Event().wait()
                if len(terms) == 3:
                    raise ValueError("enough")

            task = asyncio.create_task(Election(zk, path).run_terms(lead))
            await until(lambda: len(terms) == 1)
            await expire(zk, hosts)

            with pytest.raises(ValueError, match="enough"):
                await task
            assert [held.state for held in terms] == [HoldState.LOST, HoldState.RELEASED, HoldState.RELEASED]
            assert await zk.children(path) == []

    run(main())


def test_a_loss_of_something_else_ends_the_terms(hosts: str, path: str) -> None:
    """Only the loss of the leadership itself makes a selector stand again."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:

            async def lead(held: Held) -> None:
                raise HoldLost("another lock")

            with pytest.raises(HoldLost, match="another lock"):
                await Election(zk, path).run_terms(lead)

    run(main())


def test_terms_cancelled_at_every_await_leave_nobody_in_line(hosts: str, path: str) -> None:
    """CURATOR-62: an interrupt between the node's creation and the wait leaves a node at the head, and nobody leads."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:

            async def lead(held: Held) -> None:
                await zk.exists(path)

            for turns in range(50):
                task = asyncio.create_task(Election(zk, path).run_terms(lead))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if turns % 3 == 2:
                    await zk.sync()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

                assert task.cancelled()
                await until(lambda: _count(zk, path, 0))

    run(main())


@pytest.mark.parametrize("is_reply", [True, False])
def test_a_latch_survives_a_lost_create(hosts: str, path: str, is_reply: bool) -> None:
    """One node is there in the end, and leads."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            (proxy.lose_reply if is_reply else proxy.lose_request)(CREATE2)

            async with Latch(zk, path) as latch:
                held = await latch.wait_leader()
                assert proxy.lost == 1
                assert await zk.children(path) == [held.node.name]

    run(main())


def test_a_latch_does_not_lead_by_the_node_of_a_session_that_is_over(hosts: str, path: str) -> None:
    """CURATOR-696: reconnected with a new session while the old node is still there; it must not count."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            first = await Election(other, path).acquire()
            async with Latch(zk, path) as latch:
                await until(lambda: _count(other, path, 2))

                await give_up_session(zk)
                await first.release()
                held = await latch.wait_leader()

                assert held.node.session_id == zk.session_id
                stat = await other.exists(held.path)
                assert stat is not None
                assert stat.ephemeral_owner == zk.session_id
                await until(lambda: _count(other, path, 1))

    run(main())


def test_a_latch_says_what_happens_to_its_leadership(hosts: str, path: str) -> None:
    """In doubt is not leading; back in time it leads again; expired, it stands again with a new term."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            seen: list[bool] = []
            latch = Latch(zk, path, identifier=b"me")
            latch.on_change(seen.append)
            async with latch:
                first = await latch.wait_leader()
                proxy.shut()
                await until(lambda: not latch.is_leader)
                assert latch.held is first
                proxy.open()
                assert await latch.wait_leader() is first

                await expire(zk, hosts)
                second = await latch.wait_leader()
                assert second.fencing_token > first.fencing_token
                leader = await latch.leader()
                assert leader is not None
                assert leader.identifier == b"me"

            # The session may have been in doubt more than once before it was over; what is told changes each time.
            assert seen == [True, False] * (len(seen) // 2)
            assert len(seen) >= 6
            assert not latch.is_leader
            assert await zk.children(path) == []

    run(main())


def test_a_latch_stopped_while_its_node_is_made_leaves_none(hosts: str, path: str) -> None:
    """CURATOR-3, 18: the creation arrives after its latch was stopped."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            await zk.create(path)
            latch = Latch(zk, path)
            proxy.hold()
            await latch.start()
            for _ in range(4):
                await asyncio.sleep(0)
            assert await latch.stop()
            proxy.flow()

            await until(lambda: proxy.requests[CREATE2] == 1)
            await zk.sync()
            await until(lambda: _count(other, path, 0))
            with pytest.raises(NotHeld):
                await latch.wait_leader()

    run(main())


def test_a_latch_whose_directory_was_deleted_leads_again(hosts: str, path: str) -> None:
    """CURATOR-724: the directory is gone, and the latch is not dead."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other, Latch(zk, path) as latch:
            first = await latch.wait_leader()

            await other.delete_tree(path)

            assert await first.wait_lost() is HoldState.LOST
            second = await latch.wait_leader()
            assert await other.children(path) == [second.node.name]

    run(main())


def test_two_latches_hand_over_once(hosts: str, path: str) -> None:
    """CURATOR-645: two latches whose nodes are deleted settle, with one leader."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other, Latch(zk, path) as one:
            await one.wait_leader()
            async with Latch(other, path) as two:
                await until(lambda: _count(zk, path, 2))
                for name in await zk.children(path):
                    await zk.delete(f"{path}/{name}")
                await until(lambda: one.is_leader is not two.is_leader)
                await until(lambda: _count(zk, path, 2))
                leads, waits = (one, two) if one.is_leader else (two, one)

                await leads.stop()

                assert (await waits.wait_leader()).is_held

    run(main())


def test_a_node_that_goes_while_its_turn_is_noticed_is_not_taken_for_held(hosts: str, path: str) -> None:
    """The event comes between the server's answer and the look at it: each round hits that moment anew."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            for number in range(40):
                at = f"{path}/{number}"
                async with Latch(zk, at) as one, Latch(other, at) as two:
                    await until(lambda at=at: _count(zk, at, 2))
                    for name in await zk.children(at):
                        await zk.delete(f"{at}/{name}")

                    await until(lambda one=one, two=two: one.is_leader is not two.is_leader)
                    await until(lambda at=at: _count(zk, at, 2))

    run(main())


def test_waiting_for_a_latch_ends_in_time_and_with_its_refusal(hosts: str, path: str) -> None:
    """A timeout leaves the candidate in line; what the server refuses is raised; a stopped latch says so."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            async with Election(other, path), Latch(zk, path) as latch:
                with pytest.raises(RecipeTimeout):
                    await latch.wait_leader(timeout=0.02)
                waiting = asyncio.create_task(latch.wait_leader())
                await until(lambda: _count(zk, path, 2))
                await latch.stop()
                with pytest.raises(NotHeld):
                    await waiting

            await zk.create(f"{path}-locked", acl=READ_ONLY)
            async with Latch(zk, f"{path}-locked") as latch:
                with pytest.raises(NoAuth):
                    await latch.wait_leader()

    run(main())


def test_a_listener_that_fails_does_not_end_the_candidacy(hosts: str, path: str) -> None:
    """Its fault is logged, and the others are told."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            latch = Latch(zk, path)
            seen: list[bool] = []

            def fail(leads: bool) -> None:
                raise ValueError(leads)

            latch.on_change(fail)
            forget = latch.on_change(seen.append)
            async with latch:
                await latch.wait_leader()
                forget()

            assert seen == [True]

    run(main())


def test_an_unknown_style_is_refused() -> None:
    """The message says which there are."""
    with pytest.raises(ValueError, match="must be one of latch, selector, kazoo, bridge"):
        Election(corral.connect("127.0.0.1:1"), "/x", style="zab")  # type: ignore[arg-type]  # That is the test.


def test_kazoo_elections_and_ours_wait_for_each_other(hosts: str, path: str) -> None:
    """Default kazoo leads: we wait. We lead with style="kazoo": kazoo waits."""

    async def main() -> None:
        kazoo = KazooClient(hosts)
        await asyncio.to_thread(kazoo.start)
        try:
            async with corral.connect(hosts) as zk:
                election = Election(zk, path, style="kazoo", identifier=b"ours")
                theirs = kazoo.Election(path, "theirs")

                def lead() -> list[str]:
                    future = asyncio.run_coroutine_threadsafe(election.try_acquire(), loop)
                    assert future.result(10) is None
                    return list(theirs.contenders())

                loop = asyncio.get_running_loop()
                seen: list[list[str]] = []
                await asyncio.to_thread(theirs.run, lambda: seen.append(lead()))
                assert [standing[0] for standing in seen] == ["theirs"]

                led: list[int] = []
                async with election as held:
                    waiting = asyncio.create_task(asyncio.to_thread(theirs.run, lambda: led.append(1)))
                    await until(lambda: _count(zk, path, 2))
                    assert await asyncio.to_thread(theirs.contenders) == ["ours", "theirs"]
                    assert held.is_held
                    assert led == []
                await waiting
                assert led == [1]
        finally:
            await asyncio.to_thread(kazoo.stop)
            await asyncio.to_thread(kazoo.close)

    run(main())
