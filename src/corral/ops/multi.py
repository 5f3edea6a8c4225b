"""multi and multiRead."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from corral.base.errors import BadArguments, MarshallingError, NoAuth, NoNode, WireError, ZooKeeperError
from corral.ops.base import Preparing, ReadOp, Serving, Stamp, View, WriteOp
from corral.ops.create import TTL_FLAGS
from corral.tree.node import Node
from corral.wire.client import CreateRequest
from corral.wire.opcodes import (
    CREATE,
    CREATE2,
    CREATE_CONTAINER,
    CREATE_TTL,
    ERROR,
    GET_CHILDREN,
    GET_DATA,
    MULTI,
    MULTI_READ,
)
from corral.wire.schema import decode, encode, encoder
from corral.wire.txns import ErrorTxn, MultiTxn, SubTxn, TxnHeader, Unread

_HEADER: Final = struct.Struct(">i?i")
_ERROR: Final = struct.Struct(">i?ii")
_END: Final = _HEADER.pack(-1, True, -1)
_encode_error: Final = encoder(ErrorTxn)
RUNTIME_INCONSISTENCY: Final = -2
CONTAINER_FLAG: Final = 4
_CREATES: Final = (CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL)


class Raw:
    """A multi's request, not yet taken apart: its faults cost a zxid, as ZooKeeper's do."""

    __slots__ = ("bytes",)

    def __init__(self, data: bytes) -> None:
        self.bytes = data


class Multi(WriteOp[Raw]):
    """All or nothing: sub-operations see the ones before them; the first failure takes all back."""

    code = MULTI
    name = "multi"
    lop = "MULT"
    txns = {MULTI: MultiTxn}

    def __init__(self, parts: Mapping[int, WriteOp[Any]], by_txn: Mapping[int, WriteOp[Any]]) -> None:
        self._parts = {code: op for code, op in parts.items() if op.in_multi}
        self._by_txn = by_txn
        self.decode = lambda buf, at, end: (Raw(buf[at:end]), end)

    def perform(self, cx: Preparing, request: Raw) -> tuple[int, bytes, bytes]:
        try:
            subs = self.split(request.bytes)
        except (WireError, struct.error) as error:
            raise MarshallingError("the multi cannot be decoded") from error
        digest = cx.view.digest.value
        done: list[SubTxn] = []
        replies: list[bytes] = []
        for op, sub in subs:
            try:
                kind, body, reply = op.perform(cx, sub)
            except ZooKeeperError as error:
                cx.view.rollback(digest)
                if isinstance(error, MarshallingError):
                    raise  # ZooKeeper stumbles, over a quota that cannot be read, and answers for the whole.
                return MULTI, *_failure(done, error.code, len(subs))
            # The same transaction by either name; ZooKeeper before 3.9 reads no create2 in a multi's.
            done.append(SubTxn(CREATE if kind == CREATE2 else kind, body))
            replies.append(_HEADER.pack(op.result, False, 0) + reply)
        return MULTI, encode(MultiTxn(done)), b"".join(replies) + _END

    def apply(self, view: View, stamp: Stamp, body: MultiTxn) -> Node | None:
        subs = body.txns or []
        if any(sub.type == ERROR for sub in subs):
            return None
        for sub in subs:
            op = self._by_txn[sub.type]
            record: Any = decode(op.txns[sub.type], sub.data or b"")
            op.apply(view, TxnHeader(stamp.client_id, 0, stamp.zxid, stamp.time, sub.type), record)
        return None

    def split(self, buf: bytes) -> list[tuple[WriteOp[Any], Any]]:
        """Take the request apart. Raises MarshallingError for what no multi may carry, WireError, struct.error."""
        subs: list[tuple[WriteOp[Any], Any]] = []
        at, end = 0, len(buf)
        while True:
            kind, done, _ = _HEADER.unpack_from(buf, at)
            at += _HEADER.size
            if done:
                return subs
            op = self._parts.get(kind)
            if op is None:
                raise MarshallingError(f"operation {kind} is not allowed in a multi")
            request, at = op.decode(buf, at, end)
            if kind in _CREATES:
                op, request = self._create_by_flags(kind, request)
            subs.append((op, request))

    def _create_by_flags(self, kind: int, request: Any) -> tuple[WriteOp[Any], Any]:
        """Return the create that the flags ask for: inside a multi they decide about containers and TTL nodes.

        Source: ZooKeeper MultiOperationRecord.
        """
        flags = request.flags
        if kind != CREATE_TTL and (not 0 <= flags <= 6 or flags in TTL_FLAGS):
            raise MarshallingError(f"create flags {flags} are not allowed in a multi's operation {kind}")
        if flags in TTL_FLAGS:
            return self._parts[CREATE_TTL], request
        if kind == CREATE_TTL:
            kind, request = CREATE, CreateRequest(request.path, request.data, request.acl, flags)
        return self._parts[CREATE_CONTAINER if flags == CONTAINER_FLAG else kind], request


def _failure(done: list[SubTxn], code: int, count: int) -> tuple[bytes, bytes]:
    """Return the transaction and reply of a multi whose operation after `done` failed with `code`."""
    after = count - len(done) - 1
    codes = [0] * len(done) + [code] + [RUNTIME_INCONSISTENCY] * after
    subs = done + [SubTxn(ERROR, _encode_error(ErrorTxn(c))) for c in codes[len(done) :]]
    reply = b"".join(_ERROR.pack(-1, False, c, c) for c in codes)
    return encode(MultiTxn(subs)), reply + _END


class MultiRead(ReadOp):
    """getData and getChildren in one request; each fails for itself, none leaves a watch.

    The answer has a limit of its own: a short request can name a large node many times.
    """

    code = MULTI_READ
    name = "multiRead"
    lop = "MLTR"

    def __init__(self, parts: Mapping[int, ReadOp]) -> None:
        self._parts = {code: parts[code] for code in (GET_DATA, GET_CHILDREN)}

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        out: list[bytes] = []
        ops_left = cx.options.multi_read_ops_max or -1
        bytes_max = cx.options.multi_read_bytes_max
        answered = 0
        while True:
            kind, done, _ = _HEADER.unpack_from(buf, at)
            at += _HEADER.size
            if at > end:
                raise WireError("multiRead: truncated")
            if done:
                out.append(_END)
                return b"".join(out)
            op = self._parts.get(kind)
            if op is None:
                raise MarshallingError(f"operation {kind} is not allowed in a multiRead")
            if not ops_left:
                raise BadArguments(f"multiRead: more than {cx.options.multi_read_ops_max} operations")
            ops_left -= 1
            size = int.from_bytes(buf[at : at + 4], "big", signed=True)
            if not 0 <= size <= end - at - 5:
                raise WireError(f"Unreasonable length = {size}")
            stop = at + 4 + size + 1
            unwatched = buf[at : stop - 1] + b"\0"
            at = stop
            try:
                body = op.serve(cx, caller, unwatched, 0, len(unwatched))
                answered += len(body)
                if 0 < bytes_max < answered:
                    raise BadArguments(f"multiRead: an answer of more than {bytes_max} bytes")
                out.append(_HEADER.pack(kind, False, 0) + body)
            except (NoNode, NoAuth) as error:
                out.append(_ERROR.pack(-1, False, error.code, error.code))


class ErrorOp(WriteOp[Unread]):
    """The transaction of a refused write: it takes a zxid and changes nothing. No request has its code."""

    code = ERROR
    name = "error"
    lop = "NA"
    request = Unread
    txns = {ERROR: ErrorTxn}

    def apply(self, view: View, stamp: Stamp, body: ErrorTxn) -> Node | None:
        return None
