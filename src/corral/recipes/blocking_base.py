"""What a blocking recipe has besides the methods that are generated from the asyncio one: its twin, and who asks.

The twin is an asyncio recipe on the loop of the client's own thread; each call is a task of its own there. So that a
lock knows who holds it, a call names its thread as the owner, by a token that no later thread has: what is said of a
task in the asyncio recipes holds for the thread here. A thread that ends keeps what it holds.

What waits has its own `timeout` and no other; what only asks has the client's. Functions that are handed in are called
on the client's thread, which they must not keep waiting, except for listeners: those have a thread, as the client's.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Hashable, Sequence
from contextvars import copy_context
from types import TracebackType
from typing import Any, Final, Self

from corral.client.blocking_base import BlockingClient
from corral.client.errors import ClientClosed
from corral.recipes.owner import OWNER


class _Thread(threading.local):
    """A thread, as the owner of what it holds; its ident would be another's after its end."""

    def __init__(self) -> None:
        self.owner: Hashable = object()


_THREAD: Final = _Thread()


class Recipe:
    """A recipe for threads, around its asyncio twin. make: makes the twin, on the client's loop.

    Raises ClientClosed if the client is not started.
    """

    def __init__(self, client: BlockingClient, make: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        self._client = client
        self._twin = client._call(make, client._zk, *args, **kwargs)

    @classmethod
    def _around(cls, client: BlockingClient, twin: Any) -> Self:
        """Return a recipe around a twin that is there already."""
        made = cls.__new__(cls)
        made._client = client
        made._twin = twin
        return made

    @classmethod
    def _maybe(cls, client: BlockingClient, twin: Any) -> Self | None:
        return None if twin is None else cls._around(client, twin)

    @classmethod
    def _each(cls, client: BlockingClient, twins: Sequence[Any]) -> tuple[Self, ...]:
        return tuple(cls._around(client, twin) for twin in twins)

    @classmethod
    def _maybe_each(cls, client: BlockingClient, twins: Sequence[Any] | None) -> tuple[Self, ...] | None:
        return None if twins is None else cls._each(client, twins)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self._twin is other._twin

    def __hash__(self) -> int:
        return hash(self._twin)

    # Calls.

    def _wait(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Await what `method` returns, however long that takes."""
        return self._client._opened().call(None, _as, _THREAD.owner, method, args, kwargs)

    def _ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Await what `method` returns, for as long as the client's calls may take."""
        return self._client._call(_as, _THREAD.owner, method, args, kwargs)

    def _look(self, method: Callable[..., Any], *args: Any) -> Any:
        """Return what `method` returns at once; also when the client is closed, when nobody else uses the twin."""
        try:
            return self._ask(method, *args)
        except ClientClosed:
            return copy_context().run(_now, _THREAD.owner, method, args)

    def _end(self, method: Callable[..., Any], *args: Any) -> None:
        """Call what ends the twin; a client that is closed has ended it."""
        try:
            self._wait(method, *args)
        except ClientClosed:
            pass

    def _listen(
        self, method: Callable[[Callable[[Any], object]], Callable[[], None]], listener: Callable[[Any], object]
    ) -> Callable[[], None]:
        """Have a listener told, on the listeners' thread; return what ends that."""
        forget: Callable[[], None] = self._ask(method, self._client._listener(listener))
        return lambda: self._end(forget)

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End a `with` block."""
        try:
            self._wait(self._twin.__aexit__, kind, error, trace)
        except ClientClosed:
            # Nothing is held any more; if the block has failed, that is what there is to say.
            if error is None:
                raise


async def _as(owner: Hashable, method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `method` in the name of an owner: the task that this runs in is the call's own."""
    OWNER.set(owner)
    result = method(*args, **kwargs)
    return await result if inspect.isawaitable(result) else result


def _now(owner: Hashable, method: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    OWNER.set(owner)
    return method(*args)


class LockSet(Recipe):
    """What a MultiLock is made of: locks of one client."""

    def __init__(self, make: Callable[..., Any], locks: Sequence[Recipe], **options: Any) -> None:
        clients = list(dict.fromkeys(lock._client for lock in locks))
        if not clients:
            raise ValueError("a MultiLock needs at least one lock")
        if len(clients) > 1:
            raise ValueError(f"locks of {len(clients)} clients: a MultiLock for threads takes those of one client")
        self._client = clients[0]
        self._twin = make([lock._twin for lock in locks], **options)
