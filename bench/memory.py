"""Memory a znode costs, and the time from a restart to the first read."""

from __future__ import annotations

import time
from collections.abc import Iterator

from client import Client
from report import Table
from servers import APACHE, CORRAL, KINDS, Server

ZNODES = 1_000_000
BYTES = 100
PER_PARENT = 1000
BYTES_PER_ZNODE_MAX = 450


def measure(znodes: int) -> Table:
    """Fill both servers with znodes of 100 bytes, weigh them, restart them."""
    table = Table(
        "Memory and restart",
        ("server", "znodes", "bytes a znode", "at most", "measured as", "creates /s", "restart s", "at most", ""),
        "Restart: a stop by SIGTERM, then from the start of the process to the first read of the last node. Ours is at "
        "most\nApache's.\n",
        partial="" if znodes == ZNODES else f"{znodes:,} znodes instead of {ZNODES:,}",
    )
    restart_s: dict[str, float] = {}
    for kind in KINDS:
        with Server(kind) as server:
            empty, _ = server.live_bytes()
            began = time.monotonic()
            with Client(server.port) as client:
                made = client.create_all(_paths(znodes), bytes(BYTES))
            took = time.monotonic() - began
            live, how = server.live_bytes()
            each = (live - empty) / made
            server.stop()
            began = time.monotonic()
            server.start()
            server.wait_until_serving(_path(znodes - 1))
            restart_s[kind] = time.monotonic() - began
        print(f"  {kind:6}  {each:,.0f} bytes a znode, restart {restart_s[kind]:.2f} s", flush=True)
        is_met = kind == APACHE or (each <= BYTES_PER_ZNODE_MAX and restart_s[CORRAL] <= restart_s[APACHE])
        table.add(
            is_met,
            "Apache" if kind == APACHE else "Corral",
            f"{made:,}",
            f"{each:,.0f}",
            "" if kind == APACHE else str(BYTES_PER_ZNODE_MAX),
            how,
            f"{made / took:,.0f}",
            f"{restart_s[kind]:.2f}",
            "" if kind == APACHE else f"{restart_s[APACHE]:.2f}",
        )
    return _unjudged(table)


def _unjudged(table: Table) -> Table:
    """Take the verdict off Apache's row: the floors are ours."""
    table.rows = [(*row[:-1], "") if row[0] == "Apache" else row for row in table.rows]
    return table


def _path(number: int) -> str:
    return f"/m/{number // PER_PARENT:06d}/node-{number:08d}"


def _paths(znodes: int) -> Iterator[str]:
    yield "/m"
    for number in range(znodes):
        if number % PER_PARENT == 0:
            yield f"/m/{number // PER_PARENT:06d}"
        yield _path(number)
