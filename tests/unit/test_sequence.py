"""Contenders' names: every library's form, strangers, and numbers that wrap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.recipes.line import before_reader, before_writer
from corral.recipes.sequence import distance, in_order, number_text, parse

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
HEX = UUID.replace("-", "")


@pytest.mark.parametrize(
    ("name", "marker", "number"),
    [
        (f"_c_{UUID}-lock-0000000007", "lock-", 7),
        (f"_c_{HEX}-lock-0000000007", "lock-", 7),
        (f"{HEX}__lock__0000000008", "__lock__", 8),
        (f"{HEX}__rlock__0000000009", "__rlock__", 9),
        (f"_c_{UUID}-__READ__2147483647", "__READ__", 2147483647),
        (f"_c_{UUID}-__WRIT__-2147483648", "__WRIT__", -2147483648),
        (f"_c_{UUID}-lock--000000005", "lock-", -5),
        (f"{HEX}__lock__-000000005", "__lock__", -5),
        (f"_c_{UUID}-lock--2000000000", "lock-", -2000000000),
    ],
)
def test_a_contender_of_any_library_is_recognised(name: str, marker: str, number: int) -> None:
    """The marker stands directly before the number, which may be negative."""
    found = parse(name)

    assert found is not None
    assert (found.marker, found.number) == (marker, number)


@pytest.mark.parametrize(
    "name",
    ["config", "lock-", "lock-7", "lock-00000000070", "lock-9999999999", "latch-0000000001", "lock-x0000000001", ""],
)
def test_a_stranger_is_no_contender(name: str) -> None:
    """Neither an unknown marker nor a number that no server prints counts."""
    assert parse(name) is None


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-1000, 1000))
def test_distance_goes_on_over_the_wrap(number: int, step: int) -> None:
    """The distance of two numbers is the count of creations between them, also over the wrap."""
    later = (number + step + (1 << 31)) % (1 << 32) - (1 << 31)

    assert distance(later, number) == step


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.lists(st.integers(0, 1 << 20), unique=True, max_size=20))
def test_order_is_that_of_creation_over_the_wrap(start: int, steps: list[int]) -> None:
    """Whatever order a listing has, the contenders come out as they were made."""
    made = [(start + step + (1 << 31)) % (1 << 32) - (1 << 31) for step in sorted(steps)]
    names = [f"x-lock-{number_text(number)}" for number in made]

    assert [each.number for each in in_order(reversed(names))] == made


def test_a_newcomer_past_the_wrap_waits_for_the_holder_before_it() -> None:
    """A plain comparison, as go-zookeeper's, would take the held lock."""
    names = ["a-lock-2147483647", "b-lock--2147483648"]

    assert before_writer(names, {names[1]}, -2147483648) == names[0]
    assert before_writer(names, {names[0]}, 2147483647) is None


def test_a_reader_waits_for_the_nearest_writer_and_a_writer_for_the_nearest_of_any() -> None:
    """Curator's first writer would wake all readers at each writer's end."""
    names = ["a-__WRIT__0000000001", "b-__WRIT__0000000002", "c-__READ__0000000003", "d-__READ__0000000004", "junk"]

    assert before_reader(names, {names[3]}, 4) == names[1]
    assert before_writer(names, {"e-__WRIT__0000000005"}, 5) == names[3]
    assert before_reader(names[2:], {names[3]}, 4) is None


def test_of_two_with_one_number_the_writer_is_first() -> None:
    """A writer that became a reader keeps its number; who comes next waits for the reader."""
    names = ["b-__READ__0000000005", "a-__WRIT__0000000005"]

    assert [each.name for each in in_order(names)] == [names[1], names[0]]
    assert before_writer(names, {"c-lock-0000000007"}, 7) == names[0]
