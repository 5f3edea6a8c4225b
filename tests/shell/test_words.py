"""Four-letter words and the admin server of a running process."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.servers import Process, free_port, word
from tests.support.wireclient import WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import OPEN_ACL


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, int]]:
    admin = free_port()
    keys = {"admin.enableServer": "true", "admin.serverPort": str(admin), "maxSessionTimeout": "90000"}
    with Process("corral", tmp_path_factory.mktemp("words"), **keys) as process:
        yield process, admin


@pytest.fixture
def client(server: tuple[Process, int]) -> Iterator[WireClient]:
    made = WireClient(server[0].port)
    yield made
    made.call(op.CLOSE_SESSION)
    made.close()


def ask(server: tuple[Process, int], text: str) -> str:
    return word(server[0].port, text.encode()).decode()


def get(server: tuple[Process, int], path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server[1]}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def test_ruok_and_isro(server: tuple[Process, int]) -> None:
    assert ask(server, "ruok") == "imok"
    assert ask(server, "isro") == "rw"


def test_who_has_said_all_still_hears_the_answer_and_the_end(server: tuple[Process, int]) -> None:
    """As netcat asks: its side of the connection ends behind the word."""
    with socket.create_connection(("127.0.0.1", server[0].port), 5) as sock:
        sock.sendall(b"srvr")
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as answer:
            assert answer.read().endswith(b"Node count: 5\n")


def test_srvr_has_the_known_lines(server: tuple[Process, int]) -> None:
    form = (
        r"Zookeeper version: \d+\.\d+\.\d+-\S+, built on \d\d/\d\d/\d{4} \d\d:\d\d \w+\n"
        r"Latency min/avg/max: \d+/\d+\.\d+/\d+\nReceived: \d+\nSent: \d+\nConnections: \d+\nOutstanding: 0\n"
        r"Zxid: 0x[0-9a-f]+\nMode: standalone\nNode count: 5\n"
    )

    assert re.fullmatch(form, ask(server, "srvr"))


def test_cons_and_dump_show_the_session(server: tuple[Process, int], client: WireClient) -> None:
    client.call(op.CREATE, records.CreateRequest(b"/eph", b"", OPEN_ACL, 1))
    session = f"0x{client.session:x}"

    shown = ask(server, "cons")
    dump = ask(server, "dump")

    form = rf" /127\.0\.0\.1:\d+\[1\]\(queued=0,recved=2,sent=2,sid={session},lop=CREA,est=\d+,to=30000"
    assert re.search(form, shown)
    assert f"{session}:\n\t/eph\n" in dump


def test_watch_words(server: tuple[Process, int], client: WireClient) -> None:
    client.call(op.EXISTS, records.PathWatchRequest(b"/watched", True))

    assert ask(server, "wchs") == "1 connections watching 1 paths\nTotal watches:1\n"
    assert ask(server, "wchc") == f"0x{client.session:x}\n\t/watched\n\n"
    assert ask(server, "wchp") == f"/watched\n\t0x{client.session:x}\n\n"


def test_mntr_has_tabs_and_the_keys_that_dashboards_read(server: tuple[Process, int]) -> None:
    values = dict(line.split("\t") for line in ask(server, "mntr").splitlines())

    assert values["zk_server_state"] == "standalone"
    for key in ("avg_latency", "znode_count", "watch_count", "num_alive_connections", "outstanding_requests",
                "approximate_data_size", "open_file_descriptor_count", "packets_received", "p99_readlatency",
                "cnt_fsynctime", "ephemerals_count", "uptime"):  # fmt: skip
        assert f"zk_{key}" in values


def test_conf_and_envi(server: tuple[Process, int]) -> None:
    conf = dict(line.split("=", 1) for line in ask(server, "conf").splitlines())

    assert conf["clientPort"] == str(server[0].port)
    assert conf["maxSessionTimeout"] == "90000"
    assert ask(server, "envi").startswith("Environment:\nzookeeper.version=")


def test_trace_mask(server: tuple[Process, int]) -> None:
    assert ask(server, "gtmk") == "306"
    assert word(server[0].port, b"stmk" + (5).to_bytes(8, "big")) == b"5"
    assert ask(server, "gtmk") == "5"


def test_a_word_outside_the_whitelist_is_refused(tmp_path: Path) -> None:
    with Process("corral", tmp_path, **{"4lw.commands.whitelist": "ruok"}) as closed:
        assert word(closed.port, b"ruok") == b"imok"
        assert word(closed.port, b"mntr") == b"mntr is not executed because it is not in the whitelist.\n"
        assert b"Mode:" in word(closed.port, b"srvr")


def test_health_readiness_and_metrics(server: tuple[Process, int]) -> None:
    assert json.loads(get(server, "/health")) == {"status": "alive"}
    assert json.loads(get(server, "/ready")) == {"ready": True}
    text = get(server, "/metrics")
    assert "znode_count 5.0" in text
    assert 'readlatency{quantile="0.99"}' in text


NAMES = (
    "ruok", "stat", "srvr", "mntr", "cons", "conf", "dump", "wchs", "wchc", "wchp", "hash", "dirs", "envi", "lsnp",
    "lead", "crst",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_commands_answer_json_with_their_primary_name(server: tuple[Process, int], name: str) -> None:
    answer = json.loads(get(server, f"/commands/{name}"))

    assert answer["command"]
    assert answer["error"] is None or name == "lead"


def test_an_unknown_command_says_so(server: tuple[Process, int]) -> None:
    assert json.loads(get(server, "/commands/nonsense"))["error"] == "Unknown command: nonsense"
    assert ">ruok<" in get(server, "/commands")


def test_sigterm_ends_the_server_with_0_and_keeps_what_was_written(tmp_path: Path) -> None:
    server = Process("corral", tmp_path).start()
    client = WireClient(server.port)
    client.call(op.CREATE, records.CreateRequest(b"/kept", b"x", OPEN_ACL, 0))

    assert server.stop() == 0
    client.close()
    server.start()
    again = WireClient(server.port)
    assert again.call(op.EXISTS, records.PathWatchRequest(b"/kept", False))[2] == 0
    again.close()
    assert server.stop() == 0


def test_a_port_in_use_and_a_directory_in_use_are_said_in_one_line(server: tuple[Process, int], tmp_path: Path) -> None:
    second = Process("corral", tmp_path)
    text = second.config.read_text().replace(f"clientPort={second.port}", f"clientPort={server[0].port}")
    second.config.write_text(text)
    with pytest.raises(AssertionError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
        second.expect_refusal()
    third = Process("corral", tmp_path / "third", dataDir=str(server[0].dir / "data"))
    with pytest.raises(AssertionError, match="is in use by another server"):
        third.expect_refusal()
