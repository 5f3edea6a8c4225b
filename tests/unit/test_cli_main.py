"""The command line: versions, mistakes in one sentence, and options that reach the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import corral.server.main
from corral import __version__
from corral.cli.main import main
from corral.replica.config import Config


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_version_is_printed(argument: str) -> None:
    result = CliRunner().invoke(main, [argument])

    assert (result.exit_code, result.output) == (0, f"corral {__version__}\n")


def test_a_wrong_configuration_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "zoo.cfg"
    path.write_text("dataDir=/d\ntickTime=soon\n")

    result = CliRunner().invoke(main, ["serve", str(path)])

    assert result.exit_code == 2
    assert result.stderr.startswith(f"corral: {path}:2: tickTime=soon is wrong: expected ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_ctrl_c_while_a_command_is_imported_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("corral.cli.main.import_module", interrupted)

    result = CliRunner().invoke(main, ["shell"])

    assert (result.exit_code, result.output) == (130, "")


def test_options_reach_the_server_and_its_exit_code_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []

    def run(config: Config, log: object) -> int:
        seen.append(config)
        return 7

    monkeypatch.setattr(corral.server.main, "run", run)
    arguments = [
        "serve",
        "--port",
        "0",
        "--data-dir",
        "/d",
        "--no-admin",
        "--log-format",
        "json",
        "--log-level",
        "error",
    ]

    result = CliRunner().invoke(main, arguments, env={"CORRAL_TICK_TIME": "500"})

    assert result.exit_code == 7
    [config] = seen
    assert (config.client_port, config.data_dir, config.admin_enabled) == (0, "/d", False)
    assert (config.log_format, config.log_level, config.tick_time_ms) == ("json", "error", 500)


def test_warnings_go_to_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "zoo.cfg"
    path.write_text("dataDir=/d\ntickTme=1\n")
    monkeypatch.setattr(corral.server.main, "run", lambda config, log: 0)

    result = CliRunner().invoke(main, ["serve", str(path), "--log-format", "json"])

    assert result.exit_code == 0
    assert "did you mean tickTime?" in result.stderr
