"""The recipes for threads: what they exclude, and what they leave behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, TypeVar

import pytest

import corral
from corral.client.errors import ClientClosed
from corral.recipes.blocking import (
    AtomicNumber,
    Barrier,
    ChildrenCache,
    Counter,
    Discovery,
    DoubleBarrier,
    Election,
    Latch,
    Lock,
    MultiLock,
    MultiNonBlockingLease,
    NodeCache,
    NonBlockingLease,
    Party,
    PersistentNode,
    Queue,
    ReadWriteLock,
    Registration,
    Semaphore,
    SharedValue,
    TreeCache,
)
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout, WouldDeadlock
from corral.recipes.held import HoldState
from corral.recipes.persistent_node import NodeState
from corral.recipes.registration import RegistrationState
from corral.recipes.service_instance import ServiceInstance
from corral.recipes.shared_value import Versioned
from corral.testing import EmbeddedServer

T = TypeVar("T")
PATIENCE_S = 20.0


def beside(work: Callable[[], T]) -> Future[T]:
    """Do something on a thread of its own; the future has what comes of it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # It is the test's.
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def elsewhere(work: Callable[[], T]) -> T:
    """Do something on a thread of its own, and wait for it."""
    return beside(work).result(PATIENCE_S)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """Give a server of this process."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def zk(server: EmbeddedServer) -> Iterator[corral.Client]:
    """Give a client; it has to leave no thread of its own."""
    before = set(threading.enumerate())
    with corral.Client(server.connect_string) as client:
        yield client
    left = [each for each in threading.enumerate() if each not in before and each.name.startswith("corral-")]
    assert left == []


@pytest.fixture
def other(server: EmbeddedServer) -> Iterator[corral.Client]:
    """Give a second client."""
    with corral.Client(server.connect_string) as client:
        yield client


def await_contenders(lock: Any, *identifiers: bytes) -> None:
    """Wait until these stand in a line."""
    while [each.identifier for each in lock.contenders()] != list(identifiers):
        pass


# Locks.


def test_two_clients_exclude_each_other(zk: corral.Client, other: corral.Client, path: str) -> None:
    """A lock that one client has is not another's until it is released, and tokens grow."""
    lock, second = Lock(zk, path, identifier=b"first"), Lock(other, path, identifier=b"second")
    with lock as held:
        assert Lock(other, path).try_acquire() is None
        waiting = beside(second.acquire)
        await_contenders(lock, b"first", b"second")
        assert not waiting.done()

    later = waiting.result(PATIENCE_S)

    assert later.is_held
    assert later.fencing_token > held.fencing_token
    assert later.release()
    assert zk.children(path) == []


def test_a_counter_behind_a_lock_loses_nothing(zk: corral.Client, other: corral.Client, path: str) -> None:
    """Threads of two clients read and write in turns."""
    zk.create(path + "-count", b"0")
    locks = [Lock(zk, path), Lock(zk, path), Lock(other, path)]

    def work(lock: Lock) -> None:
        for _ in range(5):
            with lock:
                zk.set(path + "-count", b"%d" % (int(zk.get(path + "-count")[0]) + 1))

    for done in [beside(lambda lock=lock: work(lock)) for lock in (*locks, *locks)]:
        done.result(PATIENCE_S)

    assert zk.get(path + "-count")[0] == b"30"


def test_a_thread_acquires_again_and_releases_as_often(zk: corral.Client, path: str) -> None:
    lock = Lock(zk, path)

    with lock as outer, lock as inner:
        assert inner == outer
        assert len(lock.contenders()) == 1
        assert lock.acquire() == outer
        lock.release()
        assert lock.held == outer
    assert lock.held is None
    assert lock.contenders() == []
    with pytest.raises(NotHeld):
        lock.release()


def test_another_thread_is_not_let_in(zk: corral.Client, path: str) -> None:
    """Neither is it told that it holds the lock, nor may it release it."""
    lock = Lock(zk, path)
    with lock:
        assert elsewhere(lock.try_acquire) is None
        assert elsewhere(lambda: lock.held) is None
        with pytest.raises(NotHeld):
            elsewhere(lock.release)
        with pytest.raises(RecipeTimeout):
            elsewhere(lambda: lock.acquire(timeout=0.05))

    assert elsewhere(lambda: lock.acquire().release())


def test_a_later_thread_is_not_taken_for_one_that_ended(zk: corral.Client, path: str) -> None:
    """The system gives a thread the ident of one that has ended; what that one holds is not the new one's."""
    lock = Lock(zk, path)
    held = elsewhere(lock.acquire)

    assert [elsewhere(lock.try_acquire) for _ in range(10)] == [None] * 10
    assert held.release()


def test_with_the_objects_scope_any_thread_is_the_holder(zk: corral.Client, path: str) -> None:
    lock = Lock(zk, path, scope="object")
    held = lock.acquire()

    assert elsewhere(lambda: lock.held) == held
    assert elsewhere(lock.release)
    assert held.state is HoldState.RELEASED


def test_what_is_lost_inside_a_block_is_told(zk: corral.Client, other: corral.Client, path: str) -> None:
    """By the listener, by `ensure`, and by HoldLost at the end of the block."""
    told: Future[HoldState] = Future()
    lock = Lock(zk, path)

    def lose() -> None:
        with lock as held:
            held.on_change(told.set_result)
            other.delete(held.path)
            assert told.result(PATIENCE_S) is HoldState.LOST
            assert held.wait_lost() is HoldState.LOST
            assert not held.still_held()
            with pytest.raises(HoldLost, match="LOST, not held"):
                held.ensure()

    with pytest.raises(HoldLost, match="before the block ended"):
        lose()
    with lock as held:
        assert held.is_held


def test_a_block_that_fails_ends_with_its_own_error(zk: corral.Client, other: corral.Client, path: str) -> None:
    def fail() -> None:
        with Lock(zk, path) as held:
            other.delete(held.path)
            held.wait_lost()
            raise KeyError(held.path)

    with pytest.raises(KeyError):
        fail()
    assert zk.children(path) == []


def test_a_holders_transaction_happens_while_it_holds(zk: corral.Client, other: corral.Client, path: str) -> None:
    with Lock(zk, path) as held:
        held.ensure()
        assert 0 < held.certain_for() <= zk.timeout_ms / 1000
        with held.transaction() as work:
            work.create(path + "-report", b"mine")
        assert work.results == [None, path + "-report"]

    assert zk.get(path + "-report")[0] == b"mine"
    with pytest.raises(NotHeld):
        held.transaction()


def test_a_holder_is_asked_to_release(zk: corral.Client, other: corral.Client, path: str) -> None:
    lock = Lock(zk, path)
    with lock as held:
        asked = beside(held.wait_revoked)
        assert Lock(other, path).revoke()
        asked.result(PATIENCE_S)
        assert held.is_revoked


def test_who_waits_when_the_client_is_closed_is_told(server: EmbeddedServer, zk: corral.Client, path: str) -> None:
    """A thread that waits for a lock gets ClientClosed; what was held is lost, and can be asked still."""
    client = corral.Client(server.connect_string).start()
    with Lock(zk, path):
        mine = Lock(client, path + "-mine").acquire()
        waiting = beside(Lock(client, path).acquire)
        await_contenders(Lock(zk, path), b"", b"")
        client.close()

        with pytest.raises(ClientClosed):
            waiting.result(PATIENCE_S)
        assert (mine.state, mine.is_held, mine.certain_for()) == (HoldState.LOST, False, 0.0)
        with pytest.raises(HoldLost):
            mine.ensure()
        with pytest.raises(ClientClosed):
            Lock(client, path)


def test_a_wrong_parameter_is_refused_as_by_the_twin(zk: corral.Client, path: str) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Lock(zk, path, style="none")  # type: ignore[arg-type]  # That is the test.


def test_readers_share_and_a_writer_is_alone(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine, theirs = ReadWriteLock(zk, path), ReadWriteLock(other, path)

    with mine.read, theirs.read:
        assert mine.path == path
        assert elsewhere(theirs.write.try_acquire) is None
        with pytest.raises(WouldDeadlock):
            mine.write.acquire()
    with mine.write as writing:
        assert theirs.read.try_acquire() is None
        assert elsewhere(mine.read.try_acquire) is None
        with mine.read as reading:
            assert reading.is_held
        assert mine.write.held == writing
    assert theirs.write.acquire().release()


def test_several_locks_are_one(zk: corral.Client, other: corral.Client, path: str) -> None:
    """All or none of them, in the order in which they were given, again by thread."""
    first, second = Lock(zk, path + "-a"), Lock(zk, path + "-b")
    both = MultiLock([second, first])
    theirs = Lock(other, path + "-b")

    with both as (of_second, of_first):
        assert (of_second, of_first) == (second.held, first.held)
        assert elsewhere(both.try_acquire) is None
        assert theirs.try_acquire() is None
    with theirs:
        assert both.try_acquire() is None
        with pytest.raises(RecipeTimeout):
            both.acquire(timeout=0.05)
    assert len(both.acquire()) == 2
    assert both.release()
    assert theirs.acquire().release()


def test_several_locks_are_of_one_client(zk: corral.Client, other: corral.Client, path: str) -> None:
    with pytest.raises(ValueError, match="locks of 2 clients"):
        MultiLock([Lock(zk, path), Lock(other, path)])
    with pytest.raises(ValueError, match="at least one"):
        MultiLock([])


def test_a_semaphore_has_so_many_leases(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine, theirs = Semaphore(zk, path, limit=2, identifier=b"mine"), Semaphore(other, path)

    with mine, theirs as lease:
        assert lease.is_held
        assert mine.try_acquire() is None
        assert [each.identifier for each in theirs.holders()][:2] == [b"mine", b""]
        waiting = beside(mine.acquire)
    assert waiting.result(PATIENCE_S).release()
    mine.set_limit(3)
    assert theirs.limit() == 3
    assert mine.acquire(3).release()


def test_a_semaphore_told_of_a_lost_lease(zk: corral.Client, other: corral.Client, path: str) -> None:
    def lose() -> None:
        with Semaphore(zk, path, limit=1) as lease:
            other.delete(lease.path)
            lease.wait_lost()

    with pytest.raises(HoldLost):
        lose()


def test_a_lease_by_the_clock(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine = NonBlockingLease(zk, path, timedelta(hours=1), identifier="mine")
    theirs = NonBlockingLease(other, path, timedelta(hours=1), identifier="theirs")

    assert (mine.obtain(), mine.obtain(), theirs.obtain()) == (True, True, False)
    holder = theirs.holder()
    assert holder is not None
    assert holder.holder == "mine"
    assert mine.give_back()
    assert theirs.obtain()


def test_so_many_leases_by_the_clock(zk: corral.Client, path: str) -> None:
    leases = [MultiNonBlockingLease(zk, path, 2, timedelta(hours=1), identifier=name) for name in "abc"]

    assert [lease.obtain() for lease in leases] == [True, True, False]


def test_who_stood_first_leads_and_the_next_follows(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine, theirs = Election(zk, path, identifier=b"mine"), Election(other, path, identifier=b"theirs")

    with mine as led:
        leader = theirs.leader()
        assert leader is not None
        assert (leader.identifier, leader.czxid) == (b"mine", led.fencing_token)
        waiting = beside(theirs.acquire)
        await_contenders(mine, b"mine", b"theirs")
        assert not waiting.done()

    assert waiting.result(PATIENCE_S).fencing_token > led.fencing_token


def test_a_latch_stands_beside_other_work(zk: corral.Client, other: corral.Client, path: str) -> None:
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()
    latch = Latch(zk, path)
    forget = latch.on_change(told.put)
    with latch:
        term = latch.wait_leader()
        assert (latch.is_leader, latch.held) == (True, term)
        assert told.get(timeout=PATIENCE_S)
        with Latch(other, path) as second:
            with pytest.raises(RecipeTimeout):
                second.wait_leader(timeout=0.05)
            assert latch.stop()
            assert second.wait_leader(PATIENCE_S).fencing_token > term.fencing_token
        assert not told.get(timeout=PATIENCE_S)
    forget()
    with pytest.raises(NotHeld):
        latch.wait_leader()


# Numbers and values.


def test_a_counter_counts_each_addition_once(zk: corral.Client, other: corral.Client, path: str) -> None:
    with Counter(zk, path) as mine, Counter(other, path) as theirs:

        def add(counter: Counter) -> None:
            for _ in range(10):
                counter.add()

        for done in [beside(lambda counter=counter: add(counter)) for counter in (mine, theirs, mine)]:
            done.result(PATIENCE_S)

        assert (mine.value(), theirs.subtract(5)) == (30, 25)
        assert (theirs.pre_value, theirs.post_value) == (30, 25)


def test_an_atomic_number(zk: corral.Client, path: str) -> None:
    with AtomicNumber(zk, path) as number:
        assert number.initialize(5)
        assert number.add(2).after == 7
        assert not number.compare_and_set(5, 9).is_done
        assert number.update(lambda found: found * 2).after == 14
        with pytest.raises(RuntimeError, match="cannot wait for the client"):
            number.update(lambda found: int(zk.get(path)[1].version))
        assert elsewhere(number.get) == 14


def test_a_shared_value_is_seen_by_the_others(zk: corral.Client, other: corral.Client, path: str) -> None:
    told: queue.SimpleQueue[Versioned] = queue.SimpleQueue()
    with SharedValue(zk, path, b"first") as mine, SharedValue(other, path) as theirs:
        mine.on_change(told.put)
        seen = mine.versioned
        waiting = beside(lambda: mine.wait_change(seen))

        theirs.set(b"second")

        assert waiting.result(PATIENCE_S).data == b"second"
        assert told.get(timeout=PATIENCE_S).data == b"second"
        assert (mine.value, mine.is_current, mine.try_set(seen, b"late")) == (b"second", True, False)


# Barriers and queues.


def test_a_barrier_keeps_threads_waiting(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine, theirs = Barrier(zk, path), Barrier(other, path)
    assert mine.create()
    waiting = beside(theirs.wait)
    assert not theirs.wait(timeout=0.05)
    assert not waiting.done()

    assert mine.remove()

    assert waiting.result(PATIENCE_S)


def test_members_begin_and_end_together(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine, theirs = DoubleBarrier(zk, path, 2), DoubleBarrier(other, path, 2)
    assert not mine.enter(timeout=0.05)
    entering = beside(mine.enter)

    assert theirs.enter()
    assert entering.result(PATIENCE_S)
    assert mine.is_inside
    leaving = beside(mine.leave)
    assert theirs.leave()
    assert leaving.result(PATIENCE_S)
    assert not mine.is_inside


def test_items_come_out_once_and_in_order(zk: corral.Client, other: corral.Client, path: str) -> None:
    with Queue(zk, path) as mine, Queue(other, path) as theirs:
        assert mine.get(timeout=0) is None
        waiting = beside(theirs.get)
        mine.put(b"first")
        assert waiting.result(PATIENCE_S) == b"first"
        mine.put_all([b"a", b"b", b"c"])
        mine.put(b"urgent", priority=1)
        assert mine.size() == 4

        assert [theirs.get(), mine.get(), theirs.get(), mine.get(), mine.get(0)] == [b"urgent", b"a", b"b", b"c", None]


def test_a_claimed_item_is_not_anothers(zk: corral.Client, other: corral.Client, path: str) -> None:
    with Queue(zk, path) as mine, Queue(other, path) as theirs:
        mine.put(b"work")
        claimed = mine.claim()
        assert claimed is not None
        assert claimed.items == [b"work"]
        assert theirs.claim(timeout=0) is None
        mine.release(claimed)
        again = theirs.claim(PATIENCE_S)
        assert again is not None
        theirs.consume(again)
        assert mine.size() == 0


# Who is there.


def test_members_of_a_party(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine = Party(zk, path, "mine")
    with Party(other, path, "theirs") as theirs:
        assert [each.identifier for each in mine.members()] == ["theirs"]
        with mine:
            assert mine.is_member
            assert theirs.count() == 2
            before = theirs.wait_members(2)
            waiting = beside(lambda: theirs.wait_change(before))
        assert [each.identifier for each in waiting.result(PATIENCE_S)] == ["theirs"]
    assert zk.children(path) == []


def test_a_node_comes_back(zk: corral.Client, other: corral.Client, path: str) -> None:
    told: queue.SimpleQueue[NodeState] = queue.SimpleQueue()
    with PersistentNode(zk, path, b"here") as node:
        token = node.fencing_token
        node.on_change(told.put)
        other.delete(path)
        assert [told.get(timeout=PATIENCE_S) for _ in range(2)] == [NodeState.MISSING, NodeState.HELD]
        assert node.wait_for(NodeState.HELD) is node.state
        assert node.fencing_token > token
        node.set(b"there")
        assert other.get(path)[0] == b"there"
    assert other.exists(path) is None
    assert (node.state, node.error) == (NodeState.STOPPED, None)


def test_services_are_found(zk: corral.Client, other: corral.Client, path: str) -> None:
    mine = ServiceInstance("web", "one", "10.0.0.7", 8080)
    services = Discovery(other, path)
    with Registration(zk, path, mine) as registration:
        assert (registration.path, registration.state) == (f"{path}/web/one", RegistrationState.REGISTERED)
        assert services.names() == ["web"]
        assert services.instances("web") == [services.instance("web", "one")]
        registration.update(ServiceInstance("web", "one", "10.0.0.8", 8080))
        found = services.instance("web", "one")
        assert found is not None
        assert found.address == "10.0.0.8"

    assert services.instances("web") == []


# Caches.


def test_caches_follow(zk: corral.Client, other: corral.Client, path: str) -> None:
    """Each is told of a change on the listeners' thread, where it may be asked what there is."""
    other.create(path, b"root")
    other.create(path + "/a", b"old")
    told: queue.SimpleQueue[tuple[str, bytes | None]] = queue.SimpleQueue()
    node, children, tree = NodeCache(zk, path + "/a"), ChildrenCache(zk, path), TreeCache(zk, path)
    with node, children, tree:
        forget = node.listen(lambda change: told.put((change.path, node.data)))
        tree.listen(lambda change: told.put((change.path, tree.get(path + "/a").data)))  # type: ignore[union-attr]
        assert (node.data, list(children.children), tree.children(path)) == (b"old", ["a"], ["a"])
        assert node.stat == other.exists(path + "/a")

        other.set(path + "/a", b"new")

        assert [told.get(timeout=PATIENCE_S) for _ in range(2)] == [(path + "/a", b"new")] * 2
        forget()
        tree.in_step(PATIENCE_S)
        assert (tree.is_in_step, len(tree), {each.path for each in tree}) == (True, 2, {path, path + "/a"})
    assert children.get("b") is None
    node.close()


def test_what_a_closed_client_left_can_be_closed(server: EmbeddedServer, path: str) -> None:
    """There is nothing to do then, and nothing is raised."""
    with corral.Client(server.connect_string) as client:
        counter, items, node = Counter(client, path), Queue(client, path + "-queue"), PersistentNode(client, path)
        counter.add()
        cache = NodeCache(client, path).start()
        forget = node.on_change(lambda state: None)

    counter.close()
    items.close()
    cache.close()
    forget()
    assert (cache.data, cache.is_in_step) == (b"1", False)
    assert node.state is NodeState.STOPPED
