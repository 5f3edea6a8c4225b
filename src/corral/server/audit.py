"""The audit log: one line for each change that a client made or tried to make, in ZooKeeper's format.

A line is `key=value` pairs with tabs between them, in a fixed order, absent ones left out:
session, user, ip, operation, znode, znode_type, acl, result. Not here: where the lines go, and when they are written.
Source: ZooKeeper ZKAuditProvider, AuditHelper and AuditEvent.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from typing import Final

from corral.base.ids import session_hex
from corral.tree.access import Identity
from corral.wire import opcodes

SUCCESS: Final = "success"
FAILURE: Final = "failure"
INVOKED: Final = "invoked"

SERVER_START: Final = "serverStart"
SERVER_STOP: Final = "serverStop"
MULTI: Final = "multiOperation"
EPHEMERAL_DELETED: Final = "ephemeralZNodeDeletionOnSessionCloseOrExpire"

OPERATIONS: Final = {
    opcodes.CREATE: "create",
    opcodes.CREATE2: "create",
    opcodes.CREATE_CONTAINER: "create",
    opcodes.CREATE_TTL: "create",
    opcodes.DELETE: "delete",
    opcodes.DELETE_CONTAINER: "delete",
    opcodes.SET_DATA: "setData",
    opcodes.SET_ACL: "setAcl",
    opcodes.MULTI: MULTI,
    opcodes.RECONFIG: "reconfig",
}
"""What a request is called, by its code. What is not there is not audited."""

CREATE_MODES: Final = (
    "persistent",
    "ephemeral",
    "persistent_sequential",
    "ephemeral_sequential",
    "container",
    "persistent_with_ttl",
    "persistent_sequential_with_ttl",
)
"""What a node's type is called, by a create's flags."""

PERMISSIONS: Final = (
    (opcodes.CREATE_PERM, "c"),
    (opcodes.DELETE_PERM, "d"),
    (opcodes.READ, "r"),
    (opcodes.WRITE, "w"),
    (opcodes.ADMIN, "a"),
)


def audit_line(
    operation: str,
    result: str,
    *,
    session: int | None = None,
    user: str | None = None,
    ip: str | None = None,
    znode: str | None = None,
    znode_type: str | None = None,
    acl: str | None = None,
) -> str:
    """Write one line, without its end. What is None is left out."""
    pairs = (
        ("session", None if session is None else session_hex(session)),
        ("user", user),
        ("ip", ip),
        ("operation", operation),
        ("znode", znode),
        ("znode_type", znode_type),
        ("acl", acl),
        ("result", result),
    )
    return "\t".join(f"{key}={_escaped(value)}" for key, value in pairs if value is not None)


def users_text(identities: Iterable[Identity]) -> str:
    """Write who a connection is, as names with commas between them; of a digest identity only the user's name."""
    return ",".join(ident.split(":", 1)[0] if scheme == "digest" else ident for scheme, ident in identities)


def acl_text(entries: Iterable[tuple[int, str, str]]) -> str:
    """Write an access list of (perms, scheme, id); as in ZooKeeper nothing stands between two entries.

    Deviation: ZooKeeper writes a digest's hash; here `x` stands for it, as for readers of a list who may not change it.
    """
    return "".join(f"{scheme}:{_shown(scheme, ident)}:{permissions_text(perms)}" for perms, scheme, ident in entries)


def _shown(scheme: str, ident: str) -> str:
    return ident.split(":", 1)[0] + ":x" if scheme == "digest" else ident


def permissions_text(perms: int) -> str:
    """Write permission bits as letters of `cdrwa`."""
    return "".join(letter for bit, letter in PERMISSIONS if perms & bit)


def create_mode(flags: int) -> str | None:
    """Return what the type of a node made with `flags` is called, None for flags that no create has."""
    return CREATE_MODES[flags] if 0 <= flags < len(CREATE_MODES) else None


def server_user() -> str:
    """Return the name of the system's user that the server runs as, its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def request_line(
    op: int,
    is_success: bool,
    session: int,
    identities: Iterable[Identity],
    address: str,
    path: bytes | None = None,
    flags: int | None = None,
    acl: Iterable[tuple[int, str, str]] | None = None,
) -> str:
    """Write the line of a client's request, one of OPERATIONS.

    path: after a sequential create the one that was made. flags: a create's. acl: a setACL's, (perms, scheme, id).
    A multi that succeeded is noted as its parts, one that failed as itself, without a path.
    """
    return audit_line(
        OPERATIONS[op],
        SUCCESS if is_success else FAILURE,
        session=session,
        user=users_text(identities),
        ip=address,
        znode=None if path is None else path.decode(errors="replace"),
        znode_type=None if flags is None else create_mode(flags),
        acl=None if acl is None else acl_text(acl),
    )


def ephemeral_line(user: str, session: int, path: bytes) -> str:
    """Write the line of an ephemeral deleted with its session; nobody asked for it, so the user is the server's."""
    return audit_line(EPHEMERAL_DELETED, SUCCESS, session=session, user=user, znode=path.decode(errors="replace"))


def started_line(user: str, is_success: bool = True) -> str:
    """Write that the server, of the system's user `user`, has started or could not."""
    return audit_line(SERVER_START, SUCCESS if is_success else FAILURE, user=user)


def stopped_line(user: str) -> str:
    """Write that the server was told to stop."""
    return audit_line(SERVER_STOP, INVOKED, user=user)


def _escaped(value: str) -> str:
    """Write control characters as escapes, as ZooKeeper does not: no client can write a line or a pair of its own."""
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
