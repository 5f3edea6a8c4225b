"""A process from its start to its end, as an operator sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest
from tests.support.servers import Process
from tests.support.wireclient import WireClient

from corral.base.liblog import LibraryLog
from corral.replica.config import Config
from corral.server.listener import ListenError
from corral.server.standalone import Server
from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import OPEN_ACL
from corral.wire.schema import encode


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


def test_a_server_needs_no_standard_streams(tmp_path: Path) -> None:
    """Else its sockets would have their numbers, and libuv would abort it at its end."""
    server = Process("corral", tmp_path)

    server.start(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])

    assert server.stop() == 0


def _wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 3).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
        else:
            return


def test_a_stop_that_a_slow_disk_holds_up_ends_no_session(tmp_path: Path) -> None:
    server = Process("corral", tmp_path, tickTime="100").start()
    (writer,) = server.children()
    client = WireClient(server.port, 200)
    client.send_frame(struct.pack(">ii", 1, op.CREATE) + encode(records.CreateRequest(b"/a", b"", OPEN_ACL, 0)))
    os.kill(writer, signal.SIGSTOP)

    server.send_signal(signal.SIGTERM)
    time.sleep(0.8)
    os.kill(writer, signal.SIGCONT)

    assert server.stop() == 0
    client.close()
    assert "expired" not in server.log_text()
    assert "Traceback" not in server.log_text()


def test_the_audit_log_has_a_file_of_its_own_where_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with Process("corral", tmp_path, **{"audit.enable": "true", "corral.audit.file": str(path)}) as server:
        client = WireClient(server.port)
        client.call(op.CREATE, records.CreateRequest(b"/a", b"", OPEN_ACL, 0))
        client.close()
        assert server.stop() == 0
    lines = path.read_text().splitlines()

    assert [line.split("operation=")[1].split()[0] for line in lines] == ["serverStart", "create", "serverStop"]
    assert "operation=" not in server.log.read_text()


def test_a_server_whose_audit_log_cannot_be_written_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "none" / "audit.log"
    server = Process("corral", tmp_path, **{"audit.enable": "true", "corral.audit.file": str(path)})
    with pytest.raises(AssertionError, match="cannot write the audit log: No such file or directory"):
        server.expect_refusal()


def test_a_server_for_tls_alone_does_not_start(tmp_path: Path) -> None:
    config = Config(client_port=-1, secure_client_port=2281, data_dir=str(tmp_path), admin_enabled=False)

    with pytest.raises(ListenError, match="no TLS yet: set clientPort"):
        asyncio.run(Server(config, LibraryLog("corral.server")).start())


def test_settings_for_what_is_not_there_yet_are_warned_of(tmp_path: Path) -> None:
    auth = "org.apache.zookeeper.server.auth."
    settings = {
        "dynamicConfigFile": "/etc/zoo.cfg.dynamic.100",
        "authProvider.1": auth + "DigestAuthenticationProvider",
        "authProvider.sasl": auth + "SASLAuthenticationProvider",
        "enforce.auth.enabled": "true",
        "enforce.auth.schemes": "digest,sasl",
        "sessionRequireClientSASLAuth": "true",
    }
    with Process("corral", tmp_path, **settings) as server:
        assert server.stop() == 0
    lines = server.log_text().splitlines()

    warnings = [line.split("] ")[1] for line in lines if "[warning" in line]
    assert warnings == [
        "dynamicConfigFile is set, but this server stands alone and does not read it file=/etc/zoo.cfg.dynamic.100",
        f"this server has no such authProvider key=authProvider.sasl value={auth}SASLAuthenticationProvider",
        "no client can authenticate by a scheme that this server does not have key=enforce.auth.schemes value=sasl",
        "no client is served: this server has no SASL yet key=sessionRequireClientSASLAuth value=true",
    ]


def test_a_full_disk_of_the_log_lines_keeps_no_session_alive_and_is_no_failure(tmp_path: Path) -> None:
    server = Process("corral", tmp_path, tickTime="500")
    server.start(before=["sh", "-c", 'exec "$@" 2>/dev/full', "sh"])
    try:
        client = WireClient(server.port, timeout=1000)
        client.call(op.CREATE, records.CreateRequest(b"/a", b"", OPEN_ACL, 1))
        client.close()
        other = WireClient(server.port)
        deadline = time.monotonic() + 30
        while other.call(op.EXISTS, records.PathWatchRequest(b"/a", False))[2] == 0:
            assert time.monotonic() < deadline
        other.close()
    finally:
        assert server.stop() == 0
