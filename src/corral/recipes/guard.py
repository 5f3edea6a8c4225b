"""Ending a block of code whose hold is lost."""

from __future__ import annotations

import asyncio

from corral.recipes.errors import HoldLost
from corral.recipes.held import Held, HoldState


class Guard:
    """Cancels the task that made it when `held` is lost, and turns that cancellation into HoldLost.

    cancels: whether it does; if not, the block has to look itself. Works as `asyncio.timeout` does: another's
    cancellation is passed on.
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
        if self._has_fired and self._task is not None:
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
