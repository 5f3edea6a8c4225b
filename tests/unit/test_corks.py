"""When replies leave: at once for one that is alone, together at the end of a turn for several."""

from __future__ import annotations

from collections.abc import Callable

from corral.server.corks import LOOKS_APART, TOGETHER_MAX, TURNS_ALONE, Corks


class Turns:
    """A loop that turns by hand. sent: the names of who has sent, in order."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._soon: list[Callable[[], None]] = []
        self.corks = Corks(self._soon.append)

    def turn(self, *names: str) -> int:
        """Have these send in one turn; return how many had sent before it was over."""
        before = len(self.sent)
        for name in names:
            self.corks.send(Named(name, self.sent))
        at_once = len(self.sent) - before
        soon, self._soon[:] = self._soon[:], []
        for call in soon:
            call()
        return at_once


class Named:
    def __init__(self, name: str, sent: list[str]) -> None:
        self._name = name
        self._sent = sent

    def send(self) -> None:
        self._sent.append(self._name)


def test_several_send_at_the_end_of_their_turn_in_order() -> None:
    turns = Turns()

    assert turns.turn("a", "b", "c") == 0
    assert turns.turn("b") == 0
    assert turns.sent == ["a", "b", "c", "b"]


def test_one_that_is_alone_for_some_turns_sends_at_once() -> None:
    turns = Turns()
    at_once = [turns.turn("a") for _ in range(TURNS_ALONE + 3)]

    assert at_once == [0] * TURNS_ALONE + [1] * 3
    assert turns.sent == ["a"] * len(at_once)


def test_others_are_noticed_after_a_while() -> None:
    turns = Turns()
    for _ in range(TURNS_ALONE):
        turns.turn("a")
    at_once = [turns.turn("a", "b") for _ in range(LOOKS_APART)]

    assert at_once[0] == 2
    assert at_once[-1] == 0
    assert turns.sent[TURNS_ALONE:] == ["a", "b"] * LOOKS_APART


def test_one_that_stays_alone_is_looked_at_rarely() -> None:
    turns = Turns()
    waited = [turns.turn("a") for _ in range(TURNS_ALONE + 10 * (LOOKS_APART + 1))].count(0)

    assert waited == TURNS_ALONE + 10


def test_a_long_turn_sends_in_between() -> None:
    turns = Turns()
    names = [str(number) for number in range(2 * TOGETHER_MAX + 5)]

    assert turns.turn(*names) == 2 * TOGETHER_MAX
    assert turns.sent == names
