"""A process from its start to its end, as an operator sees it."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.support.servers import Process


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_that_is_still_reading_its_data(tmp_path: Path, how: signal.Signals) -> None:
    """The snapshot is a pipe that nobody writes to, so the start lasts until the signal."""
    server = Process("corral", tmp_path)
    (tmp_path / "data" / "version-2").mkdir()
    os.mkfifo(tmp_path / "data" / "version-2" / "snapshot.5")
    server.launch()
    _wait_until_it_listens(server.port)

    assert server.stop(how) == 0
    assert "stopped while it started" in server.log.read_text()


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 3).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        else:
            return
