"""addWatch, checkWatches, removeWatches, and setWatches after a reconnect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from corral.base.errors import MarshallingError, NoWatcher
from corral.ops.base import ReadOp, Serving
from corral.tree.node import mzxid_of, pzxid_of
from corral.tree.watches import event_frame
from corral.wire.client import AddWatchRequest, SetWatches, SetWatches2, WatchesRequest
from corral.wire.opcodes import (
    ADD_WATCH,
    CHECK_WATCHES,
    EVENT_CHILDREN_CHANGED,
    EVENT_CREATED,
    EVENT_DATA_CHANGED,
    EVENT_DELETED,
    READ,
    REMOVE_WATCHES,
    SET_WATCHES,
    SET_WATCHES2,
)
from corral.wire.schema import decoder

_NO_ZXID: Final = -1
_OK: Final = b"\0\0\0\0"
_decode_add: Final = decoder(AddWatchRequest)
_decode_watches: Final = decoder(WatchesRequest)


class AddWatch(ReadOp):
    """Mode 0 persistent, 1 persistent recursive; nothing about the path is checked."""

    code = ADD_WATCH
    name = "addWatch"
    lop = "ADDW"

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        request = _decode_add(buf, at, end)[0]
        if request.mode == 0:
            cx.watches.watch_persistent(request.path, caller)
        elif request.mode == 1:
            cx.watches.watch_recursive(request.path, caller)
        else:
            raise MarshallingError(f"watch mode {request.mode}: must be 0 or 1")
        return _OK


class CheckWatches(ReadOp):
    """Both checkWatches and removeWatches."""

    def __init__(self, code: int, removes: bool) -> None:
        self.code = code
        self.name = "removeWatches" if removes else "checkWatches"
        self.lop = "REMW" if removes else "CHKW"
        self.removes = removes

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        request = _decode_watches(buf, at, end)[0]
        if not 1 <= request.type <= 5:
            raise MarshallingError(f"watcher type {request.type}: must be 1 to 5")
        act = cx.watches.remove if self.removes else cx.watches.has
        if not act(request.path, caller, request.type):
            raise NoWatcher(request.path)
        return b""


class SetWatchesOp(ReadOp):
    """Registers a reconnected client's watches and tells at once what changed since `relative_zxid`.

    The events carry zxid -1 and leave before the reply. Of a node that the client may not read it is told nothing; the
    watch is registered, as if nothing had changed.
    """

    def __init__(self, code: int, record: type) -> None:
        self.code = code
        self.name = "setWatches2" if code == SET_WATCHES2 else "setWatches"
        self.lop = "STW2" if code == SET_WATCHES2 else "SETW"
        self._decode: Callable[[bytes, int, int], tuple[Any, int]] = decoder(record)

    def serve(self, cx: Serving, caller: Any, buf: bytes, at: int, end: int) -> bytes:
        request: Any = self._decode(buf, at, end)[0]
        lists = [request.data_watches, request.exist_watches, request.child_watches]
        if isinstance(request, SetWatches2):
            lists += [request.persistent_watches, request.persistent_recursive_watches]
        if any(paths is None for paths in lists):
            raise MarshallingError("setWatches: a list of paths is null")
        since = request.relative_zxid
        watches = cx.watches
        for path in request.data_watches:
            node = cx.nodes.get(path) or cx.root(path)
            if node is None:
                caller.notify(event_frame(EVENT_DELETED, path, _NO_ZXID))
            elif mzxid_of(node.body) > since and cx.allows(node.acl, READ, caller):
                caller.notify(event_frame(EVENT_DATA_CHANGED, path, _NO_ZXID))
            else:
                watches.watch_data(path, caller)
        for path in request.exist_watches:
            node = cx.nodes.get(path) or cx.root(path)
            if node is not None and cx.allows(node.acl, READ, caller):
                caller.notify(event_frame(EVENT_CREATED, path, _NO_ZXID))
            else:
                watches.watch_data(path, caller)
        for path in request.child_watches:
            node = cx.nodes.get(path) or cx.root(path)
            if node is None:
                caller.notify(event_frame(EVENT_DELETED, path, _NO_ZXID))
            elif pzxid_of(node.body) > since and cx.allows(node.acl, READ, caller):
                caller.notify(event_frame(EVENT_CHILDREN_CHANGED, path, _NO_ZXID))
            else:
                watches.watch_children(path, caller)
        if isinstance(request, SetWatches2):
            for path in request.persistent_watches or ():
                watches.watch_persistent(path, caller)
            for path in request.persistent_recursive_watches or ():
                watches.watch_recursive(path, caller)
        return b""


def watch_operations() -> tuple[ReadOp, ...]:
    """Return all operations on watches."""
    return (
        AddWatch(),
        CheckWatches(CHECK_WATCHES, removes=False),
        CheckWatches(REMOVE_WATCHES, removes=True),
        SetWatchesOp(SET_WATCHES, SetWatches),
        SetWatchesOp(SET_WATCHES2, SetWatches2),
    )
