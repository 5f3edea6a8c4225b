"""createSession and closeSession, getEphemerals and whoAmI."""

from __future__ import annotations

from typing import Any, Final

from corral.ops.base import Preparing, ReadOp, Serving, Stamp, View, WriteOp
from corral.ops.delete import apply_delete
from corral.tree.node import Node
from corral.wire.client import ClientInfo, GetEphemeralsRequest, GetEphemeralsResponse, WhoAmIResponse
from corral.wire.opcodes import CLOSE_SESSION, CREATE_SESSION, GET_EPHEMERALS, WHO_AM_I
from corral.wire.schema import decoder, encode
from corral.wire.txns import CloseSessionTxn, CreateSessionTxn, TxnBody, Unread

_decode_prefix: Final = decoder(GetEphemeralsRequest)


class CreateSession(WriteOp[CreateSessionTxn]):
    """Its request is the server's own, of the very form of the transaction."""

    code = CREATE_SESSION
    name = "createSession"
    lop = "SESS"
    request = CreateSessionTxn
    txns = {CREATE_SESSION: CreateSessionTxn}

    def prepare(self, cx: Preparing, request: CreateSessionTxn) -> tuple[int, TxnBody]:
        return CREATE_SESSION, request

    def apply(self, view: View, stamp: Stamp, body: CreateSessionTxn) -> Node | None:
        view.open_session(stamp.client_id, body.timeout)
        return None


class CloseSession(WriteOp[Unread]):
    """Deletes the session's ephemerals, in order of creation, and the session.

    The paths stand in the transaction, so that a replay over a fuzzy snapshot deletes them too; not so with
    closeSessionTxn.enabled=false, which is how ZooKeeper's logs were before 3.6.
    """

    code = CLOSE_SESSION
    name = "closeSession"
    lop = "CLOS"
    request = Unread
    txns = {CLOSE_SESSION: CloseSessionTxn}

    def prepare(self, cx: Preparing, request: Unread) -> tuple[int, TxnBody]:
        if not cx.options.close_session_txn:
            return CLOSE_SESSION, request
        return CLOSE_SESSION, CloseSessionTxn(cx.view.ephemerals_of(cx.client_id))

    def apply(self, view: View, stamp: Stamp, body: CloseSessionTxn | Unread) -> Node | None:
        if isinstance(body, CloseSessionTxn):
            for path in body.paths_to_delete or ():
                apply_delete(view, stamp.zxid, path)
        for path in view.ephemerals_of(stamp.client_id):
            apply_delete(view, stamp.zxid, path)
        view.close_session(stamp.client_id)
        return None


class GetEphemerals(ReadOp):
    """The caller's own ephemerals whose path starts with a prefix, compared as text."""

    code = GET_EPHEMERALS
    name = "getEphemerals"
    lop = "GETE"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        prefix = _decode_prefix(buf, at, end)[0].prefix_path or b""
        paths = cx.tree.ephemerals_of(caller.session_id)
        if prefix.strip() and prefix != b"/":
            paths = [path for path in paths if path.startswith(prefix)]
        return encode(GetEphemeralsResponse(paths))


class WhoAmI(ReadOp):
    """The connection's identities, a digest's without its hash."""

    code = WHO_AM_I
    name = "whoAmI"
    lop = "HOMI"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        infos = [ClientInfo(s, i.split(":")[0] if s == "digest" else i) for s, i in caller.identities]
        return encode(WhoAmIResponse(infos))
