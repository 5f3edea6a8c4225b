"""Reads a whole tree over the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support import jute
from tests.support.jute import Op
from tests.support.raw import RawSession


def walk(
    session: RawSession, normal: Callable[[Any], Any] = lambda value: value, path: bytes = b"/"
) -> dict[bytes, Any]:
    """Read data, Stat and access list of a node and of all below it; errors stand where it may not be read."""
    found: dict[bytes, Any] = {path: ()}
    for op, body in ((Op.GET_DATA, jute.get_data(path)), (Op.GET_ACL, jute.get_acl(path))):
        reply = session.call(op, body)
        found[path] += ((reply.err, None if reply.err else normal(reply.read(op))),)
    names = session.call(Op.GET_CHILDREN, jute.get_children(path))
    for name in [] if names.err else names.read(Op.GET_CHILDREN):
        found.update(walk(session, normal, path.rstrip(b"/") + b"/" + name))
    return found
