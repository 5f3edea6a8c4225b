"""Every operation of the client, in both its forms, against a server process of each kind."""

from __future__ import annotations

import asyncio
import queue
import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.clients import Style
from tests.support.loops import run, until
from tests.support.proxy import Proxy

import corral
from corral.base import errors
from corral.base.errors import Outcome
from corral.client.errors import ClientClosed, RequestTimeout, RequestTooLarge
from corral.client.telemetry import PrometheusObserver
from corral.client.transaction import TransactionFailed
from corral.client.values import (
    CREATOR_ALL,
    OPEN,
    READ_ONLY_ACL,
    EventType,
    State,
    WatchEvent,
    ZnodeStat,
    digest_acl,
)
from corral.wire.data import ACL, OPEN_ACL

CREATED, DELETED, CHANGED, CHILD = EventType.CREATED, EventType.DELETED, EventType.CHANGED, EventType.CHILD


def told(events: list[WatchEvent]) -> list[tuple[EventType, str]]:
    """Return events without their zxids, which older servers do not tell."""
    return [(event.type, event.path) for event in events]


def test_a_znode_from_its_creation_to_its_end(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            assert await style.ask(zk.exists, path) is None
            assert await style.ask(zk.create, path, b"one") == path
            data, stat = await style.ask(zk.get, path)
            assert (data, stat.version, stat.data_length, stat.czxid) == (b"one", 0, 3, stat.mzxid)

            changed = await style.ask(zk.set, path, b"three", 0)
            assert (changed.version, changed.data_length) == (1, 5)
            assert await style.ask(zk.exists, path) == changed
            assert zk.last_zxid >= changed.mzxid > stat.czxid

            await style.ask(zk.delete, path, 1)
            assert await style.ask(zk.exists, path) is None

    run(main())


def test_empty_data_and_paths_beyond_ascii(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            name = f"{path}-käse\u4e2d"
            assert await style.ask(zk.create, name) == name
            assert (await style.ask(zk.get, name))[0] == b""
            assert name[1:] in await style.ask(zk.children, "/")

    run(main())


def test_refusals_have_a_class_the_path_and_an_outcome(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.create, path)
            await style.ask(zk.create, f"{path}/e", ephemeral=True)
            cases: list[tuple[type[errors.ZooKeeperError], Any, tuple[Any, ...]]] = [
                (errors.NoNode, zk.get, (f"{path}/no",)),
                (errors.NoNode, zk.set, (f"{path}/no", b"")),
                (errors.NoNode, zk.delete, (f"{path}/no",)),
                (errors.NoNode, zk.children, (f"{path}/no",)),
                (errors.NoNode, zk.children_and_stat, (f"{path}/no",)),
                (errors.NoNode, zk.get_acl, (f"{path}/no",)),
                (errors.NoNode, zk.create, (f"{path}/no/child",)),
                (errors.NodeExists, zk.create, (path,)),
                (errors.BadVersion, zk.set, (path, b"", 7)),
                (errors.BadVersion, zk.delete, (path, 7)),
                (errors.BadVersion, zk.set_acl, (path, OPEN, 7)),
                (errors.NotEmpty, zk.delete, (path,)),
                (errors.NoChildrenForEphemerals, zk.create, (f"{path}/e/child",)),
                (errors.InvalidAcl, zk.set_acl, (path, [ACL(31, "nobody-knows", "x")])),
            ]
            for wanted, method, args in cases:
                with pytest.raises(wanted, match=path) as caught:
                    await style.ask(method, *args)
                assert caught.value.outcome is Outcome.NOT_APPLIED
            assert zk.state is State.CONNECTED

    run(main())


def test_children_counts_and_ephemerals(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.create, f"{path}/a/b", b"", make_parents=True)
            await style.ask(zk.create, f"{path}/e", ephemeral=True)

            assert sorted(await style.ask(zk.children, path)) == ["a", "e"]
            names, stat = await style.ask(zk.children_and_stat, path)
            assert (sorted(names), stat.num_children, stat.cversion) == (["a", "e"], 2, 2)
            assert await style.ask(zk.all_children_number, path) == 3
            assert await style.ask(zk.ephemerals, path) == [f"{path}/e"]
            assert (await style.ask(zk.exists, f"{path}/e")).ephemeral_owner == zk.session_id
            assert await style.ask(zk.sync, path) == path

    run(main())


def test_ephemerals_go_with_the_session(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as other:
            async with style.open(hosts) as zk:
                await style.ask(zk.create, path, ephemeral=True)
                assert await style.ask(other.exists, path) is not None
            assert await style.ask(other.exists, path) is None

    run(main())


def test_kinds_of_znodes(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.create, path)
            assert await style.ask(zk.create, f"{path}/", sequence=True) == f"{path}/0000000000"
            assert await style.ask(zk.create, f"{path}/n-", sequence=True, ephemeral=True) == f"{path}/n-0000000001"
            assert await style.ask(zk.create, f"{path}/t-", sequence=True, ttl_ms=60_000) == f"{path}/t-0000000002"
            await style.ask(zk.create, f"{path}/ttl", ttl_ms=60_000)
            await style.ask(zk.create, f"{path}/container", container=True)
            made, stat = await style.ask(zk.create_and_stat, f"{path}/stat", b"12")
            assert (made, stat) == (f"{path}/stat", await style.ask(zk.exists, f"{path}/stat"))
            for flags in ({"ephemeral": True, "container": True}, {"ttl_ms": 0}, {"sequence": True, "container": True}):
                with pytest.raises(ValueError, match=r"container|time to live|ttl_ms 0"):
                    await style.ask(zk.create, f"{path}/wrong", **flags)
            assert await style.ask(zk.exists, f"{path}/wrong") is None

    run(main())


def test_whole_trees(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.ensure_path, f"{path}/a/b/c")
            await style.ask(zk.ensure_path, f"{path}/a/b/c")
            await style.ask(zk.create, f"{path}/a/x/y", b"1", make_parents=True)
            assert await style.ask(zk.all_children_number, path) == 5

            await style.ask(zk.delete_tree, path)
            await style.ask(zk.delete_tree, path)
            assert await style.ask(zk.exists, path) is None

    run(main())


def test_a_path_that_is_there_is_ensured_for_who_may_not_make_it(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.create, path, acl=READ_ONLY_ACL)
            with pytest.raises(errors.NoAuth):
                await style.ask(zk.ensure_path, f"{path}/a")
            await style.ask(zk.add_auth, "digest", b"ann:secret")
            await style.ask(zk.create, f"{path}-b", acl=[*CREATOR_ALL, *READ_ONLY_ACL])
            await style.ask(zk.create, f"{path}-b/c")
            async with style.open(hosts) as other:
                await style.ask(other.ensure_path, f"{path}-b/c")

    run(main())


def test_access_lists_and_credentials(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts, auth=[("digest", b"ann:secret")]) as ann, style.open(hosts) as bob:
            assert ("digest", "ann") in [(s, u.partition(":")[0]) for s, u in await style.ask(ann.who_am_i)]
            await style.ask(ann.create, path, b"mine", acl=CREATOR_ALL)
            acl, stat = await style.ask(ann.get_acl, path)
            assert (acl, stat.aversion) == ([digest_acl("ann", "secret")], 0)
            with pytest.raises(errors.NoAuth, match=path):
                await style.ask(bob.get, path)

            changed = await style.ask(ann.set_acl, path, [*READ_ONLY_ACL, digest_acl("bob", "too")], 0)
            assert changed.aversion == 1
            assert (await style.ask(bob.get, path))[0] == b"mine"
            with pytest.raises(errors.NoAuth):
                await style.ask(bob.set, path, b"his")
            await style.ask(bob.add_auth, "digest", b"bob:too")
            await style.ask(bob.set, path, b"his")

    run(main())


def test_refused_credentials_close_the_client_which_says_why(hosts: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            with pytest.raises(errors.AuthFailed, match="refused its credentials"):
                await style.ask(zk.add_auth, "no-such-scheme", b"x")
            assert zk.state is State.CLOSED
            with pytest.raises(ClientClosed, match="refused its credentials"):
                await style.ask(zk.get, "/")

    run(main())


def test_a_transaction_happens_whole(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            transaction = zk.transaction()
            transaction.create(path, b"1").create(f"{path}/", sequence=True).create(f"{path}/c", container=True)
            transaction.set(path, b"22").check(path, 1).delete(f"{path}/c")

            results = await style.ask(transaction.commit)

            assert len(transaction) == 6
            assert results[:3] == [path, f"{path}/0000000000", f"{path}/c"]
            assert isinstance(results[3], ZnodeStat)
            assert results[3].version == 1
            assert results[4:] == [None, None]
            assert transaction.results == results
            assert transaction.zxid == results[3].czxid == (await style.ask(zk.exists, path)).mzxid
            assert await style.ask(zk.children, path) == ["0000000000"]
            assert await style.ask(zk.transaction().commit) == []

    run(main())


def test_a_transaction_happens_once(hosts: str, path: str) -> None:
    """Also in a block that looks at the results before its end."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            async with zk.transaction() as work:
                work.create(f"{path}/", sequence=True)
                await work.commit()
                with pytest.raises(ValueError, match="is committed"):
                    work.set(path, b"1")
                with pytest.raises(ValueError, match="is committed"):
                    await work.commit()
            async with zk.transaction() as work:
                with pytest.raises(TransactionFailed):
                    await work.check(path, 7).commit()
            assert await zk.children(path) == ["0000000000"]

    run(main())
    with corral.Client(hosts) as zk:
        with zk.transaction() as work:
            assert work.create(f"{path}/", sequence=True).commit() == [f"{path}/0000000001"]
        assert len(zk.children(path)) == 2


def test_a_transaction_that_is_refused_changes_nothing_and_names_its_fault(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            transaction = zk.transaction().create(path).check(path, 5).delete("/zookeeper")

            with pytest.raises(TransactionFailed, match=f"operation 1 of the transaction, check {path}") as caught:
                await style.ask(transaction.commit)

            failed = caught.value
            assert (failed.index, type(failed.error), failed.outcome) == (1, errors.BadVersion, Outcome.NOT_APPLIED)
            assert [type(error) for error in failed.results][2] is errors.RuntimeInconsistency
            assert await style.ask(zk.exists, path) is None

    run(main())


def test_a_multi_read_has_an_answer_or_an_error_for_each(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.create, path, b"top")
            await style.ask(zk.create, f"{path}/a")

            found = await style.ask(zk.multi_read, get=[path, f"{path}/no"], children=[path, f"{path}/a"])

            assert found[0] == await style.ask(zk.get, path)
            assert isinstance(found[1], errors.NoNode)
            assert found[2:] == [["a"], []]
            assert await style.ask(zk.multi_read) == []

    run(main())


def test_the_configuration_of_a_single_server(hosts: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(f"{hosts}/somewhere") as zk:
            data, stat = await style.ask(zk.get_config)
            assert (type(data), stat.ephemeral_owner) == (bytes, 0)
            with pytest.raises(errors.ReconfigDisabled, match=r"^reconfig: ReconfigDisabled$"):
                await style.ask(zk.reconfig, joining="server.9=127.0.0.1:2888:3888;2181")

    run(main())


def test_one_shot_watches_are_told_once(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            by_data: list[WatchEvent] = []
            by_exists: list[WatchEvent] = []
            by_children: list[WatchEvent] = []
            assert await style.ask(zk.exists, path, by_exists.append) is None
            await style.ask(zk.create, path)
            await style.ask(zk.get, path, by_data.append)
            await style.ask(zk.children, path, by_children.append)
            await style.ask(zk.children_and_stat, path, by_children.append)
            await style.ask(zk.create, f"{path}/a")
            await style.ask(zk.set, path, b"1")
            await style.ask(zk.set, path, b"2")
            await style.ask(zk.delete, f"{path}/a")
            await style.ask(zk.exists, path, by_exists.append)
            await style.ask(zk.delete, path)

            await until(lambda: len(by_exists) == 2)
            assert told(by_exists) == [(CREATED, path), (DELETED, path)]
            assert told(by_data) == [(CHANGED, path)]
            assert told(by_children) == [(CHILD, path)]

    run(main())


def test_a_forgotten_listener_is_not_told(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            forgotten: list[WatchEvent] = []
            kept: list[WatchEvent] = []
            await style.ask(zk.create, path)
            await style.ask(zk.get, path, forgotten.append)
            await style.ask(zk.get, path, kept.append)
            zk.forget_watch(path, forgotten.append)
            await style.ask(zk.set, path, b"1")

            await until(lambda: len(kept) == 1)
            assert forgotten == []

    run(main())


@pytest.mark.parametrize("recursive", [False, True])
def test_watches_stay_until_they_are_removed(hosts: str, path: str, style: Style, recursive: bool) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            events: list[WatchEvent] = []
            await style.ask(zk.add_watch, path, events.append, recursive=recursive)
            await style.ask(zk.create, path)
            await style.ask(zk.set, path, b"1")
            await style.ask(zk.create, f"{path}/a")
            await style.ask(zk.delete, f"{path}/a")
            await style.ask(zk.delete, path)
            below = [(CREATED, f"{path}/a"), (DELETED, f"{path}/a")] if recursive else [(CHILD, path), (CHILD, path)]
            wanted = [(CREATED, path), (CHANGED, path), *below, (DELETED, path)]
            await until(lambda: len(events) >= len(wanted))
            assert told(events) == wanted

            await style.ask(zk.remove_watch, path, events.append, recursive=recursive)
            seen: list[WatchEvent] = []
            await style.ask(zk.exists, path, seen.append)
            await style.ask(zk.create, path)
            await until(lambda: len(seen) == 1)
            assert len(events) == len(wanted)

    run(main())


def test_a_stream_of_events(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            async with zk.watch(path, recursive=True) as events:
                await zk.create(f"{path}/a")
                await zk.set(f"{path}/a", b"1")
                found = [await anext(events), await events.take(timeout=5)]
                assert told(found) == [(CREATED, f"{path}/a"), (CHANGED, f"{path}/a")]
                with pytest.raises(RequestTimeout, match=r"nothing happened within 0\.01 s"):
                    await events.take(timeout=0.01)
            await zk.delete(f"{path}/a")
            assert [event async for event in events] == []

    run(main())


def test_a_stream_of_events_for_threads(hosts: str, path: str) -> None:
    with corral.Client(hosts) as zk:
        zk.create(path)
        with zk.watch(path, recursive=True) as events:
            zk.create(f"{path}/a")
            assert told([next(events)]) == [(CREATED, f"{path}/a")]
            with pytest.raises(RequestTimeout, match=r"nothing happened within 0\.01 s"):
                events.next(timeout=0.01)


def test_streams_end_with_the_client(hosts: str) -> None:
    async def main() -> None:
        zk = corral.connect(hosts)
        await zk.start()
        states, events = zk.states(), zk.watch("/")
        await events.begin()
        await zk.close()
        assert [state async for state in states] == [State.CONNECTED, State.CLOSED]
        assert [event async for event in events] == []

    run(main())


def test_streams_for_threads_end_with_the_client(hosts: str) -> None:
    """Whoever closes it: a `with` block of another thread ends as its loop does."""
    zk = corral.Client(hosts)
    zk.start()
    with zk.watch("/") as events:
        zk.close()
        assert list(events) == []
    with pytest.raises(ClientClosed):
        next(zk.watch("/"))
    with pytest.raises(ClientClosed):
        zk.wait_for(State.CONNECTED)


def test_a_stream_that_has_ended_sets_no_watch(hosts: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            events = zk.watch("/")
            beginning = asyncio.ensure_future(events.begin())
            await asyncio.sleep(0)
            await events.close()
            await beginning
            assert [event async for event in events] == []
            assert len(zk._session.watches) == 0

    run(main())


def test_a_watch_that_ends_takes_along_none_that_begins(hosts: str, path: str) -> None:
    """The server has one for both, and is asked for the second before it is told of the end of the first."""

    async def main() -> None:
        events: list[WatchEvent] = []
        first: list[WatchEvent] = []
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            await zk.add_watch(path, first.append)
            await asyncio.gather(zk.add_watch(path, events.append), zk.remove_watch(path, first.append))
            await zk.set(path, b"1")
            assert told(events) == [(CHANGED, path)]
            assert first == []

    run(main())


def test_a_listener_that_fails_or_is_a_coroutine_keeps_nobody_from_being_told(hosts: str, path: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            seen: list[str] = []

            def fails(event: WatchEvent) -> None:
                raise LookupError("on purpose")

            async def awaits(event: WatchEvent) -> None:
                data, _ = await zk.get(event.path)
                seen.append(data.decode())

            await zk.create(path)
            await zk.get(path, fails)
            await zk.get(path, awaits)
            await zk.set(path, b"new")
            await until(lambda: seen == ["new"])

    run(main())


def test_a_blocking_listener_may_use_the_client(hosts: str, path: str) -> None:
    async def main() -> None:
        with corral.Client(hosts) as zk:
            seen: list[bytes] = []
            zk.create(path)
            zk.get(path, lambda event: seen.append(zk.get(event.path)[0]))
            zk.set(path, b"new")
            await until(lambda: seen == [b"new"])

    run(main())


@pytest.mark.parametrize("name", ["chroot", "k\u00e4se"])
def test_a_client_below_a_chroot_sees_nothing_else(hosts: str, path: str, style: Style, name: str) -> None:
    async def main() -> None:
        path_of = f"{path}-{name}"
        async with style.open(hosts) as top, style.open(f"{hosts}{path_of}") as zk:
            events: list[WatchEvent] = []
            with pytest.raises(errors.NoNode):
                await style.ask(zk.create, "/a")
            await style.ask(zk.ensure_path, "/")
            await style.ask(top.create, f"{path_of}-beside")
            await style.ask(zk.add_watch, "/", events.append, recursive=True)

            assert await style.ask(zk.create, "/a", b"1", ephemeral=True) == "/a"
            made, _ = await style.ask(zk.create_and_stat, "/s-", sequence=True)
            assert made.startswith("/s-0")
            assert await style.ask(zk.sync, "/") == "/"
            assert await style.ask(zk.sync, "/a") == "/a"
            assert await style.ask(zk.ephemerals) == ["/a"]
            assert await style.ask(zk.transaction().create("/t").delete("/t").commit) == ["/t", None]
            assert [found[0] for found in await style.ask(zk.multi_read, get=["/a"])] == [b"1"]
            assert (await style.ask(top.get, f"{path_of}/a"))[0] == b"1"
            await until(lambda: len(events) == 4)
            assert [event.path for event in events] == ["/a", made, "/t", "/t"]

    run(main())


def test_errors_below_a_chroot_name_the_path_that_was_asked_for(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(f"{hosts}{path}") as zk:
            await style.ask(zk.ensure_path, "/")
            for ask in (zk.get, zk.delete, zk.children, lambda at: zk.set(at, b"")):
                with pytest.raises(errors.NoNode, match=r"^/no: NoNode$"):
                    await style.ask(ask, "/no")
            with pytest.raises(errors.NodeExists, match=r"^/: NodeExists$"):
                await style.ask(zk.create, "/")
            with pytest.raises(errors.NoNode, match=r"^/no/child: NoNode$"):
                await style.ask(zk.create, "/no/child")
            with pytest.raises(RequestTooLarge, match=r"for '/a' has"):
                await style.ask(zk.create, "/a", bytes(1_100_000))
            with pytest.raises(TransactionFailed) as caught:
                await style.ask(zk.transaction().delete("/no").commit)
            (refused,) = await style.ask(zk.multi_read, get=["/no"])
            assert [str(caught.value.error), str(refused)] == ["/no: NoNode"] * 2

    run(main())


def test_a_missing_chroot_is_named(hosts: str, path: str, style: Style) -> None:
    missing = re.escape(f" (there is no chroot {path}): NoNode")

    async def main() -> None:
        async with style.open(f"{hosts}{path}") as zk:
            for ask in (zk.get, zk.children, lambda at: zk.set(at, b"")):
                with pytest.raises(errors.NoNode, match=f"^/{missing}$"):
                    await style.ask(ask, "/")
            for ask in (zk.create, lambda at: zk.create(at, sequence=True), zk.create_and_stat):
                with pytest.raises(errors.NoNode, match=f"^/a{missing}$"):
                    await style.ask(ask, "/a")
            assert await style.ask(zk.exists, "/") is None
        async with style.open(f"{hosts}{path}/deep") as zk:
            with pytest.raises(errors.NoNode, match=rf"^/ \(there is no chroot {re.escape(path)}/deep\): NoNode$"):
                await style.ask(zk.create, "/")

    run(main())


def test_ephemerals_of_a_chroot_leave_out_its_namesakes(hosts: str, path: str) -> None:
    """The server takes the path as a mere prefix. Asked over a session that has some on either side of the chroot."""

    async def main() -> None:
        async with corral.connect(hosts) as top:
            await top.create(path)
            await top.create(f"{path}/in", ephemeral=True)
            await top.create(f"{path}side", ephemeral=True)
            below = corral.connect(f"{hosts}{path}")
            assert await top._run(below._calls.ephemerals(path.encode())) == ["/in"]

    run(main())


def test_a_request_beyond_the_limit_is_not_sent(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            session = zk.session_id
            with pytest.raises(RequestTooLarge, match=rf"{path}.*1100\d\d\d bytes, servers take 1048575") as caught:
                await style.ask(zk.create, path, bytes(1_100_000))
            assert caught.value.outcome is Outcome.NOT_APPLIED
            transaction = zk.transaction().create(path, bytes(600_000)).set(path, bytes(600_000))
            with pytest.raises(RequestTooLarge, match="several znodes"):
                await style.ask(transaction.commit)

            await style.ask(zk.create, path, bytes(1_048_000))
            assert (zk.session_id, zk.state) == (session, State.CONNECTED)

    run(main())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("", "it is empty"),
        ("a", "it must start with /"),
        ("/a/", "it must not end with /"),
        ("//a", "empty component"),
        ("/a/../b", "relative component"),
        ("/a\0", r"forbidden character U\+0000"),
        ("/\ud800", "not UTF-8"),
        (b"/a", "must be a str"),
        (None, "must be a str"),
    ],
)
def test_malformed_paths_are_refused_by_name(hosts: str, style: Style, wrong: Any, why: str) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            for method in (zk.get, zk.exists, zk.children, zk.create, zk.delete, zk.ensure_path, zk.delete_tree):
                with pytest.raises(errors.BadArguments, match=why):
                    await style.ask(method, wrong)

    run(main())


@pytest.mark.parametrize("wrong", ["x", 5, [("world", "anyone")], [ACL(31, "world", None)]])
def test_malformed_access_lists_are_refused_by_value(hosts: str, path: str, style: Style, wrong: Any) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            for method in (zk.create, zk.ensure_path):
                with pytest.raises(errors.InvalidAcl, match=r"an (entry of an )?access list must be"):
                    await style.ask(method, path, acl=wrong)
            assert zk.state is State.CONNECTED

    run(main())


@pytest.mark.parametrize("wrong", ["text", None, 5, [1]])
def test_data_that_is_no_bytes_is_refused_by_its_type(hosts: str, path: str, style: Style, wrong: Any) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            why = f"data must be bytes, not {type(wrong).__name__}" + (": encode it" if wrong == "text" else "$")
            for method in (zk.create, zk.create_and_stat, zk.set):
                with pytest.raises(errors.BadArguments, match=why) as caught:
                    await style.ask(method, path, wrong)
                assert caught.value.outcome is Outcome.NOT_APPLIED
            for add in (zk.transaction().create, zk.transaction().set):
                with pytest.raises(errors.BadArguments, match=why):
                    add(path, wrong)
            assert await style.ask(zk.exists, path) is None

    run(main())


@pytest.mark.parametrize("wrong", [1 << 31, -(1 << 31) - 1, "1", None, 1.0])
def test_a_version_that_no_request_can_hold_is_refused_by_value(
    hosts: str, path: str, style: Style, wrong: Any
) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            why = re.escape(f"version {wrong!r}: must be an int from -2147483648 to 2147483647")
            for method, args in ((zk.set, (b"x",)), (zk.delete, ()), (zk.set_acl, (OPEN_ACL,))):
                with pytest.raises(errors.BadArguments, match=why) as caught:
                    await style.ask(method, path, *args, wrong)
                assert caught.value.outcome is Outcome.NOT_APPLIED
            work = zk.transaction()
            for add, args in ((work.set, (b"x",)), (work.delete, ()), (work.check, ())):
                with pytest.raises(errors.BadArguments, match=why):
                    add(path, *args, wrong)
            assert zk.state is State.CONNECTED

    run(main())


@pytest.mark.parametrize("data", [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcd").cast("i")])
def test_data_may_be_what_is_as_good_as_bytes(hosts: str, path: str, style: Style, data: Any) -> None:
    async def main() -> None:
        async with style.open(hosts) as zk:
            await style.ask(zk.create, path, data)
            assert (await style.ask(zk.get, path))[0] == b"abcd"
            await style.ask(zk.set, path, data)
            assert (await style.ask(zk.get, path))[0] == b"abcd"

    run(main())


def test_a_client_that_is_not_started_or_closed_says_so(hosts: str) -> None:
    async def main() -> None:
        zk = corral.connect(hosts)
        with pytest.raises(ClientClosed, match="not started"):
            await zk.get("/")
        await zk.start()
        await asyncio.gather(zk.close(), zk.close())
        with pytest.raises(ClientClosed, match="closed"):
            await zk.get("/")
        assert (zk.state, zk.certain_for(), zk.session_id) == (State.CLOSED, 0.0, 0)
        await zk.close()

    run(main())
    blocking = corral.Client(hosts)
    with pytest.raises(ClientClosed, match="not started"):
        blocking.get("/")
    with blocking:
        assert blocking.certain_for() > 0
        forget = blocking.on_state(lambda state: None)
    with pytest.raises(ClientClosed, match="closed"):
        blocking.get("/")
    assert (blocking.state, blocking.certain_for(), blocking.session_id) == (State.CLOSED, 0.0, 0)
    forget()
    blocking.close()


def test_who_listens_before_the_start_is_told_of_it(hosts: str) -> None:
    """As kazoo's users have it."""
    told: queue.SimpleQueue[State] = queue.SimpleQueue()
    forgotten: list[State] = []
    zk = corral.Client(hosts)
    zk.on_state(told.put)
    zk.on_state(forgotten.append)()

    with zk:
        assert told.get(timeout=10) is State.CONNECTED
    assert told.get(timeout=10) is State.CLOSED
    assert forgotten == []
    with pytest.raises(ClientClosed):
        zk.on_state(told.put)


@pytest.mark.parametrize("make", [corral.connect, corral.Client])
@pytest.mark.parametrize("wrong", [0, -1, 2**31, 10_000.0, None])
def test_a_timeout_that_cannot_be_asked_for_is_refused(make: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="session_timeout_ms"):
        make("a:1", session_timeout_ms=wrong)


def test_whoever_is_told_cannot_stop_the_client(hosts: str) -> None:
    """Neither by an error nor by the cancellation of something else that it looks at."""

    class Fails:
        def asked(self, op: int, path: str, size: int, future: asyncio.Future[Any]) -> None:
            raise LookupError("on purpose")

        def changed(self, state: State) -> None:
            raise LookupError("on purpose")

    def looks(state: State) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        future.result()

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts, observer=Fails()) as zk:
            zk.on_state(looks)
            states = zk.states()
            proxy.cut()
            while await anext(states) is not State.SUSPENDED:
                pass
            assert await zk.exists("/") is not None

    run(main())


def test_an_observer_sees_requests_of_both_forms(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        registry = CollectorRegistry()
        async with style.open(hosts, observer=PrometheusObserver("mine", registry)) as zk:
            await style.ask(zk.get, "/")
            with pytest.raises(errors.NoNode):
                await style.ask(zk.get, path)

            def count(outcome: str) -> float | None:
                labels = {"client": "mine", "operation": "getData", "outcome": outcome}
                return registry.get_sample_value("corral_client_requests_total", labels)

            await until(lambda: (count("ok"), count("NoNode")) == (1, 1))

    run(main())
