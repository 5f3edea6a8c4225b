"""A lock: one holder among all clients, in order of arrival, told when it is the holder no more.

    lock = Lock(zk, "/locks/report", identifier=b"host-7")
    async with lock as held:
        await write_report(fencing_token=held.fencing_token)

The nodes are Curator's (`_c_<uuid>-lock-<number>`), and any library's contenders on the path are waited for; see
`Style` for who waits for us.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from types import TracebackType
from typing import Final, Literal, TypeVar

from corral.base.errors import NoNode
from corral.base.records import record
from corral.client.aio import AsyncClient
from corral.recipes import sequence
from corral.recipes.asking import within
from corral.recipes.contender import Contender
from corral.recipes.errors import NotHeld
from corral.recipes.guard import Blocks, Guard, Steps
from corral.recipes.held import REVOKE, Held
from corral.recipes.line import Place, Rule, before_writer
from corral.recipes.owner import current_owner
from corral.wire.data import ACL

T = TypeVar("T")

Style = Literal["curator", "kazoo", "bridge"]
"""Who waits for us. curator: Curator, Go's and Rust's clients, kazoo with the pattern `lock-`. kazoo: kazoo as it is.
bridge: all of them, at the price of a second node; Curator and kazoo still do not wait for each other."""
Scope = Literal["task", "object"]
"""Who may acquire again at once, and release: the task that holds the lock, or whoever has the lock object."""

RELEASE_S: Final = 5.0
"""How long the end of a block waits for the server's word that the lock is released; it is, in any case, soon."""

_ENDINGS: Final[dict[Style, tuple[str, ...]]] = {
    "curator": (sequence.LOCK,),
    "kazoo": (sequence.KAZOO_LOCK,),
    "bridge": (sequence.LOCK, sequence.KAZOO_LOCK),
}


@record
class Waiting:
    """One contender of a line. identifier: its node's data. marker: tells readers from writers."""

    path: str
    identifier: bytes
    marker: str
    czxid: int


@record
class _Hold:
    held: Held
    count: int


class LineLock:
    """What the locks have in common: a line of contenders at `path`, and a rule for whose turn it is.

    Made by `Lock` and `ReadWriteLock`, which see for the parameters.
    """

    _markers: Sequence[str] = sequence.LOCKS

    def __init__(
        self, zk: AsyncClient, path: str, endings: Sequence[str], rule: Rule, *, identifier: bytes, scope: Scope,
        cancel_on_loss: bool, acl: Sequence[ACL] | None, is_hex: bool,
    ) -> None:  # fmt: skip
        self._zk = zk
        self.path = path
        self.identifier = identifier
        self._endings = tuple(endings)
        self._rule = rule
        self._scope = scope
        self._cancel_on_loss = cancel_on_loss
        self._acl = acl
        self._is_hex = is_hex
        self._holds: dict[Hashable, _Hold] = {}
        self._blocks: Blocks[Guard] = Blocks()
        self._turn = asyncio.Lock()

    async def acquire(self, timeout: float | None = None) -> Held:
        """Wait for the lock; return what is held. Who holds it already gets it again, and releases it as often.

        timeout: seconds for all of it, lost connections included; None: as long as it takes. Raises RecipeTimeout,
        which leaves nothing behind, ClientClosed, and the server's refusals.
        """
        async with within(timeout, f"{self.path} was not acquired"):
            held = await self._acquire(wait=True)
        assert held is not None
        return held

    async def try_acquire(self, timeout: float | None = None) -> Held | None:
        """Acquire the lock if it is free; None if another has it. Raises RecipeTimeout if the server does not say."""
        async with within(timeout, f"nothing was heard of {self.path}"):
            return await self._acquire(wait=False)

    async def release(self, timeout: float | None = None) -> bool:
        """Give back what `acquire` gave. Returns False if the server has not said so within `timeout` seconds.

        Nothing is held from the last release on; the node is removed in the background whatever happens. Raises
        NotHeld if the caller does not hold the lock.
        """
        hold = self._holds.get(self._owner())
        if hold is None:
            raise NotHeld(f"{self.path} is not held by who releases it")
        return await self._release(hold.held, timeout)

    @property
    def held(self) -> Held | None:
        """What the caller holds; None if nothing, or if it is lost."""
        return self._holds_by(self._owner())

    async def contenders(self) -> list[Waiting]:
        """Return who holds the lock and who waits for it, in order of arrival, of any library."""
        return [each async for each in self._line()]

    async def _line(self) -> AsyncIterator[Waiting]:
        try:
            names = await self._zk.children(self.path)
        except NoNode:
            return
        for each in sequence.in_order(names, self._markers):
            path = f"{self.path.rstrip('/')}/{each.name}"
            try:
                data, stat = await self._zk.get(path)
            except NoNode:
                continue
            yield Waiting(path, data, each.marker, stat.czxid)

    async def revoke(self) -> bool:
        """Ask who holds the lock to release it; see `Held.wait_revoked`. Returns False if nobody holds it."""
        for each in await self.contenders():
            try:
                await self._zk.set(each.path, REVOKE)
            except NoNode:
                continue
            return True
        return False

    async def run(self, work: Callable[[Held], Awaitable[T]]) -> T:
        """Wait for the lock, await `work(held)`, release; return what `work` returned.

        As `async with`, with a look by the clock before each step of `work`, whatever it awaits: after a pause in which
        the lock was lost, none of them goes on. Raises HoldLost if it was lost before `work` ended, which is cancelled
        then.
        """
        async with self as held:
            return await Steps(work(held), held)

    async def __aenter__(self) -> Held:
        held = await self.acquire()
        self._blocks.enter(Guard(held, cancels=self._cancel_on_loss))
        return held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        guard = self._blocks.leave()
        try:
            await guard.end(error)
        finally:
            await self._release(guard.held, RELEASE_S)

    # Inside.

    def _holds_by(self, owner: Hashable) -> Held | None:
        hold = self._holds.get(owner)
        return hold.held if hold is not None and not hold.held.state.is_over else None

    def _owner(self) -> Hashable:
        return current_owner() if self._scope == "task" else self

    async def _acquire(self, *, wait: bool) -> Held | None:
        owner = self._owner()
        if self._scope == "task":
            return await self._acquire_for(owner, wait=wait)
        if not wait and self._turn.locked():
            return None
        # One contender for the whole object: the others of it wait here.
        async with self._turn:
            return await self._acquire_for(owner, wait=wait)

    async def _acquire_for(self, owner: Hashable, *, wait: bool) -> Held | None:
        hold = self._holds.get(owner)
        if hold is not None and not hold.held.state.is_over:
            self._holds[owner] = _Hold(hold.held, hold.count + 1)
            return hold.held
        held = await self._contend(wait=wait)
        if held is not None:
            self._holds[owner] = _Hold(held, 1)
        return held

    async def _contend(self, *, wait: bool) -> Held | None:
        contender = Contender(self._zk, self.path, self._endings, self.identifier, self._acl, is_hex=self._is_hex)
        return await Place(self._zk, contender, self._rule, self.identifier).take(wait=wait)

    async def _release(self, held: Held, timeout: float | None) -> bool:
        return await held.release(timeout) if self._let_go(held) else True

    def _let_go(self, held: Held) -> bool:
        """Count a release of `held`, whoever makes it; tell whether it was the last, so that nothing is held now."""
        owner, hold = next((each for each in self._holds.items() if each[1].held is held), (None, None))
        if hold is None:
            # It was lost, and the owner has begun anew.
            return False
        if hold.count > 1:
            self._holds[owner] = _Hold(held, hold.count - 1)
            return False
        del self._holds[owner]
        held.abandon()
        return True


class Lock(LineLock):
    """A lock at `path`, which is made if it is missing.

    identifier: the data of our node, for others to see. style: which libraries wait for us. scope: whether the task or
    the object holds the lock; a holder acquires again at once. cancel_on_loss: whether `async with` ends its block with
    HoldLost when the lock is lost; if not, look at the `Held`. acl: of the nodes, and of parents that are made.
    """

    def __init__(
        self, zk: AsyncClient, path: str, *, identifier: bytes = b"", style: Style = "curator", scope: Scope = "task",
        cancel_on_loss: bool = True, acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        if style not in _ENDINGS:
            raise ValueError(f"style {style!r}: must be one of {', '.join(_ENDINGS)}")
        super().__init__(
            zk, path, _ENDINGS[style], before_writer, identifier=identifier, scope=scope,
            cancel_on_loss=cancel_on_loss, acl=acl, is_hex=style == "kazoo",
        )  # fmt: skip
