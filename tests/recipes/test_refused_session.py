"""A write that is refused because its session is over (-112): to every recipe it is a session lost like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.support.jute import multi_refused
from tests.support.loops import run
from tests.support.proxy import Proxy

import corral
from corral.client.errors import SessionLost
from corral.recipes.counter import Counter
from corral.recipes.errors import HoldLost
from corral.recipes.held import Held, HoldState
from corral.recipes.lease import NonBlockingLease
from corral.recipes.lock import Lock
from corral.recipes.migrations import CreateNode, Migration, Migrations
from corral.recipes.queue import Queue
from corral.recipes.semaphore import Semaphore
from corral.recipes.shared_value import SharedValue
from corral.wire.opcodes import CREATE2, MULTI

REFUSALS = ["whole", "operation"]
"""A transaction is refused as a whole, or for its first operation, as Apache's server does it."""
Work = Callable[[corral.AsyncClient, str], Awaitable[object]]


def refuse(proxy: Proxy, op: int, refusal: str, operations: int = 2) -> None:
    """Have the next request of a kind refused. operations: how many it has, if it is a transaction."""
    if refusal == "whole":
        proxy.answer(op, -112)
    else:
        proxy.answer(op, 0, multi_refused(-112, *[-2] * (operations - 1)))


async def _held_by(zk: corral.AsyncClient, held: Held) -> None:
    assert held.node.session_id == zk.session_id
    assert await held.still_held()
    await held.release()


async def lock(zk: corral.AsyncClient, path: str) -> None:
    await _held_by(zk, await Lock(zk, path).acquire())


async def bridge(zk: corral.AsyncClient, path: str) -> None:
    await _held_by(zk, await Lock(zk, path, style="bridge").acquire())


async def semaphore(zk: corral.AsyncClient, path: str) -> None:
    await _held_by(zk, await Semaphore(zk, path, limit=2).acquire(2))


async def counter(zk: corral.AsyncClient, path: str) -> None:
    assert await Counter(zk, path).add(3) == 3
    assert await Counter(zk, path).value() == 3


async def shared_value(zk: corral.AsyncClient, path: str) -> None:
    async with SharedValue(zk, path) as value:
        assert (await value.set(b"new")).data == b"new"


async def queue(zk: corral.AsyncClient, path: str) -> None:
    async with Queue(zk, path) as items:
        await items.put(b"item")
        assert await items.get() == b"item"
        assert await items.size() == 0


async def lease(zk: corral.AsyncClient, path: str) -> None:
    mine = NonBlockingLease(zk, path, timedelta(minutes=1), identifier="us")
    assert await mine.obtain()
    assert await mine.give_back()


async def migrations(zk: corral.AsyncClient, path: str) -> None:
    await zk.ensure_path(path)
    steps = [Migration("first", [CreateNode(f"{path}/made", b"")])]
    assert await Migrations(zk, f"{path}/done", "set", steps).run() == ["first"]


@pytest.mark.parametrize(
    ("work", "op", "refusal"),
    [(lock, CREATE2, "whole")]
    + [(each, MULTI, refusal) for each in (bridge, semaphore, counter, shared_value, queue, lease, migrations)
       for refusal in REFUSALS],
)  # fmt: skip
def test_who_waits_or_writes_goes_on_in_the_next_session(
    hosts: str, path: str, work: Work, op: int, refusal: str
) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            first = zk.session_id
            refuse(proxy, op, refusal, 3 if work is migrations else 2)

            await work(zk, path)

            assert proxy.answered == 1
            assert zk.session_id != first

    run(main())


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(("cancels", "told"), [(True, HoldLost), (False, SessionLost)])
def test_a_guarded_write_ends_the_block_and_what_was_held(
    hosts: str, path: str, cancels: bool, told: type[Exception], refusal: str
) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            lock = Lock(zk, f"{path}/lock", cancel_on_loss=cancels)
            states: list[HoldState] = []

            async def write() -> None:
                async with lock as held:
                    held.on_change(states.append)
                    refuse(proxy, MULTI, refusal)
                    await held.transaction().set(path, b"late").commit()

            with pytest.raises(told):
                await write()

            assert states == [HoldState.LOST]

    run(main())
