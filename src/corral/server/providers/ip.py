"""Scheme ip: the address a connection comes from, and networks as `address/bits`. Source: IPAuthenticationProvider."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from corral.tree.access import Identity


class IpProvider:
    """The provider of scheme ip."""

    scheme = "ip"
    is_authentication = False

    def authenticate(self, credentials: bytes | None, address: str) -> Sequence[Identity]:
        """Return the connection's address, whatever it sends."""
        return [("ip", address)]

    def is_valid(self, ident: str) -> bool:
        """Tell whether `ident` is an address, or a network as address/bits."""
        address, slash, bits = ident.partition("/")
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if "%" in address or (parsed.version == 6 and "." in address):
            return False
        return not slash or (bits.isascii() and bits.isdigit() and int(bits) <= parsed.max_prefixlen)

    def matches(self, ident: str, entry: str) -> bool:
        """Tell whether an address lies in an entry's network."""
        try:
            return ipaddress.ip_address(ident) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
