"""Which server next: connect strings, and the order in which servers are tried.

A round tries every server once, in an order drawn anew; between rounds lies a pause that grows, with jitter, so that
the clients of a server that went away do not come back in step. While there is a session to be saved it does not grow
so far that the session might end in it.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, Protocol

from corral.base.errors import BadArguments
from corral.base.paths import validate_path
from corral.client.errors import BadConnectString

DEFAULT_PORT: Final = 2181
PAUSE_MS_FIRST: Final = 100
PAUSE_MS_MAX: Final = 10_000
REFUSED_ROUNDS_MAX: Final = 3
"""A name may stand for several servers, so one refusal for each name says little."""

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>\d+))?\Z")


class Host(NamedTuple):
    """A server's name or address, and its port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class ConnectString(NamedTuple):
    """Where to connect. chroot: the path below which the client lives, empty for the root."""

    hosts: tuple[Host, ...]
    chroot: str


def parse_connect_string(text: str) -> ConnectString:
    """Read `host[:port],[v6]:port,…[/chroot]`. Raises BadConnectString."""
    if not isinstance(text, str):
        raise BadConnectString(f"a connect string must be a str, not {text!r}")
    servers, slash, below = text.partition("/")
    chroot = (slash + below).rstrip("/")
    if chroot:
        try:
            validate_path(chroot.encode())
        except BadArguments as error:
            raise BadConnectString(f"connect string {text!r}: {error}") from error
    hosts = []
    for part in servers.split(","):
        found = _HOST.match(part.strip())
        if found is None:
            raise BadConnectString(
                f"connect string {text!r}: {part.strip()!r} is no server; write host:port, [v6 address]:port, or "
                "several with commas between"
            )
        port = int(found["port"] or DEFAULT_PORT)
        if not 0 < port < 65536:
            raise BadConnectString(f"connect string {text!r}: port {port} is not between 1 and 65535")
        name = found["v6"] or found["name"]
        try:
            name.encode("idna")
        except UnicodeError as error:
            raise BadConnectString(f"connect string {text!r}: {name!r} can be no server's name: {error}") from error
        hosts.append(Host(name, port))
    return ConnectString(tuple(hosts), chroot)


class Rng(Protocol):
    """Where chance comes from: a `random.Random`, seeded where a run is to be repeated."""

    def random(self) -> float: ...
    def shuffle(self, x: Any) -> None: ...


class HostRound:
    """The order of attempts."""

    def __init__(self, hosts: tuple[Host, ...], rng: Rng) -> None:
        self.hosts = hosts
        self.rng = rng
        self._left: list[Host] = []
        self._pause_ms = 0
        self._refused: dict[Host, str] = {}
        self._refusals = 0

    def __len__(self) -> int:
        return len(self.hosts)

    def next(self, pause_ms_max: int = PAUSE_MS_MAX) -> tuple[Host, int]:
        """Return the next server, and the ms to wait before it is tried. pause_ms_max: where pauses stop to grow."""
        pause = 0
        if not self._left:
            self._left = list(self.hosts)
            self.rng.shuffle(self._left)
            self._pause_ms = min(self._pause_ms, pause_ms_max)
            pause = int(self._pause_ms * (0.5 + self.rng.random()))
            self._pause_ms = min(max(2 * self._pause_ms, PAUSE_MS_FIRST), PAUSE_MS_MAX)
        return self._left.pop(), pause

    def prefer(self, host: Host) -> None:
        """Have a server tried next, at once."""
        self._left.append(host)

    def refused(self, host: Host, why: str) -> bool:
        """Note that a server and this client cannot agree on TLS; tell whether that is news."""
        self._refusals += 1
        is_news = self._refused.get(host) != why
        self._refused[host] = why
        return is_news

    def failed(self) -> None:
        """Note that a server was not reached for another reason, which may pass."""
        self._refusals = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing but refusals came of the last rounds."""
        return self._refusals >= REFUSED_ROUNDS_MAX * len(self.hosts)

    def reached(self) -> None:
        """Note that a server answers: the next round starts without a pause."""
        self._refused.clear()
        self._refusals = 0
        self._left = []
        self._pause_ms = 0
