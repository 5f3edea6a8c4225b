"""What the compiler of the optional build is told about a class. Interpreted, it says nothing and needs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        """Return a decorator that leaves a class as it is. Options: see mypyc's documentation."""
        return lambda cls: cls
