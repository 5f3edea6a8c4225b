"""Members of a group."""

from __future__ import annotations

import asyncio
import threading

import pytest
from kazoo.client import KazooClient
from tests.support.loops import expire, run

import corral.client.aio as corral
from corral.base.errors import BadArguments, NodeExists
from corral.recipes.party import Party, PartyForm
from corral.recipes.persistent_node import NodeState


@pytest.mark.parametrize("form", list(PartyForm))
def test_members_see_each_other(hosts: str, path: str, form: PartyForm) -> None:
    """In each form; who leaves is gone."""

    async def main() -> None:
        async with corral.connect(hosts) as a, corral.connect(hosts) as b:
            two = Party(b, path, "two", form=form)
            assert await two.members() == []
            async with Party(a, path, "one", form=form) as one, two:
                members = await one.wait_members(2, timeout=5)
                assert sorted(member.identifier for member in members) == ["one", "two"]
                assert await two.count() == 2
                await two.leave()
                left = await one.wait_change(members)
                assert [member.identifier for member in left] == ["one"]

    run(main())


@pytest.mark.parametrize("form", [PartyForm.PARTY, PartyForm.SHALLOW])
def test_strangers_do_not_count(hosts: str, path: str, form: PartyForm) -> None:
    """kazoo's shallow party counts every child."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Party(zk, path, "one", form=form) as party:
            await zk.create(f"{path}/_c_stranger")

            assert await party.count() == 1

    run(main())


def test_a_member_comes_back_with_a_new_session(hosts: str, path: str) -> None:
    """kazoo's stays out, and believes to be in."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Party(zk, path, "one") as party:
            told: list[NodeState] = []
            party.on_change(told.append)
            await expire(zk, hosts)

            assert [member.identifier for member in await party.wait_members(1)] == ["one"]
            assert NodeState.MISSING in told

    run(main())


def test_one_identifier_is_one_member_of_a_group(hosts: str, path: str) -> None:
    """Curator's overwrite each other."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as a,
            corral.connect(hosts) as b,
            Party(a, path, "me", form=PartyForm.GROUP, data=b"1") as one,
        ):
            with pytest.raises(NodeExists):
                await Party(b, path, "me", form=PartyForm.GROUP).enter()
            await one.set_data(b"2")
            assert [member.data for member in await one.members()] == [b"2"]

    run(main())


def test_a_name_must_be_one(hosts: str, path: str) -> None:
    """No slash in what becomes a znode's name."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            with pytest.raises(BadArguments, match="a/b"):
                Party(zk, path, "a/b", form=PartyForm.SHALLOW)

    run(main())


@pytest.mark.interop
@pytest.mark.parametrize("form", [PartyForm.PARTY, PartyForm.SHALLOW])
def test_kazoo_is_in_the_same_party(hosts: str, path: str, form: PartyForm) -> None:
    """Each sees the other."""
    is_seen = threading.Event()

    def kazoo() -> list[str]:
        client = KazooClient(hosts)
        client.start()
        try:
            make = client.Party if form is PartyForm.PARTY else client.ShallowParty
            party = make(path, "kazoo")
            party.join()
            members = sorted(party)
            is_seen.wait(10)
            return members
        finally:
            client.stop()
            client.close()

    async def main() -> None:
        async with corral.connect(hosts) as zk, Party(zk, path, "corral", form=form) as party:
            other = asyncio.ensure_future(asyncio.to_thread(kazoo))
            seen = await party.wait_members(2, timeout=10)
            is_seen.set()
            assert sorted(member.identifier for member in seen) == ["corral", "kazoo"]
            assert await other == ["corral", "kazoo"]

    run(main())
