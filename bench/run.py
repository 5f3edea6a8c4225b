"""Measure Corral beside Apache ZooKeeper: throughput and latency, memory and restart, a herd; our client beside kazoo.

Prints tables with the floors beside what was measured, and writes RESULTS.md. Exit code: 0 if every floor was met, 1 if
one was missed, 2 if nothing could be measured; then RESULTS.md stays as it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import clients
import herds
import loads
import memory
import report
import tools
from servers import BenchError, require_apache, require_build

SECTIONS = ("loads", "memory", "herd", "clients")
RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
BUILD = Path(__file__).resolve().parent.parent / "build" / "compiled"


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    chosen = _arguments()
    before = os.getloadavg()[0]
    try:
        if set(chosen.only) != {"clients"}:
            require_apache()
            tools.build()
        if chosen.compiled is not None and "loads" in chosen.only:
            require_build(chosen.compiled)
        if "herd" in chosen.only:
            herds.require_files(chosen.herds)
        tables = [_section(section, chosen) for section in SECTIONS if section in chosen.only]
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print()
    for table in tables:
        print(table.text())
    left_out = [section for section in SECTIONS if section not in chosen.only]
    settings = (
        f"{chosen.seconds:g} s a load, {chosen.rounds} rounds, {chosen.znodes:,} znodes, herds of "
        f"{' and '.join(f'{size:,}' for size in chosen.herds)}"
    )
    report.write(chosen.output, tables, left_out, settings, before)
    print(f"written to {chosen.output}")
    return 0 if all(table.is_met for table in tables) else 1


def _section(section: str, chosen: argparse.Namespace) -> report.Table:
    print(f"{section}:", flush=True)
    if section == "loads":
        return loads.measure(chosen.loads, chosen.seconds, chosen.rounds, chosen.compiled)
    if section == "memory":
        return memory.measure(chosen.znodes)
    if section == "clients":
        return clients.measure(chosen.seconds, chosen.rounds)
    return herds.measure(chosen.herds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="the sections to run")
    parser.add_argument("--loads", nargs="+", choices=loads.FLOORS, default=list(loads.FLOORS), metavar="LOAD",
                        help=f"the loads to run, each in quotes: {', '.join(loads.FLOORS)}")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load runs")
    parser.add_argument("--rounds", type=int, default=3, help="how often each load runs")
    parser.add_argument("--znodes", type=int, default=memory.ZNODES, help="how many znodes are weighed")
    parser.add_argument("--herds", type=int, nargs="+", default=list(herds.STAMPEDE_S_MAX), metavar="SESSIONS",
                        help="how large the herds are")  # fmt: skip
    parser.add_argument("--compiled", type=Path, default=BUILD if BUILD.is_dir() else None, metavar="DIRECTORY",
                        help="a compiled build whose loads are shown too; build/compiled if it is there")  # fmt: skip
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results are written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
