"""Which run comes next: after a pause, an interruption, a clock put back, a changed expression."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from corral.recipes.cron import Cron, Every
from corral.recipes.held import Held
from corral.recipes.job import (
    BadProgress,
    Job,
    Missed,
    Progress,
    begun,
    decode_progress,
    encode_progress,
    ended,
    plan,
    rescheduled,
)

T0 = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def _nothing(held: Held, due: datetime) -> None: ...


def _job(missed: Missed = "once", late_max_s: float | None = None, attempts_max: int = 3) -> Job:
    return Job("j", Every(60), _nothing, missed=missed, late_max_s=late_max_s, attempts_max=attempts_max)


def _done(due: datetime) -> Progress:
    return ended(begun(Progress("every 60 s", due - MINUTE), due, 1, "a"), None)


def test_a_new_job_has_missed_nothing() -> None:
    """Its first run is at the first due time behind its beginning, whatever the policy."""
    for missed in ("skip", "once", "all"):
        assert plan(_job(missed), Progress("every 60 s", T0), T0) == T0 + MINUTE


@pytest.mark.parametrize(
    ("missed", "late_max_s", "late", "expected"),
    [
        # Five minutes and some seconds behind the last settled run, minutes are counted from it.
        ("skip", None, 5 * 60 + 59, 5),
        ("skip", 10, 5 * 60 + 11, 6),
        ("once", None, 5 * 60 + 30, 5),
        ("once", 20, 5 * 60 + 30, 6),
        ("all", None, 5 * 60 + 30, 1),
        ("all", 120, 5 * 60 + 30, 4),
        ("all", None, 10 * 86400 + 30, 9 * 1440 + 1),
        ("once", None, 10 * 86400 + 30, 14400),
    ],
)
def test_missed_runs_are_made_up_for_as_the_policy_says(
    missed: Missed, late_max_s: float | None, late: int, expected: int
) -> None:
    """none, the last one, or each: unless it is too late."""
    due = plan(_job(missed, late_max_s), _done(T0), T0 + timedelta(seconds=late))

    assert due == T0 + expected * MINUTE


def test_no_due_time_comes_twice_if_the_clock_is_put_back() -> None:
    """The next run is behind the settled one, not behind the clock."""
    for missed in ("skip", "once", "all"):
        assert plan(_job(missed), _done(T0), T0 - timedelta(hours=3)) == T0 + MINUTE


def test_an_interrupted_run_is_begun_again_so_often_and_no_more() -> None:
    """Its due time stays; a run that kills its member does not do so for ever."""
    job = _job(attempts_max=2)
    later = T0 + 10 * MINUTE
    once = begun(_done(T0 - MINUTE), T0, 7, "a")

    assert plan(job, once, later) == T0
    twice = begun(once, T0, 9, "b")
    assert (twice.attempt, twice.token, twice.by) == (2, 9, "b")
    assert plan(job, twice, later) == later
    assert plan(_job(attempts_max=1), once, later) == later
    assert begun(twice, later, 9, "b").attempt == 1


def test_a_failed_run_is_settled_and_its_error_kept() -> None:
    """A failure is an end; the next run forgets it."""
    failed = ended(begun(_done(T0 - MINUTE), T0, 7, "a"), ValueError("x" * 5000))

    assert not failed.is_interrupted
    assert failed.error is not None
    assert failed.error.startswith("ValueError('xxx")
    assert len(failed.error) == 1000
    assert plan(_job(), failed, T0) == T0 + MINUTE
    assert begun(failed, T0 + MINUTE, 7, "a").error is None


def test_changed_times_make_up_for_nothing() -> None:
    """What the new expression would have wanted before is not missed."""
    job = Job("j", Cron("0 11 * * *"), _nothing)

    progress = rescheduled(job, _done(T0 - timedelta(days=2)), T0)

    assert plan(job, progress, T0) == T0 + timedelta(hours=23)
    assert rescheduled(job, progress, T0 + MINUTE) is progress


def test_a_record_is_read_as_it_was_written() -> None:
    """Also with nothing in it, and with times of other zones."""
    for progress in (
        Progress("every 60 s", T0),
        begun(_done(T0), T0 + MINUTE, 1 << 40, "höst"),
        replace(_done(T0), error="ValueError()"),
    ):
        assert decode_progress(encode_progress(progress)) == progress


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'"x"',
        b"\xff",
        encode_progress(_done(T0)).replace(b"1,", b"2,", 1),
        encode_progress(_done(T0)).replace(b"+00:00", b""),
        encode_progress(_done(T0)).replace(b"2026", b"20x6"),
    ],
)
def test_a_strange_record_is_refused(data: bytes) -> None:
    """One error for whatever is not understood, another version too."""
    with pytest.raises(BadProgress, match="is no record of a job"):
        decode_progress(data)


@pytest.mark.parametrize("name", ["", "a/b", ".", ".."])
def test_a_job_needs_the_name_of_a_node(name: str) -> None:
    """The message has it."""
    with pytest.raises(ValueError, match="must be the name of a node"):
        Job(name, Every(1), _nothing)


def test_a_job_refuses_what_means_nothing() -> None:
    """An unknown policy, no attempt at all."""
    with pytest.raises(ValueError, match="missed 'never': must be one of skip, once, all"):
        Job("j", Every(1), _nothing, missed="never")  # type: ignore[arg-type]  # That is the test.
    with pytest.raises(ValueError, match="attempts_max 0: must be at least 1"):
        _job(attempts_max=0)
