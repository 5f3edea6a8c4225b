"""`corral shell`: commands for znodes, typed, from a script, or on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from corral.base.errors import CorralError
from corral.cli import INTERRUPTED
from corral.cli.connection import DEFAULT_SERVERS, SERVERS_VARIABLE, Connection, connection_of, connection_options
from corral.cli.failures import UsageError, complain, exit_unread, exit_unwritten


@click.command()
@click.argument("servers", metavar="[HOST:PORT,...]", envvar=SERVERS_VARIABLE, default=DEFAULT_SERVERS)
@click.option("--command", "-c", "commands", multiple=True, metavar="COMMAND", help="Run this; may be repeated.")
@click.option("--json", "is_json", is_flag=True, help="Results as JSON, one value a line.")
@click.option("--keep-going", "-k", is_flag=True, help="Go on after a command of -c or of a script that failed.")
@connection_options
def shell(commands: tuple[str, ...], is_json: bool, keep_going: bool, **given: Any) -> None:
    """Talk to the servers at HOST:PORT (127.0.0.1:2181), below a chroot if one follows: a:2181,b:2181/app.

    With -c it runs these commands, without a terminal the lines of standard input, up to the first that fails. The
    exit code is that of the command that failed: 1 refused, 2 used wrongly, 3 no answer.
    """
    connection = connection_of(given)
    is_terminal = sys.stdout.isatty()
    try:
        if not commands and sys.stdin.isatty():
            from corral.cli.shell.interactive import converse  # Here: it may load much, and scripts need none of it.

            sys.exit(converse(connection, is_json))
        lines: Iterable[str] = commands or sys.stdin
        sys.exit(_run(connection, lines, is_json, is_terminal, keep_going))
    except CorralError as error:
        sys.exit(complain(error))
    except UnicodeDecodeError as error:
        sys.exit(complain(UsageError(f"standard input is not UTF-8: {error.reason} at byte {error.start}")))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        exit_unread()
    except OSError as error:
        exit_unwritten(error)


def _run(connection: Connection, lines: Iterable[str], is_json: bool, is_terminal: bool, keep_going: bool) -> int:
    """Run commands, one after the other. The session lives, and events are shown, while a script's next one is awaited.

    Raises what connecting fails with.
    """
    from corral.cli.shell.context import Context  # Here, so that --help need not wait for the client's imports.
    from corral.cli.shell.execute import execute
    from corral.cli.shell.interactive import LoopThread
    from corral.cli.shell.session import Quit

    context = Context(connection, click.echo, is_json=is_json, is_terminal=is_terminal)
    status = 0
    loop = LoopThread()
    try:
        loop.run(context.connect())
        for line in lines:
            # The first failure is what a script asks about.
            ended = loop.run(execute(context, line))
            status = status or ended
            if status and not keep_going:
                break
    except Quit:
        pass
    finally:
        loop.run(context.close())
        loop.stop()
    return status
