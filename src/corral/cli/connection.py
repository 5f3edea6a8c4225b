"""The options by which a command finds its servers, and the client that they make."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import ssl
from collections.abc import Callable
from typing import Any

import click

from corral.base.errors import AuthFailed
from corral.base.log import configure
from corral.base.records import record
from corral.cli.failures import NotAuthenticated, UsageError
from corral.cli.sasl import SASL_OPTIONS, sasl_of
from corral.client import tls
from corral.client.aio import TIMEOUT_MS_MAX, AsyncClient
from corral.client.errors import RequestTimeout

DEFAULT_SERVERS = "127.0.0.1:2181"
SERVERS_VARIABLE = "CORRAL_CONNECT"


@record
class Connection:
    """Where and as whom to connect. timeout_s: for each request of a command, the connection included."""

    servers: str = DEFAULT_SERVERS
    timeout_s: float = 30.0
    session_timeout_ms: int = 30_000
    auth: tuple[str, ...] = ()
    read_only: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password: str | None = None
    uses_tls: bool = False
    checks_hostname: bool = True
    sasl: str | None = None
    sasl_user: str | None = None
    sasl_password: str | None = None
    sasl_service: str | None = None
    sasl_host: str | None = None
    sasl_principal: str | None = None

    async def open(self) -> AsyncClient:
        """Return a connected client.

        Raises UsageError, BadConnectString, BadCertificate, RequestTimeout, TlsFailed, AuthFailed, NotAuthenticated.
        """
        shown = [credentials(text) for text in self.auth]
        client = AsyncClient(
            self.servers,
            session_timeout_ms=self.session_timeout_ms,
            read_only=self.read_only,
            ssl_context=self._ssl_context(),
            log=configure("text", "error"),
            connect_timeout=self.timeout_s,
            sasl=sasl_of(
                self.sasl, self.sasl_user, self.sasl_password, self.sasl_service, self.sasl_host, self.sasl_principal
            ),
        )
        try:
            await client.start()
        except AuthFailed as error:
            raise NotAuthenticated(str(error).removeprefix("the client is closed: ")) from error
        try:
            async with asyncio.timeout(self.timeout_s):
                for scheme, token in shown:
                    await client.add_auth(scheme, token)
        except TimeoutError as error:
            await client.close()
            raise RequestTimeout(
                f"{client.server} did not answer to the credentials in {self.timeout_s:g} s"
            ) from error
        except BaseException:
            await client.close()
            raise
        return client

    def at(self, servers: str) -> Connection:
        """Return the same, for other servers."""
        return dataclasses.replace(self, servers=servers)

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.uses_tls and self.ca is None and self.cert is None and self.key is None:
            return None
        return tls.context(self.ca, self.cert, self.key, self.key_password, self.checks_hostname)


class Seconds(click.FloatRange):
    """An option's value in seconds. `nan` is a float, and within every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds, or have click say what is wrong."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


def credentials(text: str) -> tuple[str, bytes]:
    """Read `scheme:credentials`. Raises UsageError."""
    scheme, colon, token = text.partition(":")
    if not colon or not scheme:
        raise UsageError("credentials are written scheme:credentials, such as digest:user:password")
    return scheme, token.encode()


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options of a connection; `connection_of` reads them from its arguments."""
    options = (
        click.option("--timeout", "timeout_s", type=Seconds(min=0, min_open=True), default=30.0,
                     show_default=True, metavar="SECONDS", help="How long to wait for a connection or an answer."),
        click.option("--session-timeout", "session_timeout_ms", type=click.IntRange(1, TIMEOUT_MS_MAX), default=30_000,
                     show_default=True, metavar="MS", help="The session's timeout to ask for."),
        click.option("--auth", multiple=True, metavar="SCHEME:CREDENTIALS", envvar="CORRAL_AUTH",
                     help="Credentials, such as digest:user:password; may be repeated. The variable CORRAL_AUTH, where "
                          "other users of the machine do not see them."),
        click.option("--read-only", is_flag=True, help="A server without a quorum will do."),
        click.option("--tls", "uses_tls", is_flag=True,
                     help="Use TLS, and check servers against the system's authorities unless --ca is given."),
        click.option("--ca", metavar="FILE",
                     help="Use TLS; the certificates of the authorities that servers are checked against, as PEM."),
        click.option("--cert", metavar="FILE", help="Use TLS; this client's certificate."),
        click.option("--key", metavar="FILE", help="The certificate's private key, if not in the same file."),
        click.option("--key-password", metavar="PASSWORD", envvar="CORRAL_KEY_PASSWORD",
                     help="The private key's password. The variable CORRAL_KEY_PASSWORD, where other users of the "
                          "machine do not see it."),
        click.option("--check-hostname/--no-check-hostname", "checks_hostname", default=True,
                     help="Whether a server's certificate must be for the name that it is connected by."),
        *SASL_OPTIONS,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the option that names its servers, and all others of a connection."""
    option = click.option(
        "--server", "-s", "servers", envvar=SERVERS_VARIABLE, default=DEFAULT_SERVERS, show_default=True,
        metavar="HOST:PORT,...", help=f"The servers, and a chroot if wanted: a:2181,b:2181/app. [{SERVERS_VARIABLE}]",
    )  # fmt: skip
    return option(connection_options(command))


def connection_of(given: dict[str, Any]) -> Connection:
    """Take the connection's options out of a command's arguments."""
    names = [field.name for field in dataclasses.fields(Connection)]
    return Connection(**{name: given.pop(name) for name in names})
