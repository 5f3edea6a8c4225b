"""Who is there: members of a group, each an ephemeral znode that comes back with a new session.

Forms on the wire: kazoo's Party (`<32 hex>__party__`, the identifier as its data) and ShallowParty
(`<32 hex>-<identifier>`), Curator's GroupMember (`<identifier>`, with data of its own). Children that have not the
party's form are no members.
"""

from __future__ import annotations

import enum
import re
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import BadArguments, NoNode
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.recipes.asking import Bell, steadily, within
from corral.recipes.persistent_node import NodeState, PersistentNode
from corral.wire.data import ACL

READS_MAX: Final = 256
"""How many members' data are asked for in one request."""


class PartyForm(enum.Enum):
    """How members are written; see the module."""

    PARTY = "PARTY"
    SHALLOW = "SHALLOW"
    GROUP = "GROUP"


@record
class Member:
    """One who is there. name: of its znode. data: the identifier for a PARTY, b"" for a SHALLOW one."""

    name: str
    identifier: str
    data: bytes


_PARTY: Final = re.compile(r"[0-9a-f]{32}__party__\Z").match
_SHALLOW: Final = re.compile(r"[0-9a-f]{32}-(.*)\Z", re.DOTALL).match


class Party:
    """A group at `path`, which this client may enter and anyone may list.

    identifier: who this member is. data: what a member of a GROUP has with it. `async with` enters and leaves.
    """

    def __init__(
        self, zk: AsyncClient, path: str, identifier: str = "", *, form: PartyForm = PartyForm.PARTY,
        data: bytes = b"", acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if form is not PartyForm.PARTY and "/" in identifier:
            raise BadArguments(f"identifier {identifier!r}: it becomes a znode's name and must not contain /")
        self._zk = zk
        self.path = path
        self.identifier = identifier
        self.form = form
        token = uuid.uuid4().hex
        if form is PartyForm.PARTY:
            name, data = f"{token}__party__", identifier.encode()
        elif form is PartyForm.SHALLOW:
            name, data = f"{token}-{identifier}", b""
        else:
            name = identifier
        self._base = path.rstrip("/")
        self._node = PersistentNode(zk, f"{self._base}/{name}", data, acl=acl)

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    @property
    def state(self) -> NodeState:
        """How this member stands: HELD is to be there."""
        return self._node.state

    @property
    def is_member(self) -> bool:
        """Whether this member is there for certain at this moment."""
        return self._node.state is NodeState.HELD

    def on_change(self, listener: Callable[[NodeState], object]) -> Callable[[], None]:
        """Have `listener(state)` called at each change of this member's own; return what ends that."""
        return self._node.on_change(listener)

    async def enter(self, timeout: float | None = None) -> None:
        """Be a member from now on, also in later sessions.

        Raises RecipeTimeout; NodeExists where another client is in a GROUP under this identifier.
        """
        if not self.identifier and self.form is PartyForm.GROUP:
            raise BadArguments("a member of a group needs an identifier")
        await self._node.start(timeout)

    async def leave(self, timeout: float | None = None) -> bool:
        """Be no member any more; return False if the server has not said so in `timeout` seconds."""
        return await self._node.stop(timeout)

    async def set_data(self, data: bytes, timeout: float | None = None) -> None:
        """Give this member of a GROUP other data, in place. Raises RecipeTimeout."""
        if self.form is not PartyForm.GROUP:
            raise BadArguments(f"a member of a {self.form.value} has no data of its own")
        await self._node.set(data, timeout)

    async def members(self, timeout: float | None = None) -> list[Member]:
        """Return who is there, by the names of the znodes. Raises RecipeTimeout."""
        async with within(timeout, f"the members of {self.path} were not listed"):
            return await self._members(None)

    async def count(self, timeout: float | None = None) -> int:
        """Return how many are there. Raises RecipeTimeout."""
        async with within(timeout, f"the members of {self.path} were not counted"):
            return len(await self._names(None))

    async def wait_members(self, count: int, timeout: float | None = None) -> list[Member]:
        """Wait until at least `count` are there; return them. Raises RecipeTimeout."""
        bell = Bell(self._zk)
        try:
            async with within(timeout, f"{self.path} had not {count} members"):
                while True:
                    bell.clear()
                    found = await self._members(bell)
                    if len(found) >= count:
                        return found
                    await bell.wait()
        finally:
            self._zk.forget_watch(self.path, bell.on_event)

    async def wait_change(self, before: Sequence[Member], timeout: float | None = None) -> list[Member]:
        """Wait until other members are there than `before`; return them. Raises RecipeTimeout."""
        known = {member.name for member in before}
        bell = Bell(self._zk)
        try:
            async with within(timeout, f"the members of {self.path} did not change"):
                while True:
                    bell.clear()
                    names = await self._names(bell)
                    if set(names) != known:
                        return await self._read(names)
                    await bell.wait()
        finally:
            self._zk.forget_watch(self.path, bell.on_event)

    # Inside.

    async def _members(self, bell: Bell | None) -> list[Member]:
        return await self._read(await self._names(bell))

    async def _names(self, bell: Bell | None) -> list[str]:
        listener = None if bell is None else bell.on_event
        while True:
            try:
                names = await steadily(self._zk, lambda: self._zk.children(self.path, listener))
            except NoNode:
                if bell is None or await steadily(self._zk, lambda: self._zk.exists(self.path, listener)) is None:
                    return []
                continue
            return sorted(filter(self._is_member_name, names))

    def _is_member_name(self, name: str) -> bool:
        if self.form is PartyForm.GROUP:
            return True
        return (_PARTY if self.form is PartyForm.PARTY else _SHALLOW)(name) is not None

    async def _read(self, names: list[str]) -> list[Member]:
        if self.form is PartyForm.SHALLOW:
            return [Member(name, name[33:], b"") for name in names]
        members = []
        for at in range(0, len(names), READS_MAX):
            some = names[at : at + READS_MAX]
            found = await self._read_some([f"{self._base}/{name}" for name in some])
            for name, answer in zip(some, found, strict=True):
                if isinstance(answer, tuple):
                    data = answer[0]
                    identifier = name if self.form is PartyForm.GROUP else data.decode("utf-8", "replace")
                    members.append(Member(name, identifier, data))
        return members

    async def _read_some(self, paths: list[str]) -> list[Any]:
        return await steadily(self._zk, lambda: self._zk.multi_read(paths))
