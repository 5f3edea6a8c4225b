"""Scheme digest: user and password, stored as a hash.

Anyone may claim any user: a wrong password is just another identity. Source: DigestAuthenticationProvider.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from corral.tree.access import AuthRefused, Identity

_SURROGATE: Final = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")
"""Half of a surrogate pair, whole or cut short: Java replaces it by one character, Python by one for each byte."""
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()


def digest_identity(credentials: bytes, algorithm: str = "SHA1") -> str:
    """Return `user:base64(hash(user:password))` for `user:password`, of which both may be empty.

    What is not UTF-8 is replaced first, as in ZooKeeper, and hashed so: access lists of either are good for the other.
    """
    text = _SURROGATE.sub(_REPLACEMENT, credentials).decode("utf-8", "replace")
    user = text.partition(":")[0]
    hashed = hashlib.new(hash_name(algorithm), text.encode()).digest()
    return f"{user}:{base64.b64encode(hashed).decode()}"


def hash_name(algorithm: str) -> str:
    """Turn Java's name of a hash (SHA-256) into Python's. Raises ValueError for one that is not there."""
    name = algorithm.lower().replace("sha3-", "sha3_").replace("sha-", "sha")
    if name not in hashlib.algorithms_available:
        raise ValueError(f"there is no hash algorithm {algorithm!r}")
    return name


class DigestProvider:
    """The provider of scheme digest. super_digest: the identity that may do everything."""

    scheme = "digest"
    is_authentication = True

    def __init__(self, super_digest: str | None = None, algorithm: str = "SHA1") -> None:
        self._super = super_digest
        self._algorithm = hash_name(algorithm)

    def authenticate(self, credentials: bytes | None, address: str) -> Sequence[Identity]:
        """Return the digest identity of `user:password`, and super's where it is that."""
        if credentials is None:
            raise AuthRefused("digest needs user:password")
        ident = digest_identity(credentials, self._algorithm)
        if self._super is not None and hmac.compare_digest(ident.encode(), self._super.encode()):
            return [("super", ""), ("digest", ident)]
        return [("digest", ident)]

    def is_valid(self, ident: str) -> bool:
        """Tell whether `ident` has the form user:hash."""
        _, _, hashed = ident.partition(":")
        return bool(hashed) and ":" not in hashed

    def matches(self, ident: str, entry: str) -> bool:
        """Tell whether both are the same user with the same hash."""
        return hmac.compare_digest(ident.encode(), entry.encode())
