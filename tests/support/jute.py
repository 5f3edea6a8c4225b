"""The records of the client protocol, written and read by hand: nothing here comes from the code under test.

A builder returns a request's body. `read_body` turns a reply's body into plain values: bytes, ints, lists, `Stat`s.
Strings are bytes throughout, so that what is not UTF-8 can be sent and seen. None is a null.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple


class Op(IntEnum):
    """The numbers of requests."""

    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    CREATE_SESSION = -10
    CLOSE_SESSION = -11


Text = bytes | None
Acl = tuple[int, Text, Text]
"""Permissions, scheme, id."""

OPEN: list[Acl] = [(31, b"world", b"anyone")]


class Stat(NamedTuple):
    """A node's metadata, times in ms."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


# Builders.


def text(value: Text) -> bytes:
    """A string or a buffer: both have the same form."""
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def vector(items: Iterable[bytes] | None) -> bytes:
    if items is None:
        return struct.pack(">i", -1)
    items = list(items)
    return struct.pack(">i", len(items)) + b"".join(items)


def acls(acl: Sequence[Acl] | None) -> bytes:
    return vector(
        None if acl is None else (struct.pack(">i", perms) + text(scheme) + text(who) for perms, scheme, who in acl)
    )


def create(path: Text, data: Text = b"", acl: Sequence[Acl] | None = OPEN, flags: int = 0) -> bytes:
    """The body of create, create2 and createContainer."""
    return text(path) + text(data) + acls(acl) + struct.pack(">i", flags)


def create_ttl(path: Text, data: Text, acl: Sequence[Acl] | None, flags: int, ttl_ms: int) -> bytes:
    return create(path, data, acl, flags) + struct.pack(">q", ttl_ms)


def versioned(path: Text, version: int = -1) -> bytes:
    """The body of delete and check; with a type or mode for the version, of the requests about watches."""
    return text(path) + struct.pack(">i", version)


delete = check = add_watch = remove_watches = check_watches = versioned


def watched(path: Text, watch: bool = False) -> bytes:
    """The body of exists, getData, getChildren and getChildren2."""
    return text(path) + struct.pack(">?", watch)


exists = get_data = get_children = get_children2 = watched

path_only = get_acl = sync = get_all_children_number = delete_container = get_ephemerals = sasl = text


def set_data(path: Text, data: Text, version: int = -1) -> bytes:
    return text(path) + text(data) + struct.pack(">i", version)


def set_acl(path: Text, acl: Sequence[Acl] | None, version: int = -1) -> bytes:
    return text(path) + acls(acl) + struct.pack(">i", version)


def auth(scheme: Text, credentials: Text, kind: int = 0) -> bytes:
    return struct.pack(">i", kind) + text(scheme) + text(credentials)


def set_watches(since: int, *lists: Sequence[Text] | None) -> bytes:
    """Take data, exists and child paths for setWatches; also persistent and recursive ones for setWatches2."""
    return struct.pack(">q", since) + b"".join(vector(None if x is None else map(text, x)) for x in lists)


def reconfig(joining: Text, leaving: Text, members: Text, config: int = -1) -> bytes:
    return text(joining) + text(leaving) + text(members) + struct.pack(">q", config)


def multi(*parts: tuple[int, bytes]) -> bytes:
    """The body of multi and multiRead: operations with their bodies."""
    head = struct.Struct(">i?i")
    return b"".join(head.pack(op, False, -1) + body for op, body in parts) + head.pack(-1, True, -1)


def multi_refused(*codes: int) -> bytes:
    """The answer to a multi of which nothing was done: an error for each operation."""
    parts = [struct.pack(">i?ii", -1, False, code, code) for code in codes]
    return b"".join(parts) + struct.pack(">i?i", -1, True, -1)


# Readers.


class Reader:
    """Takes values off the front of some bytes; raises struct.error where they end too soon."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> Any:
        """Take numbers; one alone, several as a tuple."""
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text(self) -> Text:
        size = self.take("i")
        if size == -1:
            return None
        if not 0 <= size <= len(self.data) - self.at:
            raise struct.error(f"a length of {size} with {len(self.data) - self.at} bytes left")
        self.at += size
        return self.data[self.at - size : self.at]

    def vector(self, item: Callable[[Reader], Any]) -> list[Any] | None:
        size = self.take("i")
        return None if size == -1 else [item(self) for _ in range(size)]

    def stat(self) -> Stat:
        return Stat(*self.take("qqqqiiiqiiq"))

    def acl(self) -> Acl:
        return self.take("i"), self.text(), self.text()


def _multi(reader: Reader) -> list[Any]:
    parts: list[Any] = []
    while True:
        kind, done, err = reader.take("i?i")
        if done:
            return [*parts, ("end", kind, err)]
        read = _MULTI_BODIES.get(kind)
        parts.append((kind, err, reader.take("i") if kind == -1 else read(reader) if read else None))


_BODIES: dict[int, Callable[[Reader], Any]] = {
    Op.CREATE: Reader.text,
    Op.EXISTS: Reader.stat,
    Op.GET_DATA: lambda r: (r.text(), r.stat()),
    Op.SET_DATA: Reader.stat,
    Op.GET_ACL: lambda r: (r.vector(Reader.acl), r.stat()),
    Op.SET_ACL: Reader.stat,
    Op.GET_CHILDREN: lambda r: sorted(r.vector(Reader.text) or []),
    Op.SYNC: Reader.text,
    Op.GET_CHILDREN2: lambda r: (sorted(r.vector(Reader.text) or []), r.stat()),
    Op.MULTI: _multi,
    Op.CREATE2: lambda r: (r.text(), r.stat()),
    Op.RECONFIG: lambda r: (r.text(), r.stat()),
    Op.CREATE_CONTAINER: lambda r: (r.text(), r.stat()),
    Op.CREATE_TTL: lambda r: (r.text(), r.stat()),
    Op.MULTI_READ: _multi,
    Op.SASL: Reader.text,
    Op.GET_EPHEMERALS: lambda r: sorted(r.vector(Reader.text) or []),
    Op.GET_ALL_CHILDREN_NUMBER: lambda r: r.take("i"),
    Op.ADD_WATCH: lambda r: r.take("i"),
    Op.WHO_AM_I: lambda r: sorted(r.vector(lambda r: (r.text(), r.text())) or []),
}
_MULTI_BODIES = {
    op: _BODIES[op] for op in (Op.CREATE, Op.CREATE2, Op.SET_DATA, Op.GET_DATA, Op.GET_CHILDREN)
}  # fmt: skip


def read_body(op: int, body: bytes) -> Any:
    """Read a reply's body; lists that have no order are sorted; what cannot be read is kept as bytes."""
    reader = Reader(body)
    try:
        value = _BODIES[op](reader) if op in _BODIES else None
    except struct.error:
        return "unreadable", body
    return (value, "and then", body[reader.at :]) if reader.at < len(body) else value
