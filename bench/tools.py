"""The measuring programs written in C: built from their sources into build/bench, and run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from servers import BenchError

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "bench"


def build() -> None:
    """Compile what is older than its source. Raises BenchError."""
    if shutil.which("gcc") is None:
        raise BenchError("gcc was not found, and the load generators are written in C: install gcc")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("load", "herd"):
        source, program = HERE / f"{name}.c", BUILD / name
        if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
            continue
        command = ["gcc", "-O2", "-w", "-o", str(program), str(source), "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"gcc could not compile {source}:\n{done.stderr}")


def run(name: str, *arguments: object, timeout_s: float) -> list[dict[str, Any]]:
    """Run a program; return the JSON lines that it printed. Raises BenchError if it fails or takes too long."""
    command = [str(BUILD / name), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command)} did not end within {timeout_s:.0f} s") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]
