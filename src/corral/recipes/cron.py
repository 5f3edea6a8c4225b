"""When jobs are due: cron expressions in a timezone, and fixed intervals.

Due times are pure functions of a moment; moments are aware datetimes, and what is returned is in UTC. At a change of
the clocks it is as in Debian's cron: what is due at a time that is left out is due right behind the gap, what is due at
a time that comes twice is due the first time, and what is due every so many minutes or every hour is just that.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from corral.recipes.errors import RecipeError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CHANGE_MAX: Final = timedelta(hours=3)
"""More than any clock was ever put back."""


class When(Protocol):
    """Due times. text: says which, the same for the same times. zone: in which a job is told of them."""

    text: str
    zone: tzinfo

    def next(self, after: datetime) -> datetime:
        """Return the first due time later than `after`."""

    def last(self, until: datetime) -> datetime:
        """Return the last due time not later than `until`."""


class Every:
    """Every so many seconds, counted from 1970: the same for all who ask. seconds: at least 1."""

    def __init__(self, seconds: int) -> None:
        if seconds < 1:
            raise ValueError(f"an interval of {seconds} s: must be at least 1")
        self._step = timedelta(seconds=seconds)
        self.text = f"every {seconds} s"
        self.zone: tzinfo = UTC

    def next(self, after: datetime) -> datetime:
        """Return the first due time later than `after`."""
        return self.last(after) + self._step

    def last(self, until: datetime) -> datetime:
        """Return the last due time not later than `until`."""
        return _EPOCH + (until - _EPOCH) // self._step * self._step


class Cron:
    """The times of a cron expression: minute, hour, day of the month, month, day of the week.

    timezone: a name of the IANA database. Raises ValueError for what is no expression, is never due, or no timezone;
    RecipeError if the package cronsim, which reads the expressions, is not installed.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as error:
            raise RecipeError("cron expressions need the package cronsim: install corral[schedule]") from error
        if len(expression.split()) != 5:
            raise ValueError(
                f"cron expression {expression!r}: must have the fields minute, hour, day of the month, month, day of "
                "the week"
            )
        try:
            self.zone: tzinfo = UTC if timezone == "UTC" else ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"timezone {timezone!r}: not in the timezone database") from error
        self._sim = CronSim
        self._expression = expression
        self.text = f"{' '.join(expression.split())} {timezone}"
        try:
            self.next(_EPOCH)
        except CronSimError as error:
            raise ValueError(f"cron expression {expression!r}: {error}") from error

    def next(self, after: datetime) -> datetime:
        """Return the first due time later than `after`."""
        for due in self._sim(self._expression, after.astimezone(self.zone)):
            # In UTC: in their own zone times are compared without regard to which of two equal ones they are.
            found = due.astimezone(UTC)
            if found > after:
                return found
        raise ValueError(f"cron expression {self._expression!r}: is never due after {after}")

    def last(self, until: datetime) -> datetime:
        """Return the last due time not later than `until`."""
        # From behind a change of the clocks, where there may be two times of one name, and the earlier one is meant.
        begin = until.astimezone(UTC) + _CHANGE_MAX
        for due in self._sim(self._expression, begin.astimezone(self.zone), reverse=True):
            found = due.astimezone(UTC)
            if found <= until:
                return found
        raise ValueError(f"cron expression {self._expression!r}: was never due before {until}")
