"""From threads to a client on a loop of its own thread, and back.

A call costs two changes of thread and no task: the caller leaves it in a queue, wakes the loop unless somebody has
just done so, and waits on a lock that the reply itself releases.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from threading import get_ident
from typing import Any, Final

import uvloop

from corral.base.errors import Outcome
from corral.client import forks
from corral.client.crowd import CROWD_MIN, Crowd
from corral.client.errors import ClientClosed, RequestTimeout, WrongProcess

_NOTHING: Final[dict[str, Any]] = {}
_make_lock: Final = threading.Lock


class Box:
    """Where one caller waits for one result; it stands in for a future. `abandon` makes it deaf.

    crowd: by which the caller is woken; None if that is to be done at once.
    """

    # Of the class, so that the many boxes that never have another need no time for it.
    value: Any = None
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None
    crowd: Crowd | None = None
    _done = False
    _is_abandoned = False
    _callbacks: list[Callable[[Any], object]] | None = None

    def __init__(self) -> None:
        self._lock = lock = _make_lock()
        lock.acquire()

    def done(self) -> bool:
        """Tell whether nothing is to be put in any more."""
        return self._done

    def cancelled(self) -> bool:
        """Tell whether the caller has given up."""
        return self._is_abandoned

    def exception(self) -> BaseException | None:
        """Return the error, None if there is none."""
        return self.error

    def result(self) -> Any:
        """Return the result."""
        return self.value

    def set_result(self, value: Any) -> None:
        """Give the caller its result."""
        self.value = value
        self._finish()

    def set_exception(self, error: BaseException) -> None:
        """Give the caller an error."""
        self.error = error
        self._finish()

    def _finish(self) -> None:
        self._done = True
        if self.crowd is None:
            self._lock.release()
        else:
            self.crowd.answered(self._lock.release)
        if self._callbacks:
            self._call_back()

    def wait(self, timeout: float | None) -> bool:
        """Wait; tell whether there is something."""
        return self._lock.acquire() if timeout is None else self._lock.acquire(True, timeout)

    def abandon(self) -> None:
        """Have no use for a result any more."""
        self._done = self._is_abandoned = True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Have `callback(box)` called on the loop's thread when it is done, or the caller has given up."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    def withdraw(self) -> None:
        """Leave nothing running for a caller that has given up."""
        if self.task is not None:
            self.task.cancel()
        if self._callbacks:
            self._call_back()

    def _call_back(self) -> None:
        callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            callback(self)


Direct = Callable[[Box, Callable[..., Any], tuple[Any, ...]], bool]


class Portal:
    """A thread with a loop. name: of the thread."""

    def __init__(self, name: str) -> None:
        self._queue: deque[tuple[Box, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = deque()
        self._is_awake = False
        self._is_stopped = False
        self._pid = os.getpid()
        self._generation = forks.generation
        self._loop = uvloop.new_event_loop()
        self._box: Box | None = None
        self._crowd = Crowd(self._loop, self._drain, time.monotonic)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._thread_id = self._thread.ident

    @property
    def is_mine(self) -> bool:
        """Whether this is the loop's own thread, where waiting for the loop would be for ever."""
        return get_ident() == self._thread_id

    @property
    def is_here(self) -> bool:
        """Whether this is the process that the portal was made in."""
        return self._generation == forks.generation

    def sink(self) -> Any:
        """Return where a request's result goes: the caller's own box, for the first request of a plain call."""
        box, self._box = self._box, None
        return self._loop.create_future() if box is None else box

    def call(self, timeout: float | None, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `method` on the loop's thread, await what it returns, and return that.

        timeout: seconds until RequestTimeout; the outcome is unknown then.
        """
        return self._await(None, timeout, method, args, kwargs)

    def ask(
        self, direct: Direct | None, timeout: float | None, method: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:  # fmt: skip
        """As `call`, for a `method` that does no more than to ask the server one thing, directly if that can be.

        direct(box, method, args) does so, or returns False; None if nothing can be done directly.
        """
        return self._await(direct, timeout, method, args, _NOTHING)

    def _await(
        self, direct: Direct | None, timeout: float | None, method: Callable[..., Any], args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:  # fmt: skip
        if self._generation != forks.generation:
            raise WrongProcess(f"the client was made in process {self._pid}, this is {os.getpid()}: make one here")
        if get_ident() == self._thread_id:
            raise RuntimeError("the client's own thread cannot wait for the client")
        box = Box()
        crowd = self._crowd
        try:
            if direct is None or self._is_awake or crowd.expected or not direct(box, method, args):
                queue = self._queue
                queue.append((box, method, args, kwargs))
                if not self._is_awake and len(queue) >= crowd.expected:
                    self._is_awake = True
                    self._wake()
                elif self._is_stopped:
                    # Maybe behind the last who emptied the queue.
                    raise ClientClosed("the client is closed")
            is_there = box.wait(timeout)
            crowd.pass_on()
        except BaseException:
            # A signal's handler raised, Ctrl+C above all; maybe before the loop was woken.
            self._give_up(box)
            raise
        if not is_there:
            self._give_up(box)
            raise RequestTimeout(f"no answer within {timeout} s", Outcome.UNKNOWN)
        if box.error is not None:
            try:
                raise box.error
            finally:
                # The traceback holds this frame, and the frame would hold the error.
                del box
        return box.value

    def _give_up(self, box: Box) -> None:
        """Leave nothing running for a caller that does not wait any more."""
        box.abandon()
        self._crowd.pass_on()
        try:
            self._loop.call_soon_threadsafe(self._drain)
            self._loop.call_soon_threadsafe(box.withdraw)
        except RuntimeError:
            # The loop is closed; nothing runs.
            pass

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            raise ClientClosed("the client is closed") from None

    def _drain(self) -> None:
        self._is_awake = False
        self._crowd.heard()
        queue = self._queue
        crowd = self._crowd if len(queue) >= CROWD_MIN else None
        while queue:
            box, method, args, kwargs = queue.popleft()
            if box.done():
                continue
            self._box = box
            box.crowd = crowd
            try:
                result = method(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  # It is the caller's.
                box.set_exception(error)
                continue
            finally:
                self._box = None
            if result is box:
                continue
            if inspect.iscoroutine(result):
                box.task = self._loop.create_task(_into(box, result))
            elif asyncio.isfuture(result):
                result.add_done_callback(partial(_pass_on, box))
            else:
                box.set_result(result)

    def stop(self) -> None:
        """End the thread."""
        if self._is_stopped or not self.is_here:
            return
        self._is_stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.is_mine:
            self._thread.join()
            while self._queue:
                self._queue.popleft()[0].set_exception(ClientClosed("the client is closed"))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self._crowd.finish()
            self._loop.close()


async def _into(box: Box, work: Coroutine[Any, Any, Any]) -> None:
    try:
        value = await work
    except asyncio.CancelledError:
        # Who has given up does not hear it; the others' work is cancelled by the portal's end alone.
        if not box.done():
            box.set_exception(ClientClosed("the client is closed"))
    except BaseException as error:  # noqa: BLE001  # It is the caller's.
        if not box.done():
            box.set_exception(error)
    else:
        if not box.done():
            box.set_result(value)


def _pass_on(box: Box, done: asyncio.Future[Any]) -> None:
    if box.done():
        return
    error = done.exception()
    if error is not None:
        box.set_exception(error)
    else:
        box.set_result(done.result())
