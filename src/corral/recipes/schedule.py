"""A schedule: jobs that are run when they are due, each by exactly one live member, and taken over when it dies.

    async def report(held, due): ...

    jobs = [Job("report", Cron("0 3 * * *", "Europe/Berlin"), report)]
    async with Schedule(zk, "/schedule", jobs, identifier=b"host-7"):
        await serve()

Each job has an election of its own among the members that know it, at `<path>/members/<job>`, and its record in
`<path>/jobs/<job>`. The record is written in one transaction with a check of the leader's node: who was replaced writes
nothing, and so begins nothing. A run that was begun when its leader died is begun again by the next one, with the same
due time; that, or the held leadership's fencing token, is what makes its effects happen once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Protocol, Self

from corral.base.errors import BadVersion, NodeExists, NoNode, ZooKeeperError
from corral.client.aio import AsyncClient
from corral.client.errors import ClientClosed, ConnectionLoss, SessionLost
from corral.client.transaction import TransactionFailed
from corral.recipes.election import Election
from corral.recipes.errors import HoldLost, NotHeld, RecipeError
from corral.recipes.held import Held
from corral.recipes.job import Job, Progress, begun, decode_progress, encode_progress, ended, plan, rescheduled
from corral.recipes.lock import Waiting
from corral.wire.data import ACL

AGAIN_S: Final = 5.0
"""After how long a job is tried again that cannot be kept, because of rights or of a record that cannot be read."""
_LOOK_S: Final = 10.0


class Clock(Protocol):
    """The time of day, and waiting for it."""

    def now(self) -> datetime:
        """Return the time, with its zone."""

    async def sleep_until(self, moment: datetime) -> None:
        """Return when it is `moment`, or some time before."""


class SystemClock:
    """The machine's clock. One that is put forward is noticed within ten seconds."""

    def now(self) -> datetime:
        """Return the time, with its zone."""
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        """Return when it is `moment`, or some time before."""
        await asyncio.sleep(min(max((moment - self.now()).total_seconds(), 0.0), _LOOK_S))


class Schedule:
    """A member that runs `jobs` with the other members of `path`; `async with`, or `start` and `stop`.

    Members may know different jobs. identifier: the data of our nodes, for others to see. clock: the machine's unless
    given. acl: of the nodes that are made.
    """

    def __init__(
        self, zk: AsyncClient, path: str, jobs: Sequence[Job], *, identifier: bytes = b"", clock: Clock | None = None,
        acl: Sequence[ACL] | None = None,
    ) -> None:  # fmt: skip
        self._zk = zk
        self.path = path
        base = path.rstrip("/")
        self._records = f"{base}/jobs"
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._acl = acl
        self._by = identifier.decode("utf-8", "replace")
        self._jobs = {job.name: job for job in jobs}
        if len(self._jobs) != len(jobs):
            raise ValueError(f"jobs of one name: {', '.join(sorted(job.name for job in jobs))}")
        self._elections = {
            name: Election(zk, f"{base}/members/{name}", identifier=identifier, acl=acl) for name in self._jobs
        }
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Begin to take part."""
        if not self._keepers:
            self._is_stopping = False
            self._keepers = {name: self._zk.spawn(self._keep(job)) for name, job in self._jobs.items()}

    async def stop(self, timeout: float | None = 0.0) -> bool:
        """Take part no more. Returns whether every run under way has ended by itself.

        timeout: for how many seconds runs under way may go on before they are cancelled, which interrupts them: another
        member begins them again. None: for as long as they take.
        """
        keepers, self._keepers = self._keepers, {}
        self._is_stopping = True
        for name, keeper in keepers.items():
            if name not in self._running:
                keeper.cancel()
        pending: set[asyncio.Task[None]] = set(keepers.values())
        try:
            if pending and timeout != 0:
                _, pending = await asyncio.wait(pending, timeout=timeout)
            is_clean = not self._running
        finally:
            for keeper in pending:
                keeper.cancel()
        if pending:
            await asyncio.wait(pending)
        return is_clean

    @property
    def running(self) -> list[str]:
        """The names of the jobs that this member is running now."""
        return sorted(self._running)

    async def leader(self, name: str) -> Waiting | None:
        """Return the member that runs a job, None if nobody does. Raises ValueError if this member does not know it."""
        return await self._election(name).leader()

    async def members(self, name: str) -> list[Waiting]:
        """Return the members that can run a job, the leader first. Raises ValueError if this one does not know it."""
        return await self._election(name).contenders()

    async def progress(self, name: str) -> Progress | None:
        """Return what is known of a job's runs, None if no member has led it yet. Raises BadProgress."""
        try:
            data, _ = await self._zk.get(f"{self._records}/{name}")
        except NoNode:
            return None
        return decode_progress(data)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # Inside.

    def _election(self, name: str) -> Election:
        if name not in self._elections:
            raise ValueError(f"no job {name!r} here; there are {', '.join(sorted(self._elections))}")
        return self._elections[name]

    async def _keep(self, job: Job) -> None:
        """Lead a job whenever it is our turn, until stopped."""
        while not self._is_stopping:
            try:
                await self._elections[job.name].run(lambda led: self._lead(job, led))
            except (HoldLost, NotHeld):
                continue
            except ClientClosed:
                return
            except (ZooKeeperError, RecipeError) as error:
                self._zk.log.error("a job cannot be kept", job=job.name, path=self.path, why=repr(error))
                # Without leading: another member may be able to.
                await asyncio.sleep(AGAIN_S)

    async def _lead(self, job: Job, led: Held) -> None:
        while not self._is_stopping:
            progress, version = await self._load(job, led)
            progress = rescheduled(job, progress, self._clock.now())
            if progress.is_interrupted and progress.attempt >= job.attempts_max:
                self._zk.log.error(
                    "a job was interrupted too often",
                    job=job.name,
                    due=str(progress.started),
                    attempts=progress.attempt,
                )
            # Until the record is changed by another hand it need not be read again.
            while version is not None and not self._is_stopping:
                now = self._clock.now()
                due = plan(job, progress, now)
                if due > now:
                    await self._clock.sleep_until(due)
                    continue
                self._running.add(job.name)
                try:
                    progress = begun(progress, due, led.fencing_token, self._by)
                    version = await self._write(job, led, progress, version)
                    if version is not None:
                        progress = ended(progress, await self._run(job, led, due))
                        version = await self._write(job, led, progress, version)
                finally:
                    self._running.discard(job.name)

    async def _run(self, job: Job, led: Held, due: datetime) -> BaseException | None:
        failure: BaseException
        try:
            await job.run(led, due.astimezone(job.when.zone))
            return None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not the run was cancelled, but something that it waited for.
            failure = error
        except Exception as error:  # noqa: BLE001  # Whatever a job raises, its next run is due.
            failure = error
        self._zk.log.error("a job failed", job=job.name, due=str(due), why=repr(failure))
        return failure

    async def _load(self, job: Job, led: Held) -> tuple[Progress, int | None]:
        """Read a job's record, and make it if it is missing; return it and its version."""
        path = f"{self._records}/{job.name}"
        while True:
            try:
                try:
                    data, stat = await self._zk.get(path)
                except NoNode:
                    await self._zk.ensure_path(self._records, acl=self._acl)
                    new = encode_progress(Progress(job.when.text, self._clock.now()))
                    await led.transaction().create(path, new, acl=self._acl).commit()
                    continue
                return decode_progress(data), stat.version
            except TransactionFailed as failed:
                if _is_lost(failed):
                    raise HoldLost(f"{led.path} is gone: another may lead {job.name}") from failed
                if not isinstance(failed.error, NodeExists | NoNode):
                    raise failed.error from failed
            except (ConnectionLoss, SessionLost):
                continue

    async def _write(self, job: Job, led: Held, progress: Progress, version: int) -> int | None:
        """Write a job's record while we lead; return its new version, None if another hand has changed it.

        Raises HoldLost, NotHeld.
        """
        path = f"{self._records}/{job.name}"
        data = encode_progress(progress)
        while True:
            try:
                await led.transaction().set(path, data, version).commit()
                return version + 1
            except TransactionFailed as failed:
                if _is_lost(failed):
                    raise HoldLost(f"{led.path} is gone: another may lead {job.name}") from failed
                if isinstance(failed.error, NoNode):
                    return None
                if not isinstance(failed.error, BadVersion):
                    raise failed.error from failed
            except (ConnectionLoss, SessionLost):
                # It may have been written: then the next try is told of a wrong version.
                continue
            try:
                found, stat = await self._zk.get(path)
            except NoNode:
                return None
            except (ConnectionLoss, SessionLost):
                continue
            return stat.version if found == data else None


def _is_lost(failed: TransactionFailed) -> bool:
    """Tell whether a leader's transaction failed because it leads no more: all but its last operation check that."""
    return failed.index < len(failed.results) - 1
