"""A zoo.cfg, the environment and options become one configuration, or one sentence that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.replica.config import Config
from corral.server.configfile import ConfigError, load, parse


def one(text: str) -> Config:
    """Parse a text that must not give a warning."""
    config, warnings = parse(text)
    assert warnings == []
    return config


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_nothing_configured_is_the_default_configuration() -> None:
    assert load(None, {}) == (Config(), [])


def test_defaults_stay_on_loopback() -> None:
    config = Config()

    assert config.client_port_address == config.admin_address == config.metrics_http_host == "127.0.0.1"


def test_apaches_sample_file_is_read() -> None:
    config = one(
        "# The number of milliseconds of each tick\ntickTime=3000\ninitLimit=10\nsyncLimit=5\n"
        "dataDir=/tmp/zookeeper\nclientPort=2182\nmaxClientCnxns=0\nautopurge.snapRetainCount=5\n"
        "autopurge.purgeInterval=1\nmetricsProvider.httpPort=7001\n"
    )

    assert (config.tick_time_ms, config.client_port, config.data_dir) == (3000, 2182, "/tmp/zookeeper")
    assert (config.init_limit_ticks, config.sync_limit_ticks, config.max_client_cnxns) == (10, 5, 0)
    assert (config.autopurge_snap_retain_count, config.autopurge_purge_interval_ms) == (5, 3_600_000)
    assert config.metrics_http_port == 7001


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("zookeeper.snapCount=7", "snap_count", 7),
        ("snapCount=7", "snap_count", 7),
        ("clientPortAddress=[::1]", "client_port_address", "::1"),
        ("admin.serverAddress=[::]", "admin_address", "::"),
        ("jute.maxbuffer=0x400000", "jute_maxbuffer", 4 << 20),
        ("zookeeper.jute.maxbuffer=4194304", "jute_maxbuffer", 4 << 20),
        ("readonlymode.enabled=true", "read_only_mode_enabled", True),
        ("znode.container.checkIntervalMs=5", "container_check_interval_ms", 5),
        ("znode.container.maxNeverUsedIntervalMs=9999999999", "container_max_never_used_interval_ms", 9_999_999_999),
        ("preAllocSize=64", "pre_alloc_bytes", 65536),
        ("preAllocSize=-1", "pre_alloc_bytes", 0),
        ("snapSizeLimitInKb=1024", "snap_size_limit_bytes", 1 << 20),
        ("snapSizeLimitInKb=0", "snap_size_limit_bytes", -1),
        ("snapSizeLimitInKb=-1", "snap_size_limit_bytes", -1),
        ("txnLogSizeLimitInKb=2", "txn_log_size_limit_bytes", 2048),
        ("fsync.warningthresholdms=20", "fsync_warning_threshold_ms", 20),
        ("zookeeper.fsync.warningthresholdms=20", "fsync_warning_threshold_ms", 20),
        ("autopurge.purgeInterval=90s", "autopurge_purge_interval_ms", 90_000),
        ("autopurge.purgeInterval=2D", "autopurge_purge_interval_ms", 172_800_000),
        ("autopurge.purgeInterval=2147483647", "autopurge_purge_interval_ms", 2147483647 * 3_600_000),
        ("minSessionTimeout=-1", "min_session_timeout_ms", None),
        ("4lw.commands.whitelist=stat, ruok ,,mntr", "four_lw_whitelist", ("stat", "ruok", "mntr")),
        ("4lw.commands.whitelist=*", "four_lw_whitelist", ("*",)),
        ("digest.enabled=FALSE", "digest_enabled", False),
        ("snapshot.compression.method=GZ", "snapshot_compression_method", "gz"),
        ("snapshot.compression.method=", "snapshot_compression_method", ""),
        (
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
            "metrics_provider",
            "prometheus",
        ),
        ("admin.enableServer=false", "admin_enabled", False),
        ("nio.sessionlessCnxnTimeout=500", "sessionless_cnxn_timeout_ms", 500),
        ("corral.setwatches.maxbuffer=1", "setwatches_maxbuffer", 1),
        ("ensembleAuthName=a,b", "ensemble_auth_name", "a,b"),
        ("DigestAuthenticationProvider.superDigest=super:x=", "super_digest", "super:x="),
        ("skipACL=no", "skip_acl", False),
        ("forceSync=yes", "force_sync", True),
        ("forceSync=true", "force_sync", True),
        ("tickTime =  2500  ", "tick_time_ms", 2500),
    ],
)
def test_a_key_sets_its_field_in_its_unit(line: str, field: str, value: object) -> None:
    assert getattr(one(line), field) == value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tickTime=0", "tickTime=0 is wrong: expected a whole number of ms, at least 1"),
        ("tickTime=2s", "tickTime=2s is wrong: expected a whole number of ms, at least 1"),
        ("tickTime=", "tickTime= is wrong"),
        ("tickTime=2147483648", "tickTime=2147483648 is wrong"),
        ("tickTime=1_000", "tickTime=1_000 is wrong"),
        ("tickTime=²", "tickTime=² is wrong"),
        ("clientPortAddress=a..b", "expected a name or an address"),
        ("admin.serverAddress=" + 64 * "a", "expected a name or an address"),
        ("clientPort=65536", "expected a port from 0 to 65535 (0: the system chooses)"),
        ("clientPort=-1", "expected a port from 0 to 65535"),
        ("secureClientPort=-2", "expected a port from -1 to 65535 (0: the system chooses, -1: none)"),
        ("maxClientCnxns=-1", "expected a whole number, at least 0"),
        ("minSessionTimeout=0", "at least 1, or -1 for the default"),
        ("autopurge.purgeInterval=1w", "expected a whole number with ms, s, m, h or d behind it (h if nothing is)"),
        ("autopurge.purgeInterval=2147483648", "autopurge.purgeInterval=2147483648 is wrong"),
        ("digest.enabled=yes", "expected true or false"),
        ("digest.enabled=1", "expected true or false"),
        ("snapshot.compression.method=zip", "expected nothing, gz or snappy"),
        ("corral.log.level=loud", "expected debug, info, warning or error"),
        ("connection_throttle_drop_increase=1.1", "expected a number from 0 to 1"),
        ("connection_throttle_drop_increase=nan", "expected a number from 0 to 1"),
        ("metricsProvider.className=com.example.Mine", "expected default, null, prometheus or the name"),
        ("electionAlg=2", "electionAlg=2 is wrong: expected 3"),
        ("peerType=leader", "expected participant or observer"),
        ("dataDir=", "expected a value that is not empty"),
        ("server.one=h:1:2", "expected a whole number behind server."),
        ("server.1=", "server.1= is wrong: expected a value that is not empty"),
        ("weight.1=heavy", "weight.1=heavy is wrong: expected a whole number, at least 0"),
        ("DigestAuthenticationProvider.digestAlg=ROT13", "expected SHA1, SHA-1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_right(line: str, expected: str) -> None:
    message = refusal(f"# first\n\n{line}\n")

    assert message.startswith("zoo.cfg:3: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("line", ["skipACL=true", "forceSync=false"])
def test_what_zookeeper_takes_for_its_opposite_must_be_spelled_out(line: str) -> None:
    """ZooKeeper reads skipACL=true as no and forceSync=false as yes; guessing either way may do harm."""
    assert "expected yes or no" in refusal(line)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("skipACL=yes", "every client"),
        ("forceSync=no", "lose confirmed writes"),
        ("corral.audit.file=a", "nothing without audit.enable"),
    ],
)
def test_a_setting_that_may_surprise_is_taken_with_a_warning(line: str, says: str) -> None:
    _, warnings = parse(line)

    assert len(warnings) == 1
    assert warnings[0].startswith("zoo.cfg:1: ")
    assert says in warnings[0]


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("maxClientCnxn=5", "maxClientCnxns"),
        ("ticktime=5", "tickTime"),
        ("zookeeper.jute.maxbufer=5", "jute.maxbuffer"),
        ("DATADIR=/x", "dataDir"),
    ],
)
def test_an_unknown_key_is_ignored_with_a_warning_that_names_the_nearest(line: str, near: str) -> None:
    config, warnings = parse("\n" + line)

    assert config == Config()
    assert warnings == [f"zoo.cfg:2: unknown key {line.split('=')[0]} (did you mean {near}?); it is ignored"]


def test_an_unknown_key_like_no_other_gets_no_suggestion() -> None:
    assert parse("qqqqqq=1")[1] == ["zoo.cfg:1: unknown key qqqqqq; it is ignored"]


def test_a_key_of_javas_own_tuning_is_known_and_said_to_do_nothing() -> None:
    config, warnings = parse("nio.numWorkerThreads=4")

    assert config.other == {"nio.numWorkerThreads": "4"}
    assert len(warnings) == 1
    assert "nio.numWorkerThreads has no effect" in warnings[0]


def test_a_cache_that_is_not_needed_is_said_to_do_nothing() -> None:
    warnings = parse("maxResponseCacheSize=0\nmaxGetChildrenResponseCacheSize=0")[1]

    assert warnings == [
        "zoo.cfg:1: maxResponseCacheSize has no effect: a node is its reply to getData, so none is kept beside it"
    ]


def test_keys_of_tls_and_the_quorum_are_kept_as_text() -> None:
    config = one(
        "ssl.keyStore.location=/k\nzookeeper.ssl.quorum.trustStore.type=PEM\nsslQuorum=true\npeerType=observer"
    )

    assert config.other == {
        "ssl.keyStore.location": "/k",
        "ssl.quorum.trustStore.type": "PEM",
        "sslQuorum": "true",
        "peerType": "observer",
    }


def test_other_spellings_of_a_key_are_one_key() -> None:
    config, warnings = parse("observer.syncEnabled=false\nsyncEnabled=true")

    assert config.other == {"syncEnabled": "true"}
    assert len(warnings) == 1


def test_members_groups_and_weights_are_kept_by_number() -> None:
    config = one(
        "initLimit=10\nsyncLimit=5\nserver.1=a:2888:3888\nserver.02=b:2888:3888:observer;0.0.0.0:2181\n"
        "group.1=1:2\nweight.1=3\nweight.2=0\n"
    )

    assert config.servers == {1: "a:2888:3888", 2: "b:2888:3888:observer;0.0.0.0:2181"}
    assert config.groups == {1: "1:2"}
    assert config.weights == {1: 3, 2: 0}


@pytest.mark.parametrize("missing", ["initLimit", "syncLimit"])
def test_an_ensemble_needs_its_limits(missing: str) -> None:
    given = "syncLimit=5" if missing == "initLimit" else "initLimit=5"

    assert f"{missing} is missing" in refusal(f"{given}\nserver.1=a:1:2\nserver.2=b:1:2")


def test_one_server_line_needs_no_limits() -> None:
    assert one("server.1=a:1:2").servers == {1: "a:1:2"}


def test_authentication_providers_are_kept_in_order() -> None:
    config = one("authProvider.sasl=org.Sasl\nzookeeper.authProvider.1=org.X509")

    assert list(config.auth_providers.items()) == [("sasl", "org.Sasl"), ("1", "org.X509")]


def test_super_users_come_from_the_key_and_its_family() -> None:
    assert one("superUser=root\nsuperUser.1=admin").super_users == ("root", "admin")


def test_enforced_authentication_needs_schemes() -> None:
    assert "needs enforce.auth.schemes" in refusal("enforce.auth.enabled=true")
    assert one("enforce.auth.enabled=true\nenforce.auth.schemes=digest, sasl").enforce_auth_schemes == (
        "digest",
        "sasl",
    )


def test_a_super_digest_without_a_user_is_refused_and_not_shown() -> None:
    message = refusal("DigestAuthenticationProvider.superDigest=hunter2")

    assert "expected to be user:digest" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("tickTime=1000", 2000, 20_000),
        ("tickTime=1000\nminSessionTimeout=100", 100, 20_000),
        ("tickTime=1000\nmaxSessionTimeout=2000", 2000, 2000),
        ("tickTime=1000\nminSessionTimeout=-1\nmaxSessionTimeout=-1", 2000, 20_000),
        # What a client can be told.
        ("tickTime=2147483647", 2147483647, 2147483647),
    ],
)
def test_session_timeouts_follow_the_tick_unless_set(text: str, least: int, most: int) -> None:
    config = one(text)

    assert (config.min_session_timeout, config.max_session_timeout) == (least, most)


def test_a_least_session_timeout_above_the_longest_is_refused() -> None:
    message = refusal("tickTime=1000\nmaxSessionTimeout=1999")

    assert message.startswith("zoo.cfg:2: minSessionTimeout is 2000 and maxSessionTimeout is 1999")


@pytest.mark.parametrize(("given", "kept", "warns"), [(0, 3, True), (2, 3, True), (3, 3, False), (4, 4, False)])
def test_fewer_than_three_snapshots_are_raised_to_three(given: int, kept: int, warns: bool) -> None:
    config, warnings = parse(f"autopurge.snapRetainCount={given}")

    assert config.autopurge_snap_retain_count == kept
    expected = f"zoo.cfg:1: autopurge.snapRetainCount={given} is too low and was raised to 3"
    assert warnings == ([expected] if warns else [])


@pytest.mark.parametrize(("given", "kept"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_a_snap_count_below_two_is_raised_to_two(given: int, kept: int) -> None:
    assert parse(f"snapCount={given}")[0].snap_count == kept


def test_a_secure_port_alone_means_no_plain_one() -> None:
    assert one("secureClientPort=2281").client_port == -1
    assert one("secureClientPort=2281\nclientPort=2181").client_port == 2181
    assert one("secureClientPort=-1").client_port == 2181


def test_the_path_of_the_admin_commands_is_one_that_can_be_served() -> None:
    assert one("admin.commandURL=/zk/commands").admin_command_url == "/zk/commands"
    for wrong in ("", "commands", "/a{b", "/a}b"):
        assert "expected a path that begins with / and has no braces" in refusal(f"admin.commandURL={wrong}")


@pytest.mark.parametrize(
    "text",
    [
        "clientPort=2181\nsecureClientPort=2181",
        "clientPort=8080",
        "clientPort=8080\nclientPortAddress=0.0.0.0",
        "clientPort=7000\nmetricsProvider.className=prometheus",
    ],
)
def test_one_port_for_two_listeners_is_refused(text: str) -> None:
    assert "expected a port for each" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "clientPort=0\nadmin.serverPort=0",
        "clientPort=8080\nadmin.enableServer=false",
        "clientPort=8080\nadmin.serverAddress=127.0.0.2",
        "clientPort=7000",
    ],
)
def test_one_port_is_allowed_where_listeners_do_not_meet(text: str) -> None:
    one(text)


def test_a_read_only_server_answers_isro_unless_told_otherwise() -> None:
    assert one("readonlymode.enabled=true").four_lw_whitelist == ("srvr", "isro")
    assert one("readonlymode.enabled=true\n4lw.commands.whitelist=ruok").four_lw_whitelist == ("ruok",)


def test_the_extra_size_follows_the_packet_size_within_an_int() -> None:
    assert Config(jute_maxbuffer=5000).jute_maxbuffer_extrasize == 5000
    assert Config(jute_maxbuffer=5000, jute_extrasize=0).jute_maxbuffer_extrasize == 1024
    assert Config(jute_maxbuffer=5000, jute_extrasize=9000).jute_maxbuffer_extrasize == 9000
    assert Config(jute_maxbuffer=0x7FFFFFFF).jute_maxbuffer_extrasize == 0


def test_logs_lie_with_the_snapshots_unless_told_otherwise() -> None:
    assert one("dataDir=/d").log_dir == "/d"
    assert one("dataDir=/d\ndataLogDir=/l").log_dir == "/l"


def test_a_flush_waits_a_third_of_its_delay_for_more() -> None:
    assert one("flushDelay=30").write_queue_poll_ms == 10
    assert one("flushDelay=30\nmaxWriteQueuePollTime=0").write_queue_poll_ms == 0


def test_of_a_repeated_key_the_last_counts_with_a_warning() -> None:
    config, warnings = parse("tickTime=1\nzookeeper.tickTime=2")

    assert config.tick_time_ms == 2
    assert warnings == ["zoo.cfg:2: tickTime is set at zoo.cfg:1 too; this line counts"]


def test_a_broken_escape_is_refused_with_its_line() -> None:
    assert refusal("a=b\ndataDir=\\u12").startswith("zoo.cfg:2: ")


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.cfg: cannot be read: No such file"):
        load(str(tmp_path / "none.cfg"), {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path), {})


def test_a_file_without_a_data_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zoo.cfg"
    path.write_text("clientPort=0\n")

    with pytest.raises(ConfigError, match="dataDir is missing"):
        load(str(path), {})

    assert load(str(path), {"CORRAL_DATA_DIR": "/d"})[0].data_dir == "/d"
    assert load(str(path), {}, {"dataDir": "/d"})[0].data_dir == "/d"


@pytest.mark.parametrize("raw", ["dataDir=/dä".encode(), b"\xef\xbb\xbf" + "dataDir=/dä".encode(), b"dataDir=/d\xe4"])
def test_a_file_is_utf8_or_else_latin1(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "zoo.cfg"
    path.write_bytes(raw)

    assert load(str(path), {})[0].data_dir == "/dä"


def test_options_count_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "zoo.cfg"
    path.write_text("dataDir=/d\ntickTime=1\nmaxCnxns=1\nsnapCount=11\n")

    config, warnings = load(str(path), {"CORRAL_MAX_CNXNS": "2", "CORRAL_SNAP_COUNT": "22"}, {"snapCount": "33"})

    assert (config.tick_time_ms, config.max_cnxns, config.snap_count) == (1, 2, 33)
    assert warnings == []


def test_a_wrong_value_names_the_source_that_had_it() -> None:
    with pytest.raises(ConfigError, match=r"^environment, CORRAL_TICK_TIME: tickTime=x is wrong"):
        load(None, {"CORRAL_TICK_TIME": "x"})
    with pytest.raises(ConfigError, match=r"^command line: clientPort=x is wrong"):
        load(None, {}, {"clientPort": "x"})


def test_members_may_come_from_the_environment() -> None:
    environ = {
        "CORRAL_SERVER_1": "a:1:2",
        "CORRAL_SERVER_2": "b:1:2",
        "CORRAL_INIT_LIMIT": "5",
        "CORRAL_SYNC_LIMIT": "2",
        "CORRAL_AUTH_PROVIDER_SASL": "org.Sasl",
    }

    config, warnings = load(None, environ)

    assert config.servers == {1: "a:1:2", 2: "b:1:2"}
    assert config.auth_providers == {"sasl": "org.Sasl"}
    assert warnings == []


def test_an_unknown_variable_is_ignored_with_a_warning() -> None:
    config, warnings = load(None, {"CORRAL_TIKTIME": "5", "OTHER": "x"})

    assert config == Config()
    assert warnings == ["environment, CORRAL_TIKTIME: unknown variable (did you mean CORRAL_TICK_TIME?); it is ignored"]


def test_an_unknown_variable_is_like_no_other_for_its_prefix() -> None:
    assert load(None, {"CORRAL_COLOUR": "5"})[1] == ["environment, CORRAL_COLOUR: unknown variable; it is ignored"]


def test_variables_of_the_commands_for_clients_are_left_alone() -> None:
    names = ("CONNECT", "AUTH", "KEY_PASSWORD", "SASL_PASSWORD", "FENCING_TOKEN", "LOCK_NODE")

    assert load(None, {f"CORRAL_{name}": "x" for name in names}) == (Config(), [])


def test_what_kubernetes_sets_for_services_of_our_name_is_left_alone() -> None:
    environ = {
        "CORRAL_SERVICE_HOST": "10.0.0.1",
        "CORRAL_SERVICE_PORT": "2181",
        "CORRAL_SERVICE_PORT_CLIENT": "2181",
        "CORRAL_PORT": "tcp://10.0.0.1:2181",
        "CORRAL_PORT_2181_TCP": "tcp://10.0.0.1:2181",
        "CORRAL_PORT_2181_TCP_ADDR": "10.0.0.1",
        "CORRAL_CLIENT_PORT": "tcp://10.0.0.1:2181",
    }

    assert load(None, environ) == (Config(), [])


def test_two_configurations_share_nothing() -> None:
    first, second = Config(), Config()

    first.other["a"] = "b"

    assert second.other == {}
