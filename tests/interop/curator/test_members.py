"""Nodes that are kept, groups and services on one path with Curator's."""

from __future__ import annotations

import pytest
from tests.support.curator import Curator
from tests.support.loops import expire, run, until

import corral
from corral.base.errors import NodeExists
from corral.recipes.discovery import Discovery, ServiceProvider
from corral.recipes.party import Party, PartyForm
from corral.recipes.persistent_node import NodeState, PersistentNode
from corral.recipes.registration import Registration
from corral.recipes.service_instance import ServiceInstance

pytestmark = pytest.mark.interop


def test_a_node_of_curators_is_not_taken_over(hosts: str, path: str, curator: Curator) -> None:
    """Ours is blocked as long as it is there, and comes then."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            assert await theirs.tell("node", path, "start", "theirs") == path
            ours = PersistentNode(zk, path, b"ours")
            with pytest.raises(NodeExists):
                await ours.start()

            await theirs.tell("node", path, "end")
            await ours.start()
            assert (await zk.get(path))[0] == b"ours"

            await expire(zk, hosts)
            await ours.wait_for(NodeState.HELD)
            assert await ours.stop()

    run(main())


def test_curators_node_takes_over_ours(hosts: str, path: str, curator: Curator) -> None:
    """It writes its data into ours, and deletes it at its end; ours is made again."""

    async def main() -> None:
        async with (
            corral.connect(hosts) as zk, curator.actor(hosts) as theirs, PersistentNode(zk, path, b"ours") as ours
        ):  # fmt: skip
            token = ours.fencing_token
            await theirs.tell("node", path, "start", "theirs")
            data, stat = await zk.get(path)
            assert (data, stat.ephemeral_owner, stat.czxid) == (b"theirs", zk.session_id, token)
            await theirs.tell("node", path, "end")
            await until(lambda: ours.fencing_token > token)
            assert (await zk.get(path))[0] == b"ours"

    run(main())


def test_a_group_of_both(hosts: str, path: str, curator: Curator) -> None:
    """Each lists the other's member with its data, until that leaves."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:

            async def is_listed(*members: str) -> bool:
                return (await theirs.tell("group", path, "members")).split() == list(members)

            await theirs.tell("group", path, "start", "b", "theirs")
            ours = Party(zk, path, "a", form=PartyForm.GROUP, data=b"ours")
            async with ours:
                members = await ours.wait_members(2, 10)
                assert [(each.identifier, each.data) for each in members] == [("a", b"ours"), ("b", b"theirs")]
                await until(lambda: is_listed("a=ours", "b=theirs"))
                await ours.set_data(b"more")
                await until(lambda: is_listed("a=more", "b=theirs"))
            await until(lambda: is_listed("b=theirs"))
            members = await ours.members()
            await theirs.tell("group", path, "end")
            assert await ours.wait_change(members, 10) == []

    run(main())


def test_services_of_both(hosts: str, path: str, curator: Curator) -> None:
    """Each finds the other's instance with all that is said of it, until that is gone."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            spec = "{scheme}://{address}:{port}/{id}"
            shown = "ours:10.0.0.1:80:blue:http://10.0.0.1:80/ours"

            async def is_cached(*instances: str) -> bool:
                return (await theirs.tell("discovery", path, "cached", "web")).split() == list(instances)

            mine = ServiceInstance("web", "ours", "10.0.0.1", 80, payload="blue", registered_ms=1, uri_spec=spec)
            async with ServiceProvider(zk, path, "web") as provider:
                async with Registration(zk, path, mine):
                    listed = await theirs.tell("discovery", path, "instances", "web")
                    assert listed == shown
                    assert await is_cached(shown)
                    await theirs.tell("discovery", path, "register", "web", "theirs", "10.0.0.2", 81, "red", spec)
                    await until(lambda: len(provider.instances()) == 2)
                    found = await Discovery(zk, path).instance("web", "theirs")
                    assert found is not None
                    assert (found.address, found.port, found.payload) == ("10.0.0.2", 81, "red")
                    assert found.uri() == "http://10.0.0.2:81/theirs"
                    assert found.registered_ms > 0
                    assert await Discovery(zk, path).names() == [await theirs.tell("discovery", path, "names")]

                listed = await theirs.tell("discovery", path, "instances", "web")
                assert listed == "theirs:10.0.0.2:81:red:http://10.0.0.2:81/theirs"
                await until(lambda: is_cached(listed))
                await theirs.tell("discovery", path, "unregister")
                await until(lambda: provider.instances() == [])

    run(main())
