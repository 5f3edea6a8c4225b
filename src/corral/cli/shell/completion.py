"""What may stand next on a line: names of commands, their options, paths of znodes."""

from __future__ import annotations

from corral.base.errors import CorralError
from corral.cli.shell.context import Context
from corral.cli.shell.nodes import join
from corral.cli.shell.session import COMMANDS
from corral.cli.shell.watching import MODES


async def candidates(context: Context, before: str) -> tuple[str, list[str]]:
    """Return the word that the cursor is at the end of, and what it may become. before: the line up to the cursor."""
    words = before.split()
    word = "" if not words or before[-1].isspace() else words[-1]
    if not words or (len(words) == 1 and word):
        return word, [name for name in sorted(COMMANDS, key=str.lower) if name.startswith(word)]
    command = COMMANDS.get(words[0])
    if command is None:
        return word, []
    if word.startswith("-"):
        options = [f"-{name}" for name in (*command.flags, *command.valued)]
        return word, [option for option in options if option.startswith(word)]
    if command.name == "addWatch" and len(words) > 1 and words[-2 if word else -1] == "-m":
        return word, [mode for mode in MODES if mode.startswith(word.upper())]
    if command.name == "help":
        return word, [name for name in sorted(COMMANDS, key=str.lower) if name.startswith(word)]
    if command.choices:
        return word, [choice for choice in command.choices if choice.startswith(word)]
    if word and not word.startswith("/"):
        return word, []
    return word, await _paths(context, word or "/")


async def _paths(context: Context, word: str) -> list[str]:
    """Return the paths that begin with `word`; none where the server does not say."""
    parent, _, begun = word.rpartition("/")
    try:
        names = await context.zk.children(parent or "/")
    except CorralError:
        return []
    return sorted(join(parent or "/", name) for name in names if name.startswith(begun))
