"""Scheme ensemble: the client says which ensemble it expects. Source: EnsembleAuthenticationProvider."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corral.tree.access import SHOWN_CHARS_MAX, AuthRefused, Identity


class EnsembleProvider:
    """The provider of scheme ensemble.

    names: those this server answers to; none means any. count: takes the name of a counter that is to grow by one.
    """

    scheme = "ensemble"
    is_authentication = False

    def __init__(self, names: Sequence[str], count: Callable[[str], object]) -> None:
        self._names = [name.strip() for name in names if name.strip()]
        self._count = count

    def authenticate(self, credentials: bytes | None, address: str) -> Sequence[Identity]:
        """Return no identity; refuse, without a word so that the client tries another server, a foreign name."""
        name = (credentials or b"").decode("utf-8", "replace")
        if not self._names or not name:
            self._count("ensemble_auth_skip")
        elif name in self._names:
            self._count("ensemble_auth_success")
        else:
            self._count("ensemble_auth_fail")
            raise AuthRefused(f"the client expects ensemble {name[:SHOWN_CHARS_MAX]!r}", silent=True)
        return []

    def is_valid(self, ident: str) -> bool:
        """Say no: the scheme is of no use in an access list."""
        return False

    def matches(self, ident: str, entry: str) -> bool:
        """Say no."""
        return False
