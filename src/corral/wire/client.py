"""The records of the client protocol, in the order of its reference.

Headers have none, nor have some answers: what writes and reads them does so by hand.
"""

from __future__ import annotations

from typing import Annotated

from corral.wire.data import Acls, Paths, Stat
from corral.wire.schema import Bool, Buffer, Int, Long, Path, UString, VectorOf, wire


@wire
class ConnectRequest:
    """The first frame of a connection; old clients leave out the boolean `readOnly` that follows these fields."""

    protocol_version: Int
    last_zxid_seen: Long
    timeout: Int
    session_id: Long
    passwd: Buffer


@wire
class ConnectResponse:
    """The server's answer; `timeout` 0 refuses. A boolean `readOnly` follows where the request had one."""

    protocol_version: Int
    timeout: Int
    session_id: Long
    passwd: Buffer


@wire
class CreateRequest:
    path: Path
    data: Buffer
    acl: Acls
    flags: Int


@wire
class CreateTtlRequest:
    path: Path
    data: Buffer
    acl: Acls
    flags: Int
    ttl: Long


@wire
class DeleteRequest:
    path: Path
    version: Int


@wire
class PathWatchRequest:
    """exists, getData, getChildren and getChildren2."""

    path: Path
    watch: Bool


@wire
class SetDataRequest:
    path: Path
    data: Buffer
    version: Int


@wire
class PathRequest:
    """getACL, getAllChildrenNumber, deleteContainer; also the reply of create."""

    path: Path


@wire
class SyncRequest:
    """sync and its reply, which tells null from empty, and has what is not UTF-8 replaced."""

    path: UString


@wire
class SetAclRequest:
    path: Path
    acl: Acls
    version: Int


@wire
class CheckVersionRequest:
    path: Path
    version: Int


@wire
class ReconfigRequest:
    joining_servers: UString
    leaving_servers: UString
    new_members: UString
    cur_config_id: Long


@wire
class WatchesRequest:
    """checkWatches and removeWatches; `type` 1 children, 2 data, 3 any, 4 persistent, 5 recursive."""

    path: Path
    type: Int


@wire
class AddWatchRequest:
    """`mode` 0 persistent, 1 persistent recursive."""

    path: Path
    mode: Int


@wire
class SetWatches:
    relative_zxid: Long
    data_watches: Paths
    exist_watches: Paths
    child_watches: Paths


@wire
class SetWatches2:
    relative_zxid: Long
    data_watches: Paths
    exist_watches: Paths
    child_watches: Paths
    persistent_watches: Paths
    persistent_recursive_watches: Paths


@wire
class GetEphemeralsRequest:
    prefix_path: Buffer


@wire
class AuthPacket:
    type: Int
    scheme: UString
    auth: Buffer


@wire
class SaslToken:
    """GetSASLRequest, SetSASLRequest and SetSASLResponse."""

    token: Buffer


@wire
class GetDataResponse:
    data: Buffer
    stat: Stat


@wire
class GetChildrenResponse:
    children: Paths


@wire
class GetAclResponse:
    acl: Acls
    stat: Stat


@wire
class GetAllChildrenNumberResponse:
    total_number: Int


@wire
class GetEphemeralsResponse:
    ephemerals: Paths


@wire
class ClientInfo:
    auth_scheme: UString
    user: UString


@wire
class WhoAmIResponse:
    client_info: Annotated[list[ClientInfo] | None, VectorOf(ClientInfo)]


@wire
class WatcherEvent:
    type: Int
    state: Int
    path: Path
