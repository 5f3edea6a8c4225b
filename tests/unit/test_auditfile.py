"""The file of the audit log: what is written stands there, after the file was moved too; what is lost is said to be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from corral.base.errors import StorageError
from corral.server import auditfile
from corral.server.auditfile import AuditFile


class Log:
    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def error(self, event: str, **values: Any) -> None:
        self.errors.append({"event": event, **values})


def test_lines_are_appended_in_order_and_are_not_for_everyone(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for start in (0, 3000):
        audit = AuditFile(str(path), Log())
        for number in range(start, start + 3000):
            audit.write(f"{number}\n")
        audit.close()

    assert path.read_text().split() == [str(number) for number in range(6000)]
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_was_moved_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    audit = AuditFile(str(path), Log())
    path.rename(tmp_path / "audit.log.1")
    audit.write("new\n")
    audit.close()

    assert path.read_text() == "new\n"
    assert (tmp_path / "audit.log.1").read_text() == ""


def test_a_full_disk_costs_lines_and_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    log = Log()
    audit = AuditFile(str(path), log)
    for number in range(5):
        audit.write(f"{number}\n")
    audit.close()

    assert audit.lost == 5
    assert [error["why"] for error in log.errors] == [os.strerror(errno.ENOSPC)]


def test_a_directory_that_comes_back_is_written_in_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    path.parent.mkdir()
    log = Log()
    audit = AuditFile(str(path), log)
    path.unlink()
    path.parent.rmdir()
    audit._write(["lost\n"])
    path.parent.mkdir()
    audit.write("kept\n")
    audit.close()

    assert path.read_text() == "kept\n"
    assert (audit.lost, len(log.errors)) == (1, 1)


def test_what_waits_for_a_slow_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditfile, "QUEUED_MAX", 0)
    log = Log()
    audit = AuditFile(str(tmp_path / "audit.log"), log)
    audit.write("no room\n")
    audit.write("no room\n")
    audit.close()

    assert audit.lost == 2
    assert [error["why"] for error in log.errors] == ["its disk is too slow"]


def test_a_place_that_cannot_be_written_in_is_refused_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"No such file or directory: {tmp_path}/none/a; corral.audit.file must"):
        AuditFile(str(tmp_path / "none" / "a"), Log())
