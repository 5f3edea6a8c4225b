"""Throughput and latency of ten loads, ours beside Apache's."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tools
from report import Table
from servers import APACHE, COMPILED, CORRAL, KINDS, Server

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
SETTLE_S = 0.5

Sample = dict[str, Any]


def measure(chosen: list[str], seconds: float, rounds: int, build: Path | None = None) -> Table:
    """Run the chosen loads. Each round starts all servers afresh; figures are medians of the rounds.

    All servers run, and each load goes to one after the other: a machine that others use as well is quicker at one time
    than at another, and so each is compared with what was measured seconds before or after. build: the directory of a
    compiled build to measure as well.
    """
    kinds = KINDS if build is None else (*KINDS, COMPILED)
    samples: dict[tuple[str, str], list[Sample]] = {(load, kind): [] for load in chosen for kind in kinds}
    for turn in range(rounds):
        with ExitStack() as stack:
            servers = [stack.enter_context(Server(kind, build)) for kind in kinds]
            for server in servers:
                _run(server, WARM_UP, min(seconds, WARM_UP_S))
            for load in chosen:
                for server in servers if turn % 2 == 0 else servers[::-1]:
                    # The one before may have a snapshot to finish.
                    time.sleep(SETTLE_S)
                    sample = _run(server, load, seconds)
                    samples[load, server.kind].append(sample)
                    print(f"  round {turn + 1}  {server.kind:8}  {load:12}  {sample['ops_s']:>9,.0f}/s", flush=True)
    return _table(chosen, samples, build is not None)


def _run(server: Server, load: str, seconds: float) -> Sample:
    operation, connections, window = load.split()
    lines = tools.run(
        "load", "127.0.0.1", server.port, operation, connections, window, seconds, BYTES, timeout_s=60 + 2 * seconds
    )
    return lines[0]


def _table(chosen: list[str], samples: dict[tuple[str, str], list[Sample]], is_compiled_too: bool) -> Table:
    table = Table(
        "Loads",
        ("load", "Apache /s", "p99 us", "Corral /s", "p99 us", "ratio", "floor",
         *(("compiled /s", "p99 us", "ratio") if is_compiled_too else ()), "errors", ""),
        "A load is an operation, so many connections and so many requests in flight on each; values of 100 bytes over "
        "1000\nnodes. The floor is on the ratio of throughputs; besides, p99 may not be worse than Apache's.\n"
        + ("The compiled build is shown beside and meets no floor; its errors count.\n" if is_compiled_too else ""),
        partial="" if len(chosen) == len(FLOORS) else f"{len(chosen)} of {len(FLOORS)} loads",
    )  # fmt: skip
    for load in chosen:
        theirs, ours, compiled = samples[load, APACHE], samples[load, CORRAL], samples.get((load, COMPILED), [])
        base = max(1.0, _median(theirs, "ops_s"))
        ratio = _median(ours, "ops_s") / base
        errors = sum(sample["errors"] for sample in ours + compiled)
        table.add(
            ratio >= FLOORS[load] and _median(ours, "p99_us") <= _median(theirs, "p99_us") and errors == 0,
            load,
            *_figures(theirs),
            *_figures(ours),
            f"{ratio:.2f}",
            f"{FLOORS[load]:.1f}",
            *((*_figures(compiled), f"{_median(compiled, 'ops_s') / base:.2f}") if is_compiled_too else ()),
            str(errors),
        )
    return table


def _figures(samples: list[Sample]) -> tuple[str, str]:
    return f"{_median(samples, 'ops_s'):,.0f}", f"{_median(samples, 'p99_us'):,.0f}"


def _median(samples: list[Sample], name: str) -> float:
    return float(statistics.median(sample[name] for sample in samples))
