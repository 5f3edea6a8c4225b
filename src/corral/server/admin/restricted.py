"""The admin server's commands that need authentication: snapshot, restore, shed_connections.

Whoever asks must have every right on the root's access list. Source: reference "AdminServer".
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

from corral.base.errors import CorralError
from corral.base.paths import ROOT
from corral.base.records import record
from corral.store.compression import suffix_of
from corral.store.names import snapshot_name
from corral.tree.access import AuthRefused
from corral.wire.opcodes import ADMIN, CREATE_PERM, DELETE_PERM, READ, WRITE

if TYPE_CHECKING:
    from corral.server.node import Node

METHODS: Final = {"snapshot": "GET", "restore": "POST", "shed_connections": "POST"}
POLL_S: Final = 0.01


class Refused(CorralError):
    """A command that is not executed. status: of HTTP."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def authorize(node: Node, header: str | None, address: str) -> None:
    """Check an `Authorization: <scheme> [<credentials>]` header. Raises Refused."""
    if header is None:
        raise Refused(401, "Auth info is missing for the command")
    scheme, _, credentials = header.strip().partition(" ")
    access = node.replica.access
    provider = access.providers.get(scheme)
    if provider is None:
        raise Refused(401, "Not authenticated")
    try:
        # A header comes decoded, with what is no UTF-8 as surrogates; what is asked for is the bytes.
        shown = credentials.encode(errors="surrogateescape") or None
        identities = list(provider.authenticate(shown, address))
    except AuthRefused:
        identities = []
    if not identities:
        raise Refused(401, "Not authenticated")
    acl = node.replica.tree.nodes[ROOT].acl
    if not all(access.allows(acl, perm, identities) for perm in (READ, WRITE, CREATE_PERM, DELETE_PERM, ADMIN)):
        raise Refused(403, "Not authorized")


class RateLimit:
    """Lets one request through per interval, in ms. now: ms of any clock that does not go back."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._next = 0

    def take(self, now: int) -> bool:
        """Tell whether a request may go ahead now."""
        if now < self._next:
            return False
        self._next = now + self._interval_ms
        return True

    def give_back(self) -> None:
        """Forget the last request let through."""
        self._next = 0


@record
class Snapshot:
    """A finished snapshot: its file and the last zxid in its name."""

    path: str
    zxid: int
    size: int


def check_snapshot(node: Node) -> None:
    """Check that snapshots may be asked for. Raises Refused."""
    config = node.config
    if not config.admin_snapshot_enabled:
        raise Refused(503, "Snapshot command is disabled")
    if not config.serialize_last_processed_zxid_enabled:
        raise Refused(500, "Snapshot command requires serializeLastProcessedZxid.enabled=true")


async def take_snapshot(node: Node) -> Snapshot:
    """Have a snapshot made and wait until it is on disk. Raises Refused if it fails."""
    replica = node.replica
    while replica.is_snapshotting:  # noqa: ASYNC110  # The core has no events to wait for: what it is told, it counts.
        await asyncio.sleep(POLL_S)
    failures = replica.snapshots_failed
    before = replica.last_snapshot
    zxid = replica.tree.zxid
    replica.start_snapshot()
    node.drain()
    while replica.last_snapshot is before or replica.last_snapshot[0] < zxid:
        if replica.snapshots_failed != failures or node.stopped.done():
            raise Refused(500, "The snapshot failed; the server's log says why")
        await asyncio.sleep(POLL_S)
    assert node.directories is not None
    path = node.directories.snapshots.path(snapshot_name(zxid, suffix_of(node.config.snapshot_compression_method)))
    return Snapshot(path, zxid, (await asyncio.to_thread(os.stat, path)).st_size)


def shed(node: Node, request: Any) -> dict[str, int]:
    """Close a share of the connections, as `{"percentage": 0..100}` says. Raises Refused."""
    if not isinstance(request, dict) or "percentage" not in request:
        raise Refused(400, "The body must be a JSON object with a percentage")
    percentage = request["percentage"]
    if type(percentage) is not int or not 0 <= percentage <= 100:
        raise Refused(400, f"percentage must be a whole number from 0 to 100, got {percentage!r}")
    conns = list(node.replica.connections)
    wanted = len(conns) * percentage // 100
    # Evenly over the old and the new ones.
    for at in range(wanted):
        conns[at * len(conns) // wanted].end()
    node.drain()
    return {"connections_shed": wanted, "percentage_requested": percentage}
