"""How a command that talks to servers ends: exit codes, and errors as one sentence for people."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

import click

from corral.base import errors
from corral.base.errors import CorralError, ZooKeeperError
from corral.client.errors import BadConnectString, ClientError

REFUSED: Final = 1
"""The server refused a request, or what was asked for is not there."""
USAGE: Final = 2
"""The command was given wrongly; nothing was asked."""
UNREACHABLE: Final = 3
"""No server answered in time, or the session ended."""

_SENTENCES: Final[dict[type[ZooKeeperError], str]] = {
    errors.NoNode: "Node does not exist: {}",
    errors.NodeExists: "Node already exists: {}",
    errors.NotEmpty: "Node not empty: {}",
    errors.NoAuth: "Insufficient permission: {}",
    errors.BadVersion: "The version given is not the present one: {}",
    errors.NoChildrenForEphemerals: "An ephemeral node cannot have children: {}",
    errors.InvalidAcl: "The access list is not valid: {}",
    errors.AuthFailed: "The server does not accept these credentials",
    errors.NotReadOnly: "The server has no quorum, it is read-only now: {}",
    errors.NoWatcher: "There is no such watch: {}",
    errors.QuotaExceeded: "The quota is exceeded: {}",
    errors.ReconfigDisabled: "The server does not allow reconfig; it needs reconfigEnabled=true",
    errors.BadArguments: "The server does not accept these arguments: {}",
    errors.Unimplemented: "The server does not have this operation, or it is switched off: {}",
    errors.EphemeralOnLocalSession: "A local session cannot have ephemeral nodes: {}",
}


class UsageError(CorralError):
    """A command given wrongly; the message says what would be right."""


class NotConnected(CorralError):
    """A command that needs a connection where there is none."""


class NotAuthenticated(CorralError):
    """SASL did not succeed; the message says why."""


class Missing(CorralError):
    """What was asked for is not there."""


def exit_unread() -> NoReturn:
    """End the process well: whoever read its results has enough of them."""
    _leave_unwritten()
    sys.exit(0)


def exit_unwritten(error: OSError) -> NoReturn:
    """End the process where its results cannot be written, on a full disk for one."""
    _leave_unwritten()
    sys.exit(complain(UsageError(f"cannot write standard output: {error.strerror}")))


def _leave_unwritten() -> None:
    """Let go what is still buffered; written at the end once more, it would make the exit code 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def sentence_of(error: BaseException) -> str:
    """Say in one sentence what went wrong."""
    if isinstance(error, ZooKeeperError):
        about = str(error).removesuffix(f": {type(error).__name__}")
        if isinstance(error, errors.BadArguments) and about == str(error):
            # Found on this side, and said in full.
            return about
        return _SENTENCES.get(type(error), "{} (" + type(error).__name__ + ")").format(about)
    return str(error) or type(error).__name__


def status_of(error: BaseException) -> int:
    """Return the exit code that an error ends a command with."""
    if isinstance(error, UsageError | BadConnectString | errors.BadArguments | ValueError):
        return USAGE
    if isinstance(error, ClientError | NotConnected | TimeoutError):
        return UNREACHABLE
    return REFUSED


def complain(error: BaseException) -> int:
    """Print an error to standard error; return the exit code."""
    click.echo(f"corral: {sentence_of(error)}", err=True)
    return status_of(error)
