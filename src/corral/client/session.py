"""The core of a client: one session over changing connections, without sockets, clocks or chance.

The shell hands in what happens (`opened`, `received`, `closed`, `failed`, `tick`, `submit`), each with monotonic
milliseconds, by a clock that goes on while the machine sleeps; it takes the bytes to send (`take_output`) and the
`effects`, in order. The state machine:

    CONNECTING --hello, and SASL if wanted--> CONNECTED | READ_ONLY
    CONNECTED  --connection gone, silent for 2/3 of the timeout, or paused so long--> SUSPENDED
    SUSPENDED  --the same, or an answer to what was sent after the pause--> CONNECTED | READ_ONLY
    any        --unanswered for the whole timeout, or the server says so--> LOST --new session--> CONNECTED
    READ_ONLY  --a server with a quorum was found--> SUSPENDED, and there
    CONNECTING --nothing but refusals of TLS, three rounds long--> CLOSED
    any        --closed, or credentials refused--> CLOSED

The server counts from what it heard last, so the client counts from when it *sent* what was answered last
(`heard_at`): its deadline never lies after the server's. Every input is judged against that before anything in it is
passed on, and every output before it leaves: a process that slept through its timeout learns that it is LOST before it
sees a result or an event, and what it asks in between is not sent.

A server without a quorum grants sessions that only it knows. Such a one holds nothing, as nothing may be written in it;
so it is not lost but exchanged for another one, silently, wherever the next connection leads. A session of the whole
ensemble is never shown to be over by a server without a quorum, which hangs up when it is asked for it.

One file in spite of its length: these are the transitions of one machine, and each input reads and changes the same few
fields. What can be told without them stands beside it: `exchange.py`, `readwrite.py`, `hosts.py`, `watches.py`.
Source: the reference, "Client timing rules"; ZooKeeper ClientCnxn, for sessions without a quorum.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from corral.base.errors import AuthFailed, CorralError, NotReadOnly, Outcome, SessionExpired, WireError
from corral.client.effects import Call, Connect, Disconnect, Effect, Fire, Probe, Refused, StateChanged, Step
from corral.client.errors import ClientClosed, ConnectionLoss, ProtocolError, SessionLost, TlsFailed, error_of
from corral.client.exchange import Exchange, Sasl
from corral.client.hosts import PAUSE_MS_MAX, Host, HostRound
from corral.client.readwrite import QUESTION_MS_MAX, ReadWriteSearch
from corral.client.values import EventType, State, shown_request
from corral.client.watches import Listener, WatchTable
from corral.wire.client import AuthPacket, ConnectRequest, ConnectResponse, WatcherEvent
from corral.wire.opcodes import (
    AUTH,
    PING,
    SASL,
    XID_AUTH,
    XID_NOTIFICATION,
    XID_PING,
    XID_SET_WATCHES,
)
from corral.wire.schema import decoder, encode

FRAME_BYTES_MAX: Final = 64 << 20
"""No answer of a server is taken for larger than this."""
NEVER: Final = 1 << 62
XID_MAX: Final = 0x7FFFFFFF
NO_PASSWORD: Final = bytes(16)
_HEAD_BYTES: Final = 16
_ANSWER_BYTES_MIN: Final = 20
_TLS_ALERT: Final = 0x1503
_ENDED: Final = "the server says that the session has ended"

_unpack_int: Final = struct.Struct(">i").unpack_from
_unpack_head: Final = struct.Struct(">iiqi").unpack_from
_pack_head: Final = struct.Struct(">iii").pack
_pack_int: Final = struct.Struct(">i").pack
_decode_hello: Final = decoder(ConnectResponse)
_decode_event: Final = decoder(WatcherEvent)
_CLOSED: Final = State.CLOSED
_UNREADABLE: Final = (WireError, struct.error, ValueError, SessionExpired)
_PING_FRAME: Final = _pack_head(8, XID_PING, PING)


class Session:
    """See the module. timeout_ms: asked for; `timeout` is what the server granted.

    effects: to be taken by the shell, in order; a Call there is complete. id, password: of the session. zxid: the
    last one seen. read_only: whether a server without a quorum will do. why: the last connection failed, the session
    was lost or the client was closed. error: what the client was closed with. connections: how many there have been.
    sasl: how it authenticates on every connection, before anything else of the session is sent. chroot: what errors
    leave out of paths. rng: where chance comes from, the shell's too.
    """

    def __init__(
        self, hosts: HostRound, timeout_ms: int, read_only: bool = False, sasl: Sasl | None = None, chroot: bytes = b""
    ) -> None:  # fmt: skip
        self._hosts = hosts
        self._chroot = chroot
        self.rng = hosts.rng
        self._asked_ms = timeout_ms
        self._read_only = read_only
        self._sasl = sasl
        self._search = ReadWriteSearch(hosts.hosts, hosts.rng)
        self.timeout = timeout_ms
        self.state = State.CONNECTING
        self.id = 0
        self.password = NO_PASSWORD
        self.zxid = 0
        self.heard_at = 0
        self.sent_at = 0
        self.server: Host | None = None
        self.why = ""
        self.error: CorralError | None = None
        self.connections = 0
        self.watches = WatchTable()
        self.effects: list[Effect] = []
        self._auth: list[bytes] = []
        # Who waits for each answer about credentials.
        self._auth_calls: deque[list[Call]] = deque()
        self._xid = 0
        self._out: list[bytes] = []
        self._in_flight: deque[Call] = deque()
        self._waiting: deque[Call] = deque()
        self._marks: deque[tuple[int, int]] = deque()
        self._marked = 0
        self._ping_sent_at = 0
        self._hello_at = 0
        self._paused_at = 0
        self._connected_as = State.CONNECTED
        self._is_open = False
        self._is_up = False
        self._is_paused = False
        self._is_proven = False
        # Whether one server alone knows the session: it was granted without a quorum.
        self._is_local = False
        self._hellos_in_vain = 0
        self._closing: Call | None = None
        self._exchange: Exchange | None = None
        self._rest: list[bytes] = []
        self._have = 0
        self._need = 0

    # What the user wants.

    def start(self, now: int) -> None:
        """Begin to connect."""
        self.heard_at = now
        self._connect()

    def submit(self, call: Call) -> None:
        """Send a request, or keep it until there is a connection. Raises ClientClosed."""
        if self.state is _CLOSED or self._closing is not None:
            self._require_open()
        if self._is_up:
            self._send(call)
        else:
            self._waiting.append(call)

    def authenticate(self, scheme: str, token: bytes, call: Call) -> None:
        """Show credentials, now and on every later connection; `call` is answered when a server took them."""
        self._require_open()
        call.op = AUTH
        call.frame = packet = encode(AuthPacket(0, scheme, token))
        if packet not in self._auth:
            self._auth.append(packet)
        if self._is_up:
            self._out.append(_frame(XID_AUTH, AUTH, packet))
            self._auth_calls.append([call])
        else:
            # Sent with all others when the connection is there.
            self._waiting.append(call)

    def withdraw(self, call: Call) -> None:
        """Forget a request that nobody waits for any more, unless it was sent meanwhile."""
        try:
            self._waiting.remove(call)
        except ValueError:
            # It is answered still: its sink tells then that nobody is to be told, of changes neither.
            pass

    def close(self, call: Call, now: int) -> None:
        """End the session; `call` completes when the server has, or there is none to ask."""
        if self.state is State.CLOSED:
            self.effects.append(call)
            return
        self._closing = call
        if self._is_up:
            self._send(call)
        else:
            self._finish(ClientClosed("the client is closed"))

    def abandon(self) -> None:
        """Close without a word to the server, which ends the session when its time is over."""
        self._finish(ClientClosed("the client is closed"))

    # What the connection brings.

    def opened(self, now: int) -> None:
        """Say hello: there is a connection."""
        self._is_open = True
        self.connections += 1
        self._rest = []
        self._marks.clear()
        self._marked = self._xid
        self.sent_at = self._hello_at = now
        session, password = (0, NO_PASSWORD) if self._is_local else (self.id, self.password)
        hello = encode(ConnectRequest(0, self.zxid, self._asked_ms, session, password))
        hello += b"\1" if self._read_only else b"\0"
        self._out = [_pack_int(len(hello)) + hello]

    def failed(self, why: str, now: int, is_refusal: bool = False) -> None:
        """Go on to the next server: no connection was made. is_refusal: TLS was refused, as it would be again."""
        if self.state is not State.CLOSED and not self._is_open:
            self.why = why
            self._judge(now)
            if is_refusal:
                self._refused(why)
            else:
                self._hosts.failed()
            self._connect()

    def closed(self, why: str, now: int, is_refusal: bool = False) -> None:
        """Suspend what is there and go on to the next server: the connection is gone."""
        if not self._is_open:
            return
        if is_refusal:
            # As TLS 1.3 has it, behind a handshake that seemed to be over; often a reset outruns the refusal.
            self._refused(why)
        if not self._is_up and not self.id:
            self._greeted_in_vain()
        self._hang_up()
        if self._closing is not None:
            self._finish(ClientClosed("the client is closed"))
            return
        if self.state is State.CLOSED:
            return
        self.why = why
        self._judge(now)
        if self.state.is_connected:
            self._become(State.SUSPENDED)
        self._fail_in_flight(why)
        self._connect()

    def probed(self, host: Host, has_quorum: bool, now: int) -> None:
        """Take the outcome of a `Probe`, and go to a server that has a quorum."""
        self._search.answered(now)
        if has_quorum and self.state is State.READ_ONLY and self._closing is None:
            self._hosts.prefer(host)
            self._break(f"{host} has a quorum, this server has none", now)

    def received(self, data: bytes, now: int) -> None:
        """Take the bytes of one read."""
        if 3 * (now - self.heard_at) >= 2 * self.timeout:
            if self._is_up:
                if not self._survives(now):
                    return
            elif self._judge(now):
                return
        if self._rest:
            self._rest.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._rest)
            self._rest = []
        at = 0
        end = len(data)
        try:
            # Until the connection is gone: a frame may end it.
            while self._is_open and end - at >= 4:
                if self._in_flight and self._is_up and not self._is_paused and self._closing is None:
                    at = self._take_answers(data, at, end)
                    if end - at < 4:
                        break
                size = _unpack_int(data, at)[0]
                stop = at + 4 + size
                if size >> 16 == _TLS_ALERT and not self._is_up:
                    raise ProtocolError("it is a TLS alert: the server speaks TLS on this port, give an ssl_context")
                if not 0 <= size <= FRAME_BYTES_MAX:
                    raise ProtocolError(f"the server sent a frame of {size} bytes: it is no ZooKeeper")
                if stop > end:
                    break
                if self._is_up:
                    self._take(data, at, stop, now)
                elif self._exchange is None:
                    self._hello(data, at + 4, stop, now)
                else:
                    self._challenged(self._exchange, data, at, stop)
                at = stop
        except (ProtocolError, WireError, struct.error, ValueError) as error:
            self._break(f"the server's answer cannot be read: {error}", now)
            return
        if at < end and self._is_open:
            self._rest = [data[at:]]
            self._have = end - at
            self._need = 4 + _unpack_int(data, at)[0] if self._have >= 4 else 4

    def stepped(self, exchange: Exchange, token: bytes | None, error: Exception | None, now: int) -> None:
        """Go on with what a mechanism of SASL has answered to a Step, or with its error."""
        if exchange is not self._exchange or self._judge(now):
            # That connection is gone.
            return
        if error is not None:
            broken = exchange.broken(error)
            if isinstance(broken, str):
                self._break(broken, now)
            else:
                self._finish(broken)
            return
        body = exchange.request(token)
        if body is None:
            self._establish()
            return
        exchange.xid = self._xid = self._xid + 1 if self._xid < XID_MAX else 1
        self._out.append(_frame(exchange.xid, SASL, body))

    def tick(self, now: int) -> None:
        """Do what is due: heartbeats, and giving up on a server or on the session."""
        if self.state is State.CLOSED:
            return
        if not self._is_up:
            if not self._judge(now) and self._is_open and now - self._hello_at >= self._attempt_ms():
                what = "answer the hello" if self._exchange is None else "end the SASL exchange in time"
                self._break(f"the server does not {what}", now)
            return
        silent = now - self.heard_at
        if 3 * silent >= 2 * self.timeout:
            if not self._survives(now):
                return
            if not self._is_paused:
                self._break(f"the server has not answered for {silent} ms", now)
            return
        if 3 * (now - self.sent_at) >= self.timeout or (3 * silent >= self.timeout and not self._ping_sent_at):
            self._ping(now)
        if self.state is State.READ_ONLY and not self._search.is_asking and now >= self._search.due:
            self.effects.append(Probe(self._search.ask(), QUESTION_MS_MAX))

    def deadline(self) -> int:
        """Return when `tick` has something to do, in monotonic ms."""
        lost = self.heard_at + self.timeout
        if not self._is_up:
            if self._is_open:
                given_up = self._hello_at + self._attempt_ms()
                return min(lost, given_up) if self.id else given_up
            return lost if self.id else NEVER
        if self._is_paused:
            return lost
        ping = self.sent_at + self.timeout // 3 + 1
        due = min(ping, self.heard_at + 2 * self.timeout // 3 + 1)
        if self.state is State.READ_ONLY and not self._search.is_asking:
            return min(due, self._search.due)
        return due

    def take_output(self, now: int) -> bytes:
        """Return what is to be sent, b"" if nothing is. A pause is noticed here, too: look at the effects after it.

        The schedule that this is judged for: 1. the process sleeps in the middle of a step; 2. that step asks for
        something; 3. it leaves before any timer is served, and hides from `tick` that nothing left for so long.
        """
        if self._is_up and 3 * (now - self.heard_at) >= 2 * self.timeout and not self._survives(now):
            return b""
        out = self._out
        if not out:
            return b""
        data = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        self.sent_at = now
        if self._marked != self._xid:
            self._marked = self._xid
            self._marks.append((self._xid, now))
        return data

    def take_effects(self) -> list[Effect]:
        """Return what is to be done, in order."""
        effects, self.effects = self.effects, []
        return effects

    def judged(self, now: int) -> State:
        """Return the state, after a look at the clock."""
        if self._is_up:
            if 3 * (now - self.heard_at) >= 2 * self.timeout:
                self._survives(now)
        else:
            self._judge(now)
        return self.state

    @property
    def is_idle(self) -> bool:
        """Whether the session is established, not in doubt, and owes and awaits nothing, heartbeats apart."""
        return (
            self._is_up
            and not self._is_paused
            and self._closing is None
            and not (self._in_flight or self._out or self.effects or self._rest or self._auth_calls)
        )

    @property
    def is_established(self) -> bool:
        """Whether the server at hand has granted the session."""
        return self._is_up

    @property
    def in_flight(self) -> int:
        """How many requests are sent, or about to be, and not answered."""
        return len(self._in_flight)

    def expects_watch(self, path: bytes, kind: int | None = None) -> bool:
        """Tell whether a request that may leave a watch at a path, of a kind or of any, is not answered yet."""
        return any(
            call.watch is not None and call.path == path and (kind is None or call.watch[0] == kind)
            for call in (*self._in_flight, *self._waiting)
        )

    @property
    def output_bytes(self) -> int:
        """How much is to be sent."""
        return sum(map(len, self._out))

    @property
    def last_xid(self) -> int:
        """The number of the last request."""
        return self._xid

    def held_until(self) -> int:
        """Return until when the session is certain to go on, in monotonic ms."""
        return self.heard_at + self.timeout if self.id else 0

    def ended(self, outcome: Outcome = Outcome.NOT_APPLIED) -> ClientClosed:
        """Return what is raised to whom asks for something of a client that is closed."""
        why = self.why or "the client is closed"
        return TlsFailed(why, outcome) if isinstance(self.error, TlsFailed) else ClientClosed(why, outcome)

    # Inside.

    def _require_open(self) -> None:
        if self.state is State.CLOSED:
            raise self.ended()
        if self._closing is not None:
            raise ClientClosed("the client is closed")

    def _send(self, call: Call) -> None:
        xid = self._xid = self._xid + 1 if self._xid < XID_MAX else 1
        call.xid = xid
        payload = call.frame
        self._out.append(_pack_head(8 + len(payload), xid, call.op) + payload)
        self._in_flight.append(call)

    def _take_answers(self, data: bytes, at: int, end: int) -> int:
        """Take the frames that are no more than the answers to what was asked; return where the next one begins.

        Most are, and what they tell of the connection is noted once for all of them. `_take` has the rest.
        """
        in_flight = self._in_flight
        done = self.effects.append
        answered = newest = 0
        while in_flight and end - at >= _ANSWER_BYTES_MIN:
            size, xid, zxid, err = _unpack_head(data, at)
            stop = at + 4 + size
            call = in_flight[0]
            if xid != call.xid or err or stop > end or size < _HEAD_BYTES or call.watch is not None:
                break
            try:
                call.value = call.decode(data, at + _ANSWER_BYTES_MIN, stop)
            except _UNREADABLE:
                break
            in_flight.popleft()
            call.zxid = zxid
            if zxid > 0:
                newest = zxid
            answered = xid
            at = stop
            done(call)
        if newest:
            self.zxid = newest
        if answered:
            self._answered(answered)
        return at

    def _answered(self, xid: int) -> None:
        """Note that the server has answered the request of that number, so was there when it was sent."""
        marks = self._marks
        # The first mark that is not before this number, which begins anew after XID_MAX.
        while marks and (marks[0][0] - xid) & XID_MAX >= 1 << 30:
            marks.popleft()
        if marks and marks[0][1] > self.heard_at:
            self._heard(marks[0][1])

    def _take(self, data: bytes, at: int, stop: int, now: int) -> None:
        """Take one frame of an established session."""
        _, xid, zxid, err = _unpack_head(data, at)
        if xid > 0:
            if not self._in_flight:
                raise ProtocolError(f"reply {xid} without a request")
            call = self._in_flight[0]
            if call.xid != xid:
                raise ProtocolError(f"expected reply {call.xid}, got {xid}")
            call.zxid = zxid
            if zxid > 0:
                self.zxid = zxid
            self._answered(xid)
            if not err:
                try:
                    call.value = call.decode(data, at + 20, stop)
                except SessionExpired as refusal:
                    # A transaction's answer has it inside.
                    err = refusal.code
            if err:
                call.error = self._refusal(call, err)
            # Only now: one whose answer cannot be read is still in flight when the connection is given up for it.
            self._in_flight.popleft()
            watch = call.watch
            if watch is not None:
                self._watched(call, watch, err)
            if call is self._closing:
                self._finish(ClientClosed("the client is closed"))
                return
            self.effects.append(call)
            if err == SessionExpired.code:
                # Some servers answer so on a connection that they leave open.
                self._lose_connection(_ENDED, now)
        elif xid == XID_NOTIFICATION:
            event = _decode_event(data, at + 20, stop)[0]
            self._fire(event, zxid)
        elif xid == XID_PING:
            sent, self._ping_sent_at = self._ping_sent_at, 0
            if sent:
                self._heard(sent)
        elif xid == XID_AUTH:
            self._authenticated(err, now)
        elif xid != XID_SET_WATCHES:
            raise ProtocolError(f"unknown reply number {xid}")

    def _heard(self, at: int) -> None:
        self.heard_at = max(self.heard_at, at)
        if not self._is_proven:
            # Not by its hello alone: a server that hangs up behind it would be called again at once, for ever.
            self._is_proven = True
            self._hosts.reached()
        if self._is_paused and at >= self._paused_at:
            self._is_paused = False
            self._become(self._connected_as)

    def _watched(self, call: Call, watch: tuple[int, int, Listener], err: int) -> None:
        if call.sink is not None and call.sink.cancelled():
            # Who asked has given up, and cannot forget what is noted from now on.
            return
        found, missing, listener = watch
        kind = found if not err else missing if err == -101 else -1
        if kind >= 0:
            self.watches.add(kind, call.path, listener)

    def _fire(self, event: WatcherEvent, zxid: int) -> None:
        kind = EventType(event.type)
        if kind is EventType.NONE:
            return
        for listener in self.watches.fire(kind, event.path):
            self.effects.append(Fire(listener, kind, event.path, zxid))

    def _authenticated(self, err: int, now: int) -> None:
        calls = self._auth_calls.popleft() if self._auth_calls else []
        if not err:
            self.effects.extend(calls)
            return
        error = AuthFailed("the client is closed: the server refused its credentials")
        for call in calls:
            self._fail(call, error)
        # The server closes the connection behind this, and would again.
        self._finish(error)

    def _hello(self, data: bytes, at: int, stop: int, now: int) -> None:
        if stop - at == _HEAD_BYTES and _unpack_head(data, at - 4)[3] == NotReadOnly.code:
            self._break("the server has no quorum, and grants no sessions then without localSessionsEnabled=true", now)
            return
        hello, at = _decode_hello(data, at, stop)
        if hello.timeout <= 0 or not hello.session_id:
            # It does not know the session any more.
            self._lose_connection(_ENDED, now)
            return
        is_read_only = at < stop and bool(data[at])
        self._is_local = is_read_only and (self._is_local or not self.id)
        self.id = hello.session_id
        self.password = hello.passwd or NO_PASSWORD
        self.timeout = hello.timeout
        self._is_paused = False
        self._ping_sent_at = 0
        self.heard_at = self._hello_at
        if is_read_only:
            self._connected_as = State.READ_ONLY
            self._search.begin(now)
        else:
            self._connected_as = State.CONNECTED
            self._search.found()
        self._is_proven = False
        if self._sasl is None:
            self._establish()
            return
        assert self.server is not None
        self._exchange = Exchange(self._sasl, self.server)
        self.effects.append(Step(self._exchange, None))

    def _challenged(self, exchange: Exchange, data: bytes, at: int, stop: int) -> None:
        """Take the answer to a token; a server has nothing else to say before the end of the exchange."""
        _, xid, _, err = _unpack_head(data, at)
        if not exchange.xid or xid != exchange.xid:
            raise ProtocolError(f"expected SASL reply {exchange.xid}, got {xid}")
        try:
            challenge = exchange.challenge(err, data, at + 20, stop)
        except AuthFailed as error:
            self._finish(error)
            return
        # Nothing was sent behind that token.
        self.heard_at = self.sent_at
        exchange.xid = 0
        if challenge is None:
            self._establish()
        else:
            self.effects.append(Step(exchange, challenge))

    def _establish(self) -> None:
        """Begin what requests can be sent in, with all that has to be said before them."""
        self._is_up = True
        self._exchange = None
        for packet in self._auth:
            self._out.append(_frame(XID_AUTH, AUTH, packet))
        waiting, self._waiting = self._waiting, deque()
        asked = [call for call in waiting if call.op == AUTH]
        self._auth_calls = deque([call for call in asked if call.frame == packet] for packet in self._auth)
        for op, body in self.watches.packets(self.zxid):
            self._out.append(_frame(XID_SET_WATCHES, op, body))
        self._become(self._connected_as)
        for call in waiting:
            if call.op != AUTH:
                self._send(call)

    def _ping(self, now: int) -> None:
        self._out.append(_PING_FRAME)
        if not self._ping_sent_at:
            self._ping_sent_at = now

    def _survives(self, now: int) -> bool:
        """Judge an established session after a long silence; tell whether its connection stays.

        Heartbeats leave each third of the timeout. If none has left since two thirds ago, this process slept, not the
        server: what was answered meanwhile may still lie unread, so the session is in doubt until the server answers
        something sent from now on.
        """
        silent = now - self.heard_at
        if silent >= self.timeout:
            self._lose_connection(f"nothing was heard for {silent} ms, the session's timeout is {self.timeout} ms", now)
            return False
        if not self._is_paused and 3 * (now - self.sent_at) >= 2 * self.timeout:
            self._is_paused = True
            self._paused_at = now
            self._ping_sent_at = 0
            self._become(State.SUSPENDED)
            self._ping(now)
        return True

    def _judge(self, now: int) -> bool:
        """End a session without an established connection when its time is over; tell whether it was."""
        if not self.id or now - self.heard_at < self.timeout:
            return False
        why = f"no server was reached for {now - self.heard_at} ms"
        if self._is_open:
            # A hello for that session is under way.
            self._lose_connection(why, now)
        else:
            self._lose(why)
        return True

    def _lose_connection(self, why: str, now: int) -> None:
        self.effects.append(Disconnect(why))
        self._hang_up()
        self._lose(why)
        self._connect()

    def _greeted_in_vain(self) -> None:
        """Note that a server answered nothing when it was asked for a new session, as one does that is behind `zxid`.

        All of them are, for ever, if their data were put back or thrown away. With them has gone what `zxid` stands
        for, so it is not insisted on once as many have been asked as there are.
        """
        self._hellos_in_vain += 1
        if self._hellos_in_vain >= len(self._hosts):
            self.zxid = 0

    def _lose(self, why: str) -> None:
        """End the session; the next hello asks for a new one."""
        self.why = why
        self._hellos_in_vain = 0
        self.id = 0
        self.password = NO_PASSWORD
        self._is_local = False
        self._become(State.LOST)
        for path, listener in self.watches.drop_one_shot():
            self.effects.append(Fire(listener, EventType.NONE, path, -1))
        for call in self._in_flight:
            outcome = Outcome.UNKNOWN if call.is_write else Outcome.NOT_APPLIED
            self._fail(call, SessionLost(f"the session was lost: {why}", outcome))
        self._in_flight.clear()
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if call.op == AUTH:
                self._waiting.append(call)
            else:
                self._fail(call, SessionLost(f"the session was lost: {why}"))

    def _break(self, why: str, now: int) -> None:
        """Close the connection from this side."""
        self.effects.append(Disconnect(why))
        self.closed(why, now)

    def _hang_up(self) -> None:
        self._is_open = self._is_up = self._is_paused = False
        self._exchange = None
        self._out.clear()
        self._rest = []
        self._ping_sent_at = 0
        for calls in self._auth_calls:
            # They are shown again on the next connection.
            self._waiting.extend(calls)
        self._auth_calls.clear()

    def _fail_in_flight(self, why: str) -> None:
        for call in self._in_flight:
            outcome = Outcome.UNKNOWN if call.is_write else Outcome.NOT_APPLIED
            self._fail(call, ConnectionLoss(f"the connection was lost before the answer: {why}", outcome))
        self._in_flight.clear()

    def _fail(self, call: Call, error: CorralError) -> None:
        call.error = error
        self.effects.append(call)

    def _finish(self, error: CorralError) -> None:
        """Close for good."""
        closing, self._closing = self._closing, None
        self.error = error
        self.why = str(error)
        self.effects.append(Disconnect(self.why))
        self._hang_up()
        self.id = 0
        self._become(State.CLOSED)
        for call in [*self._in_flight, *self._waiting]:
            if call is not closing:
                outcome = Outcome.UNKNOWN if call.is_write and call.xid else Outcome.NOT_APPLIED
                self._fail(call, self.ended(outcome))
        self._in_flight.clear()
        self._waiting.clear()
        if closing is not None:
            closing.error = None
            self.effects.append(closing)

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.effects.append(StateChanged(state))

    def _refused(self, why: str) -> None:
        """Count refusals of TLS, and give up if there is nothing else and never was a session."""
        host = self.server
        assert host is not None
        if self._hosts.refused(host, why):
            self.effects.append(Refused(host, why))
        if self._hosts.is_hopeless and self.state is State.CONNECTING:
            self._finish(TlsFailed(f"no server is reached over TLS, the last one {host}: {why}"))

    def _connect(self) -> None:
        if self.state is State.CLOSED:
            return
        # A pause as long as what is left of the session would lose it, though a server is there in time.
        host, delay = self._hosts.next(min(self.timeout // 10, PAUSE_MS_MAX) if self.id else PAUSE_MS_MAX)
        self.server = host
        self.effects.append(Connect(host, delay, self._attempt_ms()))

    def _attempt_ms(self) -> int:
        return max(self.timeout // (len(self._hosts) + 1), 500)

    def _refusal(self, call: Call, err: int) -> CorralError:
        if err == SessionExpired.code:
            # Refused, so nothing was done: to callers it is the loss of the session like any other.
            return SessionLost(f"the session was lost: {_ENDED}")
        return error_of(err, shown_request(call.op, call.path, self._chroot, err))


def _frame(xid: int, op: int, body: bytes) -> bytes:
    return _pack_head(8 + len(body), xid, op) + body
