"""What an operation is.

A **read** has `serve`: it answers from the committed tree and may register a watch. A **write** has `prepare` (may it
be done, and as which transaction), `apply` (what the transaction changes) and `respond` (the reply's body). `apply`
is the same code for a leader's overlay, a follower, a replay and the tools; it tolerates being applied again.

Errors a client is told are raised as ZooKeeperError; undecodable bytes as WireError or struct.error. Both are turned
into replies in one place, the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from corral.base.errors import NoAuth
from corral.base.paths import ROOT
from corral.base.records import record
from corral.tree.access import Access, AclList, AclTable, Identity
from corral.tree.digest import Digest
from corral.tree.node import Node
from corral.tree.overlay import Overlay
from corral.tree.tree import Tree
from corral.wire.schema import decoder, encode
from corral.wire.txns import TxnBody


@record
class Options:
    """What of the configuration decides about operations.

    txn_bytes_max: no transaction longer than this is made, so that every log can be read back. eager_acl_check: what
    is refused for want of rights makes no transaction. close_session_txn: closeSession says what it deletes.
    multi_read_ops_max, multi_read_bytes_max: of one multiRead and of its answer; 0: any. children_cached_max: of how
    many nodes the encoded children may be kept.
    """

    extended_types: bool = False
    enforce_quota: bool = False
    reconfig_enabled: bool = False
    txn_bytes_max: int = 2 * 0xFFFFF
    children_cached_max: int = 400
    eager_acl_check: bool = False
    close_session_txn: bool = True
    multi_read_ops_max: int = 1000
    multi_read_bytes_max: int = 64 << 20


class Stamp(Protocol):
    """Whose a transaction is and when it happened (wall-clock ms): what `apply` needs of its stamp."""

    @property
    def client_id(self) -> int: ...
    @property
    def zxid(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def type(self) -> int: ...


class Caller(Protocol):
    """Whose request it is: a connection with a session."""

    session_id: int
    identities: dict[Identity, None]


class View(Protocol):
    """What `apply` changes: a tree or an overlay."""

    acls: AclTable
    digest: Digest

    def get(self, path: bytes) -> Node | None: ...
    def add(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None: ...
    def remove(self, path: bytes, node: Node, parent_path: bytes, parent: Node, parent_body: bytes) -> None: ...
    def set_data(self, path: bytes, node: Node, body: bytes) -> Node: ...
    def set_acl(self, path: bytes, node: Node, body: bytes, acl: AclList) -> Node: ...
    def set_body(self, path: bytes, node: Node, body: bytes) -> None: ...
    def open_session(self, session: int, timeout: int) -> None: ...
    def close_session(self, session: int) -> None: ...
    def ephemerals_of(self, session: int) -> list[bytes]: ...


class Serving:
    """What reads are answered from. `last_children` keeps encoded lists of children while their parent is unchanged."""

    __slots__ = ("access", "last_children", "nodes", "options", "tree", "watches")

    def __init__(self, tree: Tree, access: Access, options: Options) -> None:
        self.tree = tree
        self.nodes = tree.nodes
        self.watches = tree.watches
        self.access = access
        self.options = options
        self.last_children: dict[bytes, tuple[bytes, bytes]] = {}

    def root(self, path: bytes) -> Node | None:
        """Return the root for the empty path, which reads take for it, and None for any other."""
        return None if path else self.nodes[ROOT]

    def allows(self, acl: AclList, perms: int, caller: Caller) -> bool:
        """Tell whether the caller has any of the bits `perms`."""
        return bool(acl.world & perms) or self.access.allows(acl, perms, caller.identities)


class Preparing:
    """What one write is checked against: the overlay, whose request it is, and its place in history.

    It is the stamp of its transaction too. time: wall-clock ms; type: of the transaction, known once it is prepared.
    """

    __slots__ = (
        "access", "client_id", "identities", "is_internal", "options", "time", "tree", "type", "view", "zxid",
    )  # fmt: skip

    def __init__(self, tree: Tree, view: Overlay, access: Access, options: Options) -> None:
        self.tree = tree
        self.view = view
        self.access = access
        self.options = options
        self.client_id = 0
        self.zxid = 0
        self.time = 0
        self.type = 0
        self.identities: Iterable[Identity] = ()
        self.is_internal = False

    def require(self, acl: AclList, perms: int, path: bytes) -> None:
        """Raise NoAuth unless one of the bits `perms` is granted."""
        if not acl.world & perms and not self.access.allows(acl, perms, self.identities):
            raise NoAuth(f"no right {perms} on {path!r}")


R = TypeVar("R")


class ReadOp:
    """An operation that changes nothing. lop: how `cons` names it."""

    code: int
    name: str
    lop: str

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        """Return the reply's body for the request in `buf[at:end]`."""
        raise NotImplementedError


class WriteOp(Generic[R]):
    """An operation that becomes a transaction.

    request: the record of its requests. txns: the records of its transactions, by type. in_multi: whether a multi may
    carry it; result: the type of its result there.
    """

    code: int
    name: str
    lop: str
    request: type[R]
    txns: dict[int, type]
    in_multi = False
    result = 0

    def __init__(self) -> None:
        self.decode: Callable[[bytes, int, int], tuple[R, int]] = decoder(self.request)

    def prepare(self, cx: Preparing, request: R) -> tuple[int, TxnBody]:
        """Check the request; return its transaction's type and body."""
        raise NotImplementedError

    def apply(self, view: View, stamp: Stamp, body: Any) -> Node | None:
        """Do the transaction; return the node it made or changed."""
        raise NotImplementedError

    def redo(self, view: View, stamp: Stamp, buf: bytes, at: int) -> int:
        """Apply the transaction whose body begins at `buf[at:]`, straight from its bytes; return where it ends.

        -1, and nothing has happened, where only `apply` will do. For what logs are full of.
        """
        return -1

    def respond(self, body: Any, node: Node | None) -> bytes:
        """Return the reply's body."""
        return b""

    def take(self, cx: Preparing, buf: bytes, at: int, end: int) -> tuple[int, bytes, bytes]:
        """Decode, prepare and apply the request in `buf[at:end]`; what it returns and raises is as `perform`'s.

        Undecodable bytes are a WireError or struct.error, raised before anything has happened.
        """
        return self.perform(cx, self.decode(buf, at, end)[0])

    def perform(self, cx: Preparing, request: R) -> tuple[int, bytes, bytes]:
        """Prepare and apply to the overlay; return the transaction's type and its encoded body, and the reply's body.

        Raises ZooKeeperError.
        """
        kind, body = self.prepare(cx, request)
        cx.type = kind
        return kind, encode(body), self.respond(body, self.apply(cx.view, cx, body))
