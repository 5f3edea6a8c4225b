"""The examples of docs/shell.md, run as they stand."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.servers import Process

PAGE = Path(__file__).parents[2] / "docs" / "shell.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Return the page's commands, each with what it shows."""
    found = []
    for block in _BLOCK.findall(PAGE.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


def test_the_examples_show_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "corral"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m corral "$@"\n')
    program.chmod(0o755)
    compare = doctest.OutputChecker().check_output
    wrong = []

    with Process("corral", tmp_path / "server") as server:
        env = os.environ | {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "CORRAL_CONNECT": f"127.0.0.1:{server.port}",
        }
        for command, shown in examples():
            done = subprocess.run(
                ["sh", "-c", f"exec 2>&1; {command}"], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            if not compare(shown, done.stdout, doctest.ELLIPSIS):
                wrong.append(f"$ {command}\nthe page:\n{shown}\nthe command:\n{done.stdout}")

    assert len(examples()) > 10
    assert wrong == [], "\n".join(wrong)
