"""A mechanism of SASL that says what it is told to say, and remembers what it heard."""

from __future__ import annotations

from collections.abc import Callable


class Script:
    """What each exchange says, token by token, None for none; it is complete with the last one.

    begun: the hosts that exchanges were begun with. heard: the challenges. meanwhile: called at each step.
    """

    def __init__(
        self, *tokens: bytes | None, may_block: bool = False, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        self.tokens = tokens
        self.may_block = may_block
        self.begun: list[str] = []
        self.heard: list[bytes | None] = []
        self.meanwhile = meanwhile

    def begin(self, host: str) -> Scripted:
        self.begun.append(host)
        return Scripted(self)


class Scripted:
    """One exchange of a Script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._left = list(script.tokens)

    @property
    def is_complete(self) -> bool:
        return not self._left

    def step(self, challenge: bytes | None) -> bytes | None:
        self._script.heard.append(challenge)
        self._script.meanwhile()
        return self._left.pop(0)
