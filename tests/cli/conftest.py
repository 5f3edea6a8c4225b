"""Servers for the command line's tests, and the command line in this process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from tests.support.servers import KINDS, Process, need_apache

from corral.cli.main import main

Corral = Callable[..., Result]
_numbers = itertools.count(1)


@pytest.fixture(
    scope="session",
    params=KINDS,
)
def cli_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Give a running server, one of each kind for all tests."""
    kind: str = request.param
    if kind == "apache":
        need_apache()
    prefix = "zookeeper." if kind == "apache" else ""
    settings = {f"{prefix}extendedTypesEnabled": "true", f"{prefix}enforceQuota": "true"}
    with Process(kind, tmp_path_factory.mktemp(f"cli-{kind}"), **settings) as server:
        yield server


@pytest.fixture
def path() -> str:
    """Give a path that no other test uses."""
    return f"/cli-{next(_numbers)}"


@pytest.fixture
def corral(cli_server: Process) -> Corral:
    """Give a call that runs `corral` with arguments, and with `stdin`, against the server."""

    def run(*arguments: str, stdin: str = "") -> Result:
        variables = {"CORRAL_CONNECT": f"127.0.0.1:{cli_server.port}", "TZ": "UTC"}
        return CliRunner().invoke(main, arguments, input=stdin, env=variables, catch_exceptions=False)

    return run


@pytest.fixture
def shell(corral: Corral) -> Corral:
    """Give a call that runs commands of the shell, up to the first that fails."""

    def run(*commands: str, options: tuple[str, ...] = ()) -> Result:
        return corral("shell", *options, *(part for command in commands for part in ("-c", command)))

    return run
