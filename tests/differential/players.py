"""One server of the pair: plays steps over its sessions, and says what happened in a form that can be compared.

Normal form: wall times are dropped, session ids become the order in which the sessions were made, lists without an
order are sorted. Zxids stay as they are: both servers start afresh and must use them up alike.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

from tests.differential.operations import Reconnect, Request, Requests, Step
from tests.support.jute import Op, Stat
from tests.support.raw import Closed, Event, RawSession
from tests.support.servers import word
from tests.support.walk import walk

TIMEOUT_MS = 600_000
UNIMPLEMENTED = -6
HOST = "127.0.0.1"


class Outcome(NamedTuple):
    """What a step did. replies: in normal form. events and is_cut: of every session. zxids: before and after."""

    replies: list[Any]
    events: list[list[Event]]
    is_cut: list[bool]
    zxids: tuple[int, int]


class Side:
    """A server and the sessions at it."""

    def __init__(self, port: int, sessions: int) -> None:
        self.port = port
        self.zxid = 0
        self._numbers: dict[int, int] = {0: 0}
        self.sessions = [self._fresh() for _ in range(sessions)]

    def play(self, step: Step) -> Outcome:
        """Do a step, then a round trip on every session, which brings in all events."""
        before = self.zxid
        if isinstance(step, Requests):
            replies = self._send(step.session, step.requests)
        else:
            replies = self._reconnect(step)
        is_cut = self._meet_all()
        return Outcome(replies, [session.take_events() for session in self.sessions], is_cut, (before, self.zxid))

    def close(self) -> None:
        for session in self.sessions:
            session.drop()

    def normal(self, value: Any) -> Any:
        """Put plain values into their normal form."""
        if isinstance(value, Stat):
            assert min(value.ctime, value.mtime) >= 0, value
            owner = self._numbers.get(value.ephemeral_owner, value.ephemeral_owner)
            return value._replace(ctime=0, mtime=0, ephemeral_owner=owner)
        if isinstance(value, list) and value and _is_acl(value[0]):
            # The ids of a connection, which stand where `auth` stood, come in no order.
            return [acl for _, run in groupby(value, lambda acl: acl[:2]) for acl in sorted(run)]
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(self.normal(item) for item in value)
        return value

    def tree(self) -> dict[bytes, Any]:
        """Read all that the first session may read."""
        return walk(self.sessions[0], self.normal)

    def counts(self) -> dict[str, str]:
        """What the server counts of its state.

        Not the size of the data, which ZooKeeper counts in characters and approximately, nor the watches: 3.8 counts a
        recursive one twice.
        """
        wanted = {"zk_znode_count", "zk_ephemerals_count", "zk_global_sessions", "zk_num_alive_connections"}
        lines = word(self.port, b"mntr").decode().splitlines()
        pairs = dict(line.split("\t", 1) for line in lines if "\t" in line)
        assert wanted <= pairs.keys(), f"the server does not say its counts: {sorted(pairs)}"
        return {key: pairs[key] for key in sorted(wanted)}

    def _fresh(self, **how: Any) -> RawSession:
        session = RawSession(HOST, self.port, TIMEOUT_MS, **how)
        self._numbers[session.session_id] = len(self._numbers)
        return session

    def _hello(self, session: RawSession, old: RawSession | None = None) -> Any:
        response = session.response
        number = self._numbers.get(response.session_id, "a new session")
        kept = old is not None and response.password == old.password
        return "hello", response.timeout_ms, number, kept or len(response.password), response.read_only

    def _send(self, number: int, requests: tuple[Request, ...]) -> list[Any]:
        session = self.sessions[number]
        replies: list[Any] = []
        try:
            for request in requests:
                session.send(request.op, request.body, request.xid)
            for request in requests:
                reply = session.recv()
                self.zxid = max(self.zxid, reply.zxid)
                body = None if reply.err else self.normal(reply.read(request.op))
                replies.append((reply.xid, reply.zxid, reply.err, body))
                if ends_connection(request.op, reply.err):
                    # ZooKeeper closes a moment after it has answered; what came in between it may answer or not.
                    stray = session.recv()
                    raise AssertionError(f"an answer behind the last one: {stray}")
        except Closed:
            replies.append("closed")
        return replies

    def _reconnect(self, step: Reconnect) -> list[Any]:
        """Connect anew, always after the server is done with the connections that have ended.

        When ZooKeeper notices an end only after the session has its next connection, it forgets that one, and does not
        close it when a third one comes. It closes the socket last, while `cons` leaves a connection out from the first
        on. Source: ZooKeeper NIOServerCnxn.close, ServerCnxnFactory.removeCnxnFromSessionMap.
        """
        old = self.sessions[step.session]
        seen: list[Any] = []
        if step.how.startswith("drop"):
            old.hang_up()
        if "wrong password" in step.how:
            seen.append(self._try(old, password=b"not the password"))
            if "live" in step.how:
                seen.append(("the owner is connected", old.is_open()))
                old.drop()
        if "future" in step.how:
            seen.append(self._try(old, last_zxid=1 << 50))
        if step.how == "unknown session":
            seen.append(self._try(old, session_id=0x1234))
        else:
            old_client = {"read_only": None} if step.how == "old client" else {}
            new = old.resumed(timeout_ms=step.timeout_ms, **old_client)
            if step.how in ("resume over a live connection", "old client"):
                seen.append(("the old connection is open", old.is_open()))
            old.drop()
            seen.append(self._hello(new, old))
            self.sessions[step.session] = new
        return seen

    def _try(self, old: RawSession, **how: Any) -> Any:
        try:
            session = old.resumed(timeout_ms=TIMEOUT_MS, **how)
        except Closed:
            return "closed without an answer"
        session.hang_up()
        return self._hello(session, old), session.response.session_id, session.response.password

    def _meet_all(self) -> list[bool]:
        """Exchange a ping with every session; give those that were cut off a new connection, or a new session."""
        for session in self.sessions:
            try:
                session.send(Op.PING)
            except Closed:
                pass
        is_cut = []
        for session in self.sessions:
            try:
                reply = session.recv()
                assert (reply.xid, reply.err) == (-2, 0), f"not the answer to a ping: {reply}"
                self.zxid = max(self.zxid, reply.zxid)
                is_cut.append(False)
            except Closed:
                is_cut.append(True)
        # Once all have answered: a ping that is still under way may or may not see the zxid of a new session.
        for number, cut in enumerate(is_cut):
            if cut:
                self._replace(number)
        return is_cut

    def _replace(self, number: int) -> None:
        old = self.sessions[number]
        old.drop()
        new = old.resumed(timeout_ms=TIMEOUT_MS)
        if new.is_refused:
            new.hang_up()
            new = self._fresh()
        new.events = old.events
        self.sessions[number] = new


def ends_connection(op: int, err: int) -> bool:
    """Tell whether this answer is the last one on its connection."""
    return (op == Op.CLOSE_SESSION and not err) or (op not in set(Op) and err == UNIMPLEMENTED)


def _is_acl(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and isinstance(value[1], bytes)
