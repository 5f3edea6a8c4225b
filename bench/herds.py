"""A herd: thousands of sessions that connect, are cut off together, come back together, and expire together."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import tools
from report import Table
from servers import APACHE, KINDS, BenchError, Server

# How long the stampede may take, in seconds, by the number of sessions.
STAMPEDE_S_MAX = {10_000: 2.0, 18_000: 5.0}
PROBE_MS_MAX = 100.0
TIMEOUT_MS = 10_000
WATCHES = 10
SPARE_FILES = 500
HERD_S_MAX = 600.0
PORTS_WAIT_S = 90.0
PORTS_HELD_MAX = 500


def require_files(sizes: list[int]) -> None:
    """Raise BenchError where the system does not allow so many open files."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    need = max(sizes) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < need:
        raise BenchError(
            f"a herd of {max(sizes)} needs {need} open files and the hard limit is {hard}: raise it (ulimit -Hn), or "
            "choose a smaller one with --herds"
        )


def measure(sizes: list[int]) -> Table:
    """Let each herd loose on both servers."""
    left_out = [size for size in STAMPEDE_S_MAX if size not in sizes]
    table = Table(
        "Herd",
        ("server", "sessions", "phase", "seconds", "at most", "lost", "probe p50 us", "worst ms", "at most", ""),
        f"Sessions with a timeout of {TIMEOUT_MS} ms, an ephemeral node and {WATCHES} watches each. connect: all come. "
        "steady: 5 s of\nheartbeats. stampede: half of them are cut off and come back at once with their watches. "
        "expiry: that half is cut\noff for good, until its nodes are gone. A probe of its own session reads every 2 ms "
        "meanwhile.\n",
        partial=f"without {' and '.join(f'{size:,}' for size in left_out)} sessions" if left_out else "",
    )
    for size in sizes:
        for kind in KINDS:
            _let_ports_go()
            with Server(kind) as server:
                phases = tools.run("herd", "127.0.0.1", server.port, size, TIMEOUT_MS, WATCHES, timeout_s=HERD_S_MAX)
            for phase in phases:
                _add(table, kind, size, phase)
            print(f"  {kind:6}  {size:,} sessions  {len(phases)} phases", flush=True)
    return table


def _let_ports_go() -> None:
    """Wait until the system has given up the ports of closed connections: a herd that finds few is slow by itself."""
    until = time.monotonic() + PORTS_WAIT_S
    while time.monotonic() < until:
        sockets = Path("/proc/net/sockstat").read_text(encoding="ascii").split()
        if "tw" not in sockets or int(sockets[sockets.index("tw") + 1]) < PORTS_HELD_MAX:
            return
        time.sleep(1.0)


def _add(table: Table, kind: str, size: int, phase: dict[str, Any]) -> None:
    is_stampede = phase["phase"] == "stampede"
    most = STAMPEDE_S_MAX.get(size, max(STAMPEDE_S_MAX.values()))
    lost = phase["sessions_lost"] + phase["probe_failures"] + _missing(phase, size)
    is_met = lost == 0 and phase["probe_worst_ms"] < PROBE_MS_MAX
    is_met = is_met and not (is_stampede and phase["seconds"] > most)
    is_apache = kind == APACHE
    table.add(
        is_met or is_apache,
        "Apache" if is_apache else "Corral",
        f"{size:,}",
        phase["phase"],
        f"{phase['seconds']:.2f}",
        f"{most:.0f}" if is_stampede and not is_apache else "",
        str(lost),
        str(phase["probe_p50_us"]),
        f"{phase['probe_worst_ms']:.1f}",
        "" if is_apache else f"{PROBE_MS_MAX:.0f}",
    )
    if is_apache:
        table.rows[-1] = (*table.rows[-1][:-1], "")


def _missing(phase: dict[str, Any], size: int) -> int:
    """Return how many sessions a phase ended without, that nobody called lost."""
    if "established" in phase:
        return size - int(phase["established"]) - int(phase["sessions_lost"])
    if "reestablished" in phase:
        return (size + 1) // 2 - int(phase["reestablished"]) - int(phase["sessions_lost"])
    if "survivors_up" in phase:
        up, _, all_of_them = phase["survivors_up"].partition(" of ")
        return int(all_of_them) - int(up)
    return 0
