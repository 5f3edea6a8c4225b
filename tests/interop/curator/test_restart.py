"""A server that is killed and started again while clients of both libraries hold, wait and watch."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until, until_children
from tests.support.servers import Process

import corral
from corral.recipes.held import HoldState
from corral.recipes.lock import Lock
from corral.recipes.party import Party, PartyForm
from corral.recipes.tree_cache import TreeCache

pytestmark = pytest.mark.interop


def test_all_goes_on_after_a_restart(server: Process, tmp_path: Path, path: str, curator: Curator) -> None:
    """A held lock stays held and its line in order, caches miss nothing, members are there."""

    async def main(own: Process) -> None:
        hosts = f"127.0.0.1:{own.port}"
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs, curator.actor(hosts) as waiter:
            tree, group, line = f"{path}/tree", f"{path}/group", f"{path}/line"
            await zk.create(tree, b"root", make_parents=True)
            await theirs.tell("cache", tree, "start")
            assert await theirs.tell("cache", tree, "next", WAIT_MS) == f"NODE_CREATED {tree} root"
            assert await theirs.tell("cache", tree, "next", WAIT_MS) == "INITIALIZED"
            await theirs.tell("group", group, "start", "theirs", "1")
            lock = Lock(zk, line, scope="object")
            async with TreeCache(zk, tree, spread=0) as cache, Party(zk, group, "ours", form=PartyForm.GROUP) as party:
                await party.wait_members(2, 10)
                held = await lock.acquire()
                token = held.fencing_token
                waiting = asyncio.create_task(waiter.does("mutex", line, "acquire", WAIT_MS))
                await until_children(zk, line, 2)
                await zk.create(f"{tree}/before", b"2")

                await asyncio.to_thread(own.stop, signal.SIGKILL)
                await asyncio.to_thread(own.start)
                await until(lambda: zk.state.is_connected)
                await theirs.tell("zk", f"{tree}/after", "create", "3")

                seen = {await theirs.tell("cache", tree, "next", WAIT_MS) for _ in range(2)}
                assert seen == {f"NODE_CREATED {tree}/before 2", f"NODE_CREATED {tree}/after 3"}
                await until(lambda: (found := cache.get(f"{tree}/after")) is not None and found.data == b"3")
                assert [member.identifier for member in await party.wait_members(2, 10)] == ["ours", "theirs"]
                await until(lambda: held.state is HoldState.HELD)
                assert held.fencing_token == token
                assert not waiting.done()
                await lock.release()
                assert await waiting
                assert await lock.try_acquire() is None

    with Process(server.kind, tmp_path) as own:
        run(main(own))
