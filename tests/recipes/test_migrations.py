"""Migrations are applied once, in order, all or nothing, whoever runs them and whatever gets lost."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.loops import run
from tests.support.proxy import Proxy

import corral
from corral.base.errors import NoNode
from corral.client.transaction import Result, Transaction
from corral.recipes.errors import HoldLost, RecipeTimeout
from corral.recipes.migrations import (
    CreateNode,
    DeleteNode,
    Migration,
    MigrationFailed,
    MigrationMismatch,
    Migrations,
    SetNode,
)
from corral.recipes.semaphore import Semaphore
from corral.wire.opcodes import MULTI


def steps(path: str) -> list[Migration]:
    """Return two migrations below a path."""
    return [
        Migration("first", [CreateNode(path), CreateNode(f"{path}/a", b"1"), CreateNode(f"{path}/b")]),
        Migration("second", [SetNode(f"{path}/a", b"2", 0), DeleteNode(f"{path}/b")]),
    ]


def test_what_is_outstanding_is_applied_once(hosts: str, path: str) -> None:
    """First one, later the other, then nothing."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            meta, both = f"{path}-meta", steps(path)

            assert await Migrations(zk, meta, "app", both[:1]).run() == ["first"]
            migrations = Migrations(zk, meta, "app", both)
            assert await migrations.run() == ["second"]
            assert await migrations.run() == []

            assert await zk.children(path) == ["a"]
            assert (await zk.get(f"{path}/a"))[0] == b"2"
            assert await migrations.applied() == [each.identity() for each in both]
            assert sorted(await zk.children(f"{meta}/app")) == ["meta-0000000000", "meta-0000000001"]
            assert len(both[0].identity()) == 32

    run(main())


def test_one_of_many_that_run_at_once_applies(hosts: str, path: str) -> None:
    """The others find it done."""

    async def main() -> None:
        async with corral.connect(hosts) as one, corral.connect(hosts) as two:
            runs = [Migrations(zk, f"{path}-meta", "app", steps(path)).run() for zk in (one, two) * 5]

            applied = await asyncio.gather(*runs)

            assert sorted(applied)[-2:] == [[], ["first", "second"]]

    run(main())


@pytest.mark.parametrize("which", ["changed", "fewer"])
def test_another_history_is_refused(hosts: str, path: str, which: str) -> None:
    """A migration that was changed after it was applied, or is not known any more."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await Migrations(zk, f"{path}-meta", "app", steps(path)).run()
            other = [Migration("first", [CreateNode(f"{path}/x")]), *steps(path)[1:]]
            other = other if which == "changed" else steps(path)[:1]

            with pytest.raises(MigrationMismatch, match=f"{path}-meta/app"):
                await Migrations(zk, f"{path}-meta", "app", other).run()

    run(main())


def test_a_refused_operation_undoes_all(hosts: str, path: str) -> None:
    """The message names the migration."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            bad = [*steps(path), Migration("third", [DeleteNode(f"{path}/none")])]

            with pytest.raises(MigrationFailed, match=r"migration third, operation 8 .*NoNode") as caught:
                await Migrations(zk, f"{path}-meta", "app", bad).run()

            assert isinstance(caught.value.error, NoNode)
            assert await zk.exists(path) is None
            assert await Migrations(zk, f"{path}-meta", "app", bad).applied() == []

    run(main())


def test_a_lost_reply_is_found_out(hosts: str, path: str) -> None:
    """The transaction was carried out: it is not made again, and counts as this run's."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            proxy.lose_reply(MULTI)

            assert await Migrations(zk, f"{path}-meta", "app", steps(path)).run() == ["first", "second"]

            assert proxy.requests[MULTI] == 1

    run(main())


def test_a_set_that_another_library_began_is_continued(hosts: str, path: str) -> None:
    """By the digests that stand there; strangers beside them do not count."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(f"{path}-meta/app/meta-", b"\x07" * 32, sequence=True, make_parents=True)
            await zk.create(f"{path}-meta/app/stranger", b"?")
            old, new = steps(path)[0], Migration("new", [CreateNode(path)])

            began = Migration(old.name, old.operations, b"\x07" * 32)

            assert await Migrations(zk, f"{path}-meta", "app", [began, new]).run() == ["new"]

    run(main())


def test_curators_lock_is_waited_for(hosts: str, path: str) -> None:
    """A semaphore of one lease, by the name of the set: nothing is done while another holds it."""

    async def main() -> None:
        async with corral.connect(hosts) as one, corral.connect(hosts) as two:
            migrations = Migrations(one, f"{path}-meta", "app", steps(path), lock_path=f"{path}-lock")
            async with Semaphore(two, f"{path}-lock/app", limit=1):
                with pytest.raises(RecipeTimeout):
                    await migrations.run(0.1)
                assert await one.exists(path) is None

            assert await migrations.run() == ["first", "second"]

    run(main())


def test_a_lost_lock_undoes_all(hosts: str, path: str) -> None:
    """The lease is deleted by hand while the transaction is under way."""

    async def main() -> None:
        async with corral.connect(hosts) as one, corral.connect(hosts) as two:
            migrations = Migrations(one, f"{path}-meta", "app", steps(path), lock_path=f"{path}-lock")
            begin = one.transaction

            def begin_late() -> Transaction:
                work = begin()
                if len(work) == 0:
                    doomed = work.commit

                    async def commit_late() -> list[Result]:
                        if len(work) > 5:
                            await two.delete_tree(f"{path}-lock/app/leases")
                        return await doomed()

                    work.commit = commit_late  # type: ignore[method-assign]
                return work

            one.transaction = begin_late  # type: ignore[method-assign]

            with pytest.raises(HoldLost, match="nothing was changed"):
                await migrations.run()

            assert await two.exists(path) is None

    run(main())


def test_a_silent_server_times_out(hosts: str, path: str) -> None:
    """RecipeTimeout after the time given."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            proxy.hold()
            with pytest.raises(RecipeTimeout, match=r"not migrated within 0\.05 s"):
                await Migrations(zk, path, "app", steps(path)).run(0.05)
            proxy.flow()

    run(main())
