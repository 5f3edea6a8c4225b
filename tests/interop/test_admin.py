"""The admin server's commands, the words and the metrics beside those of a running Apache ZooKeeper."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.servers import Process, free_port, need_apache, word
from tests.support.wireclient import WireClient

from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import OPEN_ACL

pytestmark = pytest.mark.interop

JAVA = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)
DIGEST_EVERY = 128

DETERMINED = (
    "configuration", "connection_stat_reset", "get_trace_mask", "is_read_only", "leader", "nonsense",
    "observer_connection_stat_reset", "observers", "ruok", "set_trace_mask", "set_trace_mask?traceMask=7",
    "set_trace_mask?traceMask=x", "stat_reset", "voting_view", "watch_summary", "watches", "watches_by_path",
    "zabstate",
)  # fmt: skip
"""Commands whose values must be equal, but for ports, directories and session ids."""

SHAPED = ("connections", "dirs", "dump", "environment", "hash", "last_snapshot", "server_stats", "stats")
"""Commands whose keys and types must be equal: their values are times, sizes, ids and counts of a server's own."""

OWN_VALUES = ("initial_configuration", "system_properties", "monitor")
"""The text of a configuration, here without what is no setting; Java's properties, here Python's; see below."""

NEWER = ("restore", "snapshot", "shed_connections")
"""Commands of 3.9 and 3.10."""

WORDS = (
    "ruok", "stat", "srvr", "cons", "conf", "dump", "wchs", "wchc", "wchp", "dirs", "isro", "gtmk", "hash", "crst",
    "cons", "srst", "stat", "what",
)  # fmt: skip

LEFT_OUT = {"write_per_namespace", "read_per_namespace"}
"""Bytes by the first name of a path: they would be counted at every read and write."""


class Asked:
    """A server with a session that has an ephemeral, a watch and enough writes for a digest."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.admin = free_port()
        keys = {"admin.enableServer": "true", "admin.serverAddress": "127.0.0.1", "admin.serverPort": str(self.admin)}
        self.server = Process(kind, directory, JAVA, **keys)
        self.kind = kind

    def start(self) -> None:
        self.server.start()
        self.client = WireClient(self.server.port)
        self.client.call(op.CREATE, records.CreateRequest(b"/e", b"x", OPEN_ACL, 1))
        self.client.call(op.EXISTS, records.PathWatchRequest(b"/w", True))
        self.client.call(op.SET_DATA, records.SetDataRequest(b"/no", b"", -1))
        for _ in range(DIGEST_EVERY):
            self.client.call(op.SET_DATA, records.SetDataRequest(b"/e", b"y", -1))

    def stop(self) -> None:
        self.client.close()
        self.server.stop()

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status), str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""

    def command(self, name: str) -> tuple[int, Any]:
        status, text = self.get(f"/commands/{name}")
        return status, json.loads(text)

    def word(self, name: str) -> str:
        return word(self.server.port, name.encode()).decode()

    def own(self, text: str) -> str:
        """Replace what is this server's own."""
        text = text.replace(f"0x{self.client.session:x}", "SESSION").replace(str(self.client.session), "77")
        return text.replace(str(self.server.dir), "DIR").replace(str(self.server.port), "12345")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asked, Asked]]:
    need_apache()
    apache = Asked("apache", tmp_path_factory.mktemp("apache"))
    corral = Asked("corral", tmp_path_factory.mktemp("corral"))
    for asked in (apache, corral):
        asked.start()
    yield apache, corral
    for asked in (apache, corral):
        asked.stop()


def shape(value: Any) -> Any:
    """Return the keys and types of a value; ids and times as keys are numbers, lists are their first element."""
    if isinstance(value, dict):
        return {("N" if key.lstrip("-").isdigit() else key): shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


def form(text: str) -> list[str]:
    """Return the lines of a word's answer with all that is counted, dated or random replaced.

    Connections stand in any order, and those that asked before may still be there, so each line counts once.
    """
    text = re.sub(r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}", "DATE", text)
    text = re.sub(r"Zookeeper version: .*", "Zookeeper version: V", text)
    text = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]+(?=: -?\d)", "HEX", text)
    text = re.sub(r"-?\d+\.\d+(?![.\d])", "F", text)
    return sorted(set(re.sub(r"-?\d+", "N", text).splitlines()))


def names(asked: Asked) -> list[str]:
    return re.findall(r'<a href="/commands/(\w+)">\1</a>\n<br/>\n', asked.get("/commands")[1])


def test_every_command_of_apache_is_there_and_compared(both: tuple[Asked, Asked]) -> None:
    apache, corral = map(names, both)

    assert sorted({*apache, *NEWER}) == corral
    assert set(apache) <= {*DETERMINED, *SHAPED, *OWN_VALUES}


@pytest.mark.parametrize("name", DETERMINED)
def test_what_is_determined_has_equal_values(both: tuple[Asked, Asked], name: str) -> None:
    apache, corral = (json.loads(each.own(json.dumps(each.command(name)))) for each in both)

    assert corral == apache


@pytest.mark.parametrize("name", SHAPED)
def test_the_rest_has_equal_keys_and_types(both: tuple[Asked, Asked], name: str) -> None:
    (apache_status, apache), (corral_status, corral) = (each.command(name) for each in both)

    assert shape(corral) == shape(apache)
    assert corral_status == apache_status == 200
    assert list(corral)[-2:] == ["command", "error"]


def test_the_configuration_is_told_as_text(both: tuple[Asked, Asked]) -> None:
    for asked in both:
        _, data = asked.command("initial_configuration")
        assert shape(data) == {"initial_configuration": "str", "command": "str", "error": "NoneType"}
        assert f"clientPort={asked.server.port}\n" in data["initial_configuration"]
    assert set(map(type, both[1].command("system_properties")[1].values())) <= {str, type(None)}


def test_there_is_a_snapshot_from_the_start(both: tuple[Asked, Asked]) -> None:
    apache, corral = (each.command("last_snapshot")[1] for each in both)

    assert corral["zxid"] == apache["zxid"] == "0"
    assert abs(corral["timestamp"] - apache["timestamp"]) < 600


def test_the_monitor_has_every_number_of_apache_with_its_type(both: tuple[Asked, Asked]) -> None:
    apache, corral = (each.command("monitor")[1] for each in both)
    left_out = [key for key in apache if any(key.endswith(name) for name in LEFT_OUT)]

    missing = {key: type(apache[key]) for key in apache if type(corral.get(key)) is not type(apache[key])}

    assert list(missing) == left_out
    assert {key for key in apache if type(apache[key]) is str} == {"version", "server_state", "command"}


def test_mntr_has_the_keys_of_the_monitor(both: tuple[Asked, Asked]) -> None:
    for asked in both:
        keys = {line.split("\t")[0] for line in asked.word("mntr").splitlines()}
        assert keys == {f"zk_{key}" for key in asked.command("monitor")[1]} - {"zk_command", "zk_error"}


@pytest.mark.parametrize("method", ["POST", "TRACE"])
def test_another_method_is_refused_alike(both: tuple[Asked, Asked], method: str) -> None:
    # Apache 3.8 knows no POST; later ones answer 500 where a command is none, as Corral does.
    expected = {"POST": (405, 500), "TRACE": (403, 403)}[method]

    assert tuple(each.get("/commands/ruok", method)[0] for each in both) == expected


def test_words_have_equal_forms(both: tuple[Asked, Asked]) -> None:
    for name in WORDS:
        apache, corral = (form(each.own(each.word(name))) for each in both)
        assert corral == apache, name


def test_envi_has_the_same_keys_in_the_same_order(both: tuple[Asked, Asked]) -> None:
    apache, corral = ([line.split("=")[0] for line in each.word("envi").splitlines()] for each in both)

    assert corral == apache


def test_prometheus_gets_every_metric_of_apache_with_its_type(both: tuple[Asked, Asked]) -> None:
    """Debian's package lacks Apache's exporter, but `mntr` shows the very names that it would export."""
    apache, corral = both
    numbers = {key for key, value in apache.command("monitor")[1].items() if isinstance(value, int | float)}
    summaries = {key[4:] for key in numbers if key.startswith("cnt_")}
    kinds = ("avg", "min", "max", "cnt", "sum", "p50", "p95", "p99", "p999")
    parts = {f"{kind}_{name}" for kind in kinds for name in summaries}
    types = dict(re.findall(r"# TYPE (\w+) (\w+)\n", corral.get("/metrics")[1]))

    left_out = {name for name in summaries if any(name.endswith(each) for each in LEFT_OUT)}
    assert {name for name in summaries if types.get(name) != "summary"} == left_out
    assert {name for name in numbers - parts if types.get(name) not in ("gauge", "counter")} == set()
    assert types["znode_count"] == types["packets_received"] == "gauge"
    assert types["commit_count"] == types["snap_count"] == "counter"
    assert set(types.values()) == {"gauge", "counter", "summary"}
