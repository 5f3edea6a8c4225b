"""Whom the server takes a client for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import jute
from tests.support.jute import Op
from tests.support.raw import RawSession
from tests.support.servers import KINDS, Process, word


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_of_ipv4_has_its_own_address_at_a_socket_for_both_kinds(tmp_path: Path, kind: str) -> None:
    with (
        Process(kind, tmp_path, clientPortAddress="::ffff:127.0.0.1") as server,
        RawSession("127.0.0.1", server.port) as session,
    ):
        session.call(Op.CREATE, jute.create(b"/mine", b"", [(31, b"ip", b"127.0.0.1")]))

        assert session.call(Op.GET_DATA, jute.get_data(b"/mine")).err == 0
        assert b" /127.0.0.1:" in word(server.port, b"cons")
