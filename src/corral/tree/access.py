"""Access lists: checking them, and making a client's list one that is stored.

Rights are granted, never denied, and not inherited. Which identities a connection has, and how an identity matches
an entry, is the providers' knowledge; each scheme is one provider. Source: reference "ACLs and authentication".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol
from weakref import WeakValueDictionary

from corral.base.errors import InvalidAcl
from corral.wire.data import ACL, OPEN_ACL, StoredAcls
from corral.wire.schema import encoder

# So much of what a stranger sent may stand in a line of the log: a packet's worth would fill the disk.
SHOWN_CHARS_MAX: Final = 100

Identity = tuple[str, str]
"""Scheme and id, as a connection holds them: ("ip", "127.0.0.1"), ("digest", "bob:hash")."""


class AuthRefused(Exception):
    """A provider's no to the credentials it was shown. silent: the connection is closed without a reply."""

    def __init__(self, why: str, silent: bool = False) -> None:
        super().__init__(why)
        self.silent = silent


class AuthProvider(Protocol):
    """One authentication scheme."""

    scheme: str
    is_authentication: bool
    """Whether an identity of the scheme may stand for `auth:` in an access list."""

    def authenticate(self, credentials: bytes | None, address: str) -> Sequence[Identity]:
        """Return the identities that `credentials` give to a connection from `address`; raises AuthRefused.

        None: there are none, which some schemes tell from empty ones.
        """

    def is_valid(self, ident: str) -> bool:
        """Tell whether `ident` may stand in an access list."""

    def matches(self, ident: str, entry: str) -> bool:
        """Tell whether a connection's `ident` is meant by an access list's `entry`."""


_encode_acls = encoder(StoredAcls)


class AclList:
    """An access list, shared by all nodes that have the same one.

    world: the permission bits that it grants to anyone. is_null: the list of the initial system nodes, which is no
    list at all on disk.
    """

    __slots__ = ("__weakref__", "encoded", "entries", "is_null", "world")

    def __init__(self, entries: tuple[tuple[int, str, str], ...], encoded: bytes, is_null: bool = False) -> None:
        self.entries = entries
        self.encoded = encoded
        self.is_null = is_null
        world = 0
        for perms, scheme, ident in entries:
            if scheme == "world" and ident == "anyone":
                world |= perms
        # A list without entries restrains nobody.
        self.world = world if entries else 31


class AclTable:
    """Interns access lists, so that nodes share them; a list that no node has any more is dropped by itself."""

    def __init__(self) -> None:
        self._lists: WeakValueDictionary[bytes, AclList] = WeakValueDictionary()
        entries = tuple((a.perms, a.scheme or "", a.id or "") for a in OPEN_ACL)
        self.unsafe = AclList(entries, _encode_acls(StoredAcls(OPEN_ACL)), is_null=True)
        self.open = self.intern(OPEN_ACL)

    def intern(self, acls: list[ACL] | None) -> AclList:
        """Return the shared list that equals `acls`; null is the list of the initial nodes."""
        if acls is OPEN_ACL and hasattr(self, "open"):
            return self.open
        if acls is None:
            return self.unsafe
        encoded = _encode_acls(StoredAcls(acls))
        known = self._lists.get(encoded)
        if known is None:
            known = AclList(tuple((a.perms, a.scheme or "", a.id or "") for a in acls), encoded)
            self._lists[encoded] = known
        return known

    def lists(self) -> list[AclList]:
        """Return every list that some node has, in order of first use."""
        return list(self._lists.values())


class Access:
    """Checks access lists. skip: every right is granted to everyone."""

    def __init__(self, providers: Iterable[AuthProvider], skip: bool = False) -> None:
        self.providers = {provider.scheme: provider for provider in providers}
        self.skip = skip

    def allows(self, acl: AclList, perms: int, identities: Iterable[Identity]) -> bool:
        """Tell whether any of the bits `perms` is granted to a connection with `identities`."""
        if acl.world & perms or self.skip:
            return True
        identities = list(identities)
        if any(scheme == "super" for scheme, _ in identities):
            return True
        for entry_perms, scheme, entry in acl.entries:
            if not entry_perms & perms:
                continue
            provider = self.providers.get(scheme)
            if provider is None:
                continue
            for held, ident in identities:
                if held == scheme and provider.matches(ident, entry):
                    return True
        return False

    def fix_up(self, acls: list[ACL] | None, identities: Iterable[Identity]) -> list[ACL]:
        """Return the list to store for what a client sent: without duplicates, `auth` replaced by who it is.

        Raises InvalidAcl. Source: ZooKeeper PrepRequestProcessor.fixupACL.
        """
        if acls is OPEN_ACL:
            return acls
        if not acls:
            raise InvalidAcl("the access list is empty")
        fixed: dict[tuple[int, str, str], ACL] = {}
        for acl in acls:
            if acl.scheme == "world" and acl.id == "anyone":
                fixed.setdefault((acl.perms, "world", "anyone"), acl)
            elif acl.scheme == "auth":
                for made in self._of_identities(acl.perms, identities):
                    fixed.setdefault((made.perms, made.scheme or "", made.id or ""), made)
            elif acl.scheme is None or acl.id is None:
                raise InvalidAcl("an access list entry has no scheme or no id")
            else:
                provider = self.providers.get(acl.scheme)
                if provider is None or not provider.is_valid(acl.id):
                    raise InvalidAcl(f"{acl.scheme}:{acl.id} is no valid entry of an access list")
                fixed.setdefault((acl.perms, acl.scheme, acl.id), acl)
        stored = list(fixed.values())
        return OPEN_ACL if stored == OPEN_ACL else stored

    def _of_identities(self, perms: int, identities: Iterable[Identity]) -> list[ACL]:
        made = []
        for scheme, ident in identities:
            provider = self.providers.get(scheme)
            if provider is not None and provider.is_authentication:
                made.append(ACL(perms, scheme, ident))
        if not made:
            raise InvalidAcl("scheme auth needs an authenticated connection")
        return made
