"""Replies in a form in which two servers' can be compared."""

from __future__ import annotations

import struct
from typing import Any

from corral.base.errors import WireError
from corral.wire import client as records
from corral.wire import opcodes as op
from corral.wire.data import Stat
from corral.wire.schema import decode, decoder, encode

Reply = tuple[int, int, int, bytes]
_HEAD = struct.Struct(">i?i")


class Normal:
    """Makes replies comparable: times are dropped, sessions become their number, unordered lists are sorted."""

    def __init__(self) -> None:
        self._sessions: dict[int, int] = {0: 0}

    def session(self, session: int) -> None:
        """Number a session."""
        self._sessions.setdefault(session, len(self._sessions))

    def reply(self, code: int, reply: Reply) -> Any:
        """Return a reply as plain values."""
        xid, zxid, err, body = reply
        if err:
            return xid, zxid, err
        return xid, zxid, err, self._body(code, body)

    def _body(self, code: int, body: bytes) -> Any:
        if code == op.MULTI:
            return self._multi(body)
        if code == op.MULTI_READ:
            return self._multi(body)
        if code in (op.EXISTS, op.SET_DATA, op.SET_ACL):
            return self._stat(decode(Stat, body))
        if code in (op.CREATE2, op.CREATE_CONTAINER, op.CREATE_TTL):
            made = decode(records.Create2Response, body)
            return made.path, self._stat(made.stat)
        if code == op.GET_DATA:
            got = decode(records.GetDataResponse, body)
            return got.data, self._stat(got.stat)
        if code == op.GET_CHILDREN:
            return sorted(decode(records.GetChildrenResponse, body).children or ())
        if code == op.GET_CHILDREN2:
            listed = decode(records.GetChildren2Response, body)
            return sorted(listed.children or ()), self._stat(listed.stat)
        if code == op.GET_ACL:
            acl = decode(records.GetAclResponse, body)
            return acl.acl, self._stat(acl.stat)
        if code == op.GET_EPHEMERALS:
            return sorted(decode(records.GetEphemeralsResponse, body).ephemerals or ())
        if code == op.WHO_AM_I:
            infos = decode(records.WhoAmIResponse, body).client_info or []
            return sorted((info.auth_scheme or "", info.user or "") for info in infos)
        return body

    def _stat(self, stat: Stat) -> Any:
        owner = self._sessions.get(stat.ephemeral_owner, "unknown session")
        return (
            stat.czxid, stat.mzxid, stat.version, stat.cversion, stat.aversion, owner, stat.data_length,
            stat.num_children, stat.pzxid,
        )  # fmt: skip

    def _multi(self, body: bytes) -> Any:
        at = 0
        parts: list[Any] = []
        while True:
            kind, done, err = _HEAD.unpack_from(body, at)
            at += _HEAD.size
            if done:
                return parts
            record = {
                -1: records.ErrorResponse, op.CREATE: records.PathRequest, op.CREATE2: records.Create2Response,
                op.SET_DATA: Stat, op.GET_DATA: records.GetDataResponse, op.GET_CHILDREN: records.GetChildrenResponse,
            }.get(kind)  # fmt: skip
            if record is None:
                parts.append((kind, err))
                continue
            try:
                value, at = decoder(record)(body, at, len(body))
            except WireError as error:
                raise AssertionError(f"a multi's result of type {kind} cannot be decoded") from error
            parts.append((kind, err, self._body({-1: 0, op.CREATE: 0}.get(kind, self._code(kind)), encode(value))))

    @staticmethod
    def _code(kind: int) -> int:
        return kind
