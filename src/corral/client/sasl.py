"""SASL's mechanisms, as values for the client's `sasl`: DIGEST-MD5 and GSSAPI, which is Kerberos.

    async with corral.connect("zk1:2181", sasl=DigestMd5("ann", "secret")) as zk: ...

DIGEST-MD5 is pure-sasl's, which kazoo uses too; GSSAPI is RFC 4752 over the package gssapi. Each is imported when it is
needed: the extras `corral[sasl]` and `corral[gssapi]` bring them. pure-sasl has a GSSAPI, but over a package that keeps
the interpreter while it asks a KDC with a keytab, for as long as that KDC says nothing: no heartbeat would go out.
Neither mechanism encrypts what follows: ZooKeeper has TLS for that.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from corral.client.errors import ClientError

SERVICE: Final = "zookeeper"
"""The servers' service, unless they were given another one."""
DIGEST_HOST: Final = "zk-sasl-md5"
"""What all of Apache's servers call themselves in DIGEST-MD5, wherever they are."""

KDC_UNREACHABLE: Final = -1765328228 % 2**32
"""KRB5_KDC_UNREACH: it may pass, where everything else that Kerberos says is about what was asked."""
NO_LAYER: Final = 1
"""The bit of RFC 4752 for a connection that is neither signed nor encrypted."""


class DigestMd5:
    """A name and a password, which is not sent.

    service, host: what the server calls itself; Apache's are `zookeeper` and `zk-sasl-md5`. Raises ClientError if
    pure-sasl is not installed, ValueError for a name that DIGEST-MD5 cannot carry.
    """

    may_block: ClassVar[bool] = False

    def __init__(self, username: str, password: str, service: str = SERVICE, host: str | None = None) -> None:
        try:
            import puresasl  # noqa: F401
        except ImportError as error:
            raise ClientError("DIGEST-MD5 needs the package pure-sasl: install corral[sasl]") from error
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
    principal: whose ticket, the cache's own unless given. Raises ClientError if the package gssapi is missing.
    """

    may_block: ClassVar[bool] = True

    def __init__(self, service: str = SERVICE, host: str | None = None, principal: str | None = None) -> None:
        try:
            import gssapi  # noqa: F401
        except ImportError as error:
            raise ClientError("GSSAPI needs the package gssapi: install corral[gssapi]") from error
        self.service = service
        self.host = host
        self.principal = principal

    def begin(self, host: str) -> Ticket:
        """Return the mechanism for one exchange with the server `host`."""
        return Ticket(self.service, self.host or host, self.principal)

    def __repr__(self) -> str:
        return f"Gssapi(service={self.service!r}, host={self.host!r}, principal={self.principal!r})"


class Ticket:
    """GSSAPI for one exchange: a ticket, the server's proof, and an agreement that nothing will be encrypted.

    Source: RFC 4752, section 3.1.
    """

    def __init__(self, service: str, host: str, principal: str | None) -> None:
        self._service = service
        self._host = host
        self._principal = principal
        self._context: Any = None
        self.is_complete = False

    def step(self, challenge: bytes | None) -> bytes:
        """Return the answer to a challenge. Raises ClientError, and ConnectionError if no KDC is reached."""
        from gssapi.exceptions import GSSError

        try:
            return self._answer(challenge)
        except GSSError as error:
            server = f"{self._service}/{self._host}"
            why = _reason(error)
            if challenge is not None:
                raise ClientError(f"the answer is not that of {server}: {why}") from error
            kind = ConnectionError if error.min_code == KDC_UNREACHABLE else ClientError
            raise kind(f"no Kerberos ticket for {server}: {why}") from error

    def _answer(self, challenge: bytes | None) -> bytes:
        if self._context is None:
            self._context = self._begin()
        if not self._context.complete:
            return self._context.step(challenge) or b""
        offered: bytes = self._context.unwrap(challenge or b"").message
        if len(offered) != 4 or not offered[0] & NO_LAYER:
            raise ClientError(f"the server insists on a security layer: it offers {offered.hex() or 'nothing'}")
        answer: bytes = self._context.wrap(bytes((NO_LAYER, 0, 0, 0)), False).message
        self.is_complete = True
        return answer

    def _begin(self) -> Any:
        from gssapi import Credentials, MechType, Name, NameType, RequirementFlag, SecurityContext

        credentials = None
        if self._principal is not None:
            credentials = Credentials(name=Name(self._principal, NameType.user), usage="initiate")
        return SecurityContext(
            name=Name(f"{self._service}@{self._host}", NameType.hostbased_service),
            creds=credentials,
            mech=MechType.kerberos,
            flags=RequirementFlag.mutual_authentication | RequirementFlag.integrity,
            usage="initiate",
        )


class PureSasl:
    """A mechanism of pure-sasl, for one exchange that authenticates and does no more."""

    def __init__(self, name: str, host: str, service: str, **credentials: Any) -> None:
        from puresasl import QOP
        from puresasl.client import SASLClient

        self._client = SASLClient(host, service, name, qops=(QOP.AUTH,), **credentials)

    @property
    def is_complete(self) -> bool:
        """Whether this side is content: the server has proved that it knows the password."""
        complete: bool = self._client.complete
        return complete

    def step(self, challenge: bytes | None) -> bytes | None:
        """Return the answer to a challenge. Raises what pure-sasl raises."""
        answer: bytes | None = self._client.process(challenge)
        return answer


def _encoded(password: str) -> bytes:
    """Return what is hashed: RFC 2831 has ISO 8859-1 wherever that will do."""
    try:
        return password.encode("latin-1")
    except UnicodeEncodeError:
        return password.encode()


def _reason(error: Any) -> str:
    """Return what GSSAPI says of an error, without its numbers; Kerberos's own words where it has some."""
    particular = error.get_all_statuses(error.min_code, False)[0]
    # GSSAPI's own errors have nothing behind them.
    text: str = error.get_all_statuses(error.maj_code, True)[0] if particular == "Success" else particular
    return text
