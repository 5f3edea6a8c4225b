"""The names of logs and snapshots: `log.<hex zxid>`, `snapshot.<hex zxid>[.gz|.snappy]`."""

from __future__ import annotations


def log_name(zxid: int) -> str:
    """Name the log whose first transaction is `zxid`."""
    return f"log.{zxid & 0xFFFFFFFFFFFFFFFF:x}"


def snapshot_name(zxid: int, suffix: str = "") -> str:
    """Name the snapshot begun at `zxid`. suffix: "", ".gz" or ".snappy"."""
    return f"snapshot.{zxid & 0xFFFFFFFFFFFFFFFF:x}{suffix}"


def log_zxid(name: str) -> int:
    """Return the zxid of a log's name, -1 if it is no log's."""
    return _zxid(name, "log")


def snapshot_zxid(name: str) -> int:
    """Return the zxid of a snapshot's name, -1 if it is no snapshot's."""
    return _zxid(name, "snapshot")


def _zxid(name: str, kind: str) -> int:
    parts = name.split(".")
    if len(parts) < 2 or parts[0] != kind or not parts[1] or parts[1].strip("0123456789abcdefABCDEF"):
        return -1
    zxid = int(parts[1], 16)
    return zxid if zxid < 1 << 63 else -1
