"""The pytest plugin as its users meet it: a pytest of its own, and the examples of docs/testing.md as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)


def run_pytest(directory: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", *options]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


# An installed package is found by its entry point; without one, it is named as that would name it.
IS_INSTALLED = any(each.value == "corral.testing.pytest11" for each in entry_points(group="pytest11"))
FOUND = () if IS_INSTALLED else ("-p", "corral.testing.pytest11")


@pytest.mark.parametrize("options", [FOUND, ("-p", "corral.testing.plugin", *FOUND)])
def test_the_documented_tests_pass(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_documented.py").write_text(EXAMPLES[0])

    said = run_pytest(tmp_path, *options)

    assert f"{EXAMPLES[0].count('def test_')} passed" in said, said


def test_the_documented_script_runs(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EXAMPLES[1]], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.startswith("127.0.0.1:")


def test_the_plugin_loads_nothing_until_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_unused.py").write_text(
        "import sys\n"
        "def test_unused():\n"
        "    loaded = {name for name in sys.modules if name.startswith(('corral', 'uvloop', 'structlog'))}\n"
        "    loaded.discard('corral.testing.pytest11')\n"
        "    assert loaded == {'corral', 'corral.testing', 'corral.testing.plugin'}\n"
    )

    assert "1 passed" in (said := run_pytest(tmp_path, "-p", "corral.testing.plugin")), said


def test_the_client_is_connected_and_closed(tmp_path: Path) -> None:
    (tmp_path / "test_client.py").write_text(
        "def test_client(zookeeper, zookeeper_client):\n"
        "    zookeeper_client.create('/a', b'1', ephemeral=True)\n"
        "    assert zookeeper_client.get('/a')[0] == b'1'\n"
        "    assert zookeeper_client.session_id in zookeeper.session_ids()\n"
    )

    assert "1 passed" in (said := run_pytest(tmp_path, "-p", "corral.testing.plugin")), said


def test_the_shared_server_is_one(tmp_path: Path) -> None:
    (tmp_path / "test_shared.py").write_text(
        "ports = set()\n"
        "def test_one(zookeeper_shared):\n    ports.add(zookeeper_shared.port)\n"
        "def test_other(zookeeper_shared):\n    assert ports == {zookeeper_shared.port}\n"
    )

    assert "2 passed" in (said := run_pytest(tmp_path, "-p", "corral.testing.plugin")), said
