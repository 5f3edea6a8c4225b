"""Our client beside kazoo, both on one Corral server."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
from pathlib import Path

import locks
from report import Table
from servers import CORRAL, BenchError, Server

# What a load is, and how many times kazoo's throughput we demand.
FLOORS = {"threads 1": 2.5, "threads 16": 5.0, "flight 100": 10.0}
NAMES = {
    "threads 1": "get, 1 thread",
    "threads 16": "get, 16 threads",
    "flight 100": "get, 100 in flight",
}
WATCHES = 30_000
WATCHES_S_MAX = 1.0
CONTENDERS = 100
HANDOVER_MS_MAX = 3.0


def measure(seconds: float, rounds: int) -> Table:
    """Run the loads with both clients in turn, in processes of their own; figures are medians of the rounds."""
    samples: dict[tuple[str, str], list[float]] = {}
    with Server(CORRAL) as server:
        for turn in range(rounds):
            for load in FLOORS:
                for client in ("kazoo", "corral") if turn % 2 == 0 else ("corral", "kazoo"):
                    figure = _run(client, load, server.port, seconds)
                    samples.setdefault((load, client), []).append(figure)
                    print(f"  round {turn + 1}  {client:6}  {NAMES[load]:18}  {figure:>9,.0f}/s", flush=True)
            figure = _run("corral", f"watches {WATCHES}", server.port, seconds)
            samples.setdefault(("watches", "corral"), []).append(figure)
            print(f"  round {turn + 1}  corral  {WATCHES:,} watches again  {figure:.2f} s", flush=True)
            median_ms, events = asyncio.run(_handovers(server.port))
            samples.setdefault(("lock ms", "corral"), []).append(median_ms)
            samples.setdefault(("lock events", "corral"), []).append(events)
            print(f"  round {turn + 1}  corral  hand-over {median_ms:.2f} ms, {events:.2f} watch events", flush=True)
    return _table(samples)


async def _handovers(port: int) -> tuple[float, float]:
    """Return the median of a lock's hand-overs in ms, and the watch events of each."""
    times, events = await locks.measure(f"127.0.0.1:{port}", CONTENDERS)
    return statistics.median(times), events


def _run(client: str, load: str, port: int, seconds: float) -> float:
    script = Path(__file__).resolve().parent / "clientload.py"
    source = script.parent.parent / "src"
    others = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": f"{others}{os.pathsep}{source}" if others else str(source)}
    done = subprocess.run(
        [sys.executable, str(script), client, *load.split(), str(port), str(seconds)],
        capture_output=True, text=True, env=environment, timeout=60 + 2 * seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"{client} did not get through {load}:\n{done.stderr.strip()[-2000:]}")
    return float(done.stdout.split()[-1])


def _table(samples: dict[tuple[str, str], list[float]]) -> Table:
    table = Table(
        "Clients",
        ("load", "kazoo", "Corral", "ratio", "floor", ""),
        f"Both clients on one Corral server, a znode of 100 bytes; asyncio on uvloop, kazoo's reads in flight by "
        f"get_async.\nWatches: from a cut until {WATCHES:,} of them, with names of 120 characters, stand again.\n",
    )
    for load, floor in FLOORS.items():
        theirs, ours = (statistics.median(samples[load, client]) for client in ("kazoo", "corral"))
        ratio = ours / max(theirs, 1.0)
        table.add(ratio >= floor, NAMES[load], f"{theirs:,.0f}/s", f"{ours:,.0f}/s", f"{ratio:.2f}", f"{floor:.1f}")
    took = statistics.median(samples["watches", "corral"])
    table.add(took <= WATCHES_S_MAX, f"{WATCHES:,} watches again", "", f"{took:.2f} s", "", f"{WATCHES_S_MAX:.1f} s")
    took_ms = statistics.median(samples["lock ms", "corral"])
    events = max(samples["lock events", "corral"])
    name = f"hand-over of a lock, {CONTENDERS} contenders"
    table.add(took_ms <= HANDOVER_MS_MAX, name, "", f"{took_ms:.2f} ms", "", f"{HANDOVER_MS_MAX:.1f} ms")
    table.add(events <= 1.0, "watch events each", "", f"{events:.2f}", "", "1")
    return table
