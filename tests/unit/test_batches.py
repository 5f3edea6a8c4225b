"""How many writes go to the disk together: a half of many, whatever there is of few."""

from __future__ import annotations

from corral.server.batches import FADES, HALVED_MIN, PATIENCE_S, Batches

CROWD = 2 * HALVED_MIN


class Turns:
    """Batches by a clock of the test's own, told of a crowd of writers."""

    def __init__(self, crowd: int = CROWD) -> None:
        self.now = 100.0
        self.batches = Batches(lambda: self.now)
        self.batches.handed(crowd, False)

    def is_early(self, waiting: int, has_answered: bool = False, after_s: float = 0.0) -> bool:
        """Let time pass, and ask."""
        self.now += after_s
        return self.batches.is_early(waiting, has_answered)


def test_few_are_not_halved_and_wait_for_nobody() -> None:
    turns = Turns(HALVED_MIN - 1)

    assert turns.batches.size == 0
    assert not turns.is_early(1, has_answered=True)


def test_half_of_many_is_a_batch() -> None:
    turns = Turns()

    assert turns.batches.size == CROWD // 2
    assert turns.is_early(CROWD // 2 - 1, has_answered=True)
    assert not turns.is_early(CROWD // 2)


def test_a_write_waits_for_those_who_were_just_answered_and_for_nobody_else() -> None:
    turns = Turns()

    assert not turns.is_early(1)
    assert turns.is_early(1, has_answered=True)
    assert turns.is_early(1)


def test_nothing_waits_for_nothing() -> None:
    turns = Turns()

    assert not turns.is_early(0, has_answered=True)
    assert turns.is_early(1)


def test_it_waits_as_long_as_others_come_or_are_answered() -> None:
    turns = Turns()
    pause_s = 0.6 * PATIENCE_S

    assert turns.is_early(1, has_answered=True)
    assert turns.is_early(2, after_s=pause_s)
    assert turns.is_early(2, has_answered=True, after_s=pause_s)
    assert turns.is_early(2, after_s=pause_s)
    assert not turns.is_early(2, after_s=pause_s)


def test_who_was_answered_before_a_batch_went_is_not_expected_after_it() -> None:
    turns = Turns()

    assert turns.is_early(1, has_answered=True)
    turns.batches.handed(CROWD, False)
    assert not turns.is_early(1)
    turns.batches.handed(CROWD, True)
    assert turns.is_early(1)


def test_a_crowd_is_forgotten_by_and_by() -> None:
    turns = Turns(1000)
    sizes = []
    while turns.batches.size:
        sizes.append(turns.batches.size)
        turns.batches.handed(1, False)

    assert sizes[0] == 500
    assert sizes == sorted(sizes, reverse=True)
    assert FADES < len(sizes) < 8 * FADES
