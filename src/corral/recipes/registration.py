"""One instance of a service, kept registered while it is open.

    ABSENT    --its znode is there, and ours-->            REGISTERED
    REGISTERED --the connection is gone-->                 IN_DOUBT
    IN_DOUBT  --the server says that it is there, ours-->  REGISTERED
    IN_DOUBT  --it went with its session-->                ABSENT, and it is made again
    any       --another session holds the name-->          DISPLACED: it is not fought over
    any       --closed-->                                  CLOSED

Consumers see as little as possible of this: a znode that outlived a reconnect is left alone, a change is written in
place, and a znode of an earlier session is replaced in one transaction, so that the instance is never missing.
Each look begins with what the server says; so a lost reply, to whichever request, is found out by looking again.

One file in spite of its length: these are the transitions of one machine.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from corral.base.errors import BadVersion, NodeExists, NoNode, ZooKeeperError
from corral.base.liblog import LibraryLog
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ClientError, RequestTooLarge
from corral.client.transaction import TransactionFailed
from corral.client.values import EventType, State, WatchEvent, ZnodeStat
from corral.recipes.asking import make_directory, remove_beside, within
from corral.recipes.contender import Owned
from corral.recipes.errors import RecipeError
from corral.recipes.sequence import in_order, number_text
from corral.recipes.service_instance import InstanceSerializer, ServiceInstance, ServiceType
from corral.wire.data import ACL

TRIES_MAX: Final = 32
"""How often others may be faster before a look is given up until something happens."""
_PAUSE_S: Final = (0.05, 5.0)


class RegistrationState(enum.Enum):
    """How a registration stands; see the module."""

    ABSENT = "ABSENT"
    REGISTERED = "REGISTERED"
    IN_DOUBT = "IN_DOUBT"
    DISPLACED = "DISPLACED"
    CLOSED = "CLOSED"


class NotRegistered(RecipeError):
    """An instance is not registered, and will not be by waiting: closed, displaced, or refused by the server."""


class Registration:
    """See the module.

    path: the base of all services. instance: what is registered; afterwards what is there, also when another client
    changed it. acl: of its znode and of parents that are missing. has_enabled: see InstanceSerializer.
    """

    def __init__(
        self, zk: AsyncClient, path: str, instance: ServiceInstance, *, acl: Sequence[ACL] | None = None,
        has_enabled: bool = False,
    ) -> None:  # fmt: skip
        for part in (instance.name, instance.id):
            if not part or "/" in part:
                raise ValueError(f"instance {instance.name!r}, id {instance.id!r}: neither may be empty or contain /")
        self.instance = instance
        self._zk = zk
        self._directory = f"{path.rstrip('/')}/{instance.name}"
        self._acl = acl
        self._serializer = InstanceSerializer(has_enabled)
        self._log: Any = LibraryLog("corral.recipes").bind(service=instance.name, instance=instance.id)
        self._state = RegistrationState.ABSENT
        self._node: Owned | None = None
        self._has_been = False
        self._sessions: set[int] = set()
        self._asked_after: int | None = None
        self._must_write = True
        self._failure: Exception | None = None
        self._listeners: dict[Callable[[RegistrationState], object], None] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._forget: Callable[[], None] | None = None
        self._saw = self._on_event

    # Its life.

    async def start(self, timeout: float | None = None) -> Self:
        """Register. timeout: seconds until RecipeTimeout. Raises what the server refuses it with; NotRegistered."""
        if self._state is RegistrationState.CLOSED:
            raise NotRegistered(f"{self.path} is closed: make a new registration")
        if self._task is None:
            self._forget = self._zk.on_state(self._on_state)
            self._task = asyncio.get_running_loop().create_task(self._keep())
        try:
            await self.wait_registered(timeout)
        except BaseException:
            self._end()
            raise
        return self

    async def close(self, timeout: float = 5.0) -> bool:
        """End it: its znode is deleted, unless it is PERMANENT; return whether the server has said so in `timeout` s.

        If not, that goes on in the background.
        """
        removal = self._end()
        if removal is None:
            return True
        await asyncio.wait({removal}, timeout=timeout)
        return removal.done()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What is asked of it.

    @property
    def path(self) -> str:
        """The path of the znode; of a sequential one, once it is there, with its number."""
        return self._node.path if self._node is not None else f"{self._directory}/{self.instance.id}"

    @property
    def state(self) -> RegistrationState:
        """How it stands, by the clock at this moment."""
        if not self._zk.state.is_connected and self._state is RegistrationState.REGISTERED:
            self._become(RegistrationState.IN_DOUBT)
        return self._state

    def on_change(self, listener: Callable[[RegistrationState], object]) -> Callable[[], None]:
        """Have `listener(state)` called, on the loop, at each change; return what ends that."""
        self._listeners[listener] = None

        def forget() -> None:
            self._listeners.pop(listener, None)

        return forget

    async def wait_registered(self, timeout: float | None = None) -> None:
        """Wait until it is REGISTERED. Raises RecipeTimeout, NotRegistered, and what the server refused it with."""
        changed = asyncio.Event()
        forget = self.on_change(lambda state: changed.set())
        try:
            async with within(timeout, f"{self.path} was not registered"):
                while self.state is not RegistrationState.REGISTERED:
                    if self._failure is not None:
                        raise self._failure
                    if self._state in (RegistrationState.CLOSED, RegistrationState.DISPLACED):
                        raise NotRegistered(f"{self.path} is {self._state.value}")
                    changed.clear()
                    await changed.wait()
        finally:
            forget()

    async def update(self, instance: ServiceInstance, timeout: float | None = None) -> None:
        """Write other fields, in place; name, id and type stay. Returns when the server has them.

        timeout: seconds until RecipeTimeout; they are written then as soon as it is possible. Raises what the server
        refuses them with, which is tried again, and RequestTooLarge, which changes nothing.
        """
        old = self.instance
        if (instance.name, instance.id, instance.type) != (old.name, old.id, old.type):
            raise ValueError(f"{old.name} {old.id} cannot become {instance.name} {instance.id}: register that one too")
        if self._task is None:
            raise NotRegistered(f"{self.path} is not registered yet: start the registration first")
        self._serializer.dumps(instance)
        had_to_write = self._must_write
        self.instance = instance
        self._must_write = True
        try:
            async with within(timeout, f"{self.path} was not changed"):
                while self._must_write:
                    await self.wait_registered()
                    try:
                        await self._settle()
                    except RequestTooLarge:
                        if self.instance is instance:
                            self.instance, self._must_write = old, had_to_write
                        raise
                    except ClientError as error:
                        if isinstance(error, ClientClosed):
                            raise
        finally:
            if self._must_write:
                self._wake.set()

    # How it is kept.

    def _on_state(self, state: State) -> None:
        if state is State.CLOSED:
            self._end()
        elif not state.is_connected and self._state is RegistrationState.REGISTERED:
            self._become(RegistrationState.IN_DOUBT)
        self._wake.set()

    def _on_event(self, event: WatchEvent) -> None:
        if event.type is not EventType.NONE:
            self._wake.set()

    def _become(self, state: RegistrationState) -> None:
        if state is self._state or self._state is RegistrationState.CLOSED:
            return
        self._state = state
        for listener in list(self._listeners):
            try:
                listener(state)
            except Exception as error:  # noqa: BLE001  # A listener's fault is no reason to register nothing more.
                self._log.error("a listener failed", listener=repr(listener), told=state.value, why=repr(error))

    async def _keep(self) -> None:
        failures = 0
        while True:
            self._wake.clear()
            try:
                await self._settle()
                failures = 0
            except (ZooKeeperError, RequestTooLarge) as error:
                failures += 1
                self._log.warning("cannot register", why=str(error))
                if not self._has_been:
                    self._failure = error
                    self._end()
            except ClientError as error:
                self._log.debug("registering was interrupted", why=str(error))
                failures += 1
            if failures:
                shortest, longest = _PAUSE_S
                await asyncio.sleep(min(shortest * 2 ** min(failures, 16), longest))
            else:
                await self._wake.wait()

    async def _settle(self) -> None:
        """Look, and do what is missing, until the server says that all is as it should be."""
        async with self._turn:
            for _ in range(TRIES_MAX):
                if self._state in (RegistrationState.CLOSED, RegistrationState.DISPLACED):
                    return
                session = self._zk.session_id
                if await self._look(session) and session == self._zk.session_id and self._zk.state.is_connected:
                    self._has_been = True
                    self._become(RegistrationState.REGISTERED)
                    return
        raise BadVersion(f"{self.path} was changed by others {TRIES_MAX} times while it was to be registered")

    async def _look(self, session: int) -> bool:
        """Do the next step; tell whether there was nothing to do."""
        is_sequential = self.instance.type is ServiceType.DYNAMIC_SEQUENTIAL
        self._sessions.add(session)
        if is_sequential and (self._node is None or self._node.session_id != session):
            if self._node is not None:
                remove_beside(self._zk, self._node.path)
            self._node = await self._find(session)
            if self._node is None:
                await self._create(session)
                return False
        try:
            data, stat = await self._zk.get(self.path, self._saw)
        except NoNode:
            self._node = None
            self._become(RegistrationState.ABSENT)
            if not is_sequential:
                await self._create(session)
            return False
        if self.instance.type.is_dynamic and stat.ephemeral_owner != session:
            await self._replace(session, stat)
            return False
        self._node = Owned(self.path, stat.czxid, stat.ephemeral_owner)
        return await self._write(data, stat)

    async def _write(self, data: bytes, stat: ZnodeStat) -> bool:
        """Have the data there that should be, ours or what another client wrote; tell whether it is."""
        instance = self.instance
        wanted = self._serializer.dumps(instance)
        if data == wanted:
            self._must_write = False
            return True
        if not self._must_write:
            try:
                found = self._serializer.loads(data)
            except ValueError as error:
                self._log.warning("another client wrote what cannot be read", why=str(error))
                return True
            if (found.name, found.id, found.type) == (instance.name, instance.id, instance.type):
                self.instance = found
            return True
        try:
            await self._zk.set(self.path, wanted, stat.version)
        except (BadVersion, NoNode):
            return False
        self._must_write = self.instance is not instance
        return False

    async def _create(self, session: int) -> None:
        kind = self.instance.type
        data = self._serializer.dumps(self.instance)
        self._asked_after = self._zk.last_zxid
        try:
            path, stat = await self._zk.create_and_stat(
                f"{self._directory}/{self.instance.id}", data, acl=self._acl, ephemeral=kind.is_dynamic,
                sequence=kind is ServiceType.DYNAMIC_SEQUENTIAL,
            )  # fmt: skip
        except NodeExists:
            return
        except NoNode:
            await make_directory(self._zk, self._directory, self._acl)
            return
        self._node = Owned(path, stat.czxid, stat.ephemeral_owner)

    async def _replace(self, session: int, stat: ZnodeStat) -> None:
        """Put our znode in the place of one of an earlier session: ours, or the last life of this instance."""
        if self._has_been and stat.ephemeral_owner not in self._sessions:
            self._log.warning("another client has registered the same instance", owner=f"0x{stat.ephemeral_owner:x}")
            self._become(RegistrationState.DISPLACED)
            return
        work = self._zk.transaction()
        work.delete(self.path, stat.version)
        work.create(self.path, self._serializer.dumps(self.instance), acl=self._acl, ephemeral=True)
        try:
            await work.commit()
        except TransactionFailed as failed:
            if not isinstance(failed.error, BadVersion | NoNode | NodeExists):
                raise failed.error from failed

    async def _find(self, session: int) -> Owned | None:
        """Return the sequential znode that this session has made already, of which only the reply was lost."""
        try:
            names = await self._zk.children(self._directory)
        except NoNode:
            return None
        name_id = self.instance.id
        for each in in_order(names, (name_id,)):
            if each.name == name_id + number_text(each.number):
                path = f"{self._directory}/{each.name}"
                stat = await self._zk.exists(path)
                if stat is not None and stat.ephemeral_owner == session:
                    return Owned(path, stat.czxid, session)
        return None

    # Its end.

    def _end(self) -> asyncio.Task[None] | None:
        if self._state is RegistrationState.CLOSED:
            return None
        was = self._state
        self._become(RegistrationState.CLOSED)
        if self._forget is not None:
            self._forget()
        if self._task is None:
            return None
        self._task.cancel()
        self._zk.forget_watch(self.path, self._saw)
        if self._zk.state is State.CLOSED or was is RegistrationState.DISPLACED:
            return None
        if self.instance.type is ServiceType.PERMANENT:
            return None
        removal: asyncio.Task[None] = self._zk.spawn(self._remove())
        return removal

    async def _remove(self) -> None:
        pause, longest = _PAUSE_S
        while True:
            try:
                await self._remove_once()
                return
            except (ClientClosed, NoNode):
                return
            except (ClientError, BadVersion) as error:
                self._log.debug("unregistering was interrupted", why=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _remove_once(self) -> None:
        """Delete what is ours: of this session, also what it made without our knowing, or the very znode we knew."""
        session = self._zk.session_id
        node = self._node
        if node is None and self.instance.type is ServiceType.DYNAMIC_SEQUENTIAL:
            node = await self._find(session)
            if node is None:
                return
        path = node.path if node is not None else self.path
        stat = await self._zk.exists(path)
        if stat is None:
            return
        if node is not None and node.czxid == stat.czxid:
            is_ours = True
        elif self.instance.type.is_dynamic:
            is_ours = stat.ephemeral_owner == session
        else:
            # Asked for, and no answer seen: younger than the question, and with our data.
            asked_after = self._asked_after
            is_ours = node is None and asked_after is not None and stat.czxid > asked_after
            is_ours = is_ours and (await self._zk.get(path))[0] == self._serializer.dumps(self.instance)
        if is_ours:
            await self._zk.delete(path, stat.version)
