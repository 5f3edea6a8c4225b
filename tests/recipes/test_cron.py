"""When jobs are due, also where the clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.recipes.cron import Cron, Every, When

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]
EXPRESSIONS = [
    "*/7 * * * *",
    "30 2 * * *",
    "0,30 1-3 * * *",
    "5 * * * *",
    "0 12 * * MON-FRI",
    "15 2 29 2 *",
    "0 0 1 * *",
]


def _within(begin: datetime, hours: int) -> st.SearchStrategy[datetime]:
    return st.integers(0, hours * 3_600_000).map(lambda ms: begin + timedelta(milliseconds=ms))


@given(
    expression=st.sampled_from(EXPRESSIONS),
    zone=st.sampled_from(ZONES),
    # Half of them around changes of the clocks.
    now=st.one_of(
        _within(datetime(2001, 1, 1, tzinfo=UTC), 36 * 365 * 24),
        _within(datetime(2026, 3, 28, 22, tzinfo=UTC), 8),
        _within(datetime(2026, 10, 24, 22, tzinfo=UTC), 8),
        _within(datetime(2026, 11, 1, 4, tzinfo=UTC), 5),
        _within(datetime(2026, 10, 3, 12, tzinfo=UTC), 6),
    ),
)
def test_next_and_last_agree_everywhere(expression: str, zone: str, now: datetime) -> None:
    """No due time lies between the last one and the next one, whichever way they are looked for."""
    cron = Cron(expression, zone)

    last, following = cron.last(now), cron.next(now)

    assert last <= now < following
    assert cron.last(last) == last
    assert cron.next(last) == following
    assert cron.last(following - timedelta(microseconds=1)) == last
    assert cron.last(following) == following


def _day(when: When, zone: str, year: int, month: int, day: int) -> list[str]:
    """Return the due times of a day as the local clock shows them, with its distance from UTC."""
    at = datetime(year, month, day, tzinfo=ZoneInfo(zone)) - timedelta(microseconds=1)
    # A day later on the local clock, however many hours that are.
    end = datetime(year, month, day, tzinfo=ZoneInfo(zone)) + timedelta(days=1)
    shown = []
    while (at := when.next(at)) < end:
        shown.append(at.astimezone(ZoneInfo(zone)).strftime("%H:%M%z"))
    return shown


@pytest.mark.parametrize(
    ("expression", "day", "expected"),
    [
        ("30 2 * * *", (2026, 3, 28), ["02:30+0100"]),
        ("30 2 * * *", (2026, 3, 29), ["03:00+0200"]),  # 02:30 is left out.
        ("30 2 * * *", (2026, 10, 25), ["02:30+0200"]),  # 02:30 comes twice.
        ("30 1-3 * * *", (2026, 3, 29), ["01:30+0100", "03:00+0200", "03:30+0200"]),
        ("30 * * * *", (2026, 10, 25), [f"{h:02}:30+0{o}00" for h, o in [(0, 2), (1, 2), (2, 2), (2, 1)]]),
    ],
)
def test_changes_of_the_clocks_are_as_in_cron(expression: str, day: tuple[int, int, int], expected: list[str]) -> None:
    """A time that is left out comes right behind the gap, one that comes twice is taken once."""
    assert _day(Cron(expression, "Europe/Berlin"), "Europe/Berlin", *day)[: len(expected)] == expected


def test_a_time_that_came_twice_is_the_last_one_through_its_second_hour() -> None:
    """At the second 02:10 the job of 02:30 was due forty minutes ago, not a day and forty minutes."""
    cron = Cron("30 2 * * *", "Europe/Berlin")

    last = cron.last(datetime(2026, 10, 25, 1, 10, tzinfo=UTC))

    assert last == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_intervals_are_counted_from_1970() -> None:
    """All members have the same due times, whenever they began."""
    every = Every(90)
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)

    assert every.last(noon) == noon
    assert every.next(noon) == noon + timedelta(seconds=90)
    assert every.next(noon + timedelta(seconds=89.9)) == noon + timedelta(seconds=90)
    with pytest.raises(ValueError, match="an interval of 0 s: must be at least 1"):
        Every(0)


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("* * * *", "UTC", "must have the fields minute, hour"),
        ("0 * * * * *", "UTC", "must have the fields minute, hour"),
        ("61 * * * *", "UTC", "Bad minute"),
        ("0 0 31 2 *", "UTC", "Bad day-of-month"),
        ("0 0 * * *", "Mars/Base", "timezone 'Mars/Base': not in the timezone database"),
        ("0 0 * * *", "", "timezone ''"),
        ("0 0 * * *", "../etc", "timezone '../etc'"),
    ],
)
def test_what_is_no_time_is_refused(expression: str, zone: str, said: str) -> None:
    """The message has the value."""
    with pytest.raises(ValueError, match=said):
        Cron(expression, zone)
