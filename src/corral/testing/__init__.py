"""For tests of code that uses ZooKeeper: a server in the test's own process, faults on demand, a pytest plugin.

Nothing is imported before it is asked for: the plugin is loaded in every run of pytest, used or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corral.testing.embedded import EmbeddedServer as EmbeddedServer
    from corral.testing.faults import Fault as Fault
    from corral.testing.faults import FaultError as FaultError

_PLACES = {"EmbeddedServer": "embedded", "Fault": "faults", "FaultError": "faults"}

__all__ = ["EmbeddedServer", "Fault", "FaultError"]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
