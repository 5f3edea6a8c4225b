"""The admin server's restore on a running process: durability, open sessions, refusals that change nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.servers import Process, free_port, word
from tests.support.wireclient import Closed, WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import OPEN_ACL
from corral.wire.opcodes import XID_PING

NO_NODE = -101


class Admin:
    """A server and its admin server."""

    def __init__(self, directory: Path, **keys: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/commands/"
        given = {"admin.enableServer": "true", "admin.serverPort": str(port), "admin.rateLimiterIntervalInMS": "0"}
        self.server = Process("corral", directory, **{**given, **keys})
        self.dir = directory / "data" / "version-2"

    def ask(self, name: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Send a command, a POST with a body; return the status and the answer."""
        request = urllib.request.Request(self.url + name, body, {"Authorization": "ip", **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status), bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def snapshot(self) -> bytes:
        status, data = self.ask("snapshot")
        assert status == 200, data
        return data

    def restore(self, data: bytes, query: str = "") -> tuple[int, dict[str, object]]:
        status, answer = self.ask("restore" + query, data)
        return status, json.loads(answer)

    def zxid(self) -> int:
        lines = word(self.server.port, b"srvr").decode().splitlines()
        return int(next(line for line in lines if line.startswith("Zxid: "))[6:], 16)


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    made = Admin(tmp_path)
    with made.server:
        yield made


def create(client: WireClient, path: bytes, data: bytes = b"", flags: int = 0) -> None:
    assert client.call(op.CREATE, records.CreateRequest(path, data, OPEN_ACL, flags))[2] == 0


def get(client: WireClient, path: bytes) -> bytes | None:
    _, _, err, body = client.call(op.GET_DATA, records.PathWatchRequest(path, False))
    assert err in (0, NO_NODE)
    return None if err else body[4:-68]


def changed(admin: Admin, client: WireClient) -> bytes:
    """Take a snapshot and change the database after it; return the snapshot."""
    create(client, b"/a", b"old")
    create(client, b"/lock", flags=1)
    data = admin.snapshot()
    client.call(op.SET_DATA, records.SetDataRequest(b"/a", b"new", -1))
    create(client, b"/late")
    return data


def test_the_restored_state_is_there_after_a_crash_with_all_that_was_written_since(admin: Admin) -> None:
    client = WireClient(admin.server.port)
    data = changed(admin, client)
    zxid = admin.zxid()

    status, answer = admin.restore(data)

    assert (status, answer) == (200, {"last_zxid": zxid + 1, "command": "restore", "error": None})
    client.close()
    for _ in range(2):
        client = WireClient(admin.server.port)
        assert (get(client, b"/a"), get(client, b"/late"), get(client, b"/lock")) == (b"old", None, None)
        create(client, b"/since-", flags=2)
        client.close()
        admin.server.stop(signal.SIGKILL)
        admin.server.start()
    client = WireClient(admin.server.port)
    children = client.call(op.GET_CHILDREN, records.PathWatchRequest(b"/", False))[3]
    assert children.count(b"since-") == 2
    client.close()
    assert not [name for name in os.listdir(admin.dir) if name.startswith("writing")]


def test_open_sessions_end(admin: Admin) -> None:
    client = WireClient(admin.server.port)
    data = changed(admin, client)

    assert admin.restore(data)[0] == 200

    with pytest.raises(Closed):
        client.call(op.PING, xid=XID_PING)
    client.close()
    again = WireClient(admin.server.port, session=client.session, password=client.password)
    assert (again.hello.session_id, again.hello.timeout) == (0, 0)
    again.close()


def test_a_bad_snapshot_changes_nothing_and_says_why(admin: Admin) -> None:
    client = WireClient(admin.server.port)
    data = changed(admin, client)
    bad = {
        b"": "the snapshot",
        b"nonsense" * 9: "no snapshot",
        data[:-1]: "the snapshot",
        data.replace(b"old", b"odd"): "checksum",
    }

    for body, why in bad.items():
        status, answer = admin.restore(body)
        assert status == 400
        assert str(answer["error"]).startswith("Nothing was restored: the snapshot")
        assert why in str(answer["error"])

    assert (get(client, b"/a"), get(client, b"/late"), get(client, b"/lock")) == (b"new", b"", b"")
    client.close()


def test_a_body_that_is_not_encoded_as_it_says_is_refused(admin: Admin) -> None:
    status, answer = admin.ask("restore", b"ZKSN", **{"Content-Encoding": "gzip"})

    assert status == 400
    assert "the request's body cannot be read" in json.loads(answer)["error"]


def test_who_asks_for_a_snapshot_and_goes_leaves_no_trace(admin: Admin) -> None:
    host, port = admin.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(b"GET /commands/snapshot HTTP/1.1\r\nHost: x\r\nAuthorization: ip\r\n\r\n")

    admin.snapshot()

    assert "Traceback" not in admin.server.log_text()


def test_a_snapshot_that_cannot_be_written_gives_the_old_database_back(admin: Admin) -> None:
    client = WireClient(admin.server.port)
    data = changed(admin, client)
    in_the_way = admin.dir / f"writing.snapshot.{admin.zxid() + 1:x}"
    in_the_way.mkdir()

    status, answer = admin.restore(data)

    assert (status, answer["error"]) == (
        500,
        "Nothing was restored: the snapshot cannot be written; the server's log says why",
    )
    in_the_way.rmdir()
    client.close()
    again = WireClient(admin.server.port, session=client.session, password=client.password)
    assert again.session == client.session
    assert (get(again, b"/a"), get(again, b"/late"), get(again, b"/lock")) == (b"new", b"", b"")
    create(again, b"/later")
    again.close()
    admin.server.stop(signal.SIGKILL)
    admin.server.start()
    client = WireClient(admin.server.port)
    assert (get(client, b"/a"), get(client, b"/later")) == (b"new", b"")
    client.close()
    assert admin.restore(data)[0] == 200


def test_no_start_replays_the_new_log_over_the_old_nodes(admin: Admin) -> None:
    client = WireClient(admin.server.port)
    data = changed(admin, client)
    _, answer = admin.restore(data)
    client.close()
    client = WireClient(admin.server.port)
    create(client, b"/since")
    client.close()
    admin.server.stop()
    (admin.dir / f"snapshot.{answer['last_zxid']:x}").unlink()

    with pytest.raises(AssertionError, match="transactions in between are missing"):
        admin.server.expect_refusal()


def test_a_snapshot_longer_than_the_limit_is_refused(tmp_path: Path) -> None:
    admin = Admin(tmp_path, **{"corral.admin.restore.max": "5000"})
    with admin.server:
        client = WireClient(admin.server.port)
        create(client, b"/big", b"x" * 4000)
        assert admin.restore(admin.snapshot())[0] == 200
        client.close()
        client = WireClient(admin.server.port)
        create(client, b"/more", b"x" * 1000)

        status, answer = admin.restore(admin.snapshot())

        assert (status, answer["error"]) == (
            413,
            "The snapshot is longer than 5000 bytes (corral.admin.restore.max)",
        )
        assert get(client, b"/more") == b"x" * 1000
        client.close()


def test_one_restore_in_an_interval_and_refused_ones_do_not_count(tmp_path: Path) -> None:
    admin = Admin(tmp_path, **{"admin.rateLimiterIntervalInMS": "300000"})
    with admin.server:
        data = admin.snapshot()

        found = [admin.restore(body)[0] for body in (b"bad", b"bad", data, data, b"bad")]

        assert found == [400, 400, 200, 429, 429]
        assert admin.ask("snapshot")[0] == 429


@pytest.mark.parametrize(
    ("key", "status"), [("admin.restore.enabled", 503), ("serializeLastProcessedZxid.enabled", 500)]
)
def test_restoring_can_be_switched_off(tmp_path: Path, key: str, status: int) -> None:
    admin = Admin(tmp_path, **{key: "false"})
    with admin.server:
        assert admin.restore(b"x")[0] == status
