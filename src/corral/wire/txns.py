"""The records of transactions, as they stand in logs and proposals."""

from __future__ import annotations

from typing import Annotated

from corral.wire.data import Acls, Paths
from corral.wire.schema import Bool, Buffer, Int, Long, Path, VectorOf, wire


@wire
class TxnHeader:
    """Whose transaction it is, which, when (wall-clock ms of the leader) and of which type; 32 bytes."""

    client_id: Long
    cxid: Int
    zxid: Long
    time: Long
    type: Int


@wire
class TxnDigest:
    """The digest of the whole tree after the transaction; 12 bytes, at the end of an entry, where enabled."""

    version: Int
    tree_digest: Long


@wire
class CreateTxn:
    path: Path
    data: Buffer
    acl: Acls
    ephemeral: Bool
    parent_cversion: Int


@wire
class CreateTxnV0:
    """The form of logs before 3.3: the parent's cversion is not carried."""

    path: Path
    data: Buffer
    acl: Acls
    ephemeral: Bool


@wire
class CreateTtlTxn:
    path: Path
    data: Buffer
    acl: Acls
    parent_cversion: Int
    ttl: Long


@wire
class CreateContainerTxn:
    path: Path
    data: Buffer
    acl: Acls
    parent_cversion: Int


@wire
class DeleteTxn:
    path: Path


@wire
class SetDataTxn:
    """`version` is the new version."""

    path: Path
    data: Buffer
    version: Int


@wire
class SetAclTxn:
    """`version` is the new aversion."""

    path: Path
    acl: Acls
    version: Int


@wire
class CheckVersionTxn:
    path: Path
    version: Int


@wire
class CreateSessionTxn:
    timeout: Int


@wire
class CloseSessionTxn:
    paths_to_delete: Paths


@wire
class ErrorTxn:
    err: Int


@wire
class SubTxn:
    """One operation of a multi: the type and its encoded body."""

    type: Int
    data: Buffer


@wire
class MultiTxn:
    txns: Annotated[list[SubTxn] | None, VectorOf(SubTxn)]


@wire
class Unread:
    """The body of a transaction that carries none, such as a closeSession of an old log."""


TxnBody = (
    CreateTxn
    | CreateTtlTxn
    | CreateContainerTxn
    | DeleteTxn
    | SetDataTxn
    | SetAclTxn
    | CheckVersionTxn
    | CreateSessionTxn
    | CloseSessionTxn
    | ErrorTxn
    | MultiTxn
    | Unread
)
