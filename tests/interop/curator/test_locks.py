"""Locks on one path with Curator's and kazoo's: nobody takes a held one, and all come in their order."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.recipe.lock import Lock as KazooLock
from tests.support.curator import WAIT_MS, Curator
from tests.support.loops import run, until_children

import corral
from corral.recipes.held import HoldState
from corral.recipes.lock import Lock, Style
from corral.recipes.multilock import MultiLock

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("kind", ["mutex", "semaphore-mutex"])
@pytest.mark.parametrize("style", ["curator", "bridge"])
def test_each_excludes_the_other(hosts: str, path: str, curator: Curator, kind: str, style: Style) -> None:
    """Either way round; who waits gets it at the release. A semaphore mutex is a line at `locks`."""
    if kind == "semaphore-mutex":
        path = f"{path}/locks"

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            recipe = (kind, path.removesuffix("/locks"))
            ours = Lock(zk, path, style=style, scope="object")
            async with ours:
                assert not await theirs.does(*recipe, "acquire", 0)
                waiting = asyncio.create_task(theirs.does(*recipe, "acquire", WAIT_MS))
                await until_children(zk, path, 3 if style == "bridge" else 2)
                assert not waiting.done()
            assert await waiting
            await theirs.tell(*recipe, "release")

    run(main())


def test_ours_waits_for_curators(hosts: str, path: str, curator: Curator) -> None:
    """And has it when Curator releases, or is closed without that."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            async with curator.actor(hosts) as theirs:
                for _ in range(2):
                    assert await theirs.does("mutex", path, "acquire", WAIT_MS)
                    assert await Lock(zk, path).try_acquire() is None
                    ours = asyncio.create_task(Lock(zk, path, scope="object").acquire())
                    await until_children(zk, path, 2)
                    await theirs.tell("mutex", path, "release")
                    await (await ours).release()
                assert await theirs.does("mutex", path, "acquire", WAIT_MS)
                ours = asyncio.create_task(Lock(zk, path).acquire())
                await until_children(zk, path, 2)
                assert not ours.done()

            assert (await ours).is_held

    run(main())


def test_all_come_in_order(hosts: str, path: str, curator: Curator) -> None:
    """Six in a line, ours and Curator's by turns, get the lock as they came."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as a, curator.actor(hosts) as b:
            order: list[str] = []

            async def ours(name: str) -> None:
                async with Lock(zk, path):
                    order.append(name)

            async def theirs(name: str) -> None:
                actor = a if name == "theirs 2" else b
                assert await actor.does("mutex", path, "acquire", WAIT_MS)
                order.append(name)
                await actor.tell("mutex", path, "release")

            first = await Lock(zk, path).acquire()
            tasks = []
            for number, (kind, name) in enumerate(
                [(ours, "ours 1"), (theirs, "theirs 2"), (ours, "ours 3"), (theirs, "theirs 4"), (ours, "ours 5")], 2
            ):
                tasks.append(asyncio.create_task(kind(name)))
                await until_children(zk, path, number)
            async with curator.actor(hosts) as looker:
                nodes = (await looker.tell("mutex", path, "nodes")).split()
            assert nodes == [each.path for each in await Lock(zk, path).contenders()]
            await first.release()
            await asyncio.gather(*tasks)

            assert order == ["ours 1", "theirs 2", "ours 3", "theirs 4", "ours 5"]

    run(main())


class NamedAsCurators(KazooLock):  # type: ignore[misc]  # kazoo has no types.
    """kazoo's lock with Curator's names: Curator sees it, and it sees Curator."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["-lock-"]


@pytest.mark.parametrize("kazoo_kind", ["as it is", "named as Curator's"])
def test_three_libraries_at_one_path(hosts: str, path: str, curator: Curator, kazoo_kind: str) -> None:
    """Our bridge keeps out kazoo as it is, and Curator; if kazoo has Curator's names, each keeps out the others."""

    async def main() -> None:
        kazoo = KazooClient(hosts)
        await asyncio.to_thread(kazoo.start)
        try:
            async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
                is_bridge = kazoo_kind == "as it is"
                ours = Lock(zk, path, style="bridge" if is_bridge else "curator", scope="object")
                kazoos = kazoo.Lock(path) if is_bridge else NamedAsCurators(kazoo, path)
                tries: dict[str, Callable[[], Awaitable[object]]] = {
                    "ours": ours.try_acquire,
                    "curator": lambda: theirs.does("mutex", path, "acquire", 0),
                    "kazoo": lambda: asyncio.to_thread(kazoos.acquire, blocking=False),
                }
                gives: dict[str, Callable[[], Awaitable[object]]] = {
                    "ours": ours.release,
                    "curator": lambda: theirs.tell("mutex", path, "release"),
                    "kazoo": lambda: asyncio.to_thread(kazoos.release),
                }
                # Curator and kazoo as they are do not see each other, whatever we do.
                pairs = [(a, b) for a in tries for b in tries if a != b and (not is_bridge or "ours" in (a, b))]
                for holder, newcomer in pairs:
                    assert await tries[holder](), (holder, newcomer)
                    assert not await tries[newcomer](), (holder, newcomer)
                    await gives[holder]()
        finally:
            await asyncio.to_thread(kazoo.stop)
            await asyncio.to_thread(kazoo.close)

    run(main())


def test_a_curator_that_is_killed_leaves_its_lock(hosts: str, path: str, curator_classes: Path, tmp_path: Path) -> None:
    """Ours has it when the session of the killed one is over, and its node is gone with that."""

    async def main(theirs: Curator) -> None:
        async with corral.connect(hosts) as zk:
            holder = await theirs.actor(hosts, session_ms=1000).__aenter__()
            assert await holder.does("mutex", path, "acquire", WAIT_MS)
            ours = asyncio.create_task(Lock(zk, path).acquire())
            await until_children(zk, path, 2)

            theirs.kill()

            assert (await ours).is_held
            assert await zk.children(path) == [(await ours).node.name]

    with Curator(curator_classes, tmp_path / "log") as theirs:
        run(main(theirs))


def test_ours_that_is_killed_leaves_its_lock(hosts: str, path: str, curator: Curator) -> None:
    """`corral lock` in a process of its own is killed; Curator has the lock when the session is over."""

    async def main(ours: subprocess.Popen[bytes]) -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            await until_children(zk, path, 1)
            waiting = asyncio.create_task(theirs.does("mutex", path, "acquire", WAIT_MS))
            await until_children(zk, path, 2)
            assert not waiting.done()

            ours.kill()

            assert await waiting
            await until_children(zk, path, 1)

    command = [sys.executable, "-m", "corral", "lock", "--server", hosts, "--session-timeout", "1000", path]
    # What it runs lives until its input ends, also when what started it is killed.
    with subprocess.Popen([*command, "--", "cat"], stdin=subprocess.PIPE) as ours:
        run(main(ours))


def test_a_holder_is_asked_to_release(hosts: str, path: str, curator: Curator) -> None:
    """Curator's Revoker asks ours, and ours asks Curator's."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            lock = Lock(zk, path)
            async with lock as held:
                await theirs.tell("mutex", path, "revoke", held.path)
                await held.wait_revoked()
                assert held.state is HoldState.HELD
            await theirs.tell("mutex", path, "revocable")
            assert await theirs.does("mutex", path, "acquire", WAIT_MS)
            assert await lock.revoke()
            assert await theirs.does("mutex", path, "revoked", WAIT_MS)

    run(main())


def test_several_locks_at_once(hosts: str, path: str, curator: Curator) -> None:
    """Curator's has none of them while ours has one, and the other way round."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, curator.actor(hosts) as theirs:
            a, b = f"{path}/a", f"{path}/b"
            both = ("multi-lock", f"{a},{b}")
            ours = MultiLock([Lock(zk, b, scope="object"), Lock(zk, a, scope="object")])
            async with Lock(zk, b):
                assert not await theirs.does(*both, "acquire", 0)
            assert await theirs.does(*both, "acquire", WAIT_MS)
            assert await ours.try_acquire() is None
            waiting = asyncio.create_task(ours.acquire())
            await until_children(zk, a, 2)
            await theirs.tell(*both, "release")
            await waiting
            assert not await theirs.does(*both, "acquire", 0)
            await ours.release()

    run(main())
