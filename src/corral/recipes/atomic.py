"""A number that many clients change in any way, each change exactly once.

By default Curator's DistributedAtomicLong: eight bytes, big-endian, signed. Data that cannot be of the form asked for
but is of another is taken for that, in this order: eight bytes or four are Curator's, digits are kazoo's; the form
found is kept. A number that does not fit is refused, not wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.recipes.asking import within
from corral.recipes.counter import Number, NumberForm, NumberNode
from corral.wire.data import ACL


@record
class Change:
    """What became of a change. is_done: whether it was made. before: what was found. after: what is there now."""

    is_done: bool
    before: Number
    after: Number


class AtomicNumber:
    """A number in a znode; 0 as long as there is none, or no data in it.

    form: how it is written. is_strict: refuse data of another form instead of keeping to that.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, form: NumberForm = NumberForm.INT64, is_strict: bool = False,
        acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self._form = form
        self._node = NumberNode(zk, path, form, 0, acl, is_lenient=not is_strict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing of this object at the server; the number stays."""
        self._node.close()

    async def get(self, timeout: float | None = None) -> Number:
        """Return the number. Raises RecipeTimeout, NotANumber."""
        async with within(timeout, f"the number {self.path} was not read"):
            return (await self._node.read())[0]

    async def initialize(self, value: Number, timeout: float | None = None) -> bool:
        """Make the znode with `value`, exactly once; return False if it was there. Raises as `set`."""
        async with within(timeout, f"{self.path} was not initialized"):
            return await self._node.put(value, -1, self._form)

    async def set(self, value: Number, timeout: float | None = None) -> Change:
        """Write `value`, whatever is there. Raises RecipeTimeout, OutcomeUnknown, NotANumber."""
        return await self.update(lambda _: value, timeout)

    async def add(self, amount: Number = 1, timeout: float | None = None) -> Change:
        """Add to the number, exactly once. Raises as `set`."""
        return await self.update(lambda value: value + amount, timeout)

    async def subtract(self, amount: Number = 1, timeout: float | None = None) -> Change:
        """Take from the number, exactly once. Raises as `set`."""
        return await self.add(-amount, timeout)

    async def compare_and_set(self, expected: Number, value: Number, timeout: float | None = None) -> Change:
        """Write `value` if the number is `expected`; `is_done` tells whether. Raises as `set`."""
        return await self.update(lambda found: value if found == expected else None, timeout)

    async def update(self, work_out: Callable[[Number], Number | None], timeout: float | None = None) -> Change:
        """Replace the number by `work_out(number)`, None to leave it; `work_out` may be called more than once.

        Raises as `set`.
        """
        async with within(timeout, f"{self.path} was not changed"):
            before, after = await self._node.change(work_out)
        return Change(after is not None, before, before if after is None else after)
