"""The log of code that runs in somebody else's program: lines go to Python's own logging, which the program configures.

It is called as a structlog logger is, which may stand in its place. structlog itself is not imported: with it the
import of a client would take half as long again, and most programs never show a line.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

SECRETS: Final = ("password", "passwd", "secret", "authorization", "credentials", "superdigest", "super_digest")
HIDDEN: Final = "(not shown)"
_CALLER: Final = 3
"""How far from `logging.Logger.log` the line of code is that has something to say."""


class LibraryLog:
    """Spells an event as `event key=value ...`, values under names that mean a secret left out. name: of the logger."""

    __slots__ = ("_bound", "_logger")

    def __init__(self, name: str, bound: Mapping[str, object] | None = None) -> None:
        self._logger = logging.getLogger(name)
        self._bound = bound or {}

    def bind(self, **values: object) -> LibraryLog:
        """Return a log whose every line has these values, too."""
        return LibraryLog(self._logger.name, {**self._bound, **values})

    def debug(self, event: str, **values: object) -> None:
        """Say what helps to find a fault."""
        self._log(logging.DEBUG, event, values)

    def info(self, event: str, **values: object) -> None:
        """Say what is as it should be."""
        self._log(logging.INFO, event, values)

    def warning(self, event: str, **values: object) -> None:
        """Say what may need a look."""
        self._log(logging.WARNING, event, values)

    def error(self, event: str, **values: object) -> None:
        """Say what has failed."""
        self._log(logging.ERROR, event, values)

    def _log(self, level: int, event: str, values: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            shown = hide_secrets({**self._bound, **values})
            text = "".join(f" {key}={plain(value)}" for key, value in shown.items())
            # The text is a value, so that no sign in it is taken for a format.
            self._logger.log(level, "%s", event + text, stacklevel=_CALLER)


def hide_secrets(values: dict[str, Any]) -> dict[str, Any]:
    """Replace the values under names that mean a secret, in place."""
    for key in values:
        if any(secret in key.lower() for secret in SECRETS):
            values[key] = HIDDEN
    return values


def plain(value: object) -> str:
    """Spell a value that has no form of its own in a log."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
