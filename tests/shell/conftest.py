"""What the client's tests are played with: a server of each kind, and the client in each form."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.clients import Style
from tests.support.servers import KINDS, Process, need_apache

TICK_MS = 200
"""Sessions may be as short as 400 ms then."""
_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Give a running server, one of each kind for all tests."""
    kind: str = request.param
    if kind == "apache":
        need_apache()
    directory: Path = tmp_path_factory.mktemp(f"clients-{kind}")
    keys = {"tickTime": str(TICK_MS), "maxSessionTimeout": "60000", "extendedTypesEnabled": "true"}
    with Process(kind, directory, **keys) as running:
        yield running


@pytest.fixture
def hosts(server: Process) -> str:
    """Give the connect string of a running server."""
    return f"127.0.0.1:{server.port}"


@pytest.fixture
def path() -> str:
    """Give a path that no other test uses."""
    return f"/client-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(params=["async", "blocking"])
def style(request: pytest.FixtureRequest) -> Style:
    """Give a form of the client."""
    return Style(request.param)
