"""Running a server in the foreground until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from typing import Any, TextIO, cast

import uvloop

from corral.base.errors import CorralError
from corral.base.log import configure
from corral.replica.config import Config
from corral.server.auditfile import AuditFile
from corral.server.standalone import Server

EXIT_OK = 0
EXIT_REFUSED = 2
EXIT_DISK = 3


def run(config: Config, log: Any) -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit code."""
    # Until it serves there is nothing to put in order, and reading the data may take long: a signal ends it at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        return uvloop.run(_serve(config, log))
    except KeyboardInterrupt:
        log.info("stopped while it started")
        return EXIT_OK
    except CorralError as error:
        log.error("the server does not start", why=str(error))
        return EXIT_REFUSED


def _interrupt(*_: object) -> None:
    """End a start. Not Python's own handler: asyncio would replace that by one that waits for the data to be read."""
    raise KeyboardInterrupt


async def _serve(config: Config, log: Any) -> int:
    _raise_descriptor_limit()
    audit_file = AuditFile(config.audit_file, log) if config.audit_enable and config.audit_file else None
    try:
        # Whatever the log's level is, the audit log is complete.
        audit = configure(config.log_format, stream=cast(TextIO | None, audit_file)).info
        return await _serve_until_told(Server(config, log, audit))
    finally:
        if audit_file is not None:
            audit_file.close()


async def _serve_until_told(server: Server) -> int:
    # Off until the nodes are out of its sight: it would look at all of them first.
    gc.disable()
    await server.start()
    _tune_collector()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    server.node.stopped.add_done_callback(lambda _: told.set())
    await told.wait()
    await server.stop()
    return EXIT_DISK if server.node.stopped.done() else EXIT_OK


def _tune_collector() -> None:
    """Keep the cycle collector off the nodes: a million of them would stop the server for half a second each time.

    Nodes are never part of a cycle. What is young is still collected, often and in no time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 1_000_000, 1_000_000)
    gc.enable()


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
