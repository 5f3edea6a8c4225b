"""Records that requests, transactions and files share."""

from __future__ import annotations

from typing import Annotated

from corral.wire.schema import Int, Long, Path, UString, VectorOf, wire


@wire
class ACL:
    """One entry of an access list: permission bits for an identity `scheme:id`."""

    perms: Int
    scheme: UString
    id: UString


@wire
class Stat:
    """What a client is told of a znode; 68 bytes.

    Times are wall-clock milliseconds. cversion counts creates and deletes of children. ephemeral_owner is a session
    id, or 0 for everything else, TTL and container nodes included.
    """

    czxid: Long
    mzxid: Long
    ctime: Long
    mtime: Long
    version: Int
    cversion: Int
    aversion: Int
    ephemeral_owner: Long
    data_length: Int
    num_children: Int
    pzxid: Long


STAT_BYTES = 68

OPEN_ACL = [ACL(31, "world", "anyone")]
"""What most nodes have; decoding yields this very list, which nobody may change."""

Acls = Annotated[list[ACL] | None, VectorOf(ACL, common=OPEN_ACL)]
Paths = Annotated[list[bytes] | None, VectorOf(Path)]


@wire
class StoredAcls:
    """An access list by itself, as a snapshot has it."""

    acl: Acls
