"""The systemd unit: systemd's own check, and what it has to agree on with the server."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from corral.server.main import EXIT_DISK, EXIT_REFUSED

UNIT = Path(__file__).parents[2] / "packaging" / "corral.service"


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their spelling
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def test_systemd_has_nothing_to_say_of_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    # The command need not be installed where the tests run; some other that is there takes its place.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/corral", sys.executable))

    checked = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )

    assert [line for line in checked.stderr.splitlines() if "corral" in line] == []
    assert checked.returncode == 0, checked.stderr


def test_the_server_is_restarted_after_a_failure_of_the_disk_and_not_after_a_refusal() -> None:
    found = service()

    assert found["Restart"] == "on-failure"
    assert found["RestartPreventExitStatus"].split() == [str(EXIT_REFUSED)]
    assert str(EXIT_DISK) not in found.get("SuccessExitStatus", "")
    assert found["KillSignal"] == "SIGTERM"


def test_the_server_may_write_where_its_data_are() -> None:
    found = service()

    assert found["WorkingDirectory"] == f"/var/lib/{found['StateDirectory']}"
    assert found["ExecStart"].startswith("/usr/bin/corral serve /etc/")
