"""Who holds a lock of those who share a lock object: the task, or whom `OWNER` names."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextvars import ContextVar
from typing import Final

OWNER: Final[ContextVar[Hashable]] = ContextVar("corral_recipes_owner", default=None)
"""Set where one owner's calls run in several tasks, as a thread's do that uses the blocking client."""


def current_owner() -> Hashable:
    """Return who makes the present call."""
    named = OWNER.get()
    return named if named is not None else asyncio.current_task()
