"""TLS for a client: a context made of files, and what went wrong in a handshake as one sentence.

ZooKeeper's own clients read Java's key stores; here everything is PEM, as everywhere outside Java.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from corral.client.errors import BadCertificate

Location = str | os.PathLike[str]

_JAVA_KEY_STORE: Final = b"\xfe\xed\xfe\xed"
_UNENDED_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's verify codes for a chain that ends at no authority that is trusted."""
_CUT_OFF: Final = (
    "the server closed the connection during the TLS handshake: does it speak TLS on this port, and does it want a "
    "client's certificate?"
)
_EXPIRED: Final = 10
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"})


def context(
    ca: Location | None = None, cert: Location | None = None, key: Location | None = None,
    password: str | None = None, check_hostname: bool = True,
) -> ssl.SSLContext:  # fmt: skip
    """Make what `ssl_context` of a client takes, of PEM files.

    ca: certificates of the authorities that servers are checked against, the system's if there are none. cert: this
    client's certificate, with those between it and its authority behind it, for servers that want one
    (`ssl.clientAuth=need`); key: its private key, if not in the same file; password: of the key. check_hostname:
    whether a server's certificate must be for the name, or the address, that the connect string has.

    Raises BadCertificate, naming the file and what is wrong with it.
    """
    if cert is None and (key is not None or password is not None):
        raise BadCertificate("a private key was given, but no certificate to go with it: give cert, too")
    made = _trusting(ca)
    made.check_hostname = check_hostname
    if cert is not None:
        _load_certificate(made, cert, key, password)
    return made


def explain(error: BaseException) -> tuple[str, bool]:
    """Say why a connection over TLS failed, and whether it would again: a certificate or TLS itself was refused."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error), True
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionResetError | ConnectionAbortedError):
        return _CUT_OFF, False
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if reason in _NO_TLS:
            return f"the server does not speak TLS on this port ({_spoken(reason)})", True
        if "ALERT" in reason:
            why = f"the server refused TLS with this client ({_spoken(reason)})"
            if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
                why += ": it wants a client's certificate of an authority that it trusts"
            elif "HANDSHAKE_FAILURE" in reason:
                why += ": it may want a client's certificate"
            return why, True
        return f"TLS failed: {_spoken(reason) or error}", True
    return str(error) or type(error).__name__, False


def _unverified(error: ssl.SSLCertVerificationError) -> str:
    why = f"certificate verify failed: {error.verify_message.rstrip('.')}"
    if error.verify_code in _UNENDED_AUTHORITY:
        return f"{why}; the server's certificate is of no authority that this client trusts (ca)"
    if error.verify_code == _EXPIRED:
        return f"{why}; a certificate of the server's is out of date"
    return why


def _spoken(reason: str) -> str:
    return reason.lower().replace("_", " ")


def _trusting(ca: Location | None) -> ssl.SSLContext:
    if ca is not None:
        _read(ca, "ca")
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        if ca is None:
            raise
        raise BadCertificate(f"ca {os.fspath(ca)!r}: {_unreadable(error, ca, 'certificate')}") from error


def _load_certificate(made: ssl.SSLContext, cert: Location, key: Location | None, password: str | None) -> None:
    _read(cert, "cert")
    if key is not None:
        _read(key, "key")
    is_asked = False

    def answer() -> str:
        # Without this, OpenSSL would ask at the terminal.
        nonlocal is_asked
        is_asked = True
        return password or ""

    try:
        made.load_cert_chain(cert, key, answer)
    except (OSError, ValueError) as error:
        where = key if key is not None else cert
        name = f"{'cert' if key is None else 'key'} {os.fspath(where)!r}"
        if is_asked:
            what = "the password is wrong" if password else "the private key is encrypted: give its password"
            raise BadCertificate(f"{name}: {what}") from error
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificate(f"{name}: the private key is not that of cert {os.fspath(cert)!r}") from error
        if b"-----BEGIN CERTIFICATE" not in _read(cert, "cert"):
            raise BadCertificate(f"cert {os.fspath(cert)!r}: {_unreadable(error, cert, 'certificate')}") from error
        raise BadCertificate(f"{name}: {_unreadable(error, where, 'private key')}") from error


def _read(file: Location, name: str) -> bytes:
    """Return what is in a file."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadCertificate(f"{name} {os.fspath(file)!r}: {error.strerror}") from error


def _unreadable(error: Exception, file: Location, what: str) -> str:
    data = Path(file).read_bytes()
    if data.startswith(_JAVA_KEY_STORE):
        return "a Java key store; what is needed is PEM: export it with keytool -importkeystore and openssl pkcs12"
    if b"-----BEGIN" not in data:
        return f"no PEM; a PEM file has a line like -----BEGIN {what.upper()}-----"
    reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
    return f"there is no {what} in it that can be read ({_spoken(reason)})"
