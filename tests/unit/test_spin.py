"""Looking for what comes soon: found without sleeping, and tried less often where it does not come."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import pytest

from corral.base import spin
from corral.base.spin import PAUSE_MAX, Spin


class Clock:
    """A clock that goes on by a nanosecond each time somebody looks."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> int:
        self.looks += 1
        return self.looks


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(spin, "time", SimpleNamespace(monotonic_ns=clock))
    monkeypatch.setattr(spin, "PROCESSORS", 2)
    return clock


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_is_there_is_found(pipe: tuple[int, int]) -> None:
    waiting = Spin(pipe[0], 10)
    os.write(pipe[1], b"x")

    assert waiting.finds()
    assert waiting.finds()


def test_it_looks_for_its_time_and_no_longer(pipe: tuple[int, int], clock: Clock) -> None:
    assert not Spin(pipe[0], 10).finds()

    assert clock.looks == 11


def test_where_nothing_comes_it_looks_ever_less_often_until_something_does(pipe: tuple[int, int], clock: Clock) -> None:
    waiting = Spin(pipe[0], 2)
    looks = []
    for n in range(4096):
        before = clock.looks
        assert not waiting.finds()
        if clock.looks > before:
            looks.append(n)

    left_out = [later - look - 1 for look, later in pairwise(looks)]
    assert left_out[:4] == [1, 3, 7, 15]
    assert left_out[-2:] == [PAUSE_MAX, PAUSE_MAX]

    os.write(pipe[1], b"x")
    while not waiting.finds():
        pass
    assert waiting.finds()


@pytest.mark.parametrize(("processors", "span_ns"), [(1, 10), (2, 0)])
def test_alone_or_without_a_span_it_never_looks(
    pipe: tuple[int, int], clock: Clock, monkeypatch: pytest.MonkeyPatch, processors: int, span_ns: int
) -> None:
    monkeypatch.setattr(spin, "PROCESSORS", processors)
    waiting = Spin(pipe[0], span_ns)
    os.write(pipe[1], b"x")

    assert not waiting.finds()
    assert clock.looks == 0
