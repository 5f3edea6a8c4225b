"""Znodes as typed values: a path template says where they are, a serializer what their bytes mean.

    users = Models(zk, "/users/{id}", JsonOf(User))
    await users.set({"id": "7"}, User("Ada"))
    ada = await users.read({"id": "7"})

    async with ModelCache(zk, "/users", JsonOf(User)) as cache:
        print(cache.models)

Bytes that cannot be read are a ModelFault when they are asked for, and hide nothing else in a cache.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from corral.base.errors import BadVersion, NodeExists, NoNode
from corral.client.aio import AsyncClient
from corral.client.transaction import Transaction
from corral.client.values import ZnodeStat
from corral.recipes.cache import BACKLOG, SPREAD_S
from corral.recipes.children_cache import ChildrenCache
from corral.recipes.errors import RecipeError
from corral.recipes.feed import Feed
from corral.recipes.mirror import CachedNode
from corral.wire.data import ACL

T = TypeVar("T")
TRIES_MAX: Final = 16
"""How often an operation is begun anew because others changed the same znode meanwhile."""
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class ModelFault(RecipeError, ValueError):
    """Bytes of a znode that are no model of the expected kind; the message names the path."""


class Busy(RecipeError):
    """Others changed a znode each time it was to be changed; nothing was changed by this call."""


class Serializer(Protocol[T]):
    """How a model becomes bytes and back; `loads` raises ValueError for what it cannot read."""

    def dumps(self, model: T) -> bytes:
        """Return a model's bytes."""

    def loads(self, data: bytes) -> T:
        """Return the model of `data`."""


class Raw:
    """Bytes as they are."""

    def dumps(self, model: bytes) -> bytes:
        """Return them."""
        return model

    def loads(self, data: bytes) -> bytes:
        """Return them."""
        return data


class Text:
    """Text as UTF-8."""

    def dumps(self, model: str) -> bytes:
        """Encode."""
        return model.encode()

    def loads(self, data: bytes) -> str:
        """Decode."""
        return data.decode()


class Json:
    """Whatever JSON can say, compact."""

    def dumps(self, model: Any) -> bytes:
        """Encode."""
        return json.dumps(model, separators=(",", ":")).encode()

    def loads(self, data: bytes) -> Any:
        """Decode."""
        return json.loads(data)


class JsonOf(Generic[T]):
    """A dataclass as a JSON object; fields that the class does not have are ignored, missing ones need a default."""

    def __init__(self, cls: type[T]) -> None:
        if not dataclasses.is_dataclass(cls):
            raise TypeError(f"{cls!r} is no dataclass: give a serializer of your own")
        self._make: Callable[..., T] = cls
        self._names = {field.name for field in dataclasses.fields(cls) if field.init}

    def dumps(self, model: T) -> bytes:
        """Encode."""
        return Json().dumps(dataclasses.asdict(model))  # type: ignore[call-overload]  # T is a dataclass: see above.

    def loads(self, data: bytes) -> T:
        """Decode."""
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError(f"a JSON object was expected, not {type(found).__name__}")
        try:
            return self._make(**{name: value for name, value in found.items() if name in self._names})
        except TypeError as error:
            raise ValueError(str(error)) from error


class PathTemplate:
    """A path with parameters in braces: `/users/{id}`."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/"):
            raise ValueError(f"path template {text!r}: it must start with /")
        self.text = text
        self.names = tuple(_PARAMETER.findall(text))

    def path(self, at: Mapping[str, str]) -> str:
        """Return the path where the parameters are `at`. Raises ValueError for values that are no part of a name."""
        rest = self.fill(at)
        if rest.names:
            raise ValueError(f"path {self.text}: no value for {', '.join(rest.names)}")
        return rest.text

    def fill(self, at: Mapping[str, str]) -> PathTemplate:
        """Return the template with the parameters in `at` filled in, and the others left."""
        for name, value in at.items():
            if name not in self.names:
                raise ValueError(f"path {self.text} has no parameter {name}")
            if not value or "/" in value or "{" in value or value in (".", ".."):
                raise ValueError(f"path {self.text}: {name} cannot be {value!r}")
        return PathTemplate(_PARAMETER.sub(lambda found: at.get(found[1], found[0]), self.text))

    def parent(self) -> PathTemplate:
        """Return the template of the parent."""
        return PathTemplate(self.text[: self.text.rfind("/")] or "/")


class ModelNode(NamedTuple, Generic[T]):
    """A model and where it was read. stat: its `version` makes a later change conditional."""

    path: str
    model: T
    stat: ZnodeStat


class Models(Generic[T]):
    """The znodes of a kind; see the module.

    path: a template. serializer: of their data. acl, ephemeral, container, ttl_ms: of those that are made, as in the
    client's `create`. In all methods `at` has a value for each parameter of the path; version is the expected one, -1
    for any. They raise what the client's methods raise.
    """

    def __init__(
        self, zk: AsyncClient, path: str, serializer: Serializer[T], *, acl: Sequence[ACL] | None = None,
        ephemeral: bool = False, container: bool = False, ttl_ms: int | None = None,
    ) -> None:  # fmt: skip
        self._zk = zk
        self.template = PathTemplate(path)
        self.serializer = serializer
        self._acl = acl
        self._ephemeral = ephemeral
        self._container = container
        self._ttl_ms = ttl_ms

    async def create(self, at: Mapping[str, str], model: T) -> ZnodeStat:
        """Make a znode, and its parents; return its stat. Raises NodeExists."""
        _, stat = await self._zk.create_and_stat(
            self.template.path(at), self.serializer.dumps(model), acl=self._acl, ephemeral=self._ephemeral,
            container=self._container, ttl_ms=self._ttl_ms, make_parents=True,
        )  # fmt: skip
        return stat

    async def set(self, at: Mapping[str, str], model: T) -> ZnodeStat:
        """Make a znode, or give the one that is there another model; return its stat."""
        path = self.template.path(at)
        data = self.serializer.dumps(model)
        for _ in range(TRIES_MAX):
            try:
                return await self._zk.set(path, data)
            except NoNode:
                try:
                    return await self.create(at, model)
                except NodeExists:
                    continue
        raise Busy(f"{path} came and went {TRIES_MAX} times while it was to be set")

    async def update(self, at: Mapping[str, str], model: T, version: int = -1) -> ZnodeStat:
        """Give a znode that is there another model; return its stat. Raises NoNode, BadVersion."""
        return await self._zk.set(self.template.path(at), self.serializer.dumps(model), version)

    async def modify(self, at: Mapping[str, str], change: Callable[[T], T]) -> ModelNode[T]:
        """Replace a model by `change(model)`, which is called anew when another was faster. Raises NoNode, Busy."""
        for _ in range(TRIES_MAX):
            node = await self.read_node(at)
            model = change(node.model)
            try:
                stat = await self.update(at, model, node.stat.version)
            except BadVersion:
                continue
            return ModelNode(node.path, model, stat)
        raise Busy(f"{self.template.path(at)} was changed by others {TRIES_MAX} times while it was to be changed")

    async def read(self, at: Mapping[str, str]) -> T:
        """Return a model. Raises NoNode, ModelFault."""
        return (await self.read_node(at)).model

    async def read_node(self, at: Mapping[str, str]) -> ModelNode[T]:
        """Return a model with its path and stat. Raises NoNode, ModelFault."""
        path = self.template.path(at)
        data, stat = await self._zk.get(path)
        return ModelNode(path, loaded(self.serializer, path, data), stat)

    async def exists(self, at: Mapping[str, str]) -> ZnodeStat | None:
        """Return a znode's stat, None if there is none."""
        return await self._zk.exists(self.template.path(at))

    async def delete(self, at: Mapping[str, str], version: int = -1) -> None:
        """Delete a znode. Raises NoNode, BadVersion, NotEmpty."""
        await self._zk.delete(self.template.path(at), version)

    async def names(self, at: Mapping[str, str]) -> list[str]:
        """Return the values that the last element of the path has, sorted; none if there is no parent.

        at: the values of the parameters before it.
        """
        try:
            return sorted(await self._zk.children(self.template.parent().path(at)))
        except NoNode:
            return []

    def create_in(self, transaction: Transaction, at: Mapping[str, str], model: T) -> None:
        """Add the creation of a znode to a transaction."""
        transaction.create(
            self.template.path(at), self.serializer.dumps(model), acl=self._acl, ephemeral=self._ephemeral,
            container=self._container, ttl_ms=self._ttl_ms,
        )  # fmt: skip

    def update_in(self, transaction: Transaction, at: Mapping[str, str], model: T, version: int = -1) -> None:
        """Add the change of a znode to a transaction."""
        transaction.set(self.template.path(at), self.serializer.dumps(model), version)


class ModelCache(Generic[T]):
    """The models of a znode's children, kept up to date; the parameters are those of ChildrenCache.

    cache: what is below, with the raw changes.
    """

    def __init__(
        self, zk: AsyncClient, path: str, serializer: Serializer[T], *, spread: float = SPREAD_S,
        backlog: int = BACKLOG, has_staying_watch: bool = True, seed: int | None = None,
    ) -> None:  # fmt: skip
        self.cache = ChildrenCache(
            zk, path, spread=spread, backlog=backlog, has_staying_watch=has_staying_watch, seed=seed
        )
        self._serializer = serializer
        self._read: dict[str, tuple[CachedNode, T | ModelFault]] = {}

    async def start(self, timeout: float | None = None) -> Self:
        """Read everything; see `Cache.start`."""
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
        """Whether it follows the server; see `Cache.is_in_step`."""
        return self.cache.is_in_step

    @property
    def models(self) -> dict[str, T]:
        """The models by name, in the order of the names; those that cannot be read are left out."""
        return {name: found for name, found in self._all() if not isinstance(found, ModelFault)}

    @property
    def faults(self) -> dict[str, ModelFault]:
        """Why models cannot be read, by name."""
        return {name: found for name, found in self._all() if isinstance(found, ModelFault)}

    def get(self, name: str) -> T | None:
        """Return a model, None if there is none. Raises ModelFault if it cannot be read."""
        node = self.cache.get(name)
        if node is None:
            return None
        found = self._understood(name, node)
        if isinstance(found, ModelFault):
            raise found
        return found

    def changes(self) -> Feed:
        """Return the raw changes from now on; see `Cache.changes`."""
        return self.cache.changes()

    def _all(self) -> list[tuple[str, T | ModelFault]]:
        children = self.cache.children
        for name in [name for name in self._read if name not in children]:
            del self._read[name]
        return [(name, self._understood(name, node)) for name, node in children.items()]

    def _understood(self, name: str, node: CachedNode) -> T | ModelFault:
        known = self._read.get(name)
        if known is not None and known[0] is node:
            return known[1]
        found: T | ModelFault
        try:
            found = loaded(self._serializer, node.path, node.data)
        except ModelFault as fault:
            found = fault
        self._read[name] = (node, found)
        return found


def loaded(serializer: Serializer[T], path: str, data: bytes) -> T:
    """Return the model in a znode's data. Raises ModelFault."""
    try:
        return serializer.loads(data)
    except (ValueError, RecursionError) as error:
        # The latter is what Python's parser says of JSON that is nested too deeply.
        raise ModelFault(f"{path} cannot be read: {error}") from error
