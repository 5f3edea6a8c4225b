"""A schedule: every due time is run once, by whoever leads then, whatever is lost or dies; the clock is the test's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.support.loops import expire, run, until
from tests.support.proxy import Proxy

import corral
from corral.recipes.cron import Cron, Every
from corral.recipes.held import Held
from corral.recipes.job import Job, Missed
from corral.recipes.schedule import Schedule, SystemClock
from corral.wire.opcodes import MULTI

T0 = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = T0
        self._moved = asyncio.Event()
        self._moments: list[datetime] = []

    @property
    def sleepers(self) -> int:
        """How many wait for a time that has not come."""
        return sum(moment > self.time for moment in self._moments)

    def now(self) -> datetime:
        return self.time

    async def sleep_until(self, moment: datetime) -> None:
        self._moments.append(moment)
        try:
            while self.time < moment:
                await self._moved.wait()
        finally:
            self._moments.remove(moment)

    def move(self, seconds: float) -> None:
        """Go on, and wake who sleeps."""
        self.time += timedelta(seconds=seconds)
        self._moved.set()
        self._moved = asyncio.Event()


class Runs:
    """A job that notes its runs."""

    def __init__(self) -> None:
        self.dues: list[datetime] = []
        self.helds: list[Held] = []
        self.cancelled = 0
        self.lets_end = asyncio.Event()
        self.lets_end.set()

    @property
    def minutes(self) -> list[int]:
        return [round((due - T0).total_seconds() / 60) for due in self.dues]

    async def __call__(self, held: Held, due: datetime) -> None:
        self.dues.append(due)
        self.helds.append(held)
        try:
            await self.lets_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def _minutely(runs: Runs, missed: Missed = "once") -> list[Job]:
    return [Job("tick", Every(60), runs, missed=missed)]


async def _sleeps(clock: Clock) -> None:
    await until(lambda: clock.sleepers == 1)


def test_each_due_time_is_run_once_by_the_leader(hosts: str, path: str) -> None:
    """Three members; the runs are the leader's, fenced by it, and noted in the job's record."""

    async def main() -> None:
        clock, runs = Clock(), Runs()
        async with corral.connect(hosts) as zk, corral.connect(hosts) as other:
            members = [
                Schedule(client, path, _minutely(runs), identifier=b"m%d" % n, clock=clock)
                for n, client in enumerate([zk, zk, other])
            ]
            for count, member in enumerate(members, 1):
                await member.start()
                await until(lambda count=count: _count(zk, f"{path}/members/tick", count))
            await _sleeps(clock)

            for _ in range(3):
                clock.move(60)
                await _sleeps(clock)

            assert runs.minutes == [1, 2, 3]
            leader = await members[2].leader("tick")
            assert leader is not None
            assert leader.identifier == b"m0"
            assert [each.identifier for each in await members[0].members("tick")] == [b"m0", b"m1", b"m2"]
            progress = await members[1].progress("tick")
            assert progress is not None
            assert (progress.started, progress.finished) == (T0 + timedelta(minutes=3), T0 + timedelta(minutes=3))
            assert (progress.token, progress.by, progress.error) == (runs.helds[0].fencing_token, "m0", None)
            for member in members:
                assert await member.stop()

    run(main())


async def _count(zk: corral.AsyncClient, path: str, count: int) -> bool:
    return (0 if await zk.exists(path) is None else len(await zk.children(path))) == count


def test_an_interrupted_run_is_begun_again_by_the_next_leader(hosts: str, path: str) -> None:
    """The session of the leader expires in the middle: its run is cancelled, the other's has the same due time."""

    async def main() -> None:
        clock, first, second = Clock(), Runs(), Runs()
        async with (
            corral.connect(hosts) as zk,
            corral.connect(hosts) as other,
            Schedule(zk, path, _minutely(first), clock=clock),
        ):
            await _sleeps(clock)
            async with Schedule(other, path, _minutely(second), identifier=b"second", clock=clock) as heir:
                await until(lambda: _count(zk, f"{path}/members/tick", 2))
                first.lets_end.clear()
                clock.move(61)
                await until(lambda: bool(first.dues))

                await expire(zk, hosts)
                await until(lambda: bool(second.dues))
                await _sleeps(clock)

                assert first.cancelled == 1
                assert first.dues == second.dues == [T0 + timedelta(minutes=1)]
                assert second.helds[0].fencing_token > first.helds[0].fencing_token
                progress = await heir.progress("tick")
                assert progress is not None
                assert (progress.attempt, progress.by, progress.is_interrupted) == (2, "second", False)

    run(main())


def test_a_leader_that_was_replaced_unawares_begins_nothing(hosts: str, path: str) -> None:
    """It hears nothing of its session's end when the time comes; its note of the run is refused, and so the run."""

    async def main() -> None:
        clock, first, second = Clock(), Runs(), Runs()
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as zk,
            corral.connect(hosts) as other,
            Schedule(zk, path, _minutely(first), clock=clock),
        ):
            await _sleeps(clock)
            async with Schedule(other, path, _minutely(second), clock=clock):
                await until(lambda: _count(other, f"{path}/members/tick", 2))
                proxy.hold()
                for name in await other.children(f"{path}/members/tick"):
                    stat = await other.exists(f"{path}/members/tick/{name}")
                    if stat is not None and stat.ephemeral_owner == zk.session_id:
                        await other.delete(f"{path}/members/tick/{name}")
                await until(lambda: clock.sleepers == 2)

                clock.move(60)
                await until(lambda: bool(second.dues))
                proxy.flow()
                await until(lambda: _count(other, f"{path}/members/tick", 2))
                await _sleeps(clock)

                assert (first.dues, second.minutes) == ([], [1])

    run(main())


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("is_reply", [True, False])
def test_a_lost_note_makes_no_second_run(hosts: str, path: str, which: int, is_reply: bool) -> None:
    """The reply to the note of a beginning, or of an end, is lost, or the request: there is one run."""

    async def main() -> None:
        clock, runs = Clock(), Runs()
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as zk,
            Schedule(zk, path, _minutely(runs), clock=clock) as member,
        ):
            await _sleeps(clock)
            lose = proxy.lose_reply if is_reply else proxy.lose_request
            if which == 1:
                lose(MULTI)
            runs.lets_end.clear()
            clock.move(60)
            await until(lambda: bool(runs.dues))
            if which == 2:
                lose(MULTI)
            runs.lets_end.set()
            await _sleeps(clock)

            assert proxy.lost == 1
            assert runs.minutes == [1]
            progress = await member.progress("tick")
            assert progress is not None
            assert not progress.is_interrupted
            clock.move(60)
            await until(lambda: runs.minutes == [1, 2])

    run(main())


@pytest.mark.parametrize(
    ("missed", "expected"), [("skip", [1, 7]), ("once", [1, 6, 7]), ("all", [1, 2, 3, 4, 5, 6, 7])]
)
def test_what_was_missed_while_nobody_was_there(hosts: str, path: str, missed: Missed, expected: list[int]) -> None:
    """The record survives that all members are gone."""

    async def main() -> None:
        clock, runs = Clock(), Runs()
        async with corral.connect(hosts) as zk:
            jobs = [Job("tick", Every(60), runs, missed=missed, late_max_s=10 if missed == "skip" else None)]
            async with Schedule(zk, path, jobs, clock=clock):
                await _sleeps(clock)
                clock.move(60)
                await _sleeps(clock)

            clock.move(330)
            async with Schedule(zk, path, jobs, clock=clock):
                await _sleeps(clock)
                clock.move(30)
                await _sleeps(clock)

            assert runs.minutes == expected

    run(main())


@pytest.mark.parametrize("error", [ValueError("no luck"), asyncio.CancelledError("of what it waited for")], ids=repr)
def test_a_job_that_fails_is_run_again_when_it_is_due(hosts: str, path: str, error: BaseException) -> None:
    """Its error is in the record until the next run."""

    async def main() -> None:
        clock = Clock()
        dues: list[datetime] = []

        async def fail(held: Held, due: datetime) -> None:
            dues.append(due)
            if len(dues) == 1:
                raise error

        async with corral.connect(hosts) as zk:
            jobs = [Job("report", Cron("30 14 * * *", "Europe/Berlin"), fail)]
            async with Schedule(zk, path, jobs, clock=clock) as member:
                await _sleeps(clock)
                clock.move(2 * 3600)
                await _sleeps(clock)
                progress = await member.progress("report")
                assert progress is not None
                assert progress.error == repr(error)
                clock.move(24 * 3600)
                await _sleeps(clock)
                progress = await member.progress("report")
                assert progress is not None
                assert progress.error is None

            berlin = ZoneInfo("Europe/Berlin")
            assert dues == [datetime(2026, 11, day, 14, 30, tzinfo=berlin) for day in (21, 22)]
            assert dues[0].tzinfo == berlin

    run(main())


def test_stopping_waits_for_a_run_or_interrupts_it(hosts: str, path: str) -> None:
    """With time it ends and is settled; without, it is begun again later."""

    async def main() -> None:
        clock, runs = Clock(), Runs()
        async with corral.connect(hosts) as zk:
            member = Schedule(zk, path, _minutely(runs), clock=clock)
            for count, patience in enumerate((None, 0.0), 1):
                await member.start()
                await _sleeps(clock)
                runs.lets_end.clear()
                clock.move(60)
                await until(lambda count=count: len(runs.dues) == count)
                assert member.running == ["tick"]

                stopping = asyncio.create_task(member.stop(patience))
                await asyncio.sleep(0)
                runs.lets_end.set()

                assert await stopping is (patience is None)
                assert await zk.children(f"{path}/members/tick") == []
                progress = await member.progress("tick")
                assert progress is not None
                assert progress.is_interrupted is (patience is not None)
            assert runs.cancelled == 1
            async with member:
                await _sleeps(clock)
            assert runs.minutes == [1, 2, 2]

    run(main())


def test_stopped_at_every_await_leaves_nobody_in_line(hosts: str, path: str) -> None:
    """A member is stopped after 0, 1, 2 ... turns of the loop; each time its candidacy is gone in the end."""

    async def main() -> None:
        clock, runs = Clock(), Runs()
        async with corral.connect(hosts) as zk:
            for turns in range(45):
                member = Schedule(zk, path, _minutely(runs), clock=clock)
                await member.start()
                for _ in range(turns):
                    await asyncio.sleep(0)
                if turns % 3 == 2:
                    await zk.sync()
                clock.move(60)

                await member.stop()

                assert member.running == []
                await until(lambda: _count(zk, f"{path}/members/tick", 0))
            await until(lambda: not zk._tasks)

    run(main())


def test_a_record_deleted_by_hand_begins_anew(hosts: str, path: str) -> None:
    """The run that found it gone is not noted, and not begun; the next is."""

    async def main() -> None:
        clock, runs = Clock(), Runs()
        async with corral.connect(hosts) as zk, Schedule(zk, path, _minutely(runs), clock=clock):
            await _sleeps(clock)
            await zk.delete(f"{path}/jobs/tick")

            clock.move(60)
            await _sleeps(clock)
            clock.move(60)
            await _sleeps(clock)

            assert runs.minutes == [2]

    run(main())


class _Log:
    """Keeps errors."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **keys: Any) -> None:
        self.errors.append((event, keys))

    def info(self, event: str, **keys: Any) -> None: ...

    debug = warning = info


def test_a_record_that_cannot_be_read_is_left_alone_and_said(hosts: str, path: str) -> None:
    """The member does not lead what it cannot keep, so that one that can may."""

    async def main() -> None:
        clock, runs, log = Clock(), Runs(), _Log()
        async with corral.connect(hosts, log=log) as zk:
            await zk.create(f"{path}/jobs/tick", b"{}", make_parents=True)
            async with Schedule(zk, path, _minutely(runs), clock=clock) as member:
                await until(lambda: bool(log.errors))
                await until(lambda: _count(zk, f"{path}/members/tick", 0))

                event, keys = log.errors[0]
                assert event == "a job cannot be kept"
                assert "is no record of a job" in keys["why"]
                assert await member.leader("tick") is None
                assert (await zk.get(f"{path}/jobs/tick"))[0] == b"{}"

    run(main())


def test_a_schedule_says_what_it_does_not_know(hosts: str, path: str) -> None:
    """Two jobs of one name, a job of another member, a job without a record."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            member = Schedule(zk, path, _minutely(Runs()))

            with pytest.raises(ValueError, match="no job 'tock' here; there are tick"):
                await member.leader("tock")
            with pytest.raises(ValueError, match="jobs of one name: tick, tick"):
                Schedule(zk, path, _minutely(Runs()) * 2)
            assert await member.progress("tock") is None

    run(main())


def test_the_machine_s_clock_does_not_sleep_past_a_moment_that_is_over() -> None:
    """It returns at once, with a time that has its zone."""

    async def main() -> None:
        clock = SystemClock()

        await clock.sleep_until(clock.now() - timedelta(hours=1))

        assert clock.now().tzinfo is UTC

    run(main())
