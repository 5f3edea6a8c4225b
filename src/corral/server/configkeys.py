"""The keys of a zoo.cfg: for each its spelling, the field of Config that it sets, the values it takes and what it does.

Every key may carry ZooKeeper's prefix `zookeeper.`, since unknown keys of a zoo.cfg become Java properties of that
prefix. Keys that begin with `corral.` are this server's own. A key of the field `other` is known and kept as text.
This is a table, so it is longer than a file should be.
"""

from __future__ import annotations

import re

from corral.base.records import record
from corral.server.configvalues import (
    INT_MAX,
    LONG_MAX,
    Kind,
    address,
    boolean,
    choice,
    commas,
    duration,
    filled,
    integer,
    mapped,
    number,
    optional_ms,
    port,
    text,
    url_path,
    yes_no,
)

KIB = 1024
THREADS = "it tunes threads and buffers that only Java's server has"
DROPS = "this server's throttle keeps connections in order instead of dropping some at random"
MONITOR = "there is no garbage collector to watch"
HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
NOT_NAME = re.compile(r"[^A-Za-z0-9]+")
PREFIX = "zookeeper."
OWN_PREFIX = "corral."

PROVIDER = "org.apache.zookeeper.metrics."
METRICS_PROVIDERS = {
    "default": "default",
    "null": "null",
    "prometheus": "prometheus",
    PROVIDER + "impl.DefaultMetricsProvider": "default",
    PROVIDER + "impl.NullMetricsProvider": "null",
    PROVIDER + "prometheus.PrometheusMetricsProvider": "prometheus",
}
DIGESTS = ("SHA1", "SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512", "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512")


@record
class Key:
    """One key. field: of Config. aliases: other spellings. unused: why it changes nothing here, "" if it does."""

    name: str
    field: str
    kind: Kind
    doc: str
    aliases: tuple[str, ...] = ()
    unused: str = ""


@record
class Family:
    """Keys that share a prefix and go on with a suffix of one's choice. digits: the suffix is a whole number."""

    prefix: str
    field: str
    digits: bool
    doc: str


MS = integer(0, unit="ms")
MS_ABOVE_0 = integer(1, unit="ms")
COUNT = integer(0)
OFF_COUNT = integer(-1)
BYTES_ABOVE_0 = integer(1, unit="bytes")
BYTES = integer(0, unit="bytes")
TRUTH = boolean()
TEXT = text()

LISTENING = (
    Key("clientPort", "client_port", port(0), "Listen here for clients."),
    Key("clientPortAddress", "client_port_address", address(), "Listen on this address; 0.0.0.0 is every one."),
    Key("secureClientPort", "secure_client_port", port(-1), "Listen here for clients with TLS."),
    Key("secureClientPortAddress", "secure_client_port_address", address(), "Listen on this address with TLS."),
    Key("client.portUnification", "client_port_unification", TRUTH, "Take TLS and plain clients on one port."),
    Key(
        "clientPortListenBacklog", "client_port_listen_backlog", integer(-1), "Queue so many connections; -1: the most."
    ),
    Key("maxClientCnxns", "max_client_cnxns", COUNT, "Take so many connections of one address; 0: any number."),
    Key("maxCnxns", "max_cnxns", COUNT, "Take so many connections in all; 0: any number."),
    Key("nio.sessionlessCnxnTimeout", "sessionless_cnxn_timeout_ms", MS_ABOVE_0, "Close a connection without session."),
    Key("corral.connection.outbuffer.max", "outbuffer_max", BYTES, "Drop a client with more unread bytes; 0: never."),
)

FILES = (
    Key("dataDir", "data_dir", filled(), "Keep snapshots here, and logs unless dataLogDir says otherwise."),
    Key("dataLogDir", "data_log_dir", filled(), "Keep transaction logs here."),
    Key("datadir.autocreate", "datadir_autocreate", TRUTH, "Create missing directories."),
    Key("db.autocreate", "db_autocreate", TRUTH, "Start with an empty database where there are no files."),
    Key("snapCount", "snap_count", integer(0), "Take a snapshot after about so many transactions."),
    Key(
        "snapSizeLimitInKb",
        "snap_size_limit_bytes",
        integer(-1, LONG_MAX // KIB, KIB, off=-1, unit="KiB"),
        "Take a snapshot after about so much log; 0 or -1: for its size never.",
    ),
    Key(
        "txnLogSizeLimitInKb",
        "txn_log_size_limit_bytes",
        integer(-1, LONG_MAX // KIB, KIB, off=-1, unit="KiB"),
        "Begin a new log file past this size; -1: only with snapshots.",
    ),
    Key(
        "preAllocSize",
        "pre_alloc_bytes",
        integer(-1, INT_MAX, KIB, off=0, unit="KiB"),
        "Let log files grow by so much at a time; 0: as needed.",
    ),
    Key("forceSync", "force_sync", yes_no(risky="no"), "Answer a write only once it is on disk."),
    Key("fsync.warningthresholdms", "fsync_warning_threshold_ms", MS, "Report an fsync that takes longer."),
    Key("flushDelay", "flush_delay_ms", MS, "Wait so long for more writes before an fsync."),
    Key(
        "maxWriteQueuePollTime",
        "max_write_queue_poll_time_ms",
        integer(-1, unit="ms"),
        "Wait so long for the next write within flushDelay; -1: a third of it.",
    ),
    Key("maxBatchSize", "max_batch_size", COUNT, "Sync after so many writes at the latest; 0: when none is waiting."),
    Key(
        "corral.txnlog.spin",
        "txnlog_spin_us",
        integer(0, 10_000, unit="µs"),
        "Look so long for what the log's process and the server tell each other before either sleeps; 0: never.",
    ),
    Key("digest.enabled", "digest_enabled", TRUTH, "Keep a digest of the whole tree, to find differing replicas."),
    Key(
        "serializeLastProcessedZxid.enabled",
        "serialize_last_processed_zxid_enabled",
        TRUTH,
        "Write the last zxid into snapshots, as ZooKeeper does since 3.9.",
    ),
    Key("closeSessionTxn.enabled", "close_session_txn_enabled", TRUTH, "Log what a closing session deletes."),
    Key(
        "snapshot.compression.method", "snapshot_compression_method", choice("", "gz", "snappy"), "Compress snapshots."
    ),
    Key("snapshot.trust.empty", "snapshot_trust_empty", TRUTH, "Start from logs alone where there is no snapshot."),
    Key("autopurge.snapRetainCount", "autopurge_snap_retain_count", COUNT, "Keep so many snapshots, at least 3."),
    Key(
        "autopurge.purgeInterval",
        "autopurge_purge_interval_ms",
        duration("h"),
        "Delete old snapshots and logs that often; 0: never.",
    ),
)

SESSIONS = (
    Key("tickTime", "tick_time_ms", MS_ABOVE_0, "The unit of heartbeats and timeouts."),
    Key("minSessionTimeout", "min_session_timeout_ms", optional_ms(), "Grant no shorter session; -1: two ticks."),
    Key("maxSessionTimeout", "max_session_timeout_ms", optional_ms(), "Grant no longer session; -1: twenty ticks."),
    Key("localSessionsEnabled", "local_sessions_enabled", TRUTH, "Keep sessions on one server until they need more."),
    Key(
        "localSessionsUpgradingEnabled",
        "local_sessions_upgrading_enabled",
        TRUTH,
        "Make a local session global when it creates an ephemeral node.",
    ),
    Key("readonlymode.enabled", "read_only_mode_enabled", TRUTH, "Serve reads while there is no leader."),
)

REQUESTS = (
    Key("jute.maxbuffer", "jute_maxbuffer", BYTES_ABOVE_0, "Take no longer packet; set it alike on clients."),
    Key("jute.maxbuffer.extrasize", "jute_extrasize", BYTES, "Let stored strings and buffers be so much longer."),
    Key("corral.setwatches.maxbuffer", "setwatches_maxbuffer", BYTES, "Take no longer packet of setWatches."),
    Key(
        "largeRequestThreshold",
        "large_request_threshold",
        integer(-1, unit="bytes"),
        "Count requests of more bytes as large; -1 or 0: none.",
    ),
    Key("largeRequestMaxBytes", "large_request_max_bytes", BYTES_ABOVE_0, "Hold large requests of so many at once."),
    Key("multiRead.maxOps", "multi_read_ops_max", integer(-1, off=0), "Refuse a multiRead of more reads; 0: none."),
    Key(
        "multiRead.maxResponseBytes",
        "multi_read_bytes_max",
        integer(-1, off=0, unit="bytes"),
        "Refuse a multiRead whose answer is longer; 0: none.",
    ),
    Key("globalOutstandingLimit", "global_outstanding_limit", integer(1), "Stop reading while more writes are open."),
    Key(
        "request_throttle_max_requests",
        "request_throttle_max_requests",
        COUNT,
        "Let writes wait while so many are under way; 0: never.",
    ),
    Key(
        "request_throttle_stall_time",
        "request_throttle_stall_time_ms",
        MS_ABOVE_0,
        "Let them wait in such steps.",
        unused="what waits goes on as soon as there is room",
    ),
    Key("request_throttle_drop_stale", "request_throttle_drop_stale", TRUTH, "Drop stale requests that waited."),
    Key(
        "request_stale_latency_check",
        "request_stale_latency_check",
        TRUTH,
        "A request that waited longer than its session's timeout is stale.",
    ),
    Key(
        "request_stale_connection_check",
        "request_stale_connection_check",
        TRUTH,
        "A request whose connection is closed is stale.",
        unused="what waits goes when its connection is closed",
    ),
    Key("throttled_op_wait_time", "throttled_op_wait_time_ms", MS, "Refuse what waited longer; 0: nothing."),
    Key(
        "maxResponseCacheSize",
        "max_response_cache_size",
        COUNT,
        "Keep so many encoded replies of getData.",
        unused="a node is its reply to getData, so none is kept beside it",
    ),
    Key(
        "maxGetChildrenResponseCacheSize",
        "max_get_children_response_cache_size",
        COUNT,
        "Keep so many encoded replies of getChildren.",
    ),
    Key("enableEagerACLCheck", "enable_eager_acl_check", TRUTH, "Log no write that is refused for want of rights."),
    Key(
        "connection_throttle_tokens",
        "connection_throttle_tokens",
        COUNT,
        "Admit so many connections at once; 0: any number.",
    ),
    Key(
        "connection_throttle_fill_time",
        "connection_throttle_fill_time_ms",
        MS_ABOVE_0,
        "Admit more each time so many ms have passed.",
    ),
    Key("connection_throttle_fill_count", "connection_throttle_fill_count", integer(1), "Admit so many more."),
    Key(
        "connection_throttle_freeze_time",
        "connection_throttle_freeze_time",
        integer(-1),
        "Let the chance of a drop rest so long.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_drop_increase",
        "connection_throttle_drop_increase",
        number(0, 1),
        "Raise the chance of a drop.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_drop_decrease",
        "connection_throttle_drop_decrease",
        number(0, 1),
        "Lower the chance of a drop.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_decrease_ratio",
        "connection_throttle_decrease_ratio",
        number(0, 1),
        "Lower it from this share of tokens.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_weight_enabled",
        "connection_throttle_weight_enabled",
        TRUTH,
        "Weigh connections by their session.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_global_session_weight",
        "connection_throttle_global_session_weight",
        integer(1),
        "The weight of a new session.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_renew_session_weight",
        "connection_throttle_renew_session_weight",
        integer(1),
        "The weight of a renewed session.",
        unused=DROPS,
    ),
    Key(
        "connection_throttle_local_session_weight",
        "connection_throttle_local_session_weight",
        integer(1),
        "The weight of a local session.",
        unused=DROPS,
    ),
)

NODES = (
    Key("extendedTypesEnabled", "extended_types_enabled", TRUTH, "Allow nodes with a time to live."),
    Key("emulate353TTLNodes", "emulate_353_ttl_nodes", TRUTH, "Read the owners of ZooKeeper 3.5.3's such nodes."),
    Key(
        "znode.container.checkIntervalMs",
        "container_check_interval_ms",
        MS_ABOVE_0,
        "Look that often for containers and nodes to delete.",
    ),
    Key("znode.container.maxPerMinute", "container_max_per_minute", integer(1), "Delete so many a minute."),
    Key(
        "znode.container.maxNeverUsedIntervalMs",
        "container_max_never_used_interval_ms",
        integer(0, LONG_MAX, unit="ms"),
        "Delete a container that never had a child after so long; 0: never.",
    ),
    Key("enforceQuota", "enforce_quota", TRUTH, "Refuse writes beyond a hard quota."),
)

RIGHTS = (
    Key("skipACL", "skip_acl", yes_no(risky="yes"), "Let everyone do everything."),
    Key("DigestAuthenticationProvider.superDigest", "super_digest", TEXT, "user:digest of who may do everything."),
    Key("DigestAuthenticationProvider.digestAlg", "digest_alg", choice(*DIGESTS), "Digest passwords with this."),
    Key("DigestAuthenticationProvider.enabled", "digest_auth_enabled", TRUTH, "Allow the scheme digest."),
    Key(
        "IPAuthenticationProvider.usexforwardedfor",
        "ip_use_x_forwarded_for",
        TRUTH,
        "Take an HTTP client's address from X-Forwarded-For.",
    ),
    Key("ensembleAuthName", "ensemble_auth_name", TEXT, "Close connections meant for an ensemble of other name."),
    Key("enforce.auth.enabled", "enforce_auth_enabled", TRUTH, "Serve only who has authenticated."),
    Key("enforce.auth.schemes", "enforce_auth_schemes", commas(), "By which schemes."),
    Key("sessionRequireClientSASLAuth", "session_require_client_sasl_auth", TRUTH, "Serve only who came by SASL."),
    Key("allowSaslFailedClients", "allow_sasl_failed_clients", TRUTH, "Keep clients whose SASL failed."),
    Key("superUser", "super_users", commas(), "SASL's name of who may do everything."),
    Key("X509AuthenticationProvider.superUser", "x509_super_user", TEXT, "Its name in a certificate."),
    Key("letAnySaslUserDoX", "let_any_sasl_user_do_x", TEXT, "An ACL of this id matches everyone who came by SASL."),
)

ADMINISTRATION = (
    Key("admin.enableServer", "admin_enabled", TRUTH, "Answer commands over HTTP."),
    Key("admin.serverAddress", "admin_address", address(), "Listen there on this address; 0.0.0.0 is every one."),
    Key("admin.serverPort", "admin_port", port(0), "Listen there on this port."),
    Key("admin.commandURL", "admin_command_url", url_path(), "The path of the commands."),
    Key("admin.idleTimeout", "admin_idle_timeout_ms", integer(1, unit="ms"), "Close an idle connection."),
    Key("admin.portUnification", "admin_port_unification", TRUTH, "Take TLS and plain on one port."),
    Key("admin.forceHttps", "admin_force_https", TRUTH, "Take TLS alone."),
    Key("admin.needClientAuth", "admin_need_client_auth", TRUTH, "Demand a certificate of the client."),
    Key("admin.rateLimiterIntervalInMS", "admin_rate_limiter_interval_ms", MS, "One snapshot or restore in so long."),
    Key("admin.snapshot.enabled", "admin_snapshot_enabled", TRUTH, "Give snapshots to who may do everything."),
    Key("admin.restore.enabled", "admin_restore_enabled", TRUTH, "Take a snapshot in place of the database."),
    Key("corral.admin.restore.max", "admin_restore_max", BYTES, "Restore no longer snapshot."),
    Key("4lw.commands.whitelist", "four_lw_whitelist", commas(), "Answer these four-letter words; *: all."),
    Key("audit.enable", "audit_enable", TRUTH, "Write an audit log."),
    Key("corral.audit.file", "audit_file", TEXT, "Write the audit log to this file, not among the lines of the log."),
    Key(
        "metricsProvider.className",
        "metrics_provider",
        mapped("default, null, prometheus or the name of ZooKeeper's class for one of them", METRICS_PROVIDERS),
        "Where metrics go; prometheus: also to an HTTP port.",
    ),
    Key("metricsProvider.httpHost", "metrics_http_host", address(), "Serve /metrics on this address."),
    Key("metricsProvider.httpPort", "metrics_http_port", port(0), "Serve /metrics on this port."),
    Key("metricsProvider.exportJvmInfo", "metrics_export_jvm_info", TRUTH, "Export figures of the process as well."),
    Key("corral.log.format", "log_format", choice("text", "json"), "Log lines for people or for programs."),
    Key("corral.log.level", "log_level", choice("debug", "info", "warning", "error"), "Log from this level on."),
)

ENSEMBLE = (
    Key("standaloneEnabled", "standalone_enabled", TRUTH, "Let one server in a configuration stand alone."),
    Key("reconfigEnabled", "reconfig_enabled", TRUTH, "Allow the ensemble to be changed while it runs."),
    Key("initLimit", "init_limit_ticks", integer(1, unit="ticks"), "Time to connect to a leader and catch up."),
    Key("syncLimit", "sync_limit_ticks", integer(1, unit="ticks"), "Time a learner may lag behind."),
    Key("dynamicConfigFile", "dynamic_config_file", filled(), "The file of the ensemble's members."),
    Key("electionAlg", "other", choice("3"), "The election; 3 is the only one there is."),
    Key("peerType", "other", choice("participant", "observer"), "Vote, or follow without a vote."),
    Key("connectToLearnerMasterLimit", "other", COUNT, "Time to connect to a leader, in ticks; 0: initLimit."),
    Key("leaderServes", "other", yes_no(risky="no"), "Let the leader serve clients."),
    Key("quorumListenOnAllIPs", "other", TRUTH, "Listen for peers on every address."),
    Key("syncEnabled", "other", TRUTH, "Let observers keep log and snapshots.", ("observer.syncEnabled",)),
    Key("observerMasterPort", "other", port(0), "Let observers follow a follower on this port."),
    Key("observerMaster.sizeLimit", "other", integer(0, unit="bytes"), "What a follower keeps for observers."),
    Key("observer.reconnectDelayMs", "other", MS, "Spread observers' reconnects."),
    Key("observer.election.DelayMs", "other", MS, "Spread observers' elections."),
    Key("cnxTimeout", "other", MS_ABOVE_0, "Time to connect to a peer for an election."),
    Key("quorumCnxnTimeoutMs", "other", integer(-1, unit="ms"), "Read timeout between elections' connections."),
    Key("electionPortBindRetry", "other", COUNT, "Try so often to bind the election port; 0: for ever."),
    Key("fastleader.minNotificationInterval", "other", MS_ABOVE_0, "Wait so long for a notification at first."),
    Key("fastleader.maxNotificationInterval", "other", MS_ABOVE_0, "Wait so long at most."),
    Key("leader.maxTimeToWaitForEpoch", "other", integer(-1, unit="ms"), "Give up leading without a quorum."),
    Key("leader.maxConcurrentSnapSyncs", "other", COUNT, "Send so many snapshots at once."),
    Key("leader.maxConcurrentDiffSyncs", "other", COUNT, "Send so many differences at once."),
    Key("leader.ackLoggingFrequency", "other", COUNT, "Log one acknowledgement in so many."),
    Key("leader.snapPingIntervalInSeconds", "other", integer(-1, unit="s"), "Ping during a snapshot."),
    Key("leaderConnectDelayDuringRetryMs", "other", MS, "Pause between tries to connect to the leader."),
    Key("commitLogCount", "other", COUNT, "Keep so many transactions for learners to catch up with."),
    Key("snapshotSizeFactor", "other", TEXT, "Send logs while they are smaller than this share of a snapshot."),
    Key("forceSnapshotSync", "other", TRUTH, "Send learners a snapshot in any case."),
    Key(
        "follower.skipLearnerRequestToNextProcessor",
        "other",
        TRUTH,
        "Keep learners' requests off the next stage.",
        ("skipLearnerRequestToNextProcessor",),
    ),
    Key("forward_learner_requests_to_commit_processor_disabled", "other", TRUTH, "Spare the commit stage them."),
    Key("multiAddress.enabled", "other", TRUTH, "Allow several addresses for one server."),
    Key("multiAddress.reachabilityCheckEnabled", "other", TRUTH, "Probe them before use."),
    Key("multiAddress.reachabilityCheckTimeoutMs", "other", MS_ABOVE_0, "For so long."),
    Key("oraclePath", "other", filled(), "The file that decides between two servers."),
    Key("sslQuorum", "other", TRUTH, "Speak TLS with peers."),
    Key("portUnification", "other", TRUTH, "Take TLS and plain from peers."),
    Key("sslQuorumReloadCertFiles", "other", TRUTH, "Reload peers' certificates when their files change."),
    Key("client.certReload", "other", TRUTH, "Reload clients' certificates when their files change."),
    Key("fips-mode", "other", TRUTH, "Keep to what FIPS allows."),
    Key("tcpKeepAlive", "other", TRUTH, "Keep connections to peers alive."),
    Key("clientTcpKeepAlive", "other", TRUTH, "Keep connections to clients alive."),
    Key("leader.nodelay", "other", TRUTH, "Send the leader's packets at once."),
    Key("follower.nodelay", "other", TRUTH, "Send learners' packets at once."),
    Key("SASLAuthenticationProvider.superPassword", "other", TEXT, "The password of the user super."),
    Key("sasl.serverconfig", "other", TEXT, "The section of SASL's configuration for clients."),
    Key("requireKerberosConfig", "other", TRUTH, "Demand Kerberos's configuration."),
    Key("security.auth_to_local", "other", TEXT, "Rules from Kerberos's names to ours."),
    Key("kerberos.removeHostFromPrincipal", "other", TRUTH, "Drop the host of a Kerberos name."),
    Key("kerberos.removeRealmFromPrincipal", "other", TRUTH, "Drop the realm of a Kerberos name."),
    Key("kerberos.canonicalizeHostNames", "other", TRUTH, "Look names up for Kerberos."),
    Key("kinit", "other", TEXT, "The command that renews Kerberos's tickets."),
)

UNUSED = (
    Key("serverCnxnFactory", "other", TEXT, "Java's class for connections.", unused=THREADS),
    Key("nio.numSelectorThreads", "other", TEXT, "Selector threads.", unused=THREADS),
    Key("nio.numWorkerThreads", "other", TEXT, "Worker threads.", unused=THREADS),
    Key("nio.directBufferBytes", "other", TEXT, "Direct buffers.", unused=THREADS),
    Key("nio.shutdownTimeout", "other", TEXT, "Time for threads to end.", unused=THREADS),
    Key("netty.advancedFlowControl.enabled", "other", TEXT, "Netty's flow control.", unused=THREADS),
    Key("netty.server.outstandingHandshake.limit", "other", TEXT, "Netty's handshakes.", unused=THREADS),
    Key("netty.server.earlyDropSecureConnectionHandshakes", "other", TEXT, "Netty's handshakes.", unused=THREADS),
    Key("commitProcessor.numWorkerThreads", "other", TEXT, "Worker threads.", unused=THREADS),
    Key("commitProcessor.maxReadBatchSize", "other", TEXT, "Reads in a batch.", unused=THREADS),
    Key("commitProcessor.maxCommitBatchSize", "other", TEXT, "Commits in a batch.", unused=THREADS),
    Key("commitProcessor.shutdownTimeout", "other", TEXT, "Time for threads to end.", unused=THREADS),
    Key("request_throttler.shutdownTimeout", "other", TEXT, "Time for threads to end.", unused=THREADS),
    Key("quorum.cnxn.threads.size", "other", TEXT, "Threads for peers.", unused=THREADS),
    Key("learner.asyncSending", "other", TEXT, "A thread for sending.", unused=THREADS),
    Key("learner.closeSocketAsync", "other", TEXT, "A thread for closing.", unused=THREADS),
    Key("leader.closeSocketAsync", "other", TEXT, "A thread for closing.", unused=THREADS),
    Key("intBufferStartingSizeBytes", "other", TEXT, "Buffers.", unused=THREADS),
    Key("watchManagerName", "other", TEXT, "Java's class for watches.", unused=THREADS),
    Key("watcherCleanThreadsNum", "other", TEXT, "Threads for watches.", unused=THREADS),
    Key("watcherCleanThreshold", "other", TEXT, "Watches cleaned at once.", unused=THREADS),
    Key("watcherCleanIntervalInSeconds", "other", TEXT, "Watches' cleaning.", unused=THREADS),
    Key("maxInProcessingDeadWatchers", "other", TEXT, "Watches' cleaning.", unused=THREADS),
    Key("bitHashCacheSize", "other", TEXT, "Watches' cache.", unused=THREADS),
    Key("messageTracker.Enabled", "other", TEXT, "A memory of packets.", unused="packets to peers are not kept"),
    Key("messageTracker.BufferSize", "other", TEXT, "A memory of packets.", unused="packets to peers are not kept"),
    Key("admin.httpVersion", "other", TEXT, "The admin server's HTTP.", unused="HTTP/1.1 is the one it speaks"),
    Key("audit.impl.class", "other", TEXT, "Java's class for audit.", unused="the audit log has one form"),
    Key("jvm.pause.monitor", "other", TEXT, "Watch pauses.", unused=MONITOR),
    Key("jvm.pause.warn-threshold.ms", "other", TEXT, "Watch pauses.", unused=MONITOR),
    Key("jvm.pause.info-threshold.ms", "other", TEXT, "Watch pauses.", unused=MONITOR),
    Key("jvm.pause.sleep.time.ms", "other", TEXT, "Watch pauses.", unused=MONITOR),
)

KEYS: tuple[Key, ...] = (
    *LISTENING, *FILES, *SESSIONS, *REQUESTS, *NODES, *RIGHTS, *ADMINISTRATION, *ENSEMBLE, *UNUSED,
)  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    Family("server.", "servers", True, "A member of the ensemble: host:port:port[:role][;[host:]port]."),
    Family("group.", "groups", True, "A group of members, for hierarchical quorums: their numbers with colons."),
    Family("weight.", "weights", True, "A member's weight within its group."),
    Family("authProvider.", "auth_providers", False, "A class that authenticates one more scheme."),
    Family("superUser.", "super_users", False, "One more of SASL's names of who may do everything."),
    Family("ssl.", "other", False, "TLS: stores, protocols and checks, for clients; ssl.quorum.: for peers."),
    Family("quorum.auth.", "other", False, "SASL between servers."),
    Family("metricsProvider.", "other", False, "More for a provider of metrics."),
    Family("pathStats.", "other", False, "Statistics of paths."),
)


def spellings() -> dict[str, Key]:
    """Return every spelling of every key, without the prefix `zookeeper.`."""
    return {name: key for key in KEYS for name in (key.name, *key.aliases)}


def variable_of(name: str) -> str:
    """Return the environment variable of a key: CORRAL_TICK_TIME for tickTime.

    Upper case, with an underscore for what is no letter or digit and before each hump of camel case.
    """
    name = name.removeprefix(OWN_PREFIX)
    return "CORRAL_" + NOT_NAME.sub("_", HUMPS.sub("_", name)).upper()
