"""Errors: one class for each code of the protocol, and the few of our own.

A `ZooKeeperError` raised while a request is prepared or served becomes the `err` of its reply. A `WireError`
means that bytes cannot be decoded. An `InvariantError` is a bug of ours: the replica that sees one stops.
"""

from __future__ import annotations

import enum
from typing import ClassVar


class Outcome(enum.Enum):
    """Whether a failed request took effect; what is UNKNOWN must not be repeated without thought."""

    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"


class CorralError(Exception):
    """The base of all errors that Corral raises on purpose."""


class InvariantError(CorralError):
    """State that must be impossible was seen; the message gives the values."""


class WireError(CorralError):
    """Bytes that are no encoding of the expected record."""


class StorageError(CorralError):
    """A data directory that cannot be read or written; the message says where and what to do."""


class ZooKeeperError(CorralError):
    """A refusal that a client is told as `code` in the reply header; what was refused has changed nothing.

    Source: the codes of ZooKeeper's KeeperException.
    """

    code: ClassVar[int] = -1
    outcome: Outcome = Outcome.NOT_APPLIED


class RuntimeInconsistency(ZooKeeperError):
    """An operation of a multi after the one that failed."""

    code = -2


class MarshallingError(ZooKeeperError):
    """A request that cannot be decoded, or one whose transaction would outgrow the limit."""

    code = -5


class Unimplemented(ZooKeeperError):
    code = -6


class BadArguments(ZooKeeperError):
    code = -8


class UnknownSession(ZooKeeperError):
    code = -12


class NoNode(ZooKeeperError):
    code = -101


class NoAuth(ZooKeeperError):
    code = -102


class BadVersion(ZooKeeperError):
    code = -103


class NoChildrenForEphemerals(ZooKeeperError):
    code = -108


class NodeExists(ZooKeeperError):
    code = -110


class NotEmpty(ZooKeeperError):
    code = -111


class SessionExpired(ZooKeeperError):
    code = -112


class InvalidAcl(ZooKeeperError):
    code = -114


class AuthFailed(ZooKeeperError):
    code = -115


class SessionMoved(ZooKeeperError):
    """A request over a connection that no longer owns its session; never sent, the connection is closed."""

    code = -118


class NotReadOnly(ZooKeeperError):
    code = -119


class EphemeralOnLocalSession(ZooKeeperError):
    code = -120


class NoWatcher(ZooKeeperError):
    code = -121


class ReconfigDisabled(ZooKeeperError):
    code = -123


class SessionClosedRequireSaslAuth(ZooKeeperError):
    code = -124


class QuotaExceeded(ZooKeeperError):
    code = -125


class ThrottledOp(ZooKeeperError):
    code = -127
