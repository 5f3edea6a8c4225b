"""A snapshot of Apache ZooKeeper is restored by a running Corral, and Apache opens the directory afterwards."""

from __future__ import annotations

import shutil
import signal
import urllib.request
from pathlib import Path

import pytest
from tests.interop.test_datadir import HOST, KEYS, TIMEOUT_MS, fill
from tests.support import jute
from tests.support.jute import Op
from tests.support.raw import RawSession
from tests.support.servers import Process, free_port, need_apache
from tests.support.walk import walk

from corral.store.names import snapshot_zxid


@pytest.mark.interop
def test_a_restored_snapshot_of_apache_has_its_nodes_and_sessions_and_goes_back(tmp_path: Path) -> None:
    need_apache()
    apache = Process("apache", tmp_path / "first", **KEYS)
    with apache:
        with RawSession(HOST, apache.port, TIMEOUT_MS) as owner, RawSession(HOST, apache.port, TIMEOUT_MS) as other:
            fill(owner, other)
            before = walk(owner)
        apache.stop()
        # At its start it writes a snapshot.
        apache.start()
    snapshots = sorted((tmp_path / "first/data/version-2").glob("snapshot.*"), key=lambda p: snapshot_zxid(p.name))

    admin = str(free_port())
    keys = {**KEYS, "admin.enableServer": "true", "admin.serverPort": admin}
    with Process("corral", tmp_path / "second", **keys) as corral:
        url = f"http://127.0.0.1:{admin}/commands/restore"
        request = urllib.request.Request(url, snapshots[-1].read_bytes(), {"Authorization": "ip"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        assert _walk_as(corral, owner) == before
        corral.stop(signal.SIGKILL)
    shutil.copytree(tmp_path / "second" / "data", tmp_path / "third" / "data")
    with Process("apache", tmp_path / "third", **KEYS) as again:
        assert _walk_as(again, owner) == before


def _walk_as(server: Process, owner: RawSession) -> object:
    """Resume the owner's session and read all."""
    with RawSession(HOST, server.port, TIMEOUT_MS, owner.session_id, owner.password) as session:
        assert session.session_id == owner.session_id
        session.call(Op.AUTH, jute.auth(b"digest", b"bob:pw"))
        return walk(session)
