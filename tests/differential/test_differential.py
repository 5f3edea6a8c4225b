"""The same random operations at two servers, in lock step: every reply and every event must be equal.

DIFFERENTIAL_OPS: how many operations in all (default 2000). DIFFERENTIAL_SEED: the first seed.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.differential.compare import differences
from tests.differential.differences import AVOIDED, FORGIVEN, UNSTABLE, UNSTABLE_QUOTAS
from tests.differential.operations import Generator, Reconnect, Request, Requests, Step
from tests.differential.players import Outcome, Side
from tests.support import jute
from tests.support.jute import OPEN, Op
from tests.support.servers import Process, need_apache

pytestmark = [pytest.mark.differential, pytest.mark.interop]

SESSIONS = 3
OPERATIONS = int(os.environ.get("DIFFERENTIAL_OPS", "2000"))
FIRST_SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
SEEDS = tuple(range(FIRST_SEED, FIRST_SEED + 3))
PLAIN = {"maxSessionTimeout": "600000", "znode.container.checkIntervalMs": "86400000", "reconfigEnabled": "false"}
EXTENDED = {
    **PLAIN,
    "zookeeper.extendedTypesEnabled": "true",
    "enforceQuota": "true",
    "reconfigEnabled": "true",
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
}
SETTINGS = {"plain": PLAIN, "extended": EXTENDED}
# What a client may send; CHECK alone and deleteContainer it may not.
OPCODES = frozenset(Op) - {Op.CREATE_SESSION, Op.CHECK, Op.DELETE_CONTAINER}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SETTINGS)
def test_corral_answers_as_apache_does(tmp_path: Path, name: str, seed: int) -> None:
    need_apache()
    with (
        Process("apache", tmp_path / "apache", **SETTINGS[name]) as theirs,
        Process("corral", tmp_path / "corral", **SETTINGS[name]) as mine,
    ):
        operations = -(-OPERATIONS // (len(SEEDS) * len(SETTINGS)))
        done = compare_servers(theirs, mine, seed, operations, to_avoid(name, AVOIDED))
        log = mine.log_text()
    assert "Traceback" not in log, log[-3000:]
    made = {op for op, err in done if err == 0}
    # 5 and 6 are refused unless both servers were told of the extended types.
    assert (Op.CREATE_TTL in made) == (name == "extended")
    assert Op.CREATE_CONTAINER in made


@pytest.mark.parametrize("name", SETTINGS)
def test_apache_answers_as_apache_does(tmp_path: Path, name: str) -> None:
    """Show that the comparison itself finds no difference where there is none, with nothing left out."""
    need_apache()
    with (
        Process("apache", tmp_path / "a", **SETTINGS[name]) as theirs,
        Process("apache", tmp_path / "b", **SETTINGS[name]) as mine,
    ):
        compare_servers(theirs, mine, FIRST_SEED, OPERATIONS // 10, to_avoid(name, UNSTABLE))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_operation_is_drawn(seed: int) -> None:
    generator = Generator(seed, SESSIONS)
    drawn = set()

    for _ in range(2000):
        step = next_step(generator, AVOIDED)
        if isinstance(step, Requests):
            drawn |= {request.op for request in step.requests}

    assert drawn >= OPCODES


def test_both_delete_what_has_run_out(tmp_path: Path) -> None:
    """Nodes whose time is over and containers that were left empty go at both; nodes with children stay."""
    need_apache()
    keys = {"zookeeper.extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "500"}
    trees = []
    for kind in ("apache", "corral"):
        with Process(kind, tmp_path / kind, **keys) as server:
            side = Side(server.port, 1)
            for op, body in (
                (Op.CREATE_TTL, jute.create_ttl(b"/brief", b"", OPEN, 5, 300)),
                (Op.CREATE_TTL, jute.create_ttl(b"/brief-", b"", OPEN, 6, 300)),
                (Op.CREATE_TTL, jute.create_ttl(b"/parent", b"", OPEN, 5, 1)),
                (Op.CREATE, jute.create(b"/parent/child")),
                (Op.CREATE_TTL, jute.create_ttl(b"/lasting", b"", OPEN, 5, 10**9)),
                (Op.CREATE_CONTAINER, jute.create(b"/left", b"", OPEN, 4)),
                (Op.CREATE, jute.create(b"/left/child")),
                (Op.DELETE, jute.delete(b"/left/child")),
                (Op.CREATE_CONTAINER, jute.create(b"/full", b"", OPEN, 4)),
                (Op.CREATE, jute.create(b"/full/child")),
            ):
                (reply,) = side.play(Requests(0, (Request(op, body),))).replies
                assert reply[2] == 0, (kind, op, reply)
            deadline = time.monotonic() + 20
            while {b"/brief", b"/brief-0000000001", b"/left"} & side.tree().keys():
                assert time.monotonic() < deadline, f"{kind} still has {sorted(side.tree())}"
            trees.append({path: described for path, described in side.tree().items() if path != b"/"})
            side.close()

    assert trees[1] == trees[0]
    assert sorted(path for path in trees[0] if not path.startswith(b"/zookeeper")) == [
        b"/full", b"/full/child", b"/lasting", b"/parent", b"/parent/child",
    ]  # fmt: skip


def compare_servers(
    theirs: Process, mine: Process, seed: int, operations: int, avoided: frozenset[str]
) -> set[tuple[int, int]]:
    """Play so many operations at both, then compare the whole trees and counters.

    Returns each operation's code with each error that it had.
    """
    is_peer = theirs.kind == mine.kind
    generator = Generator(seed, SESSIONS)
    sides = Side(theirs.port, SESSIONS), Side(mine.port, SESSIONS)
    trace: deque[str] = deque(maxlen=10)
    done: set[tuple[int, int]] = set()
    played = 0
    try:
        while played < operations:
            step = next_step(generator, avoided)
            trace.append(f"operation {played}: {describe(step)}")
            outcomes: list[Outcome] = []
            for side, process in zip(sides, (theirs, mine), strict=True):
                try:
                    outcomes.append(side.play(step))
                except (OSError, AssertionError) as error:
                    pytest.fail(report(seed, [f"{process.kind}: {error!r}", process.log_text()[-3000:]], trace))
            found = differences(step, outcomes[0], outcomes[1], {} if is_peer else FORGIVEN, not is_peer)
            if found:
                pytest.fail(report(seed, found, trace))
            played += 1
            if isinstance(step, Requests):
                played += len(step.requests) - 1
                answers = (reply for reply in outcomes[1].replies if isinstance(reply, tuple))
                done |= {(request.op, reply[2]) for request, reply in zip(step.requests, answers, strict=False)}
        their_tree, my_tree = (side.tree() for side in sides)
        for path in sorted(their_tree.keys() | my_tree.keys()):
            at = f"seed {seed}, in the end, {path!r}"
            assert my_tree.get(path) == their_tree.get(path), f"{at}: theirs {their_tree.get(path)}"
        assert sides[1].counts() == sides[0].counts(), f"seed {seed}: the counters differ in the end"
        return done
    finally:
        for side in sides:
            side.close()


def to_avoid(name: str, always: Iterable[str]) -> frozenset[str]:
    """Say which traits are not drawn with these settings."""
    return frozenset({*always, *(UNSTABLE_QUOTAS if "enforceQuota" in SETTINGS[name] else ())})


def next_step(generator: Generator, avoided: frozenset[str]) -> Step:
    """Draw a step without the requests that have an avoided trait."""
    while True:
        step = generator.next()
        if isinstance(step, Reconnect):
            return step
        kept = tuple(request for request in step.requests if not request.traits & avoided)
        if kept:
            return step._replace(requests=kept)


def describe(step: Step) -> str:
    if isinstance(step, Reconnect):
        return f"session {step.session}: {step.how}, asking for {step.timeout_ms} ms"
    names = {op.value: op.name for op in Op}
    return f"session {step.session}: " + "; ".join(
        f"{names.get(request.op, request.op)} {request.body!r} {sorted(request.traits) or ''}"
        for request in step.requests
    )


def report(seed: int, found: list[str], trace: deque[str]) -> str:
    return "\n".join([f"seed {seed}", *found, "the steps before:", *trace])
