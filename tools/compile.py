"""Compile the modules named in pyproject.toml under [tool.corral.compiled] with mypyc, into build/compiled.

The whole package is copied there, so that build/compiled on PYTHONPATH stands in for the source: compiled where a
module is listed, plain Python elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "compiled"
SETUP = """\
from mypyc.build import mypycify
from setuptools import setup

setup(name="corral-compiled", packages=[], ext_modules=mypycify({files!r}, opt_level="3"))
"""


def main() -> int:
    """Compile; return the process's exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    modules: list[str] = project["tool"]["corral"]["compiled"]["modules"]
    if not modules:
        print("nothing to compile: pyproject.toml lists no modules under [tool.corral.compiled]", file=sys.stderr)
        return 1
    files = [module.replace(".", "/") + ".py" for module in modules]
    missing = [name for name in files if not (ROOT / "src" / name).is_file()]
    if missing:
        print(f"no such modules: {', '.join(missing)}", file=sys.stderr)
        return 1
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "corral", TARGET / "corral", ignore=shutil.ignore_patterns("__pycache__"))
    (TARGET / "setup.py").write_text(SETUP.format(files=["--strict", *files]))
    environment = {**os.environ, "MYPYPATH": str(TARGET)}
    print(f"compiling {len(files)} modules; this takes a minute", flush=True)
    built = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=TARGET, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if built.returncode != 0:
        # Shown only here: a build that succeeds has warnings too, of what is merely not as fast as could be.
        print(built.stdout, file=sys.stderr)
        return built.returncode
    print(f"compiled into {TARGET.relative_to(ROOT)}: put that on PYTHONPATH to use it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
