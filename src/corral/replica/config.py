"""Every setting of a server, as one value that is made once at start.

It decides nothing and reads nothing: `corral.server.configfile` makes one from a zoo.cfg and the environment, and tests
make theirs with keywords. Units stand last in the names; a value that says "none" or "off" is named at its field.
Where a default differs from ZooKeeper's on purpose, the field says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

JUTE_MAXBUFFER = 0xFFFFF
"""The largest frame, in bytes, unless configured."""

INT_MAX = 0x7FFFFFFF


@dataclass(slots=True, kw_only=True)
class Config:
    """The settings of one server. Read-only by convention: nothing assigns to a field after construction."""

    # Listening. Port 0 lets the system choose, -1 means none. ZooKeeper listens on every interface unless told
    # otherwise; this server listens on loopback unless told otherwise.
    client_port: int = 2181
    client_port_address: str = "127.0.0.1"
    secure_client_port: int = -1
    secure_client_port_address: str = "127.0.0.1"
    client_port_unification: bool = False
    client_port_listen_backlog: int = -1  # -1: the system's most, where ZooKeeper takes 50.

    # Files. data_log_dir: None puts the logs beside the snapshots.
    data_dir: str = "./data"
    data_log_dir: str | None = None
    datadir_autocreate: bool = True
    db_autocreate: bool = True

    # Time and sessions. None: twice and twenty times the tick.
    tick_time_ms: int = 2000
    min_session_timeout_ms: int | None = None
    max_session_timeout_ms: int | None = None
    sessionless_cnxn_timeout_ms: int = 10_000
    local_sessions_enabled: bool = False
    local_sessions_upgrading_enabled: bool = False
    read_only_mode_enabled: bool = False

    # Connections: 0 is no limit. outbuffer_max: unsent bytes at which a slow reader is dropped; 0 is off, as ZooKeeper.
    max_client_cnxns: int = 60
    max_cnxns: int = 0
    outbuffer_max: int = 64 << 20

    # Frames, in bytes. setwatches_maxbuffer: for setWatches alone, beyond jute_maxbuffer. extrasize: None is as
    # jute_maxbuffer; read it through jute_maxbuffer_extrasize.
    jute_maxbuffer: int = JUTE_MAXBUFFER
    jute_extrasize: int | None = None
    setwatches_maxbuffer: int = 64 << 20
    large_request_threshold: int = -1
    large_request_max_bytes: int = 100 << 20

    # Of one multiRead: operations, and bytes of its answer. 0 is no limit.
    multi_read_ops_max: int = 1000
    multi_read_bytes_max: int = 64 << 20

    # Admission: a bucket of tokens, 0 is off. A ConnectRequest takes one, so it admits sessions, new and renewed, as
    # much as connections. ZooKeeper's is off; this one is on, and too wide for anything but a stampede to notice. The
    # settings from freeze_time on are ZooKeeper's and have no effect here.
    connection_throttle_tokens: int = 20_000
    connection_throttle_fill_time_ms: int = 1
    connection_throttle_fill_count: int = 10
    connection_throttle_freeze_time: int = -1
    connection_throttle_drop_increase: float = 0.02
    connection_throttle_drop_decrease: float = 0.002
    connection_throttle_decrease_ratio: float = 0.0
    connection_throttle_weight_enabled: bool = False
    connection_throttle_global_session_weight: int = 3
    connection_throttle_renew_session_weight: int = 2
    connection_throttle_local_session_weight: int = 1

    # Requests.
    global_outstanding_limit: int = 1000
    request_throttle_max_requests: int = 0
    request_throttle_stall_time_ms: int = 100
    request_throttle_drop_stale: bool = True
    request_stale_latency_check: bool = False
    request_stale_connection_check: bool = True
    throttled_op_wait_time_ms: int = 0
    max_response_cache_size: int = 400
    max_get_children_response_cache_size: int = 400
    enable_eager_acl_check: bool = False

    # Log and snapshots. Limits: -1 is off. snapshot_compression_method: "", "gz" or "snappy".
    snap_count: int = 100_000
    snap_size_limit_bytes: int = 4 << 30
    txn_log_size_limit_bytes: int = -1
    pre_alloc_bytes: int = 64 << 20
    force_sync: bool = True
    fsync_warning_threshold_ms: int = 1000
    flush_delay_ms: int = 0
    max_write_queue_poll_time_ms: int = -1  # -1: a third of flush_delay_ms.
    max_batch_size: int = 1000
    txnlog_spin_us: int = 500
    digest_enabled: bool = True
    serialize_last_processed_zxid_enabled: bool = True
    close_session_txn_enabled: bool = True
    snapshot_compression_method: str = ""
    snapshot_trust_empty: bool = False
    autopurge_snap_retain_count: int = 3
    autopurge_purge_interval_ms: int = 0  # 0: never purge.

    # Nodes.
    extended_types_enabled: bool = False
    emulate_353_ttl_nodes: bool = False
    container_check_interval_ms: int = 60_000
    container_max_per_minute: int = 10_000
    container_max_never_used_interval_ms: int = 0  # 0: a container that never had a child stays.
    enforce_quota: bool = False

    # Who may do what. auth_providers: suffix of authProvider.<suffix> to the class named there, in file order.
    skip_acl: bool = False
    super_digest: str = ""
    digest_alg: str = "SHA1"
    digest_auth_enabled: bool = True
    ip_use_x_forwarded_for: bool = False
    ensemble_auth_name: str = ""  # Names with commas between them; empty: any will do.
    enforce_auth_enabled: bool = False
    enforce_auth_schemes: tuple[str, ...] = ()
    session_require_client_sasl_auth: bool = False
    allow_sasl_failed_clients: bool = False
    super_users: tuple[str, ...] = ()
    x509_super_user: str = ""
    let_any_sasl_user_do_x: str = ""
    auth_providers: dict[str, str] = field(default_factory=dict)

    # Administration. The admin server is on as in ZooKeeper 3.9 (off in 3.10), but on loopback, not on every interface.
    admin_enabled: bool = True
    admin_address: str = "127.0.0.1"
    admin_port: int = 8080
    admin_command_url: str = "/commands"
    admin_idle_timeout_ms: int = 30_000
    admin_port_unification: bool = False
    admin_force_https: bool = False
    admin_need_client_auth: bool = False
    admin_rate_limiter_interval_ms: int = 300_000
    admin_snapshot_enabled: bool = True
    admin_restore_enabled: bool = True
    admin_restore_max: int = 4 << 30  # Bytes. Not in ZooKeeper.
    four_lw_whitelist: tuple[str, ...] = ("srvr",)  # "*" allows every word.
    audit_enable: bool = False
    audit_file: str = ""  # Empty: among the lines of the log. Not in ZooKeeper, whose logging library is told where.

    # Metrics. metrics_provider: "default" keeps them for mntr and the admin server alone, "prometheus" serves /metrics
    # on a port of its own as well, "null" is accepted and taken as "default".
    metrics_provider: str = "default"
    metrics_http_host: str = "127.0.0.1"
    metrics_http_port: int = 7000
    metrics_export_jvm_info: bool = True

    # What the server says of itself. log_format: "text" or "json".
    log_format: str = "text"
    log_level: str = "info"

    # Ensembles. server_id: from the file myid, not from a key; 0 standing alone. servers, groups and weights: by the
    # number in the key, the text as it stands. 0 ticks: not set.
    server_id: int = 0
    standalone_enabled: bool = True
    reconfig_enabled: bool = False
    init_limit_ticks: int = 0
    sync_limit_ticks: int = 0
    servers: dict[int, str] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)
    weights: dict[int, int] = field(default_factory=dict)
    dynamic_config_file: str | None = None

    # Keys that are known and that nothing reads yet, or not through this class: TLS, quorum and tuning of Java's
    # threads. By canonical key, the text as it stands.
    other: dict[str, str] = field(default_factory=dict)

    @property
    def min_session_timeout(self) -> int:
        """Return the least session timeout granted, in ms."""
        chosen = self.min_session_timeout_ms
        return min(2 * self.tick_time_ms, INT_MAX) if chosen is None else chosen

    @property
    def max_session_timeout(self) -> int:
        """Return the longest session timeout granted, in ms."""
        chosen = self.max_session_timeout_ms
        return min(20 * self.tick_time_ms, INT_MAX) if chosen is None else chosen

    @property
    def log_dir(self) -> str:
        """Return the directory of the transaction logs."""
        return self.data_dir if self.data_log_dir is None else self.data_log_dir

    @property
    def jute_maxbuffer_extrasize(self) -> int:
        """Return what a string or buffer may be longer than a frame, in bytes: at least 1024, the sum an int32.

        Source: ZooKeeper BinaryInputArchive.
        """
        extra = self.jute_maxbuffer if self.jute_extrasize is None else self.jute_extrasize
        return min(max(1024, extra), max(0, INT_MAX - self.jute_maxbuffer))

    @property
    def write_queue_poll_ms(self) -> int:
        """Return how long a delayed flush waits for more work, in ms."""
        chosen = self.max_write_queue_poll_time_ms
        return self.flush_delay_ms // 3 if chosen < 0 else chosen
