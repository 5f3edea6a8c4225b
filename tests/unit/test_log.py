"""Log lines: their form, their level, and what they never say."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys

import pytest

from corral.base.liblog import HIDDEN, LibraryLog
from corral.base.log import configure


def test_json_lines_carry_the_event_its_data_and_a_time() -> None:
    out = io.StringIO()

    configure("json", "info", out).info("leader elected", epoch=3, path=b"/a\xff")

    line = json.loads(out.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {"event": "leader elected", "epoch": 3, "level": "info", "path": "/a\\xff"}


def test_text_lines_have_no_colours_away_from_a_terminal() -> None:
    out = io.StringIO()

    configure("text", "info", out).warning("slow fsync", ms=1200)

    assert re.fullmatch(r"\S+Z \[warning *\] slow fsync +ms=1200\n", out.getvalue())


@pytest.mark.parametrize(
    ("level", "events"),
    [("debug", "abcd"), ("info", "bcd"), ("warning", "cd"), ("error", "d")],
)
def test_lines_below_the_level_are_left_out(level: str, events: str) -> None:
    out = io.StringIO()
    log = configure("json", level, out)

    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == list(events)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_are_never_written(log_format: str) -> None:
    out = io.StringIO()

    configure(log_format, "debug", out).bind(secret="s3cret").info("auth", Password="hunter2", user="bob")

    assert "hunter2" not in out.getvalue()
    assert "s3cret" not in out.getvalue()
    assert out.getvalue().count(HIDDEN) == 2
    assert "bob" in out.getvalue()


def test_an_exception_is_written_with_its_traceback() -> None:
    for log_format in ("text", "json"):
        out = io.StringIO()
        try:
            raise RuntimeError("the cause")
        except RuntimeError:
            configure(log_format, "error", out).exception("failed")

        assert "the cause" in out.getvalue()


def test_two_loggers_do_not_meet() -> None:
    one, two = io.StringIO(), io.StringIO()
    first, second = configure("json", "info", one), configure("text", "error", two)

    first.info("first")
    second.error("second")

    assert "second" not in one.getvalue()
    assert "first" not in two.getvalue()


def test_a_line_that_cannot_be_written_is_lost_and_who_says_it_goes_on() -> None:
    with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:
        configure("text", "info", full).info("session expired")
        # What waits would fail once more when the file is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.parametrize(("log_format", "level"), [("xml", "info"), ("json", "loud")])
def test_an_unknown_form_or_level_is_refused(log_format: str, level: str) -> None:
    with pytest.raises(ValueError, match="no such"):
        configure(log_format, level)


def test_a_librarys_lines_go_to_pythons_logging_from_the_place_that_says_them(caplog: pytest.LogCaptureFixture) -> None:
    log = LibraryLog("corral.test").bind(cache="/a%s")
    with caplog.at_level("INFO", "corral.test"):
        log.debug("not shown")
        log.info("100% in step", path=b"/a\xff", password="hunter2")  # It is what must not be shown.
        log.warning("stale")

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", f"100% in step cache=/a%s path=/a\\xff password={HIDDEN}"),
        ("WARNING", "stale cache=/a%s"),
    ]
    assert {record.filename for record in caplog.records} == {"test_log.py"}


def test_a_client_and_recipes_take_no_library_for_logs_with_them() -> None:
    """With it their import would take half as long again."""
    code = (
        "import sys, corral, corral.recipes; corral.Client, corral.recipes.TreeCache\nprint('structlog' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "False\n", ran.stderr
