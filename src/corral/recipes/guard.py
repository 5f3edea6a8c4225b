"""Ending a block of code whose hold is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Hashable
from typing import Any, Generic, TypeVar

from corral.recipes.errors import HoldLost, NotHeld
from corral.recipes.held import Held, HoldState
from corral.recipes.owner import current_owner

T = TypeVar("T")


class Guard:
    """Cancels the task that made it when `held` is lost, and turns that cancellation into HoldLost.

    cancels: whether it does; if not, the block has to look itself. Works as `asyncio.timeout` does: another's
    cancellation is passed on.

    After a pause of the process the loss is told by the session's timer, or by the connection, and both come before any
    task goes on that waits for time or for the outside: a loop first takes all that is due, and wakes tasks in its next
    turn. Only what was ready to run when the process stopped, such as a `sleep(0)`, comes before; see `Steps`.
    """

    def __init__(self, held: Held, *, cancels: bool) -> None:
        self.held = held
        self._cancels = cancels
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        self._has_fired = False
        state = held.state
        self._forget = held.on_change(self._on_change)
        self._on_change(state)

    def _on_change(self, state: HoldState) -> None:
        if state is HoldState.LOST and self._cancels and self._task is not None:
            self._has_fired = self._task.cancel()

    async def end(self, error: BaseException | None) -> None:
        """End the guard at the block's end, before the release. error: what the block ends with.

        Raises HoldLost if it was lost and the block was to be told, unless the block ends with an error of its own.
        """
        self._forget()
        is_lost = self.held.state is HoldState.LOST and self._cancels
        is_ours = False
        # A block that is left in another task has nothing to take back there.
        if self._has_fired and self._task is not None and self._task is asyncio.current_task():
            if not isinstance(error, asyncio.CancelledError):
                # The block may have ended before it was told.
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    pass
            is_ours = self._task.uncancel() <= self._cancelling
            if not is_ours and error is None:
                raise asyncio.CancelledError
        if is_lost and (error is None or (is_ours and isinstance(error, asyncio.CancelledError))):
            raise HoldLost(f"{self.held.path} was lost before the block ended; another may hold it by now") from error


class Blocks(Generic[T]):
    """What each owner's open `async with` blocks of one object have, the innermost last."""

    def __init__(self) -> None:
        self._open: dict[Hashable, list[T]] = {}

    def enter(self, what: T) -> None:
        """Begin a block of the present owner's."""
        self._open.setdefault(current_owner(), []).append(what)

    def leave(self) -> T:
        """End the innermost block of the present owner; return what it has.

        A block may be left in another task than it was entered, as that of an asynchronous generator which the loop
        ends. Raises NotHeld where it cannot be told which block that is.
        """
        owner = self._leaver()
        what = self._open[owner].pop()
        if not self._open[owner]:
            del self._open[owner]
        return what

    def _leaver(self) -> Hashable:
        """Return whose block is left: the present owner's, an ended task's, or the only one that there is."""
        owner = current_owner()
        if owner in self._open:
            return owner
        ended = (each for each in self._open if isinstance(each, asyncio.Task) and each.done())
        found = next(ended, None)
        if found is not None:
            return found
        if len(self._open) == 1:
            return next(iter(self._open))
        raise NotHeld(
            f"the block was not entered by who leaves it, and {len(self._open)} others have blocks of it open: "
            "leave it in the task that entered it"
        )


class Steps(Generic[T]):
    """Awaits `work`, with a look by the clock before each of its steps.

    held: looked at where `work` is about to go on; a guard that learns of a loss by that has the task cancelled, and
    `work` gets the cancellation in the place of what it waited for.

    The schedule that it is for:

    1. The process sleeps in the middle of a step, past its session's timeout.
    2. The step goes on to `await asyncio.sleep(0)`, or to something that another task has ready.
    3. The loop would run that before it looks at its timers and at its sockets, which tell of the loss.
    """

    def __init__(self, work: Awaitable[T], *held: Held) -> None:
        self._work = work
        self._held = held

    def __await__(self) -> Generator[Any, Any, T]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._work.__await__()
        error: BaseException | None = None
        while True:
            cancelling = task.cancelling()
            for each in self._held:
                each.look()
            if task.cancelling() > cancelling:
                try:
                    # The cancellation comes here, in the loop's next turn.
                    yield
                except BaseException as found:  # noqa: BLE001  # Whatever it is, it is for the work.
                    error = found
            try:
                waited = next(steps) if error is None else steps.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            error = None
            try:
                yield waited
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as found:  # noqa: BLE001  # Whatever it is, it is for the work.
                error = found
