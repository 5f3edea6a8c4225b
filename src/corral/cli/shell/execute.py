"""One line of the shell: finding the command, running it, and saying what went wrong."""

from __future__ import annotations

import difflib
import json

import click

from corral.base.errors import CorralError, Outcome
from corral.cli.failures import UsageError, sentence_of, status_of
from corral.cli.shell.context import Context
from corral.cli.shell.session import COMMANDS
from corral.cli.shell.words import parse, split


async def execute(context: Context, line: str) -> int:
    """Run a line; return its exit code. Errors are printed to standard error. Raises Quit."""
    line = line.strip()
    if not line or line.startswith("#"):
        return 0
    try:
        line = _redone(context, line)
        context.history.append((context.number, line))
        context.number += 1
        await _run(context, line)
    except (CorralError, TimeoutError) as error:
        _complain(context, error)
        return status_of(error)
    return 0


async def _run(context: Context, line: str) -> None:
    if not line.isascii() and any("\ud800" <= char <= "\udfff" for char in line):
        raise UsageError("the command is not UTF-8")
    name, *words = split(line)
    command = COMMANDS.get(name)
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        perhaps = f"did you mean {near[0]}?" if near else "help shows all"
        raise UsageError(f"there is no command {name!r}; {perhaps}")
    args = parse(command.usage, words, command.flags, command.valued, command.least, command.most)
    if command.is_endless or args.has("R") or args.options.get("f") == "-":
        await command.run(context, args)
    else:
        await context.bounded(command.run(context, args))


def _redone(context: Context, line: str) -> str:
    """Return the line that `redo` means; any other as it is."""
    words = line.split()
    if words[0] != "redo" or len(words) != 2:
        return line
    return next((old for number, old in context.history if str(number) == words[1]), line)


def _complain(context: Context, error: BaseException) -> None:
    sentence = sentence_of(error)
    if context.is_json:
        outcome = getattr(error, "outcome", Outcome.NOT_APPLIED).value
        sentence = json.dumps({"error": type(error).__name__, "message": sentence, "outcome": outcome})
    click.echo(sentence, err=True)
