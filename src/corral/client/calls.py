"""What each request is: its bytes, how its reply is read, whether it writes, and which watch it leaves.

Paths are whole ones, as bytes. A reply's reader gets the chroot's length, for the paths that a server sends back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from corral.base.errors import WireError
from corral.client.effects import Call, Decode, nothing
from corral.client.values import WatcherType, WatchMode, ZnodeStat, checked_version, data_bytes
from corral.client.watches import CHILD, DATA, EXIST, PERSISTENT, RECURSIVE, Listener
from corral.wire import client as records
from corral.wire import opcodes
from corral.wire.data import ACL, STAT_BYTES
from corral.wire.schema import decoder, encode

CONTAINER: Final = 4
TTL: Final = 5
TTL_SEQUENCE: Final = 6

_unpack_stat: Final = struct.Struct(">qqqqiiiqiiq").unpack_from
_make_stat: Final = partial(tuple.__new__, ZnodeStat)
_unpack_int: Final = struct.Struct(">i").unpack_from
_pack_int: Final = struct.Struct(">i").pack
_decode_acl: Final = decoder(records.GetAclResponse)
_decode_info: Final = decoder(records.WhoAmIResponse)


# What follows an answer in `buf` is another one: nothing may be read from there.


def _stat(buf: bytes, at: int, end: int) -> ZnodeStat:
    if end - at < STAT_BYTES:
        raise WireError(f"a stat of {end - at} bytes")
    return _make_stat(_unpack_stat(buf, at))


def _data(buf: bytes, at: int, end: int) -> tuple[bytes, ZnodeStat]:
    size = _unpack_int(buf, at)[0]
    at += 4
    stop = at + size if size > 0 else at
    if end - stop < STAT_BYTES:
        raise WireError(f"data of {size} bytes and a stat in {end - at} bytes")
    return buf[at:stop], _make_stat(_unpack_stat(buf, stop))


def _text_end(buf: bytes, at: int, end: int) -> int:
    """Return where a string ends that begins at `at` with its length."""
    stop: int = at + 4 + _unpack_int(buf, at)[0]
    if not at + 4 <= stop <= end:
        raise WireError(f"a string reaches to {stop} of {end} bytes")
    return stop


def _names(buf: bytes, at: int, end: int) -> tuple[list[str], int]:
    (count,) = _unpack_int(buf, at)
    at += 4
    if count > (end - at) // 4:
        raise WireError(f"{count} names in {end - at} bytes")
    names = []
    for _ in range(count):
        stop = _text_end(buf, at, end)
        names.append(buf[at + 4 : stop].decode())
        at = stop
    return names, at


def _children(buf: bytes, at: int, end: int) -> list[str]:
    return _names(buf, at, end)[0]


def _children_and_stat(buf: bytes, at: int, end: int) -> tuple[list[str], ZnodeStat]:
    names, at = _names(buf, at, end)
    return names, _stat(buf, at, end)


def _acl(buf: bytes, at: int, end: int) -> tuple[list[ACL], ZnodeStat]:
    found = _decode_acl(buf, at, end)[0]
    return list(found.acl or []), ZnodeStat(*(getattr(found.stat, name) for name in ZnodeStat._fields))


def _number(buf: bytes, at: int, end: int) -> int:
    if end - at < 4:
        raise WireError(f"a number of {end - at} bytes")
    value: int = _unpack_int(buf, at)[0]
    return value


def _infos(buf: bytes, at: int, end: int) -> list[tuple[str, str]]:
    found = _decode_info(buf, at, end)[0].client_info
    return [(info.auth_scheme or "", info.user or "") for info in found or []]


def _path_reader(chroot: int) -> Decode:
    def read(buf: bytes, at: int, end: int) -> str:
        return buf[at + 4 + chroot : _text_end(buf, at, end)].decode() or "/"

    return read


def _created_reader(chroot: int) -> Decode:
    def read(buf: bytes, at: int, end: int) -> tuple[str, ZnodeStat]:
        stop = _text_end(buf, at, end)
        return buf[at + 4 + chroot : stop].decode(), _stat(buf, stop, end)

    return read


class Calls:
    """Makes the requests of a client below a chroot of `chroot` bytes."""

    def __init__(self, chroot: int) -> None:
        self._chroot = chroot
        self._path = _path_reader(chroot)
        self._created = _created_reader(chroot)

    def get(self, path: bytes, listener: Listener | None) -> Call:
        """Data and stat."""
        if listener is None:
            return Call(opcodes.GET_DATA, _pack_int(len(path)) + path + b"\0", _data, False, path)
        watch = (DATA, -1, listener)
        return Call(opcodes.GET_DATA, _pack_int(len(path)) + path + b"\1", _data, False, path, watch)

    def exists(self, path: bytes, listener: Listener | None) -> Call:
        """The stat; the error NoNode where there is none."""
        if listener is None:
            return Call(opcodes.EXISTS, _pack_int(len(path)) + path + b"\0", _stat, False, path)
        watch = (DATA, EXIST, listener)
        return Call(opcodes.EXISTS, _pack_int(len(path)) + path + b"\1", _stat, False, path, watch)

    def children(self, path: bytes, listener: Listener | None, has_stat: bool) -> Call:
        """The children's names, and maybe the stat."""
        op, decode = (opcodes.GET_CHILDREN2, _children_and_stat) if has_stat else (opcodes.GET_CHILDREN, _children)
        watch = None if listener is None else (CHILD, -1, listener)
        payload = _pack_int(len(path)) + path + (b"\0" if listener is None else b"\1")
        return Call(op, payload, decode, False, path, watch)

    def create(self, path: bytes, data: bytes, acl: list[ACL], flags: int, ttl_ms: int, has_stat: bool) -> Call:
        """A new znode; flags as on the wire."""
        if type(data) is not bytes:
            data = data_bytes(data)
        op = opcodes.CREATE2 if has_stat else opcodes.CREATE
        if flags in (TTL, TTL_SEQUENCE):
            request: object = records.CreateTtlRequest(path, data, acl, flags, ttl_ms)
            op = opcodes.CREATE_TTL
        else:
            request = records.CreateRequest(path, data, acl, flags)
            if flags == CONTAINER:
                op = opcodes.CREATE_CONTAINER
        # A reply may have a stat that nobody asked for; it stands behind the path.
        return Call(op, encode(request), self._created if has_stat else self._path, True, path)

    def set(self, path: bytes, data: bytes, version: int) -> Call:
        """New data."""
        if type(data) is not bytes:
            data = data_bytes(data)
        payload = b"".join(
            (_pack_int(len(path)), path, _pack_int(len(data)), data, _pack_int(checked_version(version)))
        )
        return Call(opcodes.SET_DATA, payload, _stat, True, path)

    def delete(self, path: bytes, version: int) -> Call:
        """A znode less."""
        payload = _pack_int(len(path)) + path + _pack_int(checked_version(version))
        return Call(opcodes.DELETE, payload, nothing, True, path)

    def get_acl(self, path: bytes) -> Call:
        """The access list and the stat."""
        return Call(opcodes.GET_ACL, encode(records.PathRequest(path)), _acl, False, path)

    def set_acl(self, path: bytes, acl: list[ACL], version: int) -> Call:
        """Another access list."""
        request = records.SetAclRequest(path, acl, checked_version(version))
        return Call(opcodes.SET_ACL, encode(request), _stat, True, path)

    def sync(self, path: bytes) -> Call:
        """All that was committed before is seen by what is read after."""
        return Call(opcodes.SYNC, encode(records.PathRequest(path)), self._path, False, path)

    def add_watch(self, path: bytes, mode: WatchMode, listener: Listener) -> Call:
        """A watch that stays."""
        kind = RECURSIVE if mode is WatchMode.RECURSIVE else PERSISTENT
        request = records.AddWatchRequest(path, int(mode))
        return Call(opcodes.ADD_WATCH, encode(request), nothing, False, path, (kind, -1, listener))

    def remove_watches(self, path: bytes, kind: WatcherType) -> Call:
        """The server's end of watches."""
        return Call(opcodes.REMOVE_WATCHES, encode(records.WatchesRequest(path, int(kind))), nothing, False, path)

    def ephemerals(self, path: bytes) -> Call:
        """The paths of this session's ephemerals below `path`."""
        cut = self._chroot

        def read(buf: bytes, at: int, end: int) -> list[str]:
            # The server takes the path for a mere prefix, which others than the chroot may have.
            names = [name.encode() for name in _names(buf, at, end)[0]]
            return [name[cut:].decode() for name in names if name.startswith(b"/", cut)]

        return Call(opcodes.GET_EPHEMERALS, encode(records.GetEphemeralsRequest(path)), read, False, path)

    def all_children_number(self, path: bytes) -> Call:
        """How many znodes are below."""
        return Call(opcodes.GET_ALL_CHILDREN_NUMBER, encode(records.PathRequest(path)), _number, False, path)

    def who_am_i(self) -> Call:
        """The identities that the server knows this connection by."""
        return Call(opcodes.WHO_AM_I, b"", _infos, False)

    def reconfig(self, joining: str | None, leaving: str | None, members: str | None, version: int) -> Call:
        """Another ensemble."""
        request = records.ReconfigRequest(joining, leaving, members, version)
        return Call(opcodes.RECONFIG, encode(request), _data, True)

    def multi(self, parts: Sequence[tuple[int, bytes]], decode: Callable[[bytes, int, int], Any], op: int) -> Call:
        """Several operations in one. parts: (opcode, body)."""
        head = struct.Struct(">i?i").pack
        payload = b"".join(head(code, False, -1) + body for code, body in parts) + head(-1, True, -1)
        return Call(op, payload, decode, op == opcodes.MULTI)
