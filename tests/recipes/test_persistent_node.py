"""A node that is there as long as it is wanted."""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.support.loops import expire, give_up_session, run, until, until_children
from tests.support.proxy import Proxy

import corral.client.aio as corral
from corral.base.errors import NoAuth, NodeExists
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, RequestTooLarge
from corral.recipes.errors import RecipeTimeout
from corral.recipes.persistent_node import NodeState, PersistentNode
from corral.wire import opcodes
from corral.wire.data import ACL


async def _is_there(zk: AsyncClient, path: str) -> bool:
    return await zk.exists(path) is not None


def test_it_is_there_from_start_to_stop(hosts: str, path: str) -> None:
    """Its parents are made."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            async with PersistentNode(zk, path + "/a/b", b"x") as node:
                data, stat = await zk.get(path + "/a/b")
                assert (data, stat.ephemeral_owner) == (b"x", zk.session_id)
                assert (node.state, node.fencing_token) == (NodeState.HELD, stat.czxid)
            assert not await _is_there(zk, path + "/a/b")
            assert node.state is NodeState.STOPPED

    run(main())


def test_it_comes_back_when_it_was_deleted(hosts: str, path: str) -> None:
    """With its data, also the data of meanwhile."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, PersistentNode(zk, path, b"1") as node:
            await node.set(b"2")
            first = node.fencing_token
            await zk.delete(path)
            await until(lambda: node.fencing_token > first)

            assert (await zk.get(path))[0] == b"2"

    run(main())


@pytest.mark.parametrize("is_kept_by_the_server", [True, False])
def test_it_comes_back_with_a_new_session(hosts: str, path: str, is_kept_by_the_server: bool) -> None:
    """Also while the old session's node is still there: that is not taken for its own, and is removed."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, PersistentNode(zk, path, b"1") as node:
            first = node.fencing_token
            if is_kept_by_the_server:
                await give_up_session(zk)
            else:
                await expire(zk, hosts)

            await until(lambda: node.fencing_token > first and node.state is NodeState.HELD)

            assert (await zk.get(path))[1].ephemeral_owner == zk.session_id

    run(main())


def test_data_is_written_in_place(hosts: str, path: str) -> None:
    """The node is not deleted for it."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, PersistentNode(zk, path, b"1") as node:
            czxid = node.fencing_token
            await node.set(b"2")
            data, stat = await zk.get(path)

            assert (data, stat.czxid, stat.version) == (b"2", czxid, 1)

    run(main())


def test_the_holder_is_told_of_doubt(hosts: str, path: str) -> None:
    """In doubt without a connection, held again after the server has said so."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, PersistentNode(zk, path) as node:
            told: list[NodeState] = []
            node.on_change(told.append)
            proxy.cut()
            await node.wait_for(NodeState.IN_DOUBT)
            await node.wait_for(NodeState.HELD)

            assert told == [NodeState.IN_DOUBT, NodeState.HELD]

    run(main())


def test_anothers_node_is_not_taken_over(hosts: str, path: str) -> None:
    """Curator's overwrites it without notice."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            async with PersistentNode(other, path, b"theirs"):
                node = PersistentNode(zk, path, b"ours")
                with pytest.raises(NodeExists, match="another client"):
                    await node.start()
                assert (await zk.get(path))[0] == b"theirs"
            await node.start()
            assert (await zk.get(path))[0] == b"ours"
            await node.stop()

    run(main())


@pytest.mark.parametrize("sequence", [True, False])
def test_a_lost_reply_makes_one_node(hosts: str, path: str, sequence: bool) -> None:
    """It is found by its name, or by the prefix before its number."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            proxy.lose_reply(opcodes.CREATE)
            async with PersistentNode(zk, path + "/n-", b"x", sequence=sequence) as node:
                assert proxy.lost == 1
                assert [f"{path}/{name}" for name in await zk.children(path)] == [node.path]
            assert await zk.children(path) == []

    run(main())


def test_a_number_is_kept(hosts: str, path: str) -> None:
    """Over deletions."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, PersistentNode(zk, path + "/n-", sequence=True) as node:
            first, name = node.fencing_token, node.path
            assert re.fullmatch(re.escape(path) + r"/_c_[0-9a-f-]{36}-n-0000000000", name)
            await zk.delete(name)
            await until(lambda: node.fencing_token > first)

            assert node.path == name

    run(main())


def test_one_with_a_time_to_live_is_touched(hosts: str, path: str) -> None:
    """And left to it when nobody keeps it any more."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            node = PersistentNode(zk, path, b"x", ephemeral=False, ttl_ms=300)
            await node.start()

            async def is_touched() -> bool:
                stat = await zk.exists(path)
                return stat is not None and stat.version >= 2

            await until(is_touched)
            await node.stop()
            assert await _is_there(zk, path)

    run(main())


def test_cancelled_at_any_moment_it_leaves_nothing(hosts: str, path: str) -> None:
    """A start that was given up deletes what it has made."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            for turns in range(25):
                node = PersistentNode(zk, f"{path}/{turns}")
                task = asyncio.ensure_future(node.start())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await node.stop()

            async def is_empty() -> bool:
                return not await _is_there(zk, path) or not await zk.children(path)

            await until(is_empty)
            await until(lambda: not zk._tasks)
            assert await is_empty()

    run(main())


@pytest.mark.parametrize("sequence", [True, False])
def test_a_persistent_one_whose_start_is_given_up_is_deleted(hosts: str, path: str, sequence: bool) -> None:
    """Though no answer says that it was made: no session takes it along."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            await other.create(path)
            node = PersistentNode(zk, path + "/n-", b"x", ephemeral=False, sequence=sequence)
            proxy.lose_reply(opcodes.CREATE)
            proxy.refuse()
            starting = asyncio.create_task(node.start())
            await until(lambda: proxy.lost == 1)

            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            proxy.open()

            await until_children(other, path, 0)

    run(main())


def test_a_start_ends_in_time(hosts: str, path: str) -> None:
    """And nothing is kept after it."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            node = PersistentNode(zk, path)
            proxy.hold()
            with pytest.raises(RecipeTimeout):
                await node.start(timeout=0.05)
            proxy.flow()
            await until(lambda: not zk._tasks)
            assert not await _is_there(zk, path)

    run(main())


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_start_ends_when_it_is_stopped(hosts: str, path: str, is_closed: bool) -> None:
    """By `stop`, or by the end of the client."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            node = PersistentNode(zk, path)
            proxy.hold()
            starting = asyncio.ensure_future(node.start())
            await until(lambda: node.state is NodeState.MISSING)
            await (zk.close(timeout=0.05) if is_closed else node.stop(timeout=0.05))

            with pytest.raises(ClientClosed):
                await starting
            proxy.flow()

    run(main())


def test_a_listener_that_fails_ends_nothing(hosts: str, path: str) -> None:
    """The node is made again."""

    def fail(state: NodeState) -> None:
        raise RuntimeError(state.value)

    async def main() -> None:
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other, PersistentNode(zk, path) as node:
            node.on_change(fail)

            await other.delete(path)

            await until(lambda: _is_there(other, path))

    run(main())


def test_data_that_is_too_large_is_refused(hosts: str, path: str) -> None:
    """By whom it was given to; the node stays what it was."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, PersistentNode(zk, f"{path}/a", b"small") as node:
            large = b"x" * 2_000_000
            with pytest.raises(RequestTooLarge):
                await PersistentNode(zk, f"{path}/b", large).start()
            with pytest.raises(RequestTooLarge):
                await node.set(large)

            await node.wait_for(NodeState.HELD)
            assert node.data == b"small"
            await node.set(b"next")
            assert (await zk.get(node.path))[0] == b"next"

    run(main())


def test_data_that_must_not_be_written_is_refused(hosts: str, path: str) -> None:
    """It is tried again, and written when it may be."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, PersistentNode(zk, path) as node:
            await zk.set_acl(path, [ACL(1 | 16, "world", "anyone")])
            with pytest.raises(NoAuth):
                await node.set(b"next")
            assert node.state is NodeState.REFUSED

            await zk.set_acl(path, [ACL(31, "world", "anyone")])
            await node.wait_for(NodeState.HELD)

            assert (await zk.get(path))[0] == b"next"

    run(main())
