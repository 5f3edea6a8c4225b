"""The decorator for value objects.

A record is a plain slots class at run time, which is what hot code needs, and read-only to the type checker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make `cls` a value object: positional fields, equality by value, no `__dict__`."""
    return dataclass(slots=True)(cls)
