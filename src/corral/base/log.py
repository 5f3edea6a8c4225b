"""The form of log lines: for people or as JSON, on standard error, with ISO times in UTC.

A logger is made once and passed in; nothing is configured globally, so two servers in one process keep their own.
Values under names that mean a secret are never written.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
SECRETS = ("password", "passwd", "secret", "authorization", "credentials", "superdigest", "super_digest")
HIDDEN = "(not shown)"

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
        processors += [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=_plain)]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, sort_keys=False))
    logger = structlog.wrap_logger(
        structlog.WriteLogger(out), processors=processors, wrapper_class=structlog.stdlib.BoundLogger
    )
    return cast(structlog.stdlib.BoundLogger, logger.bind())


def to_logging(name: str) -> structlog.stdlib.BoundLogger:
    """Make a logger that hands its lines to Python's own logging, as `event key=value ...`, under `name`."""
    processors: list[structlog.typing.Processor] = [structlog.stdlib.filter_by_level, _hide_secrets, _line]
    logger = structlog.wrap_logger(
        logging.getLogger(name), processors=processors, wrapper_class=structlog.stdlib.BoundLogger
    )
    return cast(structlog.stdlib.BoundLogger, logger.bind())


def _line(_logger: Any, _method: str, event: Event) -> tuple[tuple[str, str], dict[str, Any]]:
    """Spell an event for a logger that formats: its text is a value, so that no sign in it is taken for a format."""
    values = "".join(f" {key}={_plain(value)}" for key, value in event.items() if key != "event")
    return ("%s", f"{event['event']}{values}"), {}


def _from_level(levels: tuple[str, ...]) -> structlog.typing.Processor:
    """Make a processor that drops events of other levels than `levels`."""
    wanted = frozenset((*levels, "critical", "exception"))

    def drop(_logger: Any, method: str, event: Event) -> Event:
        if method not in wanted:
            raise structlog.DropEvent
        return event

    return drop


def _hide_secrets(_logger: Any, _method: str, event: Event) -> Event:
    """Replace the values of keys that name a secret."""
    for key in event:
        if any(secret in key.lower() for secret in SECRETS):
            event[key] = HIDDEN
    return event


def _plain(value: object) -> str:
    """Spell a value that JSON has no form for."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
