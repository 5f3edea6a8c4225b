"""The command `corral`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

import click

from corral import __version__
from corral.cli import INTERRUPTED
from corral.cli.streams import open_closed_streams

COMMANDS: Final = {
    "elect": "corral.cli.commands.hold:elect",
    "export": "corral.cli.commands.transfer:export",
    "import": "corral.cli.commands.transfer:import_",
    "lock": "corral.cli.commands.hold:lock",
    "serve": "corral.cli.commands.serve:serve",
    "shell": "corral.cli.commands.shell:shell",
}


class Commands(click.Group):
    """Imports a command when it is asked for: a server starts without the client's code, and the other way round."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = COMMANDS.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, name = where.split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Ctrl-C while it is imported ends the process as it does later, instead of by `Aborted!`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="corral %(version)s")
def main() -> None:
    """ZooKeeper in Python: a server that every ZooKeeper client can use, its clients' recipes, and a shell."""
    open_closed_streams()


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"corral {__version__}")
