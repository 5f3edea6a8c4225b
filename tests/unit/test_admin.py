"""The admin server without its sockets: commands' data, rights, rates, Prometheus text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from tests.support.core import WALL, Core
from tests.unit.test_words import FakeNode

from corral.replica.config import Config
from corral.replica.inputs import SnapshotFailed
from corral.server.admin.answers import ALIASES, ALWAYS, COMMANDS, settings_text
from corral.server.admin.http import AdminServer, reply
from corral.server.admin.prometheus import Exposition
from corral.server.admin.restricted import METHODS, RateLimit, Refused, authorize, check_snapshot, shed
from corral.server.admin.status import Status
from corral.server.providers.digest import digest_identity
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL


def status_of(core: Core) -> Status:
    node: Any = FakeNode(core)
    return Status(node)


def answer(core: Core, name: str, **query: str) -> dict[str, Any]:
    return COMMANDS[ALIASES.get(name, name)](status_of(core), query)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_what_json_can_hold(name: str) -> None:
    core = Core()
    client = core.client()
    client.create(b"/e", flags=1)
    client.exists(b"/x", watch=True)

    text = json.dumps(answer(core, name))

    assert json.loads(text) is not None


def test_aliases_lead_to_commands() -> None:
    assert set(ALIASES.values()) <= {*COMMANDS, *METHODS}
    assert set(ALWAYS) <= set(COMMANDS)


def test_configuration_has_its_nine_keys() -> None:
    found = answer(Core(tick_time_ms=3000), "conf")

    assert list(found) == [
        "client_port", "data_dir", "data_log_dir", "tick_time", "max_client_cnxns", "min_session_timeout",
        "max_session_timeout", "server_id", "client_port_listen_backlog",
    ]  # fmt: skip
    assert found["tick_time"] == 3000


def test_connections_show_a_session_and_stats_only_the_beginning() -> None:
    core = Core()
    client = core.client()
    client.create(b"/a")

    full = answer(core, "connections")["connections"][0]
    brief = answer(core, "stats")["connections"][0]

    assert (full["session_id"], full["last_operation"], full["last_cxid"]) == (client.conn.session_id, "CREA", 1)
    assert full["established"] == WALL + 1000
    assert brief == {
        "remote_socket_address": "127.0.0.1:40000",
        "interest_ops": 1,
        "outstanding_requests": 0,
        "packets_received": 2,
        "packets_sent": 2,
    }


def test_watches_and_dump_are_keyed_by_decimal_session_ids() -> None:
    core = Core()
    client = core.client()
    client.create(b"/e", flags=1)
    client.exists(b"/x", watch=True)
    session = client.conn.session_id

    assert answer(core, "wchc") == {"session_id_to_watched_paths": {str(session): ["/x"]}}
    assert answer(core, "wchp") == {"path_to_session_ids": {"/x": [session]}}
    assert answer(core, "wchs") == {"num_connections": 1, "num_paths": 1, "num_total_watches": 1}
    assert answer(core, "dump") == {
        "expiry_time_to_session_ids": {"12000": [session]},
        "session_id_to_ephemeral_paths": {str(session): ["/e"]},
    }


def test_last_snapshot_of_a_server_that_made_none_and_of_one_that_did() -> None:
    core = Core()
    assert answer(core, "lsnp") == {"zxid": "ffffffffffffffff", "timestamp": -1}

    core.replica.last_snapshot = (0x1F, WALL)

    assert answer(core, "lsnp") == {"zxid": "1f", "timestamp": WALL // 1000}


def test_monitor_has_numbers_not_texts() -> None:
    found = answer(Core(), "mntr")

    assert found.pop("version").startswith("3.9.3-")
    assert found.pop("server_state") == "standalone"
    assert {type(value) for value in found.values()} == {int, float}
    assert found["avg_latency"] == 0.0


def test_a_trace_mask_is_set_and_a_wrong_one_refused() -> None:
    status = status_of(Core())
    set_mask = COMMANDS["set_trace_mask"]

    assert set_mask(status, {"traceMask": "5"}) == {"tracemask": 5}
    assert COMMANDS["get_trace_mask"](status, {}) == {"tracemask": 5}
    assert set_mask(status, {}) == {"error": "setTraceMask requires long traceMask argument"}
    for wrong in ("x", str(1 << 63)):
        assert set_mask(status, {"traceMask": wrong}) == {
            "error": f"setTraceMask requires long traceMask argument, got {wrong}"
        }


def test_a_standalone_server_has_no_leader_and_no_voters() -> None:
    core = Core()

    assert answer(core, "lead") == {"error": "server is not initialized"}
    assert answer(core, "voting_view") == {"current_config": {}}
    assert answer(core, "zabstate") == {"voting": False, "zabstate": ""}


def test_initial_configuration_has_what_was_set_and_no_secrets() -> None:
    config = Config(tick_time_ms=3000, admin_enabled=False, super_digest="super:hash", data_dir="/d")

    lines = settings_text(config).splitlines()

    assert sorted(lines) == ["admin.enableServer=false", "dataDir=/d", "tickTime=3000"]


def test_an_answer_is_printed_as_zookeeper_prints_it() -> None:
    shown = reply("is_read_only", {"read_only": False}, None)

    assert shown.text == '{\n  "read_only" : false,\n  "command" : "is_read_only",\n  "error" : null\n}'
    assert shown.content_type == "application/json"


# Over a socket.


async def fetch(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        return response.status, await response.text()


def test_the_server_answers_over_http() -> None:
    core = Core(admin_port=0, metrics_provider="prometheus", metrics_http_port=0, admin_restore_enabled=False)
    node: Any = FakeNode(core)

    async def scenario() -> list[tuple[int, str]]:
        admin = AdminServer(node, core.config, core.log)
        await admin.start()
        try:
            found = [
                await fetch(admin.port, "/health"),
                await fetch(admin.port, "/ready"),
                await fetch(admin.metrics_port, "/metrics"),
                await fetch(admin.port, "/commands/ruok"),
                await fetch(admin.port, "/commands/ruok", "POST"),
                await fetch(admin.port, "/commands/nonsense"),
                await fetch(admin.port, "/commands/ruok", "TRACE"),
                await fetch(admin.port, "/commands/snapshot"),
                await fetch(admin.port, "/commands/restore", "POST", Authorization="ip"),
                await fetch(admin.port, "/commands"),
                await fetch(admin.port, "/"),
                await fetch(admin.port, "/nothing"),
            ]
            core.replica.is_serving = False
            found += [
                await fetch(admin.port, "/ready"),
                await fetch(admin.port, "/commands/ruok"),
                await fetch(admin.port, "/commands/snapshot", Authorization="ip"),
            ]
        finally:
            await admin.stop()
        return found

    found = asyncio.run(scenario())
    health, ready, metrics, ruok, posted, unknown, trace, bare, restore, index, first, nothing, *rest = found
    unready, idle, no_snapshot = rest

    assert health == (200, '{"status": "alive"}')
    assert ready == (200, '{"ready": true}')
    assert metrics[0] == 200
    assert "znode_count 5.0" in metrics[1]
    assert json.loads(ruok[1]) == {"command": "ruok", "error": None}
    assert posted[0] == 500
    assert json.loads(unknown[1]) == {"command": "nonsense", "error": "Unknown command: nonsense"}
    assert trace[0] == 403
    assert (bare[0], json.loads(bare[1])["error"]) == (401, "Auth info is missing for the command")
    assert (restore[0], json.loads(restore[1])["error"]) == (503, "Restore command is disabled")
    assert '<a href="/commands/ruok">ruok</a>\n<br/>\n' in index[1]
    assert '<a href="/commands">/commands</a>' in first[1]
    assert nothing[0] == 404
    assert unready == (503, '{"ready": false}')
    assert json.loads(idle[1])["error"] == "This ZooKeeper instance is not currently serving requests"
    assert (idle[0], no_snapshot[0]) == (200, 503)


def test_another_path_is_not_found_and_another_method_not_allowed() -> None:
    core = Core(admin_port=0)
    node: Any = FakeNode(core)

    async def scenario() -> list[int]:
        admin = AdminServer(node, core.config, core.log)
        await admin.start()
        asked = [("/nothing", "GET"), ("/commands/ruok/", "GET"), ("/commands/ruok", "PUT"), ("/", "TRACE")]
        try:
            return [(await fetch(admin.port, path, method))[0] for path, method in asked]
        finally:
            await admin.stop()

    assert asyncio.run(scenario()) == [404, 404, 405, 403]


def test_a_taken_port_is_one_warning_and_no_admin_server() -> None:
    core = Core(admin_port=0)
    node: Any = FakeNode(core)

    async def scenario() -> int:
        first = AdminServer(node, core.config, core.log)
        await first.start()
        core.config.admin_port = first.port
        second = AdminServer(node, core.config, core.log)
        await second.start()
        await second.stop()
        await first.stop()
        return second.port

    assert asyncio.run(scenario()) == 0

    warnings = [(event, data) for level, event, data in core.log.lines if level == "warning"]
    assert [event for event, _ in warnings] == ["no admin server: cannot listen"]
    assert "in use" in warnings[0][1]["why"]
    assert warnings[0][1]["key"] == "admin.serverPort"


def test_an_admin_server_that_must_speak_tls_does_not_speak_without() -> None:
    core = Core(admin_port=0, admin_force_https=True)
    node: Any = FakeNode(core)
    admin = AdminServer(node, core.config, core.log)

    asyncio.run(admin.start())

    assert admin.port == 0
    assert [level for level, _, _ in core.log.lines] == ["warning"]


# Rights.


def refusal(core: Core, header: str | None, address: str = "127.0.0.1") -> tuple[int, str]:
    node: Any = FakeNode(core)
    with pytest.raises(Refused) as refused:
        authorize(node, header, address)
    return refused.value.status, str(refused.value)


def test_without_authentication_nothing_restricted_is_done() -> None:
    core = Core()

    assert refusal(core, None) == (401, "Auth info is missing for the command")
    assert refusal(core, "nonsense x") == (401, "Not authenticated")
    assert refusal(core, "digest ") == (401, "Not authenticated")


def test_any_identity_will_do_while_the_root_is_open() -> None:
    node: Any = FakeNode(Core())

    authorize(node, "digest bob:secret", "127.0.0.1")
    authorize(node, "ip", "127.0.0.1")


def test_credentials_are_the_bytes_that_came() -> None:
    """A header that is not UTF-8 comes with a surrogate for each byte that is not."""
    core = Core(super_digest=digest_identity("super:pä".encode("latin-1")))
    core.client().call(opcodes.SET_ACL, records.SetAclRequest(b"/", [ACL(31, "ip", "10.0.0.1")], -1))
    node: Any = FakeNode(core)

    authorize(node, "digest super:p\udce4", "127.0.0.1")
    assert refusal(core, "digest super:pä") == (403, "Not authorized")
    assert refusal(core, "\udce4 x") == (401, "Not authenticated")


def test_all_five_rights_on_the_root_are_needed() -> None:
    core = Core()
    acl = [ACL(31, "ip", "10.0.0.1"), ACL(15, "ip", "10.0.0.2"), ACL(31, "world", "anyone")]
    set_acl = core.client().call(opcodes.SET_ACL, records.SetAclRequest(b"/", acl[:2], -1))
    node: Any = FakeNode(core)

    assert set_acl.err == 0
    authorize(node, "ip", "10.0.0.1")
    assert refusal(core, "ip", "10.0.0.2") == (403, "Not authorized")
    assert refusal(core, "digest bob:secret", "10.0.0.1") == (403, "Not authorized")


@pytest.mark.parametrize(
    ("config", "status"),
    [({"admin_snapshot_enabled": False}, 503), ({"serialize_last_processed_zxid_enabled": False}, 500)],
)
def test_snapshots_can_be_switched_off(config: dict[str, bool], status: int) -> None:
    node: Any = FakeNode(Core(**config))
    with pytest.raises(Refused) as refused:
        check_snapshot(node)
    assert refused.value.status == status


def test_a_rate_limit_lets_one_through_per_interval() -> None:
    limit = RateLimit(100)

    assert [limit.take(now) for now in (0, 50, 99, 100, 150, 300)] == [True, False, False, True, False, True]

    limit.give_back()

    assert [limit.take(now) for now in (301, 302)] == [True, False]


class FailingNode(FakeNode):
    """A node whose snapshots fail."""

    def drain(self) -> None:
        raise Refused(507, "no room")


def test_the_interval_between_snapshots_is_in_milliseconds() -> None:
    core = Core(admin_port=0, admin_rate_limiter_interval_ms=300_000)
    node: Any = FailingNode(core)

    async def scenario() -> list[int]:
        admin = AdminServer(node, core.config, core.log)
        await admin.start()
        found = []
        for _ in range(3):
            found.append((await fetch(admin.port, "/commands/snapshot", Authorization="ip"))[0])
            core.now += 299_999
            core.replica.handle(SnapshotFailed(0, "no room"), core.now)
        await admin.stop()
        return found

    assert asyncio.run(scenario()) == [507, 429, 507]


class SheddingNode(FakeNode):
    """A node whose turn ends when it is told to."""

    drained = 0

    def drain(self) -> None:
        self.drained += 1


def test_shedding_closes_a_share_of_the_connections() -> None:
    core = Core()
    conns = [core.dial().conn for _ in range(4)]
    node: Any = SheddingNode(core)

    assert shed(node, {"percentage": 50}) == {"connections_shed": 2, "percentage_requested": 50}

    assert [conn.is_closing for conn in conns] == [True, False, True, False]
    assert node.drained == 1


@pytest.mark.parametrize("body", [None, [], {}, {"percentage": "5"}, {"percentage": 101}, {"percentage": True}])
def test_shedding_refuses_what_is_no_percentage(body: Any) -> None:
    core = Core()
    conn = core.dial().conn
    node: Any = SheddingNode(core)

    with pytest.raises(Refused) as refused:
        shed(node, body)

    assert refused.value.status == 400
    assert not conn.is_closing


# Prometheus.


def test_metrics_have_zookeepers_names_and_quantiles() -> None:
    core = Core()
    core.metrics.read_latency.add(4)
    core.tree.quotas.exceeded[b"/app/x"] = 3

    lines = Exposition(status_of(core), has_process=False).text().decode().splitlines()

    assert "znode_count 5.0" in lines
    assert "avg_latency 0.0" in lines
    assert "bytes_received_count 0.0" in lines
    assert 'readlatency{quantile="0.99"} 4.0' in lines
    assert "readlatency_count 1.0" in lines
    assert "fsynctime_sum 10.0" in lines
    assert 'quota_exceeded_error_per_namespace{key="app"} 3.0' in lines
    assert "# TYPE readlatency summary" in lines
    assert "# TYPE bytes_received_count counter" in lines
    assert "# TYPE znode_count gauge" in lines
    assert not [line for line in lines if line.startswith(("zk_", "process_"))]
