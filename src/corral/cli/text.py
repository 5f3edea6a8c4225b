"""Znodes as text and as JSON: access lists, stats, data. One place for the shell, export and import."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Sequence
from typing import Any, Final

from corral.base.ids import session_hex, zxid_hex
from corral.cli.failures import UsageError
from corral.client.values import ZnodeStat
from corral.wire.data import ACL
from corral.wire.opcodes import ADMIN, CREATE_PERM, DELETE_PERM, READ, WRITE

PERMISSIONS: Final = {"c": CREATE_PERM, "d": DELETE_PERM, "r": READ, "w": WRITE, "a": ADMIN}
_ENTRY: Final = re.compile(r"(?P<scheme>[^:]+):(?P<id>.*):(?P<perms>[cdrwa]*)\Z", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_RULE: Final = "+--------+" + "-" * 49 + "+" + "-" * 16 + "+"


def permissions_text(perms: int) -> str:
    """Spell permission bits in ZooKeeper's order, such as `cdrwa`."""
    return "".join(letter for letter, bit in PERMISSIONS.items() if perms & bit)


def acl_text(entry: ACL) -> str:
    """Spell an entry as `scheme:id:permissions`."""
    return f"{entry.scheme}:{entry.id}:{permissions_text(entry.perms)}"


def parse_acl(text: str) -> list[ACL]:
    """Read entries `scheme:id:permissions` with commas between; an id may have commas itself. Raises UsageError."""
    found = []
    pending = ""
    for part in text.split(","):
        pending = f"{pending},{part}" if pending else part
        entry = _ENTRY.match(pending)
        if entry is not None:
            perms = sum({PERMISSIONS[letter] for letter in entry["perms"]})
            found.append(ACL(perms, entry["scheme"], entry["id"]))
            pending = ""
    if pending or not found:
        raise UsageError(
            f"{pending!r} is no entry of an access list; write scheme:id:permissions, with permissions out of cdrwa, "
            "such as world:anyone:r"
        )
    return found


def acl_json(acl: Sequence[ACL]) -> list[str]:
    """Return an access list as JSON has it."""
    return [acl_text(entry) for entry in acl]


def data_json(data: bytes) -> dict[str, str]:
    """Return data as JSON has it: text as `data`, all else as `data_base64`."""
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def data_text(data: bytes, is_terminal: bool) -> str:
    """Return data as text; what would command a terminal is spelled out for one."""
    text = data.decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text) if is_terminal else text


def stat_text(stat: ZnodeStat) -> str:
    """Spell a stat as zkCli does, with times of the local zone."""
    return "\n".join((
        f"cZxid = {zxid_hex(stat.czxid)}",
        f"ctime = {_time_text(stat.ctime)}",
        f"mZxid = {zxid_hex(stat.mzxid)}",
        f"mtime = {_time_text(stat.mtime)}",
        f"pZxid = {zxid_hex(stat.pzxid)}",
        f"cversion = {stat.cversion}",
        f"dataVersion = {stat.version}",
        f"aclVersion = {stat.aversion}",
        f"ephemeralOwner = {session_hex(stat.ephemeral_owner)}",
        f"dataLength = {stat.data_length}",
        f"numChildren = {stat.num_children}",
    ))  # fmt: skip


def stat_json(stat: ZnodeStat) -> dict[str, Any]:
    """Return a stat as JSON has it: the names of `ZnodeStat`, zxids and the owner in hex."""
    fields: dict[str, Any] = stat._asdict()
    for name in ("czxid", "mzxid", "pzxid"):
        fields[name] = zxid_hex(fields[name])
    fields["ephemeral_owner"] = session_hex(stat.ephemeral_owner)
    return fields


def _time_text(millis: int) -> str:
    """Spell a time as Java's Date does."""
    return time.strftime("%a %b %d %H:%M:%S %Z %Y", time.localtime(millis / 1000))


def hexdump(data: bytes) -> str:
    """Spell data as a table of 16 bytes a line, as zkCli's `get -x` does; nothing for nothing."""
    if not data:
        return ""
    lines = [
        " " * 9 + "+" + "-" * 49 + "+",
        " " * 9 + "|" + "".join(f"  {digit:x}" for digit in range(16)) + " |",
        _RULE,
    ]
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"|{at:08x}|{''.join(f' {byte:02x}' for byte in row):<48} |{letters:<16}|")
    return "\n".join([*lines, _RULE])
