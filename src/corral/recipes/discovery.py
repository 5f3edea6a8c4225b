"""Services by name, in Curator's form: `<base>/<name>/<id>` with an instance as JSON in each.

    mine = ServiceInstance("web", new_id(), "10.0.0.7", 8080)
    async with Registration(zk, "/services", mine):
        ...

    async with ServiceProvider(zk, "/services", "web") as web:
        instance = web.instance()

An instance that cannot be read is named in `faults` and hides no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from corral.base.errors import NoNode, ZooKeeperError
from corral.client.aio import AsyncClient
from corral.recipes.balance import DownPolicy, RoundRobin, Strategy
from corral.recipes.cache import READ_MAX, SPREAD_S
from corral.recipes.feed import Feed
from corral.recipes.models import ModelCache, ModelFault, loaded
from corral.recipes.service_instance import InstanceSerializer, ServiceInstance

_SERIALIZER: Final = InstanceSerializer()


class Discovery:
    """Questions about services that are asked of the server each time.

    path: the base of all services.
    """

    def __init__(self, zk: AsyncClient, path: str) -> None:
        self._zk = zk
        self._base = path.rstrip("/")

    async def names(self) -> list[str]:
        """Return the names of all services, sorted; one may have no instance at the moment."""
        return await self._children(self._base or "/")

    async def instances(self, name: str) -> list[ServiceInstance]:
        """Return the instances of a service that can be read, in the order of their znodes' names."""
        directory = f"{self._base}/{name}"
        paths = [f"{directory}/{each}" for each in await self._children(directory)]
        found: list[ServiceInstance] = []
        for at in range(0, len(paths), READ_MAX):
            part = paths[at : at + READ_MAX]
            for path, answer in zip(part, await self._zk.multi_read(part), strict=True):
                if isinstance(answer, tuple):
                    try:
                        found.append(loaded(_SERIALIZER, path, answer[0]))
                    except ModelFault:
                        continue
                elif isinstance(answer, ZooKeeperError) and not isinstance(answer, NoNode):
                    raise answer
        return found

    async def instance(self, name: str, instance_id: str) -> ServiceInstance | None:
        """Return one instance by its znode's name, None if there is none. Raises ModelFault."""
        path = f"{self._base}/{name}/{instance_id}"
        try:
            data, _ = await self._zk.get(path)
        except NoNode:
            return None
        return loaded(_SERIALIZER, path, data)

    async def _children(self, path: str) -> list[str]:
        try:
            return sorted(await self._zk.children(path))
        except NoNode:
            return []


class ServiceProvider:
    """The instances of one service, kept up to date, one of them at a time.

    path: the base of all services. strategy: which is chosen, round robin unless given. accepts: which are considered
    at all; those that are not enabled never are. down: who is left out after errors. spread: see `Cache`.
    """

    def __init__(
        self, zk: AsyncClient, path: str, name: str, *, strategy: Strategy | None = None,
        accepts: Callable[[ServiceInstance], bool] | None = None, down: DownPolicy | None = None,
        spread: float = SPREAD_S, has_staying_watch: bool = True,
    ) -> None:  # fmt: skip
        self.cache = ModelCache(
            zk, f"{path.rstrip('/')}/{name}", _SERIALIZER, spread=spread, has_staying_watch=has_staying_watch
        )
        self._strategy = strategy or RoundRobin()
        self._accepts = accepts
        self._down = down or DownPolicy()

    async def start(self, timeout: float | None = None) -> Self:
        """Read the instances; see `Cache.start`."""
        await self.cache.start(timeout)
        return self

    async def close(self, timeout: float = 5.0) -> None:
        """End it; see `Cache.close`."""
        await self.cache.close(timeout)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def is_in_step(self) -> bool:
        """Whether the instances are those that the server has; see `Cache.is_in_step`."""
        return self.cache.is_in_step

    @property
    def faults(self) -> dict[str, ModelFault]:
        """Why instances cannot be read, by their znodes' names."""
        return self.cache.faults

    def instances(self) -> list[ServiceInstance]:
        """Return all that may be chosen at the moment, in the order of their znodes' names."""
        now = asyncio.get_running_loop().time()
        known = list(self.cache.models.values())
        self._down.keep({each.id for each in known})
        return [
            each
            for each in known
            if each.is_enabled
            and not self._down.is_down(each.id, now)
            and (self._accepts is None or self._accepts(each))
        ]

    def instance(self) -> ServiceInstance | None:
        """Choose one, None if there is none."""
        return self._strategy.pick(self.instances())

    def note_error(self, instance: ServiceInstance) -> None:
        """Note that an instance did not work: it is left out if that happens too often."""
        self._down.note(instance.id, asyncio.get_running_loop().time())

    def changes(self) -> Feed:
        """Return the changes from now on, as an async iterator; see `Cache.changes`."""
        return self.cache.changes()
