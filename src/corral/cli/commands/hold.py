"""`corral lock` and `corral elect`: run a command while a lock is held, or whenever elected."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import click

from corral.base.errors import CorralError
from corral.base.paths import validate_path
from corral.cli import INTERRUPTED
from corral.cli.connection import Connection, Seconds, connection_of, server_option
from corral.cli.failures import complain


def _hold_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--grace", "grace_s", type=Seconds(min=0), default=10.0, show_default=True,
                           metavar="SECONDS", help="How long after SIGTERM until SIGKILL.")(command)  # fmt: skip
    command = click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)(command)
    return server_option(click.argument("path")(command))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--wait", "wait_s", type=Seconds(min=0, min_open=True), metavar="SECONDS",
              help="How long to wait for the lock; for ever unless given.")  # fmt: skip
@_hold_options
def lock(path: str, command: tuple[str, ...], wait_s: float | None, grace_s: float, **given: Any) -> None:
    """Run COMMAND while the lock at PATH is held.

    COMMAND finds a fencing token in CORRAL_FENCING_TOKEN. It is stopped if the lock is lost. The exit code is
    COMMAND's; 123 if the lock was lost, 124 if others held it, 125 if it could not be asked for, 126 and 127 if COMMAND
    cannot be run or found.
    """
    sys.exit(_run(connection_of(given), path, command, wait_s, grace_s, again=False))


@click.command(context_settings={"ignore_unknown_options": True})
@_hold_options
def elect(path: str, command: tuple[str, ...], grace_s: float, **given: Any) -> None:
    """Run COMMAND while elected at PATH; if that is lost, stop it, stand again, and run it anew.

    Candidates stand as Curator's leader latches do. The exit code is COMMAND's, when it ends by itself; others
    as those of `corral lock`.
    """
    sys.exit(_run(connection_of(given), path, command, None, grace_s, again=True))


def _run(
    connection: Connection, path: str, command: tuple[str, ...], wait_s: float | None, grace_s: float, *, again: bool
) -> int:
    from corral.cli import hold  # Here, so that --help need not wait for the client's imports.

    def say(what: str) -> None:
        click.echo(f"corral: {what}", err=True)

    async def main() -> int:
        async with await connection.open() as zk:
            return await hold.Holder(path, command, grace_s, say).run(zk, wait_s, again)

    try:
        validate_path(path.encode("utf-8", "surrogatepass"))
        if shutil.which(command[0]) is None:
            if command[0].startswith("-"):
                say(f"{command[0]} is neither an option nor a command")
                return hold.NOT_FOUND
            # Said before others are kept from the lock.
            if os.path.exists(command[0]) and "/" in command[0]:
                say(f"{command[0]} cannot be run")
                return hold.NOT_EXECUTABLE
            say(f"there is no command {command[0]}")
            return hold.NOT_FOUND
        return asyncio.run(main())
    except CorralError as error:
        complain(error)
        return hold.FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
