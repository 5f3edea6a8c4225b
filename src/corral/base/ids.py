"""Ids and units whose mixing up would be a bug: distinct to the type checker, plain integers at run time."""

from __future__ import annotations

from typing import NewType

Zxid = NewType("Zxid", int)
"""A transaction id: the epoch in the high 32 bits, a counter in the low 32."""

SessionId = NewType("SessionId", int)
"""A session id as a signed 64-bit integer; the server's id in its top byte."""

ServerId = NewType("ServerId", int)

Xid = NewType("Xid", int)
"""A client's number for one request; negative ones are special."""

Millis = NewType("Millis", int)
"""Monotonic milliseconds, of no meaning outside the process."""

WallMillis = NewType("WallMillis", int)
"""Milliseconds since 1970, from the wall clock."""


def zxid_hex(zxid: int) -> str:
    """Spell a zxid as ZooKeeper prints it: `0x`, lower-case hex, unsigned."""
    return f"0x{zxid & 0xFFFFFFFFFFFFFFFF:x}"


def session_hex(session: int) -> str:
    """Spell a session id as ZooKeeper prints it."""
    return f"0x{session & 0xFFFFFFFFFFFFFFFF:x}"
