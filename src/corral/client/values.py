"""What a client gives and takes: states, stats, events, access lists."""

from __future__ import annotations

import base64
import enum
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from corral.base.errors import BadArguments, InvalidAcl, NoNode
from corral.wire.data import ACL, OPEN_ACL
from corral.wire.opcodes import (
    ALL_PERMS,
    CREATE,
    CREATE2,
    CREATE_CONTAINER,
    CREATE_TTL,
    MULTI,
    MULTI_READ,
    READ,
    RECONFIG,
    WHO_AM_I,
)

VERSION_MAX: Final = 0x7FFFFFFF


class State(enum.Enum):
    """How a client stands with its session.

    SUSPENDED: nobody answers, the session may go on or not; what is held is in doubt. LOST: the session is over, or
    has to be taken for it; what was held is gone, a new session follows by itself. READ_ONLY: connected to a server
    without a quorum. CLOSED: the client was closed, or its credentials were refused.
    """

    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    READ_ONLY = "READ_ONLY"
    SUSPENDED = "SUSPENDED"
    LOST = "LOST"
    CLOSED = "CLOSED"

    @property
    def is_connected(self) -> bool:
        """Whether requests are answered."""
        return self is State.CONNECTED or self is State.READ_ONLY


class ZnodeStat(NamedTuple):
    """What is known of a znode besides its data.

    Times are wall-clock milliseconds. version, cversion, aversion count changes of the data, the children and the
    access list. ephemeral_owner: the session of an ephemeral, 0 for every other node.
    """

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


class EventType(enum.IntEnum):
    """What a watch saw. NONE: nothing of the znode, but the session was lost and the watch with it."""

    NONE = -1
    CREATED = 1
    DELETED = 2
    CHANGED = 3
    CHILD = 4


class WatchEvent(NamedTuple):
    """What happened to the znode at `path`, and the zxid of the transaction that did it (-1: not known)."""

    type: EventType
    path: str
    zxid: int = -1


class WatchMode(enum.IntEnum):
    """How a watch that stays works: on one znode, or on all below it too (then without CHILD events)."""

    PERSISTENT = 0
    RECURSIVE = 1


class WatcherType(enum.IntEnum):
    """Which watches of a path are meant when they are removed."""

    CHILDREN = 1
    DATA = 2
    ANY = 3
    PERSISTENT = 4
    RECURSIVE = 5


OPEN: Final[list[ACL]] = OPEN_ACL
"""Anyone may do anything: what a znode gets unless it is told otherwise."""
READ_ONLY_ACL: Final[list[ACL]] = [ACL(READ, "world", "anyone")]
"""Anyone may read."""
CREATOR_ALL: Final[list[ACL]] = [ACL(ALL_PERMS, "auth", "")]
"""Whoever the creator has shown to be may do anything."""


def shown_path(path: bytes, chroot: bytes) -> str:
    """Return a path as a user below `chroot` knows it."""
    if path.startswith(chroot + b"/"):
        path = path[len(chroot) :]
    elif path == chroot:
        path = b"/"
    # Others are seen from every chroot, as the ensemble's configuration is.
    return path.decode("utf-8", "replace")


_WITHOUT_PATH: Final = {MULTI: "multi", MULTI_READ: "multiRead", RECONFIG: "reconfig", WHO_AM_I: "whoAmI"}
_CREATES: Final = frozenset((CREATE, CREATE2, CREATE_CONTAINER, CREATE_TTL))


def shown_request(op: int, path: bytes, chroot: bytes, code: int) -> str:
    """Return what a request was about that was refused with `code`: its path, or its name where it has none.

    That there is no chroot is said too: below it nothing is found, and a first create has no parent.
    """
    if not path:
        return _WITHOUT_PATH.get(op, f"operation {op}")
    shown = shown_path(path, chroot)
    is_below = op in _CREATES and path.rpartition(b"/")[0] == chroot
    if chroot and code == NoNode.code and (path == chroot or is_below):
        return f"{shown} (there is no chroot {chroot.decode('utf-8', 'replace')})"
    return shown


def data_bytes(data: object) -> bytes:
    """Return a znode's data as it is sent, a copy of what is no bytes yet. Raises BadArguments, naming the type."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    hint = ": encode it" if isinstance(data, str) else ""
    raise BadArguments(f"data must be bytes, not {type(data).__name__}{hint}")


def checked_version(version: int) -> int:
    """Return a version that is expected. Raises BadArguments for what no request can hold, naming it."""
    if isinstance(version, int) and -VERSION_MAX - 1 <= version <= VERSION_MAX:
        return version
    raise BadArguments(f"version {version!r}: must be an int from {-VERSION_MAX - 1} to {VERSION_MAX}")


def access_list(acl: Sequence[ACL] | None) -> list[ACL]:
    """Return an access list as it is sent, `OPEN` for None. Raises InvalidAcl, naming what is no entry."""
    if acl is None:
        return OPEN
    if not isinstance(acl, list | tuple):
        raise InvalidAcl(f"an access list must be a list of ACL, not {acl!r}")
    for entry in acl:
        if not (
            isinstance(entry, ACL)
            and isinstance(entry.perms, int)
            and isinstance(entry.scheme, str)
            and isinstance(entry.id, str)
        ):
            raise InvalidAcl(f"an entry of an access list must be ACL(perms, scheme, id), not {entry!r}")
    return list(acl)


def digest_acl(user: str, password: str, perms: int = ALL_PERMS) -> ACL:
    """Return the entry that gives a user with a password the bits `perms`.

    Source: ZooKeeper DigestAuthenticationProvider.generateDigest.
    """
    hashed = hashlib.sha1(f"{user}:{password}".encode(), usedforsecurity=False).digest()
    return ACL(perms, "digest", f"{user}:{base64.b64encode(hashed).decode()}")
