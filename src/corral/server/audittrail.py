"""From the pipeline's writes to audit lines: noted when a write is prepared, written once it is committed.

A line is made from what the client asked for and what became of it, and waits until the write is on disk; what never
gets there leaves no line. Source: ZooKeeper AuditHelper; DataTree.deleteNodes for ephemerals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from corral.ops.multi import Multi, Raw
from corral.replica.pipeline import CLOSE, WRITE
from corral.server.audit import OPERATIONS, ephemeral_line, request_line
from corral.tree.access import Identity
from corral.wire import opcodes
from corral.wire.schema import decoder
from corral.wire.txns import CloseSessionTxn, DeleteTxn, MultiTxn, SubTxn

_decode_path = decoder(DeleteTxn)
_CREATES = (opcodes.CREATE, opcodes.CREATE2, opcodes.CREATE_CONTAINER, opcodes.CREATE_TTL)
_PARTS = (*_CREATES, opcodes.DELETE, opcodes.SET_DATA)
"""The parts of a multi that have a line, by the type of their transaction; a setACL and a check have none."""


class AuditTrail:
    """Writes the lines of committed writes, in order of zxid; an `Audit` of `corral.replica.pipeline`.

    write: takes a line without its end. user: the system's user that the server runs as. multi: takes the request of
    a multi apart.
    """

    def __init__(self, write: Callable[[str], object], user: str, multi: Multi) -> None:
        self._write = write
        self._user = user
        self._multi = multi
        self._waiting: deque[tuple[int, list[str]]] = deque()

    def prepared(
        self, zxid: int, kind: int, session: int, address: str | None, op: int, request: Any, txn: Any,
        identities: Iterable[Identity],
    ) -> None:  # fmt: skip
        """Note a write."""
        lines: list[str] = []
        if kind == CLOSE:
            if isinstance(txn, CloseSessionTxn):
                lines = self._gone(session, txn.paths_to_delete or ())
        elif kind == WRITE and address is not None:
            if op in OPERATIONS:
                lines = self._requested(session, op, address, request, txn, identities)
        elif isinstance(txn, MultiTxn):
            # Ephemerals that are too many for the transaction of their session's close.
            lines = self._gone(session, map(_path_of, txn.txns or ()))
        if lines:
            self._waiting.append((zxid, lines))

    def committed(self, zxid: int) -> None:
        """Write the lines of everything up to `zxid`."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= zxid:
            for line in waiting.popleft()[1]:
                self._write(line)

    def _gone(self, session: int, paths: Iterable[bytes]) -> list[str]:
        return [ephemeral_line(self._user, session, path) for path in paths]

    def _requested(
        self, session: int, op: int, address: str, request: Any, txn: Any, identities: Iterable[Identity]
    ) -> list[str]:
        """Return the lines for a client's request."""
        who = (session, list(identities), address)
        if isinstance(request, Raw):
            subs = [] if txn is None else txn.txns or []
            if txn is None or any(sub.type == opcodes.ERROR for sub in subs):
                return [request_line(op, False, *who)]
            return self._parts(request, subs, who)
        path = getattr(request, "path", None) if txn is None else txn.path
        flags = request.flags if op in _CREATES else None
        acl = None
        if op == opcodes.SET_ACL:
            acl = [(each.perms, each.scheme or "", each.id or "") for each in request.acl or ()]
        return [request_line(op, txn is not None, *who, path, flags, acl)]

    def _parts(self, request: Raw, subs: list[SubTxn], who: tuple[int, list[Identity], str]) -> list[str]:
        """Return the lines of a multi that succeeded.

        As in ZooKeeper, the type of a node is looked up by the path that was asked for, so a sequential one has none,
        and one with a time to live has none either.
        """
        asked = self._multi.split(request.bytes)
        flags = {sub.path: sub.flags for op, sub in asked if op.code in _CREATES and op.code != opcodes.CREATE_TTL}
        lines = []
        for sub in subs:
            if sub.type in _PARTS:
                path = _path_of(sub)
                mode = flags.get(path) if sub.type in _CREATES else None
                lines.append(request_line(sub.type, True, *who, path, mode))
        return lines


def _path_of(sub: SubTxn) -> bytes:
    """Return a part's path, with which all of them begin."""
    data = sub.data or b""
    path: bytes = _decode_path(data, 0, len(data))[0].path
    return path
