"""A standalone server put together: data opened, core made, disks and listener started.

The command line's server and an embedded one are both this.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from corral.base.errors import CorralError, StorageError
from corral.ops.registry import Registry
from corral.replica.config import Config
from corral.replica.fanout import Fanout
from corral.replica.metrics import Metrics
from corral.replica.replica import Replica
from corral.replica.sessions import first_session_id, unused_session_id
from corral.server.admin.words import Commands
from corral.server.audit import server_user, started_line, stopped_line
from corral.server.audittrail import AuditTrail
from corral.server.datadir import DataDirectories
from corral.server.listener import Listener, ListenError, listen
from corral.server.logdisk import LogDisk, LogSettings, MakeDisk
from corral.server.node import Node
from corral.server.opening import open_database
from corral.server.providers.digest import DigestProvider
from corral.server.providers.ensemble import EnsembleProvider
from corral.server.providers.ip import IpProvider
from corral.server.snapshotfile import SnapshotFile
from corral.store.retention import RollPolicy
from corral.tree.access import Access, AuthProvider

if TYPE_CHECKING:
    from corral.server.admin.http import AdminServer


PROVIDERS = ("DigestAuthenticationProvider", "EnsembleAuthenticationProvider", "IPAuthenticationProvider")
"""The names of ZooKeeper's classes for the schemes that this server has."""


class Server:
    """A standalone server that can be started and stopped.

    audit: takes the audit log's lines, the log unless given. make_disk: makes what writes the transaction log.
    """

    def __init__(
        self,
        config: Config,
        log: Any,
        audit: Callable[[str], object] | None = None,
        make_disk: MakeDisk = LogDisk,
    ) -> None:
        self.config = config
        self.log = log
        self._write_audit = log.info if audit is None else audit
        self.node: Node
        self.listener: Listener
        self.admin: AdminServer | None = None
        self._make_disk = make_disk
        self._directories: DataDirectories
        self._purging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the data and listen. Raises CorralError."""
        try:
            await self._start()
        except CorralError:
            self._audit(started_line(server_user(), is_success=False))
            raise
        self._audit(started_line(server_user()))

    async def _start(self) -> None:
        config, log = self.config, self.log
        if config.client_port < 0:
            raise ListenError(
                "secureClientPort alone is set, and this server has no TLS yet: set clientPort, and let something in "
                "front of it end TLS"
            )
        self._directories = DataDirectories(config.data_dir, config.data_log_dir, config.datadir_autocreate)
        sock = listen(config.client_port_address, config.client_port, config.client_port_listen_backlog)
        try:
            self.node = self._make_node()
            assert self.node.disk is not None
            await self.node.disk.start()
        except BaseException:
            sock.close()
            self._directories.close()
            raise
        self.node.directories = self._directories
        self.node.commands = Commands(self.node)
        if config.admin_enabled or config.metrics_provider == "prometheus":
            # Here, so that a server without it need not wait for a web framework's imports.
            from corral.server.admin.http import AdminServer

            self.admin = AdminServer(self.node, config, log)
            # Before clients are let in: whoever sees the server answer finds all of it there.
            await self.admin.start()
        self.node.start()
        self.listener = Listener(self.node, sock)
        self.node.listener = self.listener
        self._warn_of_what_is_missing()
        if config.autopurge_purge_interval_ms > 0:
            self._purging = asyncio.get_running_loop().create_task(self._purge())
        log.info("serving", address=config.client_port_address, port=self.listener.port)

    def _make_node(self) -> Node:
        config, log = self.config, self.log
        metrics = Metrics()
        access = Access(_providers(config, metrics), config.skip_acl)
        fanout = Fanout(access, metrics)
        registry = Registry()
        # A million nodes are no garbage: the collector would only look at them again and again while they are read.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            tree, replayed = open_database(self._directories, config, registry, fanout, metrics, log)
        finally:
            if was_enabled:
                gc.enable()
        now = Node.now()
        rng = random.Random()
        rolls = RollPolicy(config.snap_count, config.snap_size_limit_bytes, lambda n: rng.randrange(n) if n else 0)
        replica = Replica(
            config, tree, fanout, metrics, access, registry, rolls, log,
            unused_session_id(first_session_id(config.server_id or 1, now), tree.sessions), now,
            int(time.time() * 1000) - now,
        )  # fmt: skip
        replica.last_snapshot = self._directories.newest_snapshot()
        if config.audit_enable:
            replica.pipeline.audit = AuditTrail(self._audit, server_user(), registry.multi)
        node = Node(replica, config, log)
        settings = LogSettings(
            self._directories.logs.dir, config.pre_alloc_bytes, config.txn_log_size_limit_bytes, config.force_sync,
            config.flush_delay_ms, config.write_queue_poll_ms, config.max_batch_size,
            config.txnlog_spin_us,
        )  # fmt: skip
        node.disk = self._make_disk(
            settings, node.on_synced, node.on_disk_failed, log, config.fsync_warning_threshold_ms,
            self._directories.locks,
        )  # fmt: skip
        node.snapshots = SnapshotFile(
            self._directories.snapshots, node.on_chunk_written, node.on_snapshot_written, node.on_snapshot_failed,
            config.snapshot_compression_method,
        )  # fmt: skip
        node.snapshots.start()
        if rolls.appended(replayed, 0):
            replica.start_snapshot()
        return node

    def _warn_of_what_is_missing(self) -> None:
        config = self.config
        if config.secure_client_port >= 0:
            self.log.warning("secureClientPort is set, but this server has no TLS yet: it does not listen there")
        if config.servers:
            self.log.warning("server.N lines are set, but this server stands alone", servers=len(config.servers))
        if config.dynamic_config_file is not None:
            self.log.warning(
                "dynamicConfigFile is set, but this server stands alone and does not read it",
                file=config.dynamic_config_file,
            )
        for name, java in config.auth_providers.items():
            if java.rpartition(".")[2] not in PROVIDERS:
                self.log.warning("this server has no such authProvider", key=f"authProvider.{name}", value=java)
        needed = config.enforce_auth_schemes if config.enforce_auth_enabled else ()
        for scheme in needed:
            if scheme not in self.node.replica.access.providers:
                self.log.warning(
                    "no client can authenticate by a scheme that this server does not have",
                    key="enforce.auth.schemes", value=scheme,
                )  # fmt: skip
        if config.session_require_client_sasl_auth:
            self.log.warning(
                "no client is served: this server has no SASL yet", key="sessionRequireClientSASLAuth", value="true"
            )

    def _audit(self, line: str) -> None:
        """Write a line of the audit log, if there is one."""
        if self.config.audit_enable:
            self._write_audit(line)

    async def _purge(self) -> None:
        """Delete, at once and then at each interval, what no start needs any more."""
        while True:
            try:
                gone = await asyncio.to_thread(self._directories.purge, self.config.autopurge_snap_retain_count)
            except (OSError, StorageError) as error:
                self.log.error("purging old files failed", why=str(error))
            else:
                if gone:
                    self.log.info("old files purged", files=gone)
            await asyncio.sleep(self.config.autopurge_purge_interval_ms / 1000)

    async def stop(self) -> None:
        """Stop listening, close the connections, put on disk what is queued."""
        self._audit(stopped_line(server_user()))
        self.listener.close()
        await self.listener.settled()
        # No session expires because a slow disk holds up the stop.
        self.node.replica.is_serving = False
        if self.admin is not None:
            await self.admin.stop()
        if self._purging is not None:
            self._purging.cancel()
        for conn in list(self.node.replica.connections):
            if conn.shell is not None:
                conn.shell.transport.close()
        assert self.node.disk is not None
        assert self.node.snapshots is not None
        await self.node.disk.stop()
        await asyncio.to_thread(self.node.snapshots.stop)
        self._directories.close()
        self.log.info("stopped")


def _providers(config: Config, metrics: Metrics) -> list[AuthProvider]:
    ensemble = EnsembleProvider(config.ensemble_auth_name.split(","), metrics.count)
    providers: list[AuthProvider] = [IpProvider(), ensemble]
    if config.digest_auth_enabled:
        providers.append(DigestProvider(config.super_digest, config.digest_alg))
    return providers
