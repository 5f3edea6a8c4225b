"""The shell's commands for the connection and for the shell itself, and the table of all commands."""

from __future__ import annotations

from itertools import islice
from typing import Final

from corral import __version__
from corral.cli.failures import UsageError
from corral.cli.shell import access, ensemble, nodes, quotas, watching
from corral.cli.shell.context import Command, Context
from corral.cli.shell.words import Args

HISTORY_SHOWN: Final = 11


class Quit(Exception):
    """The user wants to leave."""


async def _connect(context: Context, args: Args) -> None:
    await context.connect(args.at(0) or None)
    context.emit(f"Connected to {context.zk.server}", {"connected": context.zk.server})


async def _close(context: Context, args: Args) -> None:
    await context.close()


async def _quit(context: Context, args: Args) -> None:
    raise Quit


async def _version(context: Context, args: Args) -> None:
    context.emit(f"corral {__version__}", {"version": __version__})


async def _history(context: Context, args: Args) -> None:
    for number, line in islice(context.history, max(0, len(context.history) - HISTORY_SHOWN), None):
        context.emit(f"{number} - {line}", {"number": number, "line": line})


async def _redo(context: Context, args: Args) -> None:
    # The shell puts the line itself in its place; here comes only what cannot be found.
    raise UsageError(f"history has no command {args.at(0)}")


async def _help(context: Context, args: Args) -> None:
    wanted = [COMMANDS[name] for name in sorted(COMMANDS, key=str.lower) if args.at(0) in ("", name)]
    if not wanted:
        raise UsageError(f"there is no command {args.at(0)!r}; help shows all")
    for command in wanted:
        text = f"{command.usage}\n    {command.summary}"
        context.emit(text, {"command": command.name, "usage": command.usage, "summary": command.summary})


_OWN: Final = (
    Command("connect", "connect [host:port,...]", "connect, to the same servers or to others", _connect, most=1),
    Command("close", "close", "end the session", _close),
    Command("quit", "quit", "end the session and leave", _quit),
    Command("exit", "exit", "end the session and leave", _quit),
    Command("version", "version", "the version of this shell", _version),
    Command("history", "history", f"the last {HISTORY_SHOWN} commands", _history),
    Command("redo", "redo number", "do a command of the history again", _redo, least=1, most=1),
    Command("help", "help [command]", "what there is", _help, most=1),
)

COMMANDS: Final = {
    command.name: command
    for group in (nodes, access, quotas, watching, ensemble)
    for command in group.COMMANDS
} | {command.name: command for command in _OWN}  # fmt: skip
