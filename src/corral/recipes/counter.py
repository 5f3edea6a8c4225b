"""A number that many clients add to; each addition counts exactly once.

Forms on the wire: TEXT is kazoo's Counter (`2`, `3.5`), INT32 is Curator's SharedCount and DistributedAtomicInteger and
kazoo's Counter with `support_curator`, INT64 is Curator's DistributedAtomicLong, both big-endian and signed. Without
data it is 0. Numbers that do not fit are refused, not wrapped.
"""

from __future__ import annotations

import asyncio
import enum
import random
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from corral.base.errors import BadVersion, NodeExists, NoNode
from corral.client.aio import AsyncClient
from corral.client.transaction import Transaction, TransactionFailed
from corral.recipes.asking import make_parents, steadily, within
from corral.recipes.errors import RecipeError
from corral.recipes.once import PERMITS, Once
from corral.wire.data import ACL

Number = int | float
CONTEST_PAUSE_MAX_S: Final = 0.25


class NumberForm(enum.Enum):
    """How a number is written into a znode; see the module."""

    TEXT = "TEXT"
    INT32 = "INT32"
    INT64 = "INT64"


class NotANumber(RecipeError):
    """Data that is no number of the form expected, or a number that the form cannot hold."""


_SIZES: Final = {NumberForm.INT32: struct.Struct(">i"), NumberForm.INT64: struct.Struct(">q")}


def write_number(value: Number, form: NumberForm) -> bytes:
    """Return a number's bytes. Raises NotANumber if the form cannot hold it."""
    if form is NumberForm.TEXT:
        return repr(value).encode()
    try:
        return _SIZES[form].pack(value)
    except struct.error as error:
        raise NotANumber(f"{value!r} is no {form.value}") from error


def read_number(data: bytes, form: NumberForm, default: Number = 0) -> Number:
    """Return the number in a znode's data, `default` if that is empty. Raises NotANumber."""
    if not data:
        return default
    try:
        if form is NumberForm.TEXT:
            text = data.decode()
            return float(text) if any(sign in text for sign in ".einEIN") else int(text)
        value: int = _SIZES[form].unpack(data)[0]
        return value
    except (ValueError, struct.error) as error:
        raise NotANumber(f"{data[:40]!r} ({len(data)} bytes) is no {form.value}") from error


def form_of(data: bytes, expected: NumberForm) -> NumberForm:
    """Return the form that data has: the expected one if it can be that, else the one that it can be."""
    for form in (expected, NumberForm.INT64, NumberForm.INT32, NumberForm.TEXT):
        try:
            read_number(data, form)
        except NotANumber:
            continue
        return form
    return expected


class NumberNode:
    """One number in one znode, changed by versioned writes that are made exactly once; what the recipes share.

    is_lenient: keep to the form that is found, where it is another one.
    """

    def __init__(
        self, zk: AsyncClient, path: str, form: NumberForm, default: Number, acl: Sequence[ACL] | None,
        is_lenient: bool = False,
    ) -> None:  # fmt: skip
        self._zk = zk
        self.path = path
        self.form = form
        self._default = default
        self._acl = acl
        self._is_lenient = is_lenient
        self._once = Once(zk, path + PERMITS, acl)

    async def read(self) -> tuple[Number, int]:
        """Return the number and the version of its znode, -1 if there is none."""
        try:
            data, stat = await steadily(self._zk, lambda: self._zk.get(self.path))
        except NoNode:
            return self._default, -1
        if self._is_lenient:
            self.form = form_of(data, self.form)
        return read_number(data, self.form, self._default), stat.version

    async def change(self, work_out: Callable[[Number], Number | None]) -> tuple[Number, Number | None]:
        """Replace the number by `work_out(number)`, None to leave it; return it as it was before, and as it is now.

        Once, and as if no one else did anything meanwhile.
        """
        contests = 0
        while True:
            before, version = await self.read()
            after = work_out(before)
            if after is None:
                return before, None
            if await self.put(after, version):
                return before, after
            contests += 1
            await asyncio.sleep(random.random() * min(0.001 * 2 ** min(contests, 16), CONTEST_PAUSE_MAX_S))

    async def put(self, value: Number, version: int, form: NumberForm | None = None) -> bool:
        """Write a number if the znode has that version, -1 if there is none; return whether it was so."""
        data = write_number(value, form or self.form)

        def fill(work: Transaction) -> None:
            if version < 0:
                work.create(self.path, data, acl=self._acl)
            else:
                work.set(self.path, data, version)

        while True:
            try:
                await self._once.commit(fill)
            except TransactionFailed as failed:
                if isinstance(failed.error, NoNode) and version < 0:
                    await make_parents(self._zk, self.path, self._acl)
                    continue
                if not isinstance(failed.error, BadVersion | NodeExists | NoNode):
                    raise failed.error from failed
                return False
            return True

    def close(self) -> None:
        """Remove what the writes needed beside the number."""
        self._once.close()


class Counter:
    """A number in a znode that is made when it is needed.

    default: what it is as long as there is none. form: on the wire. pre_value, post_value: what this object's last
    addition found and left.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, default: Number = 0, form: NumberForm = NumberForm.TEXT,
        acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self._node = NumberNode(zk, path, form, default, acl)
        self.pre_value: Number | None = None
        self.post_value: Number | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave nothing of this object at the server; the number stays."""
        self._node.close()

    async def value(self, timeout: float | None = None) -> Number:
        """Return the number. Raises RecipeTimeout, NotANumber."""
        async with within(timeout, f"the counter {self.path} was not read"):
            return (await self._node.read())[0]

    async def add(self, amount: Number = 1, timeout: float | None = None) -> Number:
        """Add to the number, exactly once; return what it is then.

        Raises RecipeTimeout: it was added once, or not at all; OutcomeUnknown; NotANumber.
        """
        async with within(timeout, f"{amount!r} was not added to {self.path}"):
            self.pre_value, self.post_value = await self._node.change(lambda value: value + amount)
        assert self.post_value is not None
        return self.post_value

    async def subtract(self, amount: Number = 1, timeout: float | None = None) -> Number:
        """Take from the number, exactly once; as `add`."""
        return await self.add(-amount, timeout)
