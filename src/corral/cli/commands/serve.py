"""`corral serve`: run a server in the foreground until it is told to stop."""

from __future__ import annotations

import os
import sys

import click

from corral.base.log import FORMATS, LEVELS, configure
from corral.server.configfile import ConfigError, load

BAD_CONFIGURATION = 2


@click.command()
@click.argument("zoo_cfg", required=False)
@click.option("--port", metavar="PORT", help="Port for clients; 0 lets the system choose. [clientPort]")
@click.option("--address", metavar="ADDRESS", help="Address to listen on for clients. [clientPortAddress]")
@click.option("--data-dir", metavar="DIR", help="Directory of snapshots and logs. [dataDir]")
@click.option("--data-log-dir", metavar="DIR", help="Directory of logs, if another. [dataLogDir]")
@click.option("--admin-port", metavar="PORT", help="Port of the admin server. [admin.serverPort]")
@click.option("--admin/--no-admin", default=None, help="Run the admin server or do not. [admin.enableServer]")
@click.option("--log-format", type=click.Choice(FORMATS), help="Lines for people or for programs. [corral.log.format]")
@click.option("--log-level", type=click.Choice(LEVELS), help="Log from this level on. [corral.log.level]")
def serve(
    zoo_cfg: str | None,
    port: str | None,
    address: str | None,
    data_dir: str | None,
    data_log_dir: str | None,
    admin_port: str | None,
    admin: bool | None,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Run a server, configured by ZOO_CFG, the environment (CORRAL_TICK_TIME for tickTime) and options.

    Options count before the environment, and that before the file. Without a file the server listens on
    127.0.0.1:2181 and keeps its data in ./data.
    """
    given = {
        "clientPort": port,
        "clientPortAddress": address,
        "dataDir": data_dir,
        "dataLogDir": data_log_dir,
        "admin.serverPort": admin_port,
        "admin.enableServer": None if admin is None else str(admin).lower(),
        "corral.log.format": log_format,
        "corral.log.level": log_level,
    }
    options = {key: value for key, value in given.items() if value is not None}
    try:
        config, warnings = load(zoo_cfg, os.environ, options)
    except ConfigError as error:
        click.echo(f"corral: {error}", err=True)
        sys.exit(BAD_CONFIGURATION)
    log = configure(config.log_format, config.log_level)
    for warning in warnings:
        log.warning("configuration", says=warning)

    from corral.server.main import run  # Here, so that --help and mistakes need not wait for the server's imports.

    code = run(config, log)
    _leave_unwritten()
    sys.exit(code)


def _leave_unwritten() -> None:
    """Give up what standard error does not take, on a full disk for one; the exit code would become 120 by it."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
