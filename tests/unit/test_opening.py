"""Opening a database: what may start empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.core import Recorder

from corral.base.errors import StorageError
from corral.ops.registry import Registry
from corral.replica.config import Config
from corral.replica.fanout import Fanout
from corral.replica.metrics import Metrics
from corral.server.datadir import DataDirectories
from corral.server.opening import open_database
from corral.tree.access import Access
from corral.tree.tree import Tree


def opened(directories: DataDirectories, **settings: bool) -> Tree:
    sink = Fanout(Access([], False), Metrics())
    return open_database(directories, Config(**settings), Registry(), sink, Recorder())[0]


@pytest.mark.parametrize("has_log_dir", [False, True])
def test_without_autocreate_a_database_starts_empty_only_where_a_file_allows_it_once(
    tmp_path: Path, has_log_dir: bool
) -> None:
    log_dir = tmp_path / ("log" if has_log_dir else "data")
    directories = DataDirectories(str(tmp_path / "data"), str(log_dir))

    with pytest.raises(StorageError, match=f"db.autocreate is false.* {log_dir}/initialize "):
        opened(directories, db_autocreate=False)
    assert directories.snapshots.names() == ["corral.lock"]
    (log_dir / "initialize").touch()
    assert len(opened(directories, db_autocreate=False).nodes) == 4

    assert not (log_dir / "initialize").exists()
    assert len(opened(directories, db_autocreate=False).nodes) == 4
    os.unlink(directories.snapshots.path("snapshot.0"))
    with pytest.raises(StorageError, match="autocreate is false"):
        opened(directories, db_autocreate=False)
    directories.close()


def test_the_file_that_allows_an_empty_database_is_used_up_by_any_start(tmp_path: Path) -> None:
    directories = DataDirectories(str(tmp_path), None)
    (tmp_path / "initialize").touch()

    opened(directories)
    directories.close()

    assert not (tmp_path / "initialize").exists()
