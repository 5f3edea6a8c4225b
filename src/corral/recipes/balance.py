"""Which of several is taken: strategies, and who is left out after errors. Without clocks; chance comes in.

Each `pick` gets those that there are, in one order, and returns one of them, None if there are none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from corral.recipes.service_instance import ServiceInstance


class Chance(Protocol):
    """Where a random strategy draws from."""

    def randrange(self, stop: int, /) -> int: ...


class Strategy(Protocol):
    """How one of several instances is chosen."""

    def pick(self, instances: Sequence[ServiceInstance]) -> ServiceInstance | None:
        """Choose."""


class RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._next = 0

    def pick(self, instances: Sequence[ServiceInstance]) -> ServiceInstance | None:
        """Choose the next."""
        if not instances:
            return None
        picked = instances[self._next % len(instances)]
        self._next += 1
        return picked


class RandomChoice:
    """Any. rng: a `random.Random`."""

    def __init__(self, rng: Chance) -> None:
        self._rng = rng

    def pick(self, instances: Sequence[ServiceInstance]) -> ServiceInstance | None:
        """Choose by chance."""
        return instances[self._rng.randrange(len(instances))] if instances else None


class Sticky:
    """The same as before for as long as it is there, then whichever `strategy` chooses."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._id: str | None = None

    def pick(self, instances: Sequence[ServiceInstance]) -> ServiceInstance | None:
        """Choose the one of last time."""
        for instance in instances:
            if instance.id == self._id:
                return instance
        picked = self._strategy.pick(instances)
        self._id = None if picked is None else picked.id
        return picked


class DownPolicy:
    """Who is left out: an instance with `errors` errors or more within the last `window` seconds."""

    def __init__(self, errors: int = 2, window: float = 30.0) -> None:
        if errors < 1 or window <= 0:
            raise ValueError(f"{errors} errors within {window} s: both must be positive")
        self._errors = errors
        self._window = window
        self._noted: dict[str, deque[float]] = {}

    def note(self, instance_id: str, now: float) -> None:
        """Note an error of an instance, at `now`, in monotonic seconds."""
        self._noted.setdefault(instance_id, deque(maxlen=self._errors)).append(now)

    def is_down(self, instance_id: str, now: float) -> bool:
        """Tell whether an instance is left out."""
        noted = self._noted.get(instance_id)
        if noted is None:
            return False
        if now - noted[-1] >= self._window:
            del self._noted[instance_id]
            return False
        return len(noted) == self._errors and now - noted[0] < self._window

    def keep(self, ids: set[str]) -> None:
        """Forget all others."""
        for each in [each for each in self._noted if each not in ids]:
            del self._noted[each]
