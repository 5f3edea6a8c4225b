"""Servers for the recipes' tests: Corral always, Apache ZooKeeper with CORRAL_INTEROP=1.

A test takes `hosts` (a connect string), `path` (its own, not there yet) and gives its coroutine to `run`:

    def test_something(hosts: str, path: str) -> None:
        async def main() -> None:
            async with corral.connect(hosts) as zk:
                ...

        run(main())  # of tests.support.loops
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.servers import KINDS, Process, need_apache

TICK_MS = 200
"""Sessions may be as short as 400 ms then."""
_numbers = itertools.count(1)


@pytest.fixture(
    scope="session",
    params=KINDS,
)
def recipe_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Give a running server, one of each kind for all tests."""
    kind: str = request.param
    if kind == "apache":
        need_apache()
    directory: Path = tmp_path_factory.mktemp(f"recipes-{kind}")
    types = {"zookeeper.extendedTypesEnabled" if kind == "apache" else "extendedTypesEnabled": "true"}
    with Process(kind, directory, tickTime=str(TICK_MS), maxSessionTimeout="60000", **types) as server:
        yield server


@pytest.fixture
def hosts(recipe_server: Process) -> str:
    """Give the connect string of a running server."""
    return f"127.0.0.1:{recipe_server.port}"


@pytest.fixture
def path() -> str:
    """Give a path that no other test uses."""
    return f"/recipe-{os.getpid()}-{next(_numbers)}"
