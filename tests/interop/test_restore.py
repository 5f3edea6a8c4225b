"""A snapshot of Apache ZooKeeper is restored by a running Corral, and Apache opens the directory afterwards."""

from __future__ import annotations

import shutil
import signal
import urllib.request
from pathlib import Path

import pytest
from tests.interop.test_datadir import fill, walk
from tests.support.servers import Process, free_port, need_apache
from tests.support.wireclient import WireClient

from corral.store.names import snapshot_zxid
from corral.wire import client as records
from corral.wire import opcodes as op

TIMEOUT = 100_000


@pytest.mark.interop
def test_a_restored_snapshot_of_apache_has_its_nodes_and_sessions_and_goes_back(tmp_path: Path) -> None:
    need_apache()
    apache = Process("apache", tmp_path / "first", maxSessionTimeout="120000")
    with apache:
        client = WireClient(apache.port, TIMEOUT)
        fill(client)
        before = walk(client)
        client.close()
        apache.stop()
        # At its start it writes a snapshot.
        apache.start()
    snapshots = sorted((tmp_path / "first/data/version-2").glob("snapshot.*"), key=lambda p: snapshot_zxid(p.name))

    admin = str(free_port())
    keys = {"admin.enableServer": "true", "admin.serverPort": admin, "maxSessionTimeout": "120000"}
    with Process("corral", tmp_path / "second", **keys) as corral:
        url = f"http://127.0.0.1:{admin}/commands/restore"
        request = urllib.request.Request(url, snapshots[-1].read_bytes(), {"Authorization": "ip"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        assert _walk_as(corral, client) == before
        corral.stop(signal.SIGKILL)
    shutil.copytree(tmp_path / "second" / "data", tmp_path / "third" / "data")
    with Process("apache", tmp_path / "third", maxSessionTimeout="120000") as again:
        assert _walk_as(again, client) == before


def _walk_as(server: Process, owner: WireClient) -> object:
    """Resume the owner's session and read all."""
    client = WireClient(server.port, TIMEOUT, owner.session, owner.password)
    assert client.session == owner.session
    client.call(op.AUTH, records.AuthPacket(0, "digest", b"bob:pw"), xid=op.XID_AUTH)
    found = walk(client)
    client.close()
    return found
