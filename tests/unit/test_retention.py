"""When a snapshot is due, and which files may go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.store.names import log_name, log_zxid, snapshot_name, snapshot_zxid
from corral.store.retention import RollPolicy, purgeable


def names(kind: str, *zxids: int) -> list[str]:
    return [f"{kind}.{zxid:x}" for zxid in zxids]


def test_names_are_parsed_as_zookeeper_does() -> None:
    assert log_name(0x100000001) == "log.100000001"
    assert snapshot_name(0, ".gz") == "snapshot.0.gz"
    assert [log_zxid(name) for name in ("log.ff", "log.5.fixed")] == [255, 5]
    assert {log_zxid(name) for name in ("log", "log.", "log.xyz", "log.-1", "snapshot.1", "writing.log.1")} == {-1}
    assert snapshot_zxid("snapshot.1a.snappy") == 26
    assert snapshot_zxid("snapshot.ffffffffffffffff") == -1


def test_the_log_that_spans_the_oldest_kept_snapshot_stays() -> None:
    snapshots = names("snapshot", 0, 10, 20, 30, 40)
    logs = names("log", 1, 11, 15, 21, 31)

    assert purgeable(snapshots, snapshots, logs, 3) == ["snapshot.0", "log.1", "snapshot.a", "log.b"]


def test_a_log_that_begins_right_at_the_kept_snapshot_is_the_first_needed() -> None:
    snapshots = names("snapshot", 5, 20)

    assert purgeable(snapshots, snapshots, names("log", 6, 20), 1) == ["snapshot.5", "log.6"]


def test_nothing_goes_without_a_valid_snapshot() -> None:
    assert purgeable(names("snapshot", 1, 2), [], names("log", 1, 2), 3) == []


def test_incomplete_snapshots_do_not_count_as_kept() -> None:
    assert purgeable(names("snapshot", 1, 2, 3), names("snapshot", 1), names("log", 1, 2, 3), 1) == []


def test_other_files_are_left_alone() -> None:
    assert purgeable(["currentEpoch", "corral.lock", "snapshot.9"], ["snapshot.9"], ["acceptedEpoch"], 1) == []


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=8), st.lists(st.integers(1, 60), unique=True, max_size=8),
    st.integers(1, 4),
)  # fmt: skip
def test_what_is_left_restores_from_each_kept_snapshot(snapshots: list[int], logs: list[int], keep: int) -> None:
    """Transactions after a kept snapshot are in the log that begins last before them, and in all later ones."""
    gone = purgeable(names("snapshot", *snapshots), names("snapshot", *snapshots), names("log", *logs), keep)

    kept = sorted(snapshots, reverse=True)[:keep]
    left_logs = {zxid for zxid in logs if log_name(zxid) not in gone}
    assert {zxid for zxid in snapshots if snapshot_name(zxid) not in gone} == set(kept)
    for zxid in kept:
        needed = {log for log in logs if log > zxid}
        needed |= {max((log for log in logs if log <= zxid), default=zxid)} & set(logs)
        assert needed <= left_logs


def test_the_log_rolls_between_half_and_the_whole_count() -> None:
    draws = [3, 0, 0]
    policy = RollPolicy(10, 0, lambda n: draws.pop(0))

    assert [policy.appended(1, 100) for _ in range(9)] == [False] * 8 + [True]
    assert [policy.appended(1, 100) for _ in range(6)] == [False] * 5 + [True]


def test_the_log_rolls_by_size() -> None:
    policy = RollPolicy(1000, 1000, lambda n: 0)

    assert not policy.appended(1, 500)
    assert policy.appended(1, 1)
    assert not policy.appended(1, 500)


def test_no_size_limit_means_none() -> None:
    policy = RollPolicy(1000, -1, lambda n: 0)

    assert not policy.appended(1, 1 << 40)
