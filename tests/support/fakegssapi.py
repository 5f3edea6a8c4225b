"""What stands in for the package gssapi: a ticket, one round of mutual authentication, and sealing that shows."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

UNSPECIFIED = "Unspecified GSS failure.  Minor code may provide more information"


class GSSError(Exception):
    """An error with two codes, and the text of each."""

    maj_code = 851968

    def __init__(self, general: str, particular: str, code: int) -> None:
        super().__init__(f"Major ({self.maj_code}): {general}, Minor ({code}): {particular}")
        self.min_code = code % 2**32
        self._general = general
        self._particular = particular

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        assert code == (self.maj_code if is_major else self.min_code)
        return [self._general if is_major else self._particular]


class FakeGssapi:
    """Kerberos in one object. asked: what a context was made with. heard: its challenges. error: to raise next."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.heard: list[bytes | None] = []
        self.error: GSSError | None = None
        self.complete = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be found where the package is looked for."""
        package, exceptions = ModuleType("gssapi"), ModuleType("gssapi.exceptions")
        exceptions.GSSError = GSSError  # type: ignore[attr-defined]  # a module made here
        package.__dict__.update(
            Credentials=lambda name, usage: (name, usage),
            MechType=SimpleNamespace(kerberos="kerberos"),
            Name=lambda name, kind: f"{kind} {name}",
            NameType=SimpleNamespace(user="user", hostbased_service="service"),
            RequirementFlag=SimpleNamespace(mutual_authentication=2, integrity=32),
            SecurityContext=self._context,
            exceptions=exceptions,
        )
        monkeypatch.setitem(sys.modules, "gssapi", package)
        monkeypatch.setitem(sys.modules, "gssapi.exceptions", exceptions)

    def step(self, challenge: bytes | None) -> bytes | None:
        if self.error is not None:
            raise self.error
        self.heard.append(challenge)
        self.complete = challenge is not None
        return None if self.complete else b"ticket"

    def unwrap(self, sealed: bytes) -> Any:
        return SimpleNamespace(message=sealed.removeprefix(b"sealed:"))

    def wrap(self, message: bytes, encrypt: bool) -> Any:
        assert not encrypt
        return SimpleNamespace(message=b"sealed:" + message)

    def _context(self, **asked: Any) -> FakeGssapi:
        self.asked = asked
        return self
