"""Four-letter words on a core without sockets: every word's exact form, the whitelist, words in pieces."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support import jute
from tests.support.core import WALL, Client, Core

from corral.replica.metrics import Percentiles
from corral.server.admin import status
from corral.server.admin.monitor import ADVANCED, BASIC, COUNTERS, mean
from corral.server.admin.words import FORMS, NOT_SERVING, Commands
from corral.server.providers.ensemble import EnsembleProvider
from corral.wire import client as records
from corral.wire import opcodes

EVERY = ("*",)
WORDS = (
    "ruok", "isro", "srvr", "stat", "cons", "crst", "srst", "conf", "dirs", "dump", "envi", "wchs", "wchc", "wchp",
    "mntr", "hash", "gtmk",
)  # fmt: skip


class FakeNode:
    """What the words need of a node: the core, the clock, the configuration, the sizes of two directories."""

    def __init__(self, core: Core) -> None:
        self.replica = core.replica
        self.config = core.config
        self.commands: Any = None
        self.disk: Any = SimpleNamespace(syncs=4, sync_ms_sum=10, sync_ms_max=7, slow_syncs=1)
        self._core = core

    def now(self) -> int:
        return self._core.now

    def client_port(self) -> int:
        return 2181

    def used_bytes(self) -> tuple[int, int]:
        return 12, 34


def commands(core: Core) -> Commands:
    node: Any = FakeNode(core)
    return Commands(node)


def ask(words: Commands, word: str, client: Client | None = None) -> str:
    answer = words.answer(word.encode(), client.conn if client else None)
    assert answer is not None
    return answer.decode()


@pytest.fixture
def core() -> Core:
    return Core(four_lw_whitelist=EVERY)


def test_every_word_is_known_and_a_length_is_not(core: Core) -> None:
    words = commands(core)

    assert all(words.knows(word.encode()) for word in (*WORDS, "stmk"))
    assert words.knows(b"\xff\xf4\xff\xfd")
    assert not words.knows(b"\0\0\0\x2c")
    assert {word.decode() for word in FORMS} == set(WORDS)


def test_only_srvr_is_answered_unless_the_whitelist_says_more() -> None:
    words = commands(Core())

    refusals = {word: ask(words, word) for word in (*WORDS, "stmk")}

    assert refusals.pop("srvr").startswith("Zookeeper version: ")
    assert refusals == {w: f"{w} is not executed because it is not in the whitelist.\n" for w in refusals}
    assert words.answer(b"\xff\xf4\xff\xfd", None) == (
        b"telnet close is not executed because it is not in the whitelist.\n"
    )


def test_a_named_word_is_answered_and_another_is_not() -> None:
    words = commands(Core(four_lw_whitelist=("ruok",)))

    assert ask(words, "ruok") == "imok"
    assert ask(words, "isro") == "isro is not executed because it is not in the whitelist.\n"


def test_isro_is_allowed_with_read_only_mode() -> None:
    assert ask(commands(Core(read_only_mode_enabled=True)), "isro") == "rw"


@pytest.mark.parametrize(
    ("written", "shown"), [(1_700_000_000, "11/14/2023 22:13 UTC"), (None, "01/01/1970 00:00 UTC")]
)
def test_a_server_is_built_when_its_version_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | None, shown: str
) -> None:
    """Whatever the day of its release; an archive has no such file."""
    file = tmp_path / "__init__.py"
    if written is not None:
        file.touch()
        os.utime(file, (written, written))
    monkeypatch.setattr(status, "_VERSION_FILE", str(file))

    assert status.version_line().endswith(f", built on {shown}")


def test_srvr_of_a_fresh_server(core: Core) -> None:
    form = (
        r"Zookeeper version: 3\.9\.3-\S+, built on \d\d/\d\d/\d{4} \d\d:\d\d \w+\n"
        r"Latency min/avg/max: 0/0\.0/0\nReceived: 1\nSent: 0\nConnections: 0\nOutstanding: 0\n"
        r"Zxid: 0x0\nMode: standalone\nNode count: 5\n"
    )

    assert re.fullmatch(form, ask(commands(core), "srvr"))


def test_stat_lists_the_clients_and_shows_that_the_asking_one_is_not_read(core: Core) -> None:
    core.client()
    asking = core.dial()

    lines = ask(commands(core), "stat", asking).splitlines()

    assert lines[1:5] == [
        "Clients:",
        " /127.0.0.1:40000[1](queued=0,recved=1,sent=1)",
        " /127.0.0.1:40000[0](queued=0,recved=1,sent=0)",
        "",
    ]
    assert lines[5].startswith("Latency min/avg/max: ")


def test_cons_shows_what_a_session_last_did(core: Core) -> None:
    client = core.client()
    client.create(b"/a")
    session, zxid = client.conn.session_id, core.tree.zxid

    shown = ask(commands(core), "cons")

    assert shown == (
        f" /127.0.0.1:40000[1](queued=0,recved=2,sent=2,sid=0x{session:x},lop=CREA,est={WALL + 1000},to=10000"
        f",lcxid=0x1,lzxid=0x{zxid:x},lresp={client.conn.last_response_at},llat=0,minlat=0,avglat=0,maxlat=0)\n\n"
    )


def test_cons_before_the_first_request_shows_the_session_being_made(core: Core) -> None:
    core.client()

    shown = ask(commands(core), "cons")

    assert ",lop=SESS," in shown
    assert "lcxid" not in shown


def test_an_ipv6_client_is_written_in_brackets(core: Core) -> None:
    core.dial("::1")

    assert ask(commands(core), "cons") == " /[::1]:40000[1](queued=0,recved=0,sent=0)\n\n"


def test_reads_at_once_count_as_latencies_of_0(core: Core) -> None:
    client = core.client()
    client.create(b"/a")
    core.metrics.fold()
    core.metrics.latency.reset()
    core.metrics.latency.add(3)
    received = core.metrics.packets_received
    core.metrics.reads_at_once += 2

    shown = ask(commands(core), "srvr")

    assert "Latency min/avg/max: 0/1.0/3\n" in shown
    assert core.metrics.latency.count == 3
    assert core.metrics.packets_received == received + 3


def test_srst_and_crst_forget(core: Core) -> None:
    words = commands(core)
    client = core.client()
    client.create(b"/a")

    assert ask(words, "srst") == "Server stats reset.\n"
    assert ask(words, "crst") == "Connection stats reset.\n"

    values = monitored(words)
    assert values["zk_cnt_updatelatency"] == values["zk_op_count_create"] == values["zk_cnt_fsynctime"] == "0"
    assert "(queued=0,recved=0,sent=0," in ask(words, "cons")


def test_conf_has_its_keys_in_order(core: Core) -> None:
    lines = ask(commands(core), "conf").splitlines()

    assert [line.split("=")[0] for line in lines] == [
        "clientPort", "secureClientPort", "dataDir", "dataDirSize", "dataLogDir", "dataLogSize", "tickTime",
        "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout", "clientPortListenBacklog", "serverId",
    ]  # fmt: skip
    assert lines[:4] == ["clientPort=2181", "secureClientPort=-1", "dataDir=./data/version-2", "dataDirSize=12"]
    assert lines[8] == "minSessionTimeout=4000"


def test_dirs(core: Core) -> None:
    assert ask(commands(core), "dirs") == "datadir_size: 12\nlogdir_size: 34\n"


def test_dump_of_a_server_without_clients(core: Core) -> None:
    assert ask(commands(core), "dump") == (
        "SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\nSessions with Ephemerals (0):\n"
        "Connections dump:\nConnections Sets (0)/(0):\n"
    )


def test_dump_shows_sessions_ephemerals_and_connections_with_their_times(core: Core) -> None:
    client = core.client()
    client.create(b"/e", flags=1)
    core.dial()
    session = f"0x{client.conn.session_id:x}"

    lines = ask(commands(core), "dump").splitlines()

    # Heard at 1 s with a timeout of 10 s: the next tick of 2 s is at 12 s, the next of 10 s at 20 s.
    assert lines == [
        "SessionTracker dump:",
        "Session Sets (1)/(1):",
        "1 expire at Tue Nov 14 22:13:32 UTC 2023:",
        f"\t{session}",
        "ephemeral nodes dump:",
        "Sessions with Ephemerals (1):",
        f"{session}:",
        "\t/e",
        "Connections dump:",
        "Connections Sets (1)/(2):",
        "2 expire at Tue Nov 14 22:13:40 UTC 2023:",
        f"\tip: /127.0.0.1:40000 sessionId: {session}",
        "\tip: /127.0.0.1:40000 sessionId: 0x0",
    ]


def test_envi_has_javas_keys(core: Core) -> None:
    lines = ask(commands(core), "envi").splitlines()

    assert lines[0] == "Environment:"
    assert [line.split("=")[0] for line in lines[1:]] == [
        "zookeeper.version", "host.name", "java.version", "java.vendor", "java.home", "java.class.path",
        "java.library.path", "java.io.tmpdir", "java.compiler", "os.name", "os.arch", "os.version", "user.name",
        "user.home", "user.dir", "os.memory.free", "os.memory.max", "os.memory.total",
    ]  # fmt: skip
    assert re.fullmatch(r"os\.memory\.max=\d+MB", lines[-2])


def test_watch_words_show_the_data_table(core: Core) -> None:
    words = commands(core)
    client = core.client()
    client.create(b"/a")
    client.get(b"/a", watch=True)
    client.exists(b"/b", watch=True)
    client.children(b"/", watch=True)
    session = f"0x{client.conn.session_id:x}"

    assert ask(words, "wchs") == "1 connections watching 2 paths\nTotal watches:2\n"
    assert ask(words, "wchc") == f"{session}\n\t/a\n\t/b\n\n"
    assert ask(words, "wchp") == f"/a\n\t{session}\n/b\n\t{session}\n\n"
    assert monitored(words)["zk_watch_count"] == "3"


def test_hash_lists_the_digests(core: Core) -> None:
    core.replica.pipeline.digests.extend([(0x1F, 7), (0x20, (1 << 64) - 2)])

    assert ask(commands(core), "hash") == "1f: 7\n20: -2\n"


def test_a_trace_mask_comes_in_pieces(core: Core) -> None:
    words = commands(core)

    assert words.answer(b"stmk", None) is None
    assert words.answer(b"stmk\0\0\0\0\0\0\x01", None) is None
    assert words.answer(b"stmk" + (-2).to_bytes(8, "big", signed=True), None) == b"-2"
    assert ask(words, "gtmk") == "-2"


def test_the_trace_mask_is_306_at_first(core: Core) -> None:
    assert ask(commands(core), "gtmk") == "306"


def test_a_server_that_does_not_serve_says_so(core: Core) -> None:
    words = commands(core)
    core.replica.is_serving = False

    answers = {word: ask(words, word) for word in WORDS}

    assert answers.pop("ruok") == "imok"
    assert answers.pop("isro") == "null"
    assert answers.pop("gtmk") == "306"
    assert answers.pop("envi").startswith("Environment:\n")
    assert answers.pop("hash") == NOT_SERVING
    assert set(answers.values()) == {NOT_SERVING + "\n"}


def monitored(words: Commands) -> dict[str, str]:
    return dict(line.split("\t") for line in ask(words, "mntr").splitlines())


def test_mntr_begins_with_version_and_state_and_has_every_name_once(core: Core) -> None:
    lines = ask(commands(core), "mntr").splitlines()
    values = dict(line.split("\t") for line in lines)

    assert lines[0].startswith("zk_version\t3.9.3-")
    assert lines[1] == "zk_server_state\tstandalone"
    assert len(values) == len(lines)
    assert {f"zk_{name}" for name in COUNTERS} <= values.keys()
    for name in (*BASIC, *ADVANCED):
        assert {f"zk_{each}_{name}" for each in ("avg", "min", "max", "cnt", "sum")} <= values.keys()
    for name in ADVANCED:
        assert {f"zk_{each}_{name}" for each in ("p50", "p95", "p99", "p999")} <= values.keys()
    assert re.fullmatch(r"\d+\.\d+", values["zk_avg_latency"])


def test_mntr_counts_what_happened(core: Core) -> None:
    words = commands(core)
    core.dial()
    client = core.client()
    client.create(b"/ab", b"xyz")
    client.create(b"/e", flags=1)
    client.children(b"/")
    client.call(opcodes.GET_CHILDREN2, records.PathWatchRequest(b"/", False))

    values = monitored(words)

    assert values["zk_znode_count"] == "7"
    assert values["zk_ephemerals_count"] == "1"
    assert values["zk_num_alive_connections"] == "2"
    assert values["zk_global_sessions"] == "1"
    assert values["zk_op_count_create"] == values["zk_op_count_get_children"] == "2"
    assert values["zk_op_count_total"] == "4"
    assert values["zk_cnt_readlatency"] == "2"
    assert values["zk_connection_request_count"] == values["zk_cnt_connection_token_deficit"] == "1"
    assert values["zk_sum_connection_token_deficit"] == "1"
    assert values["zk_fsync_threshold_exceed_count"] == "1"
    assert (values["zk_avg_fsynctime"], values["zk_max_fsynctime"], values["zk_sum_fsynctime"]) == ("2.5", "7", "10")


def test_mntr_counts_who_asked_for_which_ensemble(core: Core) -> None:
    core.replica.access.providers["ensemble"] = EnsembleProvider(["right"], core.metrics.count)
    client = core.client()
    for name in (b"", b"right", b"wrong"):
        client.send(opcodes.AUTH, jute.auth(b"ensemble", name), xid=-4)

    values = monitored(commands(core))

    assert [values[f"zk_ensemble_auth_{how}"] for how in ("skip", "success", "fail")] == ["1", "1", "1"]


def test_mntr_shows_quotas_by_namespace(core: Core) -> None:
    client = core.client()
    for path in (b"/app", b"/app/part", b"/zookeeper/quota/app", b"/zookeeper/quota/app/part"):
        client.create(path)
    client.create(b"/zookeeper/quota/app/part/zookeeper_limits", b"count=5,bytes=-1,countHardLimit=9")
    client.create(b"/zookeeper/quota/app/part/zookeeper_stats", b"count=0,bytes=0")
    client.create(b"/app/part/x", b"123")

    values = monitored(commands(core))

    assert values["zk_app_quota_count_limit_per_namespace"] == "9"
    assert values["zk_app_quota_count_usage_per_namespace"] == "2"
    assert values["zk_app_quota_bytes_usage_per_namespace"] == "3"
    assert "zk_app_quota_bytes_limit_per_namespace" not in values


def test_nonsense_in_a_quota_does_not_keep_mntr_from_answering(core: Core) -> None:
    client = core.client()
    for path in (b"/app", b"/zookeeper/quota/app"):
        client.create(path)
    client.create(b"/zookeeper/quota/app/zookeeper_limits", b"nonsense")

    values = monitored(commands(core))

    assert values["zk_app_quota_count_usage_per_namespace"] == "1"
    assert "zk_app_quota_count_limit_per_namespace" not in values


@pytest.mark.parametrize(("values", "shown"), [((), 0.0), ((1, 2), 1.5), ((1, 1, 2), 1.3333), ((5,), 5.0)])
def test_means_have_up_to_four_decimals(values: tuple[int, ...], shown: float) -> None:
    summary = Percentiles()
    for value in values:
        summary.add(value)

    assert mean(summary) == shown


def test_after_a_reset_a_connection_has_done_nothing(core: Core) -> None:
    client = core.client()
    client.create(b"/a")
    words = commands(core)

    ask(words, "crst")

    session = f"0x{client.conn.session_id:x}"
    assert ask(words, "cons") == (
        f" /127.0.0.1:40000[1](queued=0,recved=0,sent=0,sid={session},lop=NA,est={client.conn.established + WALL},"
        "to=10000,lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)\n\n"
    )


def test_a_hello_and_its_answer_are_packets_too(core: Core) -> None:
    client = core.client()
    client.create(b"/a")

    assert (core.metrics.packets_received, core.metrics.packets_sent) == (2, 2)


def test_a_word_and_its_answer_are_packets(core: Core) -> None:
    words = commands(core)

    ask(words, "ruok")
    words.answer(b"\xff\xf4\xff\xfd", None)

    assert (core.metrics.packets_received, core.metrics.packets_sent, core.metrics.bytes_received) == (2, 1, 8)


def test_a_connection_is_a_request_once_it_asks_for_a_session_and_dropped_if_it_goes_of_itself(core: Core) -> None:
    core.dial().close()
    core.client().close()
    polite = core.client()
    polite.call(opcodes.CLOSE_SESSION)
    polite.close()

    values = monitored(commands(core))

    assert (values["zk_connection_request_count"], values["zk_connection_drop_count"]) == ("2", "2")
