"""What was measured, as tables: on the terminal and in RESULTS.md."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from servers import ZK_JVM, ZK_LIB


@dataclass
class Table:
    """One section's results. is_met: whether every floor in it is. partial: what of the section was left out, or ""."""

    title: str
    head: tuple[str, ...]
    notes: str
    rows: list[tuple[str, ...]] = field(default_factory=list)
    is_met: bool = True
    partial: str = ""

    def add(self, is_met: bool, *cells: str) -> None:
        """Add a row; its verdict is the last column."""
        self.rows.append((*cells, "met" if is_met else "MISSED"))
        self.is_met = self.is_met and is_met

    def text(self) -> str:
        """Return the table for a terminal."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(self.head))]
        shown = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.title, *shown, ""])

    def markdown(self) -> str:
        """Return the table as a section of a document."""
        lines = [self.head, ("---:",) * len(self.head), *self.rows]
        notes = f"{self.notes}\nPartial: {self.partial}.\n" if self.partial else self.notes
        return "\n".join([f"## {self.title}", notes, *(f"| {' | '.join(line)} |" for line in lines), ""])


def write(path: Path, tables: list[Table], left_out: list[str], settings: str, load_before: float) -> None:
    """Write the results with what they were measured on. left_out: the sections that were not run."""
    parts = [f"{table.title} ({table.partial})" if table.partial else table.title for table in tables]
    if left_out or any(table.partial for table in tables):
        scope = f"A partial run. Measured: {'; '.join(parts)}."
        scope += f" Not measured: {', '.join(left_out)}." if left_out else ""
    else:
        scope = "A complete run: every section, every load."
    facts = "\n".join(f"- {name}: {value}" for name, value in _machine().items())
    head = f"""# Beside Apache ZooKeeper

{scope}

Both servers were measured in the same run, one at a time and in turn, with the same configuration and the same load
generators. `make bench` repeats it. "Floor" is what the project demands of itself.

{facts}
- load average before and after: {load_before:.2f}, {os.getloadavg()[0]:.2f}
- settings: {settings}
"""
    path.write_text("\n".join([head, *(table.markdown() for table in tables)]))


def _machine() -> dict[str, str]:
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{cpu[1].strip() if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "file system of the data": _file_system(tempfile.gettempdir()),
        "Python": platform.python_version(),
        "Java": f"{java[0] if java else 'unknown'}, flags `{ZK_JVM}`",
        "Apache ZooKeeper": _apache_version(),
    }


def _file_system(path: str) -> str:
    """Return the type of the file system that a path is on."""
    real = os.path.realpath(path)
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, point, found, *_ = line.split(" ")
        if len(point) >= len(best) and (real + "/").startswith(point.rstrip("/") + "/"):
            best, kind = point, found
    return kind


def _apache_version() -> str:
    """Return what the jars are named for; Debian's are links to such a name or stand beside one."""
    for entry in ZK_LIB.split(":"):
        path = Path(entry)
        for jar in [path.resolve(), *sorted(path.parent.glob("zookeeper-*.jar"))]:
            found = re.fullmatch(r"zookeeper-(\d+\.\d+\.\d+.*)\.jar", jar.name)
            if found:
                return found[1]
    return "unknown"
