"""The known differences from the Apache ZooKeeper of these tests, each by itself, with the answers of both.

A test that fails says that one of the two servers has changed: its line in `differences` has to go, or to be corrected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.differential.differences import DIFFERENT, FORGIVEN
from tests.differential.operations import Reconnect, Request, Requests
from tests.differential.players import Outcome, Side
from tests.support import jute
from tests.support.jute import OPEN, Acl, Op
from tests.support.servers import Process, need_apache

pytestmark = [pytest.mark.differential, pytest.mark.interop]

LIMITS, STATS = b"/zookeeper/quota/t/zookeeper_limits", b"/zookeeper/quota/t/zookeeper_stats"
ALICE: Acl = (31, b"digest", b"alice:ymPhuWeFSCMY9u3N/YVcxIuy3LU=")
FAILED_PART = [(-1, -8, -8), ("end", -1, -1)]


class Seen(NamedTuple):
    """What the last request of a case shows. body: without a Stat. zxids: how many it took. events: their types."""

    err: int
    body: Any = None
    zxids: int = 0
    is_cut: bool = False
    events: tuple[int, ...] = ()


class Case(NamedTuple):
    """Requests of one session, and what the last one shows at either server. before: another session's."""

    requests: list[tuple[Op, bytes]]
    theirs: Seen
    mine: Seen
    before: tuple[tuple[Op, bytes], ...] = ()


CASES: dict[str, Case] = {
    "auth named twice": Case(
        [
            (Op.AUTH, jute.auth(b"digest", b"alice:x")),
            (Op.CREATE, jute.create(b"/twice", b"", [(31, b"auth", b"x"), (31, b"auth", b"")])),
            (Op.GET_ACL, jute.get_acl(b"/twice")),
        ],
        Seen(0, [ALICE, ALICE]),
        Seen(0, [ALICE]),
    ),
    # 3.8 takes one with a body, and never answers.
    "check outside a multi": Case([(Op.CHECK, b"")], Seen(-5, zxids=1), Seen(-6, is_cut=True)),
    "create of 3.9 in a multi": Case(
        [(Op.MULTI, jute.multi((Op.CREATE2, jute.create(b"/two"))))],
        Seen(0, [(1, 0, b"/two"), ("end", -1, -1)], zxids=1),
        Seen(0, [(15, 0, b"/two"), ("end", -1, -1)], zxids=1),
    ),
    "deleteContainer": Case(
        [(Op.DELETE_CONTAINER, jute.delete_container(b"/none"))], Seen(-8, zxids=1), Seen(-102, zxids=1)
    ),
    "multi without a path": Case(
        [(Op.MULTI, jute.multi((Op.CREATE, jute.create(None))))], Seen(-5), Seen(0, FAILED_PART, zxids=1)
    ),
    "no path": Case([(Op.DELETE, jute.delete(None))], Seen(-5, zxids=1), Seen(-8, zxids=1)),
    "quota in parts": Case(
        [
            (Op.CREATE, jute.create(b"/t")),
            (Op.CREATE, jute.create(b"/zookeeper/quota/t")),
            (Op.CREATE, jute.create(LIMITS, b"count=9,bytes=-1")),
            (Op.CREATE, jute.create(STATS)),
            (Op.DELETE, jute.delete(LIMITS)),
            (Op.CREATE, jute.create(b"/t/uncounted")),
            (Op.CREATE, jute.create(LIMITS, b"count=9,bytes=-1")),
            (Op.GET_DATA, jute.get_data(STATS)),
        ],
        Seen(0, b"count=1,bytes=0"),
        Seen(0, b"count=2,bytes=0"),
    ),
    "second kind of watch at a path": Case(
        [
            (Op.EXISTS, jute.exists(b"/second", True)),
            (Op.ADD_WATCH, jute.add_watch(b"/second", 0)),
            (Op.REMOVE_WATCHES, jute.remove_watches(b"/second", 2)),
            (Op.CREATE, jute.create(b"/second")),
        ],
        Seen(0, b"/second", zxids=1),
        Seen(0, b"/second", zxids=1, events=(1,)),
    ),
    "typed watch removal": Case(
        [(Op.ADD_WATCH, jute.add_watch(b"/typed", 0)), (Op.REMOVE_WATCHES, jute.remove_watches(b"/typed", 2))],
        Seen(0),
        Seen(-121),
    ),
    "undecodable write": Case([(Op.CREATE, b"\0\0")], Seen(-5, zxids=1), Seen(-5)),
    "unknown flags in a multi": Case(
        [(Op.MULTI, jute.multi((Op.CREATE, jute.create(b"/flags", b"", OPEN, 100))))],
        Seen(0, FAILED_PART, zxids=1),
        Seen(-5, zxids=1),
    ),
    "unreadable node": Case(
        [(Op.CREATE, jute.create(b"/closed", b"", [(30, b"world", b"anyone")])), (Op.EXISTS, jute.exists(b"/closed"))],
        Seen(0),
        Seen(-102),
    ),
    "watch check": Case(
        [(Op.CHECK_WATCHES, jute.check_watches(b"/another's", 3))],
        Seen(0),
        Seen(-121),
        before=((Op.EXISTS, jute.exists(b"/another's", True)),),
    ),
    "watch type of 3.9": Case(
        [(Op.ADD_WATCH, jute.add_watch(b"/new", 0)), (Op.REMOVE_WATCHES, jute.remove_watches(b"/new", 4))],
        Seen(-5),
        Seen(0),
    ),
}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Two sessions at either server; the tests follow each other there, and may go separate ways."""
    need_apache()
    directory = tmp_path_factory.mktemp("differences")
    with (
        Process("apache", directory / "apache") as theirs,
        Process("corral", directory / "corral") as mine,
    ):
        made = Side(theirs.port, 2), Side(mine.port, 2)
        yield made
        for side in made:
            side.close()


def test_every_known_difference_is_shown() -> None:
    assert CASES.keys() == DIFFERENT.keys()


@pytest.mark.parametrize("name", CASES)
def test_the_servers_differ_in_this(sides: tuple[Side, Side], name: str) -> None:
    case = CASES[name]

    theirs, mine = (seen(side, case) for side in sides)

    assert theirs == case.theirs
    assert mine == case.mine


def test_a_wrong_password_cuts_off_only_apaches_owner(sides: tuple[Side, Side]) -> None:
    step = Reconnect(0, "wrong password over a live connection", 30_000)

    theirs, mine = (dict(answer for answer in side.play(step).replies if answer[0] in FORGIVEN) for side in sides)

    assert theirs == {"the owner is connected": False}
    assert mine == {"the owner is connected": True}


def seen(side: Side, case: Case) -> Seen:
    for op, body in case.before:
        side.play(Requests(1, (Request(op, body),)))
    outcome: Outcome
    # A write first: some zxids that were taken before show in no reply until then.
    for op, body in [(Op.SET_DATA, jute.set_data(b"/", b"")), *case.requests]:
        outcome = side.play(Requests(0, (Request(op, body),)))
    _, _, err, value = outcome.replies[0]
    shown = None if isinstance(value, jute.Stat) else value[0] if isinstance(value, tuple) else value
    if op == Op.MULTI and isinstance(shown, list):
        shown = [(kind, err, part[0] if kind == Op.CREATE2 else part) for kind, err, part in shown]
    before, after = outcome.zxids
    return Seen(err, shown, after - before, outcome.is_cut[0], tuple(event.type for event in outcome.events[0]))
