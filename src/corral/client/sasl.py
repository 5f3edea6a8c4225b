"""SASL's mechanisms, as values for the client's `sasl`: DIGEST-MD5 and GSSAPI, which is Kerberos.

    async with corral.connect("zk1:2181", sasl=DigestMd5("ann", "secret")) as zk: ...

They are pure-sasl's, which kazoo uses too, and which is imported when it is needed: the extras `corral[sasl]` and
`corral[gssapi]` bring it. Neither encrypts what follows: ZooKeeper has TLS for that.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from corral.client.errors import ClientError

DIGEST_HOST: Final = "zk-sasl-md5"
"""What all of Apache's servers call themselves in DIGEST-MD5, wherever they are."""


class DigestMd5:
    """A name and a password, which is not sent.

    service, host: what the server calls itself; Apache's are `zookeeper` and `zk-sasl-md5`. Raises ClientError if
    pure-sasl is not installed, ValueError for a name that DIGEST-MD5 cannot carry.
    """

    may_block: ClassVar[bool] = False

    def __init__(self, username: str, password: str, service: str = "zookeeper", host: str | None = None) -> None:
        _need_library("sasl")
        try:
            self._name = username.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"username {username!r}: DIGEST-MD5 takes the characters of ISO 8859-1 alone") from None
        self._password = _encoded(password)
        self.username = username
        self.service = service
        self.host = host

    def begin(self, host: str) -> PureSasl:
        """Return the mechanism for one exchange; `host` has no part in it."""
        name = self.host or DIGEST_HOST
        return PureSasl("DIGEST-MD5", name, self.service, username=self._name, password=self._password)

    def __repr__(self) -> str:
        return f"DigestMd5({self.username!r}, ..., service={self.service!r}, host={self.host!r})"


class Gssapi:
    """A Kerberos ticket, of the credential cache that the environment names; `kinit` or a keytab's keeper has it there.

    service, host: of the servers' principal, `service/host`; host is the name in the connect string unless given.
    principal: whose ticket, the cache's own unless given. Raises ClientError if a package is missing.
    """

    may_block: ClassVar[bool] = True

    def __init__(self, service: str = "zookeeper", host: str | None = None, principal: str | None = None) -> None:
        _need_library("gssapi")
        self.service = service
        self.host = host
        self.principal = principal

    def begin(self, host: str) -> PureSasl:
        """Return the mechanism for one exchange with the server `host`."""
        return PureSasl("GSSAPI", self.host or host, self.service, principal=self.principal)

    def __repr__(self) -> str:
        return f"Gssapi(service={self.service!r}, host={self.host!r}, principal={self.principal!r})"


class PureSasl:
    """A mechanism of pure-sasl, for one exchange that authenticates and does no more."""

    def __init__(self, name: str, host: str, service: str, **credentials: Any) -> None:
        from puresasl import QOP
        from puresasl.client import SASLClient

        self._client = SASLClient(host, service, name, qops=(QOP.AUTH,), **credentials)

    @property
    def is_complete(self) -> bool:
        """Whether this side is content; with DIGEST-MD5 the server has proved that it knows the password."""
        complete: bool = self._client.complete
        return complete

    def step(self, challenge: bytes | None) -> bytes | None:
        """Return the answer to a challenge. Raises what pure-sasl and the Kerberos library raise."""
        answer: bytes | None = self._client.process(challenge)
        return answer


def _encoded(password: str) -> bytes:
    """Return what is hashed: RFC 2831 has ISO 8859-1 wherever that will do."""
    try:
        return password.encode("latin-1")
    except UnicodeEncodeError:
        return password.encode()


def _need_library(extra: str) -> None:
    try:
        from puresasl.mechanisms import have_kerberos
    except ImportError as error:
        raise ClientError(f"SASL needs the package pure-sasl: install corral[{extra}]") from error
    if extra == "gssapi" and not have_kerberos:
        raise ClientError("GSSAPI needs the package kerberos: install corral[gssapi]")
