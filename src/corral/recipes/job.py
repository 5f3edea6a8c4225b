"""What is to be run, what is known of its runs, and which run comes next: no I/O, and the clock is a parameter.

A job's record says up to which due time it is settled. A run is noted before it begins and after it has ended, so one
that was begun and not ended was interrupted; it is run again, with the same due time, by whoever leads then.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal

from corral.base.records import record
from corral.recipes.cron import When
from corral.recipes.errors import RecipeError
from corral.recipes.held import Held

Missed = Literal["skip", "once", "all"]
"""Which runs are made up for that were due while nobody could run them: none, the last one, or each, in order."""
Run = Callable[[Held, datetime], Awaitable[object]]
"""run(held, due): what a job does. due: the time it was due at, in the job's timezone."""

VERSION: Final = 1
ERROR_CHARS_MAX: Final = 1000
_LATE_MAX: Final[dict[Missed, timedelta]] = {
    "skip": timedelta(minutes=1),
    "once": timedelta.max,
    "all": timedelta(days=1),
}


class BadProgress(RecipeError):
    """A job's node does not hold a job's record."""


class Job:
    """Something to be run at its times, by one member at a time.

    name: of its nodes, the same at all members. when: `Cron(...)` or `Every(...)`. late_max_s: by how many seconds a
    run may be late; one that is later is left out. Unless given a minute for "skip", a day for "all", no limit for
    "once". attempts_max: how often a run is begun that each time was interrupted; 1 for what must never run twice.
    """

    def __init__(
        self, name: str, when: When, run: Run, *, missed: Missed = "once", late_max_s: float | None = None,
        attempts_max: int = 3,
    ) -> None:  # fmt: skip
        if not name or "/" in name or name in (".", ".."):
            raise ValueError(f"a job's name {name!r}: must be the name of a node, without a slash")
        if missed not in _LATE_MAX:
            raise ValueError(f"missed {missed!r}: must be one of {', '.join(_LATE_MAX)}")
        if attempts_max < 1:
            raise ValueError(f"attempts_max {attempts_max}: must be at least 1")
        self.name = name
        self.when = when
        self.run = run
        self.missed: Missed = missed
        self.late_max = _LATE_MAX[missed] if late_max_s is None else timedelta(seconds=late_max_s)
        self.attempts_max = attempts_max


@record
class Progress:
    """What is known of a job's runs.

    when: its times, as text. since: what was due until then does not count. started, finished: due times of the last
    run that was begun, and of the last that ended. attempt: how often the last one was begun. token: of the leader that
    began it. by: that leader's identifier. error: what the last run ended with, None if it ended well.
    """

    when: str
    since: datetime
    started: datetime | None = None
    finished: datetime | None = None
    attempt: int = 0
    token: int = 0
    by: str = ""
    error: str | None = None

    @property
    def is_interrupted(self) -> bool:
        """Whether the last run was begun and has not ended; it may be under way."""
        return self.started is not None and self.started != self.finished


def plan(job: Job, progress: Progress, now: datetime) -> datetime:
    """Return the due time to run next; in the future if nothing is to be run now.

    Never a time that is settled, also if the clock was put back.
    """
    started = progress.started
    if started is not None and progress.is_interrupted and progress.attempt < job.attempts_max:
        return started
    settled = progress.since if started is None else max(progress.since, started)
    if settled >= now:
        return job.when.next(settled)
    if job.missed == "all":
        return job.when.next(max(settled, now - job.late_max))
    latest = job.when.last(now)
    return latest if latest > settled and now - latest <= job.late_max else job.when.next(now)


def rescheduled(job: Job, progress: Progress, now: datetime) -> Progress:
    """Return `progress` for a job whose times were changed: what was due by the new ones until now does not count."""
    return replace(progress, when=job.when.text, since=now) if progress.when != job.when.text else progress


def begun(progress: Progress, due: datetime, token: int, by: str) -> Progress:
    """Return `progress` with the run of `due` begun."""
    attempt = progress.attempt + 1 if progress.is_interrupted and progress.started == due else 1
    return replace(progress, started=due, attempt=attempt, token=token, by=by, error=None)


def ended(progress: Progress, error: BaseException | None) -> Progress:
    """Return `progress` with its run ended. error: what it raised."""
    why = repr(error)[:ERROR_CHARS_MAX] if error is not None else None
    return replace(progress, finished=progress.started, error=why)


def encode_progress(progress: Progress) -> bytes:
    """Return the record as it is kept in the job's node: a JSON object, times in ISO 8601."""
    fields = {
        "version": VERSION,
        "when": progress.when,
        "since": progress.since.isoformat(),
        "started": progress.started.isoformat() if progress.started is not None else None,
        "finished": progress.finished.isoformat() if progress.finished is not None else None,
        "attempt": progress.attempt,
        "token": progress.token,
        "by": progress.by,
        "error": progress.error,
    }
    return json.dumps(fields).encode()


def decode_progress(data: bytes) -> Progress:
    """Read a record. Raises BadProgress."""
    try:
        fields = json.loads(data)
        if fields["version"] != VERSION:
            raise ValueError(f"version {fields['version']!r}, expected {VERSION}")
        return Progress(
            str(fields["when"]), _moment(fields["since"]),
            _moment(fields["started"]) if fields["started"] is not None else None,
            _moment(fields["finished"]) if fields["finished"] is not None else None,
            int(fields["attempt"]), int(fields["token"]), str(fields["by"]), fields["error"],
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadProgress(f"{data[:100]!r} is no record of a job: {error!r}") from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no timezone")
    return moment
