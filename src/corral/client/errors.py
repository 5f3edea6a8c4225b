"""What can go wrong in a client, besides a server's refusals. Each error tells whether the request took effect."""

from __future__ import annotations

from typing import Final

from corral.base import errors
from corral.base.errors import CorralError, Outcome, ZooKeeperError

_BY_CODE: Final = {
    cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ZooKeeperError)
}


class ClientError(CorralError):
    """A request that failed on this side of the connection. outcome: whether it may have taken effect."""

    def __init__(self, message: str, outcome: Outcome = Outcome.NOT_APPLIED) -> None:
        super().__init__(message)
        self.outcome = outcome


class ConnectionLoss(ClientError):
    """The connection went away before the answer came."""


class SessionLost(ClientError):
    """The session ended before the answer came, or that is the answer (the protocol's code -112): nothing was done."""


class RequestTimeout(ClientError, TimeoutError):
    """No answer in the time that the caller gave."""


class ClientClosed(ClientError):
    """The client is closed."""


class TlsFailed(ClientClosed):
    """No server and this client take each other's certificates, or no server speaks TLS; the client is closed."""


class RequestTooLarge(ClientError):
    """The request is larger than servers take; it was not sent."""


class BadConnectString(ClientError, ValueError):
    """A connect string that names no servers."""


class BadCertificate(ClientError, ValueError):
    """A file for TLS that is not there, or not what it should be; the message names it."""


class WrongProcess(ClientError):
    """A client used in a process that was forked after it was made."""


class ProtocolError(ClientError):
    """The server's bytes make no sense; the connection was closed."""


def error_of(code: int, what: str) -> ZooKeeperError:
    """Return the error of a reply with `code`. what: the request, for the message."""
    cls = _BY_CODE.get(code)
    if cls is None or code == ZooKeeperError.code:
        return ZooKeeperError(f"{what}: the server answered error {code}")
    return cls(f"{what}: {cls.__name__}")
