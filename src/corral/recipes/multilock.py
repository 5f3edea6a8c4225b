"""Several locks at once: all of them or none.

They are acquired in the order of their paths, whatever order they are given in, so that two that want the same locks
never wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

from corral.recipes.errors import NotHeld, RecipeTimeout
from corral.recipes.guard import Blocks, Guard, Steps
from corral.recipes.held import Held
from corral.recipes.lock import RELEASE_S, LineLock

T = TypeVar("T")


class MultiLock:
    """All of `locks` as one; the same parameters and manners as a `Lock`'s.

    cancel_on_loss: whether `async with` ends its block with HoldLost when one of them is lost.
    """

    def __init__(self, locks: Sequence[LineLock], *, cancel_on_loss: bool = True) -> None:
        if not locks:
            raise ValueError("a MultiLock needs at least one lock")
        self._locks = tuple(locks)
        self._order = sorted(range(len(locks)), key=lambda index: (locks[index].path, index))
        self._cancel_on_loss = cancel_on_loss
        self._blocks: Blocks[list[Guard]] = Blocks()

    async def acquire(self, timeout: float | None = None) -> tuple[Held, ...]:
        """Acquire all; return what is held, in the order in which the locks were given.

        timeout: seconds for all of them together. Raises RecipeTimeout, which leaves none of them held.
        """
        taken: dict[int, Held] = {}
        try:
            async with asyncio.timeout(timeout):
                for index in self._order:
                    taken[index] = await self._locks[index].acquire()
        except BaseException as error:
            await self._give_back(self._with_locks(taken), 0)
            if isinstance(error, TimeoutError):
                raise RecipeTimeout(f"{len(taken)} of {len(self._locks)} locks came within {timeout} s") from error
            raise
        return tuple(taken[index] for index in range(len(self._locks)))

    async def try_acquire(self, timeout: float | None = None) -> tuple[Held, ...] | None:
        """Acquire all that are free, if all are; else None, and none of them is held."""
        taken: dict[int, Held] = {}
        is_whole = False
        try:
            async with asyncio.timeout(timeout):
                for index in self._order:
                    held = await self._locks[index].try_acquire()
                    if held is None:
                        return None
                    taken[index] = held
            is_whole = True
        except TimeoutError as error:
            raise RecipeTimeout(f"{len(taken)} of {len(self._locks)} locks came within {timeout} s") from error
        finally:
            if not is_whole:
                await self._give_back(self._with_locks(taken), 0)
        return tuple(taken[index] for index in range(len(self._locks)))

    async def release(self, timeout: float | None = None) -> bool:
        """Give all back; returns False if the server has not said so for each within `timeout` seconds.

        None is held from the call on. Raises NotHeld, after it has given back what is held.
        """
        taken: dict[int, Held] = {}
        missing = []
        for index, lock in enumerate(self._locks):
            hold = lock._holds.get(lock._owner())
            if hold is not None:
                taken[index] = hold.held
            else:
                missing.append(lock.path)
        is_done = await self._give_back(self._with_locks(taken), timeout)
        if missing:
            raise NotHeld(f"{', '.join(missing)}: not held by who releases it")
        return is_done

    async def run(self, work: Callable[[tuple[Held, ...]], Awaitable[T]]) -> T:
        """Wait for all, await `work(held)`, release; see `Lock.run`."""
        async with self as held:
            return await Steps(work(held), *held)

    async def __aenter__(self) -> tuple[Held, ...]:
        held = await self.acquire()
        self._blocks.enter([Guard(each, cancels=self._cancel_on_loss) for each in held])
        return held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        guards = self._blocks.leave()
        raised: BaseException | None = None
        try:
            # The first guard began first, so it ends last: each takes back its own cancellation.
            for guard in reversed(guards):
                try:
                    await guard.end(raised or error)
                except BaseException as found:  # noqa: BLE001  # Raised below, when all have ended.
                    raised = found
        finally:
            await self._give_back(self._with_locks({at: guard.held for at, guard in enumerate(guards)}), RELEASE_S)
        if raised is not None:
            raise raised

    def _with_locks(self, taken: Mapping[int, Held]) -> list[tuple[LineLock, Held]]:
        """Return what was taken, by the locks' indexes, in the order in which it is to be given back."""
        return [(self._locks[index], taken[index]) for index in reversed(self._order) if index in taken]

    async def _give_back(self, taken: Sequence[tuple[LineLock, Held]], timeout: float | None) -> bool:
        # All are let go before the server's word is awaited for the first: a cancellation meanwhile leaves none held.
        gone = [held for lock, held in taken if lock._let_go(held)]
        until = None if timeout is None else asyncio.get_running_loop().time() + timeout
        is_done = True
        for held in gone:
            left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
            is_done &= await held.release(left)
        return is_done
