"""The form of the server's log lines: for people or as JSON, on standard error, with ISO times in UTC.

A logger is made once and passed in; nothing is configured globally, so two servers in one process keep their own.
Values under names that mean a secret are never written. A line that cannot be written, on a full disk or to a pipe
that nobody reads any more, is lost, and whoever had something to say goes on.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

from corral.base.liblog import hide_secrets, plain

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

Event = MutableMapping[str, Any]


def configure(
    log_format: str = "text", level: str = "info", stream: TextIO | None = None
) -> structlog.stdlib.BoundLogger:
    """Make a logger that writes lines of `log_format` from `level` on to `stream`, standard error unless given.

    log_format: one of FORMATS. level: one of LEVELS. A stream that is a terminal gets colours.
    """
    if level not in LEVELS or log_format not in FORMATS:
        raise ValueError(f"no such log level or format: {level}, {log_format}")
    out = sys.stderr if stream is None else stream
    processors: list[structlog.typing.Processor] = [
        _from_level(LEVELS[LEVELS.index(level) :]),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    if log_format == "json":
        processors += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=plain)]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, sort_keys=False))
    lines = structlog.WriteLogger(cast(TextIO, _Lossy(out)))
    logger = structlog.wrap_logger(lines, processors=processors, wrapper_class=structlog.stdlib.BoundLogger)
    return cast(structlog.stdlib.BoundLogger, logger.bind())


class _Lossy:
    """A stream that never fails: a log's full disk must not stop what is logged, such as the expiry of sessions."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write `text` if that can be done."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Have written what waits, if that can be done."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def _from_level(levels: tuple[str, ...]) -> structlog.typing.Processor:
    """Make a processor that drops events of other levels than `levels`."""
    wanted = frozenset((*levels, "critical", "exception"))

    def drop(_logger: Any, method: str, event: Event) -> Event:
        if method not in wanted:
            raise structlog.DropEvent
        return event

    return drop


def _hide_secrets(_logger: Any, _method: str, event: Event) -> Event:
    """Leave out the values of keys that name a secret."""
    hide_secrets(cast(dict[str, Any], event))
    return event
