"""The pytest plugin: servers as fixtures. It imports nothing of the server until a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from corral.client.blocking import Client
    from corral.testing.embedded import EmbeddedServer

MARKER = "zookeeper(**settings): settings of the server that the fixture `zookeeper` gives, such as tick_time_ms=500"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def zookeeper(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """An empty server on a free port, for this test alone."""
    from corral.testing.embedded import EmbeddedServer

    marker = request.node.get_closest_marker("zookeeper")
    with EmbeddedServer(**(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture(scope="session")
def zookeeper_shared() -> Iterator[EmbeddedServer]:
    """A server on a free port that all tests of a run share, with what they leave in it."""
    from corral.testing.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def zookeeper_client(zookeeper: EmbeddedServer) -> Iterator[Client]:
    """A connected client of the server that the fixture `zookeeper` gives."""
    from corral.client.blocking import Client

    with Client(zookeeper.connect_string) as client:
        yield client
