"""All operations, once. Every table by code, type or name comes from here."""

from __future__ import annotations

from typing import Any

from corral.base.errors import StorageError, WireError
from corral.ops.acl import GetAcl, SetAcl
from corral.ops.base import ReadOp, WriteOp
from corral.ops.check import Check
from corral.ops.children import children_operations
from corral.ops.create import create_operations
from corral.ops.data import GetData, SetData
from corral.ops.delete import delete_operations
from corral.ops.exists import Exists
from corral.ops.multi import ErrorOp, Multi, MultiRead
from corral.ops.reconfig import Reconfig
from corral.ops.session import CloseSession, CreateSession, GetEphemerals, WhoAmI
from corral.ops.watch import watch_operations
from corral.tree.digest import DIGEST_VERSION
from corral.wire.opcodes import AUTH, CHECK, CLOSE_SESSION, CREATE_SESSION, ERROR, PING, SASL, SYNC
from corral.wire.schema import decoder
from corral.wire.txns import CreateTxn, CreateTxnV0, Unread

_DIGEST_START = DIGEST_VERSION.to_bytes(4, "big")


class Registry:
    """The operations by code and by transaction type.

    reads, writes: by request code. requests: the writes that a client may send by themselves. by_txn: which write
    applies a transaction type. multi: the one of writes. names and lops: by code, also of ping, sync, auth and
    sasl, which the connection answers itself.
    """

    def __init__(self) -> None:
        set_data = SetData()
        reads: list[ReadOp] = [GetData(), Exists(), *children_operations(), GetAcl(), GetEphemerals(), WhoAmI()]
        reads += watch_operations()
        self.reads: dict[int, ReadOp] = {op.code: op for op in reads}
        multi_read = MultiRead(self.reads)
        self.reads[multi_read.code] = multi_read
        writes: list[WriteOp[Any]] = [*create_operations(), *delete_operations(), set_data, SetAcl(), Check()]
        writes += [CreateSession(), CloseSession(), Reconfig(set_data), ErrorOp()]
        self.writes: dict[int, WriteOp[Any]] = {op.code: op for op in writes}
        self.by_txn: dict[int, WriteOp[Any]] = {kind: op for op in writes for kind in op.txns}
        self.multi = multi = Multi(self.writes, self.by_txn)
        self.writes[multi.code] = multi
        self.by_txn[multi.code] = multi
        inner = (CREATE_SESSION, CLOSE_SESSION, ERROR, CHECK)
        self.requests = {code: op for code, op in self.writes.items() if code not in inner}
        ops: list[ReadOp | WriteOp[Any]] = [*self.reads.values(), *self.writes.values()]
        self.names = {op.code: op.name for op in ops} | {PING: "ping", SYNC: "sync", AUTH: "auth", SASL: "sasl"}
        self.lops = {op.code: op.lop for op in ops} | {PING: "PING", SYNC: "SYNC", AUTH: "NA", SASL: "NA"}

    def decode_txn(self, kind: int, buf: bytes, at: int) -> tuple[Any, int]:
        """Decode a transaction's body of type `kind` at `buf[at:]`; return it and where it ends.

        Raises StorageError for a type that no transaction has. Source: ZooKeeper SerializeUtils.deserializeTxn.
        """
        op = self.by_txn.get(kind)
        if op is None:
            raise StorageError(f"unsupported transaction type {kind}")
        if kind == CLOSE_SESSION and (at == len(buf) or (buf[at:].startswith(_DIGEST_START) and len(buf) - at == 12)):
            # Without a body, and behind it no digest or one. A body of two paths would be longer.
            return Unread(), at
        try:
            return decoder(op.txns[kind])(buf, at, len(buf))
        except WireError:
            if op.txns[kind] is not CreateTxn:
                raise
        old, at = decoder(CreateTxnV0)(buf, at, len(buf))
        return CreateTxn(old.path, old.data, old.acl, old.ephemeral, -1), at
