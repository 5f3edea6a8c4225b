"""Throughput and latency of ten loads, ours beside Apache's."""

from __future__ import annotations

import statistics
from typing import Any

import tools
from report import Table
from servers import APACHE, CORRAL, KINDS, Server

# What a load is: operation, connections, requests in flight on each. And how many times Apache's throughput we demand.
FLOORS = {
    "get 1 1": 1.3,
    "get 16 1": 2.0,
    "get 16 32": 2.5,
    "exists 64 1": 1.6,
    "set 1 1": 1.2,
    "set 16 1": 1.5,
    "set 16 32": 1.0,
    "create 16 32": 1.2,
    "mix90 16 8": 2.0,
    "mix90 200 1": 1.6,
}
BYTES = 100
WARM_UP = "mix90 16 8"
WARM_UP_S = 4.0

Sample = dict[str, Any]


def measure(chosen: list[str], seconds: float, rounds: int) -> Table:
    """Run the chosen loads. Each round starts both servers afresh; figures are medians of the rounds."""
    samples: dict[tuple[str, str], list[Sample]] = {(load, kind): [] for load in chosen for kind in KINDS}
    for turn in range(rounds):
        for kind in KINDS if turn % 2 == 0 else KINDS[::-1]:
            with Server(kind) as server:
                _run(server, WARM_UP, min(seconds, WARM_UP_S))
                for load in chosen:
                    sample = _run(server, load, seconds)
                    samples[load, kind].append(sample)
                    print(f"  round {turn + 1}  {kind:6}  {load:12}  {sample['ops_s']:>9,.0f}/s", flush=True)
    return _table(chosen, samples)


def _run(server: Server, load: str, seconds: float) -> Sample:
    operation, connections, window = load.split()
    lines = tools.run(
        "load", "127.0.0.1", server.port, operation, connections, window, seconds, BYTES, timeout_s=60 + 2 * seconds
    )
    return lines[0]


def _table(chosen: list[str], samples: dict[tuple[str, str], list[Sample]]) -> Table:
    table = Table(
        "Loads",
        ("load", "Apache /s", "p99 us", "Corral /s", "p99 us", "ratio", "floor", "errors", ""),
        "A load is an operation, so many connections and so many requests in flight on each; values of 100 bytes over "
        "1000\nnodes. The floor is on the ratio of throughputs; besides, p99 may not be worse than Apache's.\n",
        partial="" if len(chosen) == len(FLOORS) else f"{len(chosen)} of {len(FLOORS)} loads",
    )
    for load in chosen:
        theirs, ours = samples[load, APACHE], samples[load, CORRAL]
        ratio = _median(ours, "ops_s") / max(1.0, _median(theirs, "ops_s"))
        theirs_p99, ours_p99 = _median(theirs, "p99_us"), _median(ours, "p99_us")
        errors = sum(sample["errors"] for sample in ours)
        table.add(
            ratio >= FLOORS[load] and ours_p99 <= theirs_p99 and errors == 0,
            load,
            f"{_median(theirs, 'ops_s'):,.0f}",
            f"{theirs_p99:,.0f}",
            f"{_median(ours, 'ops_s'):,.0f}",
            f"{ours_p99:,.0f}",
            f"{ratio:.2f}",
            f"{FLOORS[load]:.1f}",
            str(errors),
        )
    return table


def _median(samples: list[Sample], name: str) -> float:
    return float(statistics.median(sample[name] for sample in samples))
