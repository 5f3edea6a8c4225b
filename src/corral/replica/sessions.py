"""Who is alive: the sessions, their expiry, their passwords and ids.

Touching a session is one assignment (`session.heard = now`). Expiry is bucketed by ticks: a session stands in the
bucket of its deadline as known when it was put there; when that bucket is due, a session heard of since moves to the
bucket of its new deadline, the others are expired. So opening, closing, touching and expiring cost O(1) each, and
`due` hands out a bounded number at a time, however many expire together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from corral.base.ids import SessionId

_PASSWORD_SALT: Final = 0xB3415C00
_MASK48: Final = (1 << 48) - 1


def session_password(session: int) -> bytes:
    """Return the 16 bytes that prove a client's right to a session.

    Source: java.util.Random seeded with the id and ZooKeeper's constant; no secret, but what every server expects.
    """
    state = (session ^ _PASSWORD_SALT ^ 0x5DEECE66D) & _MASK48
    out = b""
    for _ in range(4):
        state = (state * 0x5DEECE66D + 0xB) & _MASK48
        out += (state >> 16 & 0xFFFFFFFF).to_bytes(4, "little")
    return out


def first_session_id(server: int, now_ms: int) -> SessionId:
    """Return the first id that a server started at `now_ms` gives out: its own id on top, the time below."""
    value = (now_ms << 24 & 0xFFFFFFFFFFFFFFFF) >> 8 | (server & 0xFF) << 56
    value = value if value < 1 << 63 else value - (1 << 64)
    return SessionId(value + 1 if value == -(1 << 63) else value)


def unused_session_id(first: int, taken: Iterable[int]) -> int:
    """Return `first`, or the id above the highest in `taken` that has the same server on top.

    The time that ids begin with counts from the system's start: sessions from before it may be still ahead.
    """
    server = first >> 56
    return max([first, *(session + 1 for session in taken if session >> 56 == server)])


class Session:
    """A live session. conn: the connection that owns it now, if any. heard: when it last spoke, in ms."""

    __slots__ = ("bucket", "conn", "heard", "id", "is_closing", "timeout")

    def __init__(self, session: int, timeout: int, now: int) -> None:
        self.id = session
        self.timeout = timeout
        self.heard = now
        self.bucket = 0
        self.conn: Any = None
        self.is_closing = False


class SessionTracker:
    """All live sessions and when they expire. tick: the width of a bucket in ms."""

    def __init__(self, tick: int) -> None:
        self._tick = tick
        self.sessions: dict[int, Session] = {}
        self._buckets: dict[int, dict[Session, None]] = {}
        self._due = 0

    def open(self, session_id: int, timeout: int, now: int) -> Session:
        """Start tracking a session."""
        session = Session(session_id, timeout, now)
        self.sessions[session_id] = session
        if not self._buckets:
            self._due = now // self._tick
        self._put(session)
        return session

    def renew(self, session: Session, timeout: int, now: int) -> None:
        """Give a session a new timeout, counted from now."""
        session.timeout = timeout
        session.heard = now
        self._take(session)
        self._put(session)

    def excuse(self, ms: int, now: int) -> None:
        """Take `ms` out of the time that every session was silent."""
        for session in self.sessions.values():
            session.heard = min(session.heard + ms, now)

    def close(self, session: Session) -> None:
        """Stop tracking a session."""
        self.sessions.pop(session.id, None)
        self._take(session)

    def due(self, now: int, most: int) -> list[Session]:
        """Return up to `most` sessions whose time is over; they are no longer in a bucket.

        Sessions of a connection that the server itself does not read at the moment count as heard of.
        """
        expired: list[Session] = []
        moved = 0
        while self._due * self._tick <= now and self._buckets:
            bucket = self._buckets.get(self._due)
            while bucket:
                session = next(iter(bucket))
                del bucket[session]
                if session.conn is not None and session.conn.is_unread:
                    session.heard = now
                if self._deadline(session) > self._due:
                    self._put(session)
                    moved += 1
                else:
                    expired.append(session)
                if len(expired) >= most or moved >= 20 * most:
                    return expired
            self._buckets.pop(self._due, None)
            self._due += 1
        return expired

    def deadline(self) -> int | None:
        """Return when `due` is worth calling next, in ms; None while there is no session."""
        return self._due * self._tick if self._buckets else None

    def buckets(self) -> list[tuple[int, list[int]]]:
        """Return the deadlines in ms with their sessions' ids, in order of time."""
        exact: dict[int, list[int]] = {}
        for session in self.sessions.values():
            exact.setdefault(self._deadline(session) * self._tick, []).append(session.id)
        return sorted(exact.items())

    def _deadline(self, session: Session) -> int:
        return (session.heard + session.timeout) // self._tick + 1

    def _put(self, session: Session) -> None:
        session.bucket = max(self._deadline(session), self._due)
        self._buckets.setdefault(session.bucket, {})[session] = None

    def _take(self, session: Session) -> None:
        bucket = self._buckets.get(session.bucket)
        if bucket is not None:
            bucket.pop(session, None)
