"""Elections on one path with Curator's: one leader, whoever it is, and both see the same line."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.curator import WAIT_MS, Actor, Curator
from tests.support.loops import expire, run, until, until_children

import corral
from corral.recipes.election import Election, Latch, Style

pytestmark = pytest.mark.interop

KINDS: list[tuple[str, Style]] = [("latch", "latch"), ("selector", "selector"), ("selector", "bridge")]


@pytest.mark.parametrize(("kind", "style"), KINDS)
def test_the_leadership_goes_from_one_to_the_other(
    hosts: str, path: str, curator: Curator, kind: str, style: Style
) -> None:
    """Ours leads, then Curator's, then ours: each when the one before has stopped."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs, corral.connect(hosts) as third:
            first = Latch(zk, path, identifier=b"first", style=style)
            last = Latch(third, path, identifier=b"last", style=style)
            own = 2 if style == "bridge" else 1
            await first.start()
            await first.wait_leader(5)
            await theirs.tell(kind, path, "start", "theirs")
            await until_children(zk, path, own + 1)
            await last.start()
            await until_children(zk, path, own + 1 + own)
            assert not await theirs.does(kind, path, "leads")
            await _same_line(theirs, kind, path, last, is_bridge=style == "bridge")

            await first.stop()
            assert await theirs.does(kind, path, "await", WAIT_MS)
            assert await theirs.does(kind, path, "leads")
            assert not last.is_leader
            await _same_line(theirs, kind, path, last, is_bridge=style == "bridge")

            await theirs.tell(kind, path, "end")
            await last.wait_leader(5)
            await last.stop()

    run(main())


async def _same_line(theirs: Actor, kind: str, path: str, ours: Latch, *, is_bridge: bool) -> None:
    seen = [each.identifier.decode() for each in await ours.contenders()]
    leader = await ours.leader()
    assert leader is not None
    assert await theirs.tell(kind, path, "leader") == seen[0] == leader.identifier.decode()
    listed = (await theirs.tell(kind, path, "standing")).split()
    if is_bridge:
        # Curator sorts the nodes that are for kazoo last: they stand behind all others.
        assert sorted(listed) == sorted(seen)
    else:
        assert listed == seen


@pytest.mark.parametrize(("kind", "style"), KINDS)
def test_ours_leads_when_curators_is_gone(hosts: str, path: str, curator: Curator, kind: str, style: Style) -> None:
    """Closed without a word by the recipe, its session ends the term."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            election = Election(zk, path, style=style)
            async with curator.actor(hosts) as theirs:
                await theirs.tell(kind, path, "start", "theirs")
                assert await theirs.does(kind, path, "await", WAIT_MS)
                assert await election.try_acquire() is None
                waiting = asyncio.create_task(election.acquire())
                await until_children(zk, path, 3 if style == "bridge" else 2)
                assert not waiting.done()

            assert (await waiting).is_held

    run(main())


def test_curators_leads_when_our_session_is_over(hosts: str, path: str, curator: Curator) -> None:
    """Ours stands again behind it."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as theirs, Latch(zk, path, identifier=b"ours") as latch
        ):  # fmt: skip
            await latch.wait_leader()
            await theirs.tell("latch", path, "start", "theirs")
            await until_children(zk, path, 2)

            await expire(zk, hosts)

            assert await theirs.does("latch", path, "await", WAIT_MS)
            await until_children(zk, path, 2)
            assert not latch.is_leader
            assert (await theirs.tell("latch", path, "standing")).split() == ["theirs", "ours"]
            await theirs.tell("latch", path, "end")
            await until(lambda: latch.is_leader)

    run(main())
