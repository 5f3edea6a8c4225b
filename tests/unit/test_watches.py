"""Watches: their triggers, their order, and a fan-out that delays nobody."""

from __future__ import annotations

import time

import pytest
from tests.support.core import Client, Core

from corral.replica.replica import FORGOTTEN_PER_STEP
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL

CREATED, DELETED, CHANGED, CHILDREN = 1, 2, 3, 4


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def watcher(core: Core) -> Client:
    return core.client()


@pytest.fixture
def writer(core: Core) -> Client:
    return core.client()


def events(client: Client) -> list[tuple[int, bytes]]:
    """Take the events received so far."""
    client.replies()
    found = [(kind, path) for kind, path, _ in client.events]
    client.events.clear()
    return found


def add_watch(client: Client, path: bytes, mode: int) -> None:
    assert client.call(opcodes.ADD_WATCH, records.AddWatchRequest(path, mode)).body == b"\0\0\0\0"


def test_an_exists_watch_on_a_missing_node_fires_once(watcher: Client, writer: Client) -> None:
    watcher.exists(b"/a", watch=True)

    writer.create(b"/a")
    writer.set(b"/a", b"x")

    assert events(watcher) == [(CREATED, b"/a")]


def test_a_failed_get_leaves_no_watch(watcher: Client, writer: Client) -> None:
    watcher.get(b"/a", watch=True)

    writer.create(b"/a")

    assert events(watcher) == []


def test_the_event_comes_before_the_writers_own_reply(writer: Client) -> None:
    writer.create(b"/m")
    writer.exists(b"/m", watch=True)

    writer.send(opcodes.SET_DATA, b"\0\0\0\2/m\0\0\0\2yo\xff\xff\xff\xff")

    event, reply = writer.frames()
    assert event[:4] == b"\xff\xff\xff\xff"
    assert event[4:12] == reply[4:12]


def test_a_deletion_is_told_once_to_who_watched_data_and_children(watcher: Client, writer: Client) -> None:
    writer.create(b"/a")
    watcher.get(b"/a", watch=True)
    watcher.children(b"/a", watch=True)
    watcher.children(b"/", watch=True)

    writer.delete(b"/a")

    assert events(watcher) == [(DELETED, b"/a"), (CHILDREN, b"/")]


def test_persistent_watches_stay_and_see_children(watcher: Client, writer: Client) -> None:
    add_watch(watcher, b"/p", 0)

    writer.create(b"/p")
    writer.create(b"/p/c")
    writer.set(b"/p", b"x")
    writer.set(b"/p/c", b"x")
    writer.delete(b"/p/c")
    writer.delete(b"/p")
    writer.create(b"/p")

    assert events(watcher) == [
        (CREATED, b"/p"), (CHILDREN, b"/p"), (CHANGED, b"/p"), (CHILDREN, b"/p"), (DELETED, b"/p"), (CREATED, b"/p"),
    ]  # fmt: skip


def test_recursive_watches_see_the_subtree_and_no_child_events(watcher: Client, writer: Client) -> None:
    add_watch(watcher, b"/r", 1)

    writer.create(b"/r")
    writer.create(b"/r/a")
    writer.create(b"/r/a/b")
    writer.set(b"/r/a/b", b"x")
    writer.create(b"/rx")
    writer.delete(b"/r/a/b")

    assert events(watcher) == [
        (CREATED, b"/r"), (CREATED, b"/r/a"), (CREATED, b"/r/a/b"), (CHANGED, b"/r/a/b"), (DELETED, b"/r/a/b"),
    ]  # fmt: skip


def test_events_are_kept_from_who_may_not_read(watcher: Client, writer: Client) -> None:
    watcher.exists(b"/secret", watch=True)
    watcher.children(b"/", watch=True)

    writer.call(opcodes.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=-4)
    writer.create(b"/secret", b"", 0, [ACL(31, "auth", "")])

    assert events(watcher) == [(CHILDREN, b"/")]


def test_checking_and_removing_watches(watcher: Client, writer: Client) -> None:
    watcher.exists(b"/a", watch=True)
    add_watch(watcher, b"/a", 1)

    def call(op: int, kind: int) -> int:
        return watcher.call(op, records.WatchesRequest(b"/a", kind)).err

    assert [call(opcodes.CHECK_WATCHES, kind) for kind in (0, 1, 2, 3, 4, 5, 6)] == [-5, -121, 0, 0, -121, 0, -5]
    assert call(opcodes.REMOVE_WATCHES, 5) == 0
    assert call(opcodes.REMOVE_WATCHES, 5) == -121
    assert call(opcodes.REMOVE_WATCHES, 3) == 0
    writer.create(b"/a")
    assert events(watcher) == []


def test_set_watches_tells_at_once_what_was_missed(watcher: Client, writer: Client) -> None:
    for path in (b"/same", b"/changed", b"/kids"):
        writer.create(path)
    seen = writer.get(b"/same").zxid
    writer.set(b"/changed", b"x")
    writer.create(b"/kids/1")
    writer.create(b"/made")
    lists = records.SetWatches(
        seen, [b"/same", b"/changed", b"/gone"], [b"/made", b"/missing"], [b"/kids", b"/nodir", b"/same"]
    )

    assert watcher.call(opcodes.SET_WATCHES, lists, xid=-8).err == 0

    assert [zxid for _, _, zxid in watcher.events] == [-1] * 5
    assert events(watcher) == [
        (CHANGED, b"/changed"), (DELETED, b"/gone"), (CREATED, b"/made"), (CHILDREN, b"/kids"), (DELETED, b"/nodir"),
    ]  # fmt: skip
    writer.set(b"/same", b"x")
    writer.create(b"/missing")
    assert events(watcher) == [(CHANGED, b"/same"), (CREATED, b"/missing")]


def test_a_large_fan_out_waits_but_never_past_a_watchers_next_reply(core: Core, writer: Client) -> None:
    writer.create(b"/a")
    watchers = [core.client() for _ in range(600)]
    for client in watchers:
        client.get(b"/a", watch=True)

    writer.set(b"/a", b"new")

    assert watchers[-1].get(b"/a").as_(records.GetDataResponse).data == b"new"
    assert events(watchers[-1]) == [(CHANGED, b"/a")]
    core.work()
    assert all(events(client) == [(CHANGED, b"/a")] for client in watchers[:-1])


def test_a_hundred_thousand_watchers_do_not_delay_the_next_write(core: Core, writer: Client) -> None:
    """The promise is 20 ms; the processor time that the core takes of it is measured here, without sockets."""
    writer.create(b"/hot")
    for number in range(100_000):
        conn = core.replica.accept("10.0.0.1", number, core.now)
        core.tree.watches.watch_data(b"/hot", conn)  # type: ignore[arg-type]  # not None: no limit is set
    writer.set(b"/hot", b"1")

    worst = 0.0
    for number in range(20):
        started = time.thread_time()
        writer.set(b"/hot", b"%d" % number)
        core.replica.work(core.now)
        worst = max(worst, time.thread_time() - started)

    assert worst < 0.02


def test_a_slice_of_large_fan_outs_tells_few_connections_all_of_theirs(core: Core, writer: Client) -> None:
    paths = [b"/n%d" % number for number in range(8)]
    watchers = [core.client() for _ in range(600)]
    for path in paths:
        writer.create(path)
        for client in watchers:
            client.get(path, watch=True)
    for path in paths:
        writer.set(path, b"new")
    core.replica.take_dirty()

    core.fanout.step(80)

    told = [client for client in watchers if client.conn.out]
    assert len(told) == 10
    assert all(events(client) == [(CHANGED, path) for path in paths] for client in told)
    core.work()
    assert all(events(client) == [(CHANGED, path) for path in paths] for client in watchers if client not in told)


def test_watches_go_with_their_connection(core: Core, watcher: Client, writer: Client) -> None:
    watcher.get(b"/", watch=True)
    add_watch(watcher, b"/x", 1)

    watcher.close()

    assert core.tree.watches.total() == 0
    assert core.tree.watches.counts() == (0, 0, 0)


def leave(core: Core, count: int) -> list[Client]:
    """Have so many clients watch /a, and go at once."""
    leaving = [core.client() for _ in range(count)]
    for client in leaving:
        client.exists(b"/a", watch=True)
    for client in leaving:
        client.close()
    return leaving


def test_the_watches_of_many_that_go_at_once_are_dropped_little_by_little() -> None:
    core = Core()
    writer = core.client()
    leaving = leave(core, 3 * FORGOTTEN_PER_STEP)

    steps = [core.tree.watches.total()]
    while core.replica.work(core.now):
        steps.append(core.tree.watches.total())
    steps.append(core.tree.watches.total())
    assert steps == [2 * FORGOTTEN_PER_STEP, FORGOTTEN_PER_STEP, 0]
    assert writer.create(b"/a").err == 0
    assert [client.frames() for client in leaving] == [[]] * len(leaving)
    # A few that go later are dropped at once again.
    (late := core.client()).exists(b"/b", watch=True)
    late.close()
    assert core.tree.watches.total() == 0


def test_who_has_gone_is_told_nothing_while_its_watches_wait_to_be_dropped() -> None:
    core = Core()
    writer = core.client()
    leaving = leave(core, 2 * FORGOTTEN_PER_STEP)

    assert writer.create(b"/a").err == 0
    core.work()

    assert core.tree.watches.total() == 0
    assert [client.frames() for client in leaving] == [[]] * len(leaving)
