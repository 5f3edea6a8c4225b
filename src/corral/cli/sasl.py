"""The options by which a command authenticates by SASL, and which of them go together."""

from __future__ import annotations

from typing import Final

import click

from corral.cli.failures import UsageError
from corral.client.errors import ClientError
from corral.client.exchange import Sasl
from corral.client.sasl import DIGEST_HOST, SERVICE, DigestMd5, Gssapi

DIGEST_MD5: Final = "digest-md5"
GSSAPI: Final = "gssapi"
PASSWORD_VARIABLE: Final = "CORRAL_SASL_PASSWORD"


def sasl_of(
    mechanism: str | None,
    user: str | None = None,
    password: str | None = None,
    service: str | None = None,
    host: str | None = None,
    principal: str | None = None,
) -> Sasl | None:
    """Return what the options say, None if they say nothing.

    Raises UsageError for options that do not go together, and for a package that is missing. A password that nothing
    asks for is none of them: the variable may stand in the environment for other commands.
    """
    if mechanism is None:
        _refuse(
            {"user": user, "service": service, "host": host, "principal": principal},
            f"needs --sasl {DIGEST_MD5} or --sasl {GSSAPI} beside it",
        )
        return None
    try:
        if mechanism == GSSAPI:
            _refuse({"user": user}, f"is for --sasl {DIGEST_MD5}; with {GSSAPI}, --sasl-principal says whose ticket")
            return Gssapi(service or SERVICE, host, principal)
        _refuse({"principal": principal}, f"is for --sasl {GSSAPI}; with {DIGEST_MD5}, --sasl-user is the name")
        if not user or password is None:
            missing = f"a password, by {PASSWORD_VARIABLE} or --sasl-password" if user else "--sasl-user"
            raise UsageError(f"--sasl {DIGEST_MD5} needs {missing}")
        return DigestMd5(user, password, service or SERVICE, host)
    except (ClientError, ValueError) as error:
        raise UsageError(str(error)) from error


def _refuse(given: dict[str, str | None], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"--sasl-{name} {why}")


SASL_OPTIONS: Final = (
    click.option("--sasl", type=click.Choice((DIGEST_MD5, GSSAPI)),
                 help="Authenticate by SASL: with a name and a password, or with a Kerberos ticket."),
    click.option("--sasl-user", metavar="NAME", help="The name, for digest-md5."),
    click.option("--sasl-password", metavar="PASSWORD", envvar=PASSWORD_VARIABLE,
                 help=f"Its password. The variable {PASSWORD_VARIABLE}, where other users of the machine do "
                      "not see it."),
    click.option("--sasl-service", metavar="NAME",
                 help=f"The service in the servers' name for themselves. [default: {SERVICE}]"),
    click.option("--sasl-host", metavar="HOST",
                 help=f"The host in it. [default: {DIGEST_HOST} for digest-md5; for gssapi the name by which a "
                      "server is connected]"),
    click.option("--sasl-principal", metavar="NAME",
                 help="Whose ticket, for gssapi; that of the credential cache unless given."),
)  # fmt: skip
"""click's, whose values are arguments of `sasl_of`."""
