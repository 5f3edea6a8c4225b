"""The recipes for threads: what they exclude, and what they leave behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest

import corral
from corral.client.errors import ClientClosed
from corral.recipes.blocking import Lock
from corral.recipes.errors import HoldLost, NotHeld, RecipeTimeout
from corral.recipes.held import HoldState
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


def await_contenders(lock: Any, count: int) -> None:
    """Wait until so many stand in a line."""
    while len(lock.contenders()) != count:
        pass


# Locks.


def test_two_clients_exclude_each_other(zk: corral.Client, other: corral.Client, path: str) -> None:
    """A lock that one client has is not another's until it is released, and tokens grow."""
    lock, second = Lock(zk, path, identifier=b"first"), Lock(other, path)
    with lock as held:
        assert second.try_acquire() is None
        waiting = beside(second.acquire)
        await_contenders(lock, 2)
        assert not waiting.done()
        assert [each.identifier for each in lock.contenders()] == [b"first", b""]

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
        await_contenders(Lock(zk, path), 2)
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
