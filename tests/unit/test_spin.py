"""Looking for what comes soon: found without sleeping, and tried less often where it does not come."""

from __future__ import annotations

from itertools import pairwise

from corral.base.spin import PAUSE_MAX, Spin


class Place:
    """Where something may come. Each look takes a nanosecond."""

    def __init__(self, comes_at: int = 1 << 62) -> None:
        self.comes_at = comes_at
        self.now = 0
        self.looks = 0
        self.rests = 0

    def spin(self, span_ns: int) -> Spin:
        return Spin(self.look, self.rest, lambda: self.now, span_ns)

    def look(self) -> bool:
        self.now += 1
        self.looks += 1
        return self.now >= self.comes_at

    def rest(self) -> None:
        self.rests += 1


def test_what_comes_in_time_is_found() -> None:
    place = Place(comes_at=7)
    spin = place.spin(10)

    assert spin.finds()
    assert (place.looks, place.rests) == (7, 6)
    assert spin.finds()


def test_it_looks_for_its_time_and_no_longer() -> None:
    place = Place(comes_at=11)

    assert not place.spin(10).finds()
    assert place.looks == place.rests == 10


def test_where_nothing_comes_it_looks_ever_less_often_until_something_does() -> None:
    place = Place()
    spin = place.spin(1)
    looked = []
    for n in range(4096):
        before = place.looks
        assert not spin.finds()
        if place.looks > before:
            looked.append(n)

    left_out = [later - look - 1 for look, later in pairwise(looked)]
    assert left_out[:4] == [1, 3, 7, 15]
    assert left_out[-2:] == [PAUSE_MAX, PAUSE_MAX]

    place.comes_at = 0
    assert [spin.finds() for _ in range(PAUSE_MAX + 2)][-2:] == [True, True]


def test_without_a_span_it_never_looks() -> None:
    place = Place(comes_at=0)

    assert not place.spin(0).finds()
    assert place.looks == 0
