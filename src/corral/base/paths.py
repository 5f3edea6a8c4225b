"""Znode paths, as the UTF-8 bytes they travel and are stored as.

Bytes, not str: a path is a dictionary key far more often than it is text, needs no decoding on the way in,
and takes 16 bytes less a node.
"""

from __future__ import annotations

import re
from typing import Final

from corral.base.errors import BadArguments

ROOT: Final = b"/"
ZOOKEEPER: Final = b"/zookeeper"
QUOTA: Final = b"/zookeeper/quota"
CONFIG: Final = b"/zookeeper/config"
SYSTEM_PATHS: Final = (ROOT, ZOOKEEPER, QUOTA, CONFIG)

# Printable ASCII without a component that starts with a dot: such a path has no fault.
_PLAIN: Final = re.compile(rb"(?:/[ -\-0-~][ -.0-~]*)+\Z").match
match_plain_name: Final = re.compile(rb"[ -\-0-~][ -.0-~]*\Z").match
"""Of (path, where its last name begins): matches, without much ado, a name that has no fault, as most have none."""
_FORBIDDEN: Final = re.compile(r"[\u0000-\u001f\u007f-\u009f\ud800-\uf8ff\ufff0-\uffff]").search


def parent_of(path: bytes) -> bytes:
    """Return the parent's path; the root's own parent is the root."""
    return path[: path.rfind(b"/")] or ROOT


def child_path(parent: bytes, name: bytes) -> bytes:
    """Join a parent's path and a child's name."""
    return b"/" + name if parent == ROOT else parent + b"/" + name


def validate_path(path: bytes) -> None:
    """Refuse what is no path of a znode, naming the fault.

    Raises BadArguments. Source: ZooKeeper PathUtils.validatePath.
    """
    if _PLAIN(path) is not None or path == ROOT:
        return
    fault = _fault(path)
    if fault is not None:
        raise BadArguments(f"invalid path {path.decode('utf-8', 'backslashreplace')!r}: {fault}")


def _fault(path: bytes) -> str | None:
    if not path:
        return "it is empty"
    if path[0] != 0x2F:
        return "it must start with /"
    if path.endswith(b"/"):
        return "it must not end with /"
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return "it is not UTF-8"
    for part in text.split("/")[1:]:
        if not part:
            return "it has an empty component"
        if part in (".", ".."):
            return f"it has the relative component {part}"
    bad = _FORBIDDEN(text)
    if bad is not None:
        return f"it has the forbidden character U+{ord(bad.group()):04X}"
    return _fault_outside_bmp(text)


def _fault_outside_bmp(text: str) -> str | None:
    for char in text:
        if ord(char) > 0xFFFF:
            return f"it has the forbidden character U+{ord(char):04X}"
    return None
