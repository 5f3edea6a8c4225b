"""The command `corral`."""

from __future__ import annotations

import click

from corral import __version__
from corral.cli.commands.hold import elect, lock
from corral.cli.commands.serve import serve
from corral.cli.commands.shell import shell
from corral.cli.commands.transfer import export, import_


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """ZooKeeper in Python: a server that every ZooKeeper client can use."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"corral {__version__}")


main.add_command(serve)
main.add_command(shell)
main.add_command(lock)
main.add_command(elect)
main.add_command(export)
main.add_command(import_)
