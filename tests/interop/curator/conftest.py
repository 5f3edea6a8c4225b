"""Curator in a process, and servers of both kinds that it and our client meet at."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.curator import Curator, compile_driver
from tests.support.servers import KINDS, Process, need_apache

TICK_MS = 200
"""Sessions may be as short as 400 ms then."""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def curator_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory with the compiled driver."""
    return compile_driver(tmp_path_factory.mktemp("curator-classes"))


@pytest.fixture(scope="session")
def curator(curator_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curator]:
    """Give a process of Curator's for all tests."""
    with Curator(curator_classes, tmp_path_factory.mktemp("curator") / "log") as process:
        yield process


@pytest.fixture(scope="session", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, curator: Curator
) -> Iterator[Process]:
    """Give a running server, one of each kind for all tests."""
    kind: str = request.param
    if kind == "apache":
        need_apache()
    types = {"zookeeper.extendedTypesEnabled" if kind == "apache" else "extendedTypesEnabled": "true"}
    directory = tmp_path_factory.mktemp(f"curator-{kind}")
    with Process(kind, directory, tickTime=str(TICK_MS), maxSessionTimeout="60000", **types) as running:
        yield running


@pytest.fixture
def hosts(server: Process) -> str:
    """Give the connect string of a running server."""
    return f"127.0.0.1:{server.port}"


@pytest.fixture
def path() -> str:
    """Give a path that no other test uses."""
    return f"/curator-{os.getpid()}-{next(_numbers)}"
