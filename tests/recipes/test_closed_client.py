"""Who waits in a recipe when the client is closed gets ClientClosed, also when no server could be told of the close."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from tests.support.loops import run, until
from tests.support.proxy import Proxy

import corral
from corral.client.errors import ClientClosed
from corral.recipes.asking import outlasting
from corral.recipes.barrier import Barrier
from corral.recipes.children_cache import ChildrenCache
from corral.recipes.double_barrier import DoubleBarrier
from corral.recipes.election import Election, Latch
from corral.recipes.lock import Lock
from corral.recipes.party import Party
from corral.recipes.persistent_node import NodeState, PersistentNode
from corral.recipes.queue import Queue
from corral.recipes.shared_value import SharedValue
from corral.wire import opcodes

Wait = Callable[[corral.AsyncClient, str], Awaitable[object]]


async def _leadership(zk: corral.AsyncClient, path: str) -> None:
    latch = Latch(zk, path)
    await latch.start()
    await latch.wait_leader()


async def _value_change(zk: corral.AsyncClient, path: str) -> None:
    async with SharedValue(zk, path) as value:
        await value.wait_change(value.versioned)


async def _node_state(zk: corral.AsyncClient, path: str) -> None:
    async with PersistentNode(zk, f"{path}/mine") as node:
        await node.wait_for(NodeState.BLOCKED)


async def _until_idle(proxy: Proxy, zk: corral.AsyncClient) -> None:
    """Wait until the client asks nothing any more but what is asked here."""
    asked = -1
    while asked != proxy.requests.total() - 2:
        asked = proxy.requests.total()
        await zk.exists("/")
        await zk.exists("/")


@pytest.mark.parametrize("is_cut", [False, True], ids=["connected", "cut"])
@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(lambda zk, path: Lock(zk, path).acquire(), id="lock"),
        pytest.param(lambda zk, path: Election(zk, path).acquire(), id="election"),
        pytest.param(lambda zk, path: Barrier(zk, path).wait(), id="barrier"),
        pytest.param(lambda zk, path: DoubleBarrier(zk, path, 9).enter(), id="double barrier"),
        pytest.param(lambda zk, path: Queue(zk, path).get(), id="queue"),
        pytest.param(lambda zk, path: Party(zk, path).wait_members(2), id="party"),
        pytest.param(_leadership, id="latch"),
        pytest.param(_value_change, id="value"),
        pytest.param(_node_state, id="node"),
    ],
)
def test_who_waits_is_told(hosts: str, path: str, wait: Wait, is_cut: bool) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(hosts) as other, corral.connect(proxy.hosts) as zk:
            held = await Lock(other, path).acquire()
            waiting = asyncio.ensure_future(wait(zk, path))
            await _until_idle(proxy, zk)
            if is_cut:
                proxy.shut()
                await until(lambda: not zk.state.is_connected)

            await zk.close()

            with pytest.raises(ClientClosed):
                await waiting
            await held.release()

    run(main())


def test_who_waits_for_a_node_is_told_though_its_keeper_knew_before(hosts: str, path: str) -> None:
    """The keeper is refused while the close is under way; who waits is told when it is done."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            node = PersistentNode(zk, path)
            await node.start()
            waiting = asyncio.ensure_future(node.wait_for(NodeState.BLOCKED))
            await _until_idle(proxy, zk)
            proxy.hold_replies()
            closing = asyncio.ensure_future(zk.close())
            setting = asyncio.ensure_future(node.set(b"x"))
            await until(lambda: node.state is NodeState.STOPPED)
            proxy.flow()
            await closing

            for told in (waiting, setting):
                with pytest.raises(ClientClosed):
                    await told

    run(main())


def test_who_is_taking_an_item_is_told(hosts: str, path: str) -> None:
    """What takes it goes on beside the caller, and is cancelled in its stead."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            queue = Queue(zk, path)
            await queue.put(b"a")
            proxy.refuse()
            proxy.lose_request(opcodes.MULTI)
            taking = asyncio.ensure_future(queue.get())
            await until(lambda: not zk.state.is_connected)

            await zk.close()

            with pytest.raises(ClientClosed):
                await taking

    run(main())


async def _release(zk: corral.AsyncClient, path: str) -> Callable[[], Awaitable[object]]:
    queue = Queue(zk, path)
    await queue.put(b"a")
    claimed = await queue.claim()
    assert claimed is not None
    return lambda: queue.release(claimed)


async def _stop(zk: corral.AsyncClient, path: str) -> Callable[[], Awaitable[object]]:
    node = PersistentNode(zk, path)
    await node.start()
    return node.stop


@pytest.mark.parametrize("begin", [_release, _stop])
def test_what_goes_on_beside_ends_with_the_client(
    hosts: str, path: str, begin: Callable[..., Awaitable[Callable[[], Awaitable[object]]]]
) -> None:
    """What is to be removed goes with the session; whoever waits for it is not cancelled."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            end = await begin(zk, path)
            proxy.refuse()
            proxy.lose_request(opcodes.EXISTS)
            ending = asyncio.ensure_future(end())
            await until(lambda: not zk.state.is_connected)

            await zk.close()

            await ending

    run(main())


def test_who_is_cancelled_as_the_client_ends_hears_of_that() -> None:
    async def main() -> None:
        beside = asyncio.ensure_future(asyncio.Event().wait())
        waiting = asyncio.ensure_future(outlasting(beside))
        await asyncio.sleep(0)

        beside.cancel()
        waiting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main())


def test_a_cache_that_asks_for_its_watch_ends_without_a_word(hosts: str, path: str) -> None:
    """asyncio would print the trace of a failure that nobody has looked at."""
    said: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        async with Proxy(hosts) as proxy:
            zk = await corral.connect(proxy.hosts).start()
            starting = asyncio.ensure_future(ChildrenCache(zk, path).start())
            for _ in range(5):
                await asyncio.sleep(0)

            proxy.shut()
            await zk.close()

            await asyncio.wait([starting])
            assert isinstance(starting.exception(), ClientClosed)
            # What is nobody's any more is what asyncio speaks of.
            del zk, starting
            gc.collect()
            assert said == []

    run(main())
