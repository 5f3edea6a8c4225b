"""Running a server in the foreground until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import signal
import time
from typing import Any

import uvloop

from corral.base.errors import CorralError
from corral.ops.registry import Registry
from corral.replica.config import Config
from corral.replica.fanout import Fanout
from corral.replica.metrics import Metrics
from corral.replica.replica import Replica
from corral.replica.sessions import first_session_id
from corral.server.datadir import DataDirectories
from corral.server.diskthread import DiskThread, SnapshotFile
from corral.server.listener import Listener, listen
from corral.server.node import Node
from corral.server.opening import open_database
from corral.server.providers.digest import DigestProvider
from corral.server.providers.ensemble import EnsembleProvider
from corral.server.providers.ip import IpProvider
from corral.store.retention import RollPolicy
from corral.tree.access import Access, AuthProvider

EXIT_OK = 0
EXIT_REFUSED = 2
EXIT_DISK = 3


def run(config: Config, log: Any) -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit code."""
    try:
        return uvloop.run(_serve(config, log))
    except CorralError as error:
        log.error("the server does not start", why=str(error))
        return EXIT_REFUSED


class Server:
    """A running standalone server; the embedded one and the command line's are the same."""

    def __init__(self, config: Config, log: Any) -> None:
        self.config = config
        self.log = log
        self.node: Node
        self.listener: Listener
        self._directories: DataDirectories

    async def start(self) -> None:
        """Open the data and listen. Raises CorralError."""
        config, log = self.config, self.log
        self._directories = DataDirectories(config.data_dir, config.data_log_dir, config.datadir_autocreate)
        sock = listen(config.client_port_address, config.client_port, config.client_port_listen_backlog)
        try:
            self.node = self._make_node()
        except BaseException:
            sock.close()
            self._directories.close()
            raise
        self.listener = Listener(self.node, sock)
        self.node.start()
        log.info("serving", address=config.client_port_address, port=self.listener.port)

    def _make_node(self) -> Node:
        config, log = self.config, self.log
        metrics = Metrics()
        access = Access(_providers(config), config.skip_acl)
        fanout = Fanout(access, metrics)
        registry = Registry()
        tree, replayed = open_database(self._directories, config, registry, fanout, log)
        now = Node.now()
        rng = random.Random()
        rolls = RollPolicy(config.snap_count, config.snap_size_limit_bytes, lambda n: rng.randrange(n) if n else 0)
        replica = Replica(
            config, tree, fanout, metrics, access, registry, rolls, log,
            first_session_id(config.server_id or 1, now), now, int(time.time() * 1000) - now,
        )  # fmt: skip
        node = Node(replica, config, log)
        node.disk = DiskThread(
            self._directories.logs, node.on_synced, node.on_disk_failed, log, config.pre_alloc_bytes,
            config.txn_log_size_limit_bytes, config.fsync_warning_threshold_ms, config.force_sync,
        )  # fmt: skip
        node.snapshots = SnapshotFile(
            self._directories.snapshots, node.on_chunk_written, node.on_snapshot_written, node.on_snapshot_failed,
            config.snapshot_compression_method,
        )  # fmt: skip
        node.disk.start()
        node.snapshots.start()
        if rolls.appended(replayed, 0):
            replica.start_snapshot()
        return node

    async def stop(self) -> None:
        """Stop listening, close the connections, put on disk what is queued."""
        self.listener.close()
        for conn in list(self.node.replica.connections):
            if conn.shell is not None:
                conn.shell.transport.close()
        assert self.node.disk is not None
        assert self.node.snapshots is not None
        await asyncio.to_thread(self.node.disk.stop)
        await asyncio.to_thread(self.node.snapshots.stop)
        self._directories.close()
        self.log.info("stopped")


async def _serve(config: Config, log: Any) -> int:
    _raise_descriptor_limit()
    server = Server(config, log)
    await server.start()
    _tune_collector()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    server.node.stopped.add_done_callback(lambda _: told.set())
    await told.wait()
    await server.stop()
    return EXIT_DISK if server.node.stopped.done() else EXIT_OK


def _tune_collector() -> None:
    """Keep the cycle collector off the nodes: a million of them would stop the server for half a second each time.

    Nodes are never part of a cycle. What is young is still collected, often and in no time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 1_000_000, 1_000_000)


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _providers(config: Config) -> list[AuthProvider]:
    providers: list[AuthProvider] = [IpProvider(), EnsembleProvider(config.ensemble_auth_name.split(","))]
    if config.digest_auth_enabled:
        providers.append(DigestProvider(config.super_digest, config.digest_alg))
    return providers
