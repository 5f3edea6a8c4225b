"""The tree and its overlay: stat arithmetic, digests, and that both ways of changing end the same."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.core import Core, multi_body

from corral.base.errors import ZooKeeperError
from corral.ops.registry import Registry
from corral.replica.replay import Replay
from corral.tree.digest import tree_digest
from corral.tree.node import (
    Node,
    creates_of,
    new_body,
    next_version,
    node_digest,
    sized,
    with_child_added,
    with_child_created,
    with_child_removed,
)
from corral.tree.tree import Tree
from corral.wire import opcodes
from corral.wire.client import CreateRequest, DeleteRequest, GetDataResponse, SetDataRequest
from corral.wire.data import OPEN_ACL
from corral.wire.schema import decode


def fresh() -> Tree:
    tree = Tree(None)  # type: ignore[arg-type]  # nobody watches
    tree.populate()
    return tree


def contents(tree: Tree) -> dict[bytes, tuple[bytes, Any, int, list[bytes]]]:
    return {p: (n.body, n.acl.entries, n.owner, list(n.children)) for p, n in tree.nodes.items()}


def test_the_digest_of_a_fresh_tree_is_the_known_one() -> None:
    assert fresh().digest.value == 0x51C6D660


def test_the_digest_after_a_create_is_the_known_one() -> None:
    core = Core()
    tree = core.tree
    node = tree.nodes[b"/"]
    made = Node(new_body(sized(b"x"), 3, 0x1A1FBF4BCB1, 0), tree.acls.open, 0)
    tree.add(b"/a", made, b"/", node, with_child_added(node.body, 1, 3))

    assert node_digest(b"/a", made.body, 0) == 0xD0FCFC6E
    assert tree.digest.value == 0x1A296B9B3


def test_a_fresh_root_shows_cversion_minus_one() -> None:
    stat = decode(GetDataResponse, fresh().nodes[b"/"].body).stat

    assert (stat.cversion, stat.num_children) == (-1, 1)


def test_creates_are_counted_and_deletes_show_only_to_clients() -> None:
    body = fresh().nodes[b"/zookeeper"].body
    body = with_child_added(body, 1, 5)
    body = with_child_removed(body, 6)

    assert creates_of(body) == 1
    assert decode(GetDataResponse, body).stat.cversion == 0


@pytest.mark.parametrize("creates", [0, 1, 7, 2**31 - 2, 2**31 - 1])
@pytest.mark.parametrize("children", [0, 1, 3])
def test_a_new_create_counts_as_its_transaction_says(creates: int, children: int) -> None:
    counts = struct.pack(">I16xiq", 2 * creates - children & 0xFFFFFFFF, children, 5)
    body = new_body(sized(b"data"), 1, 1, 0)[:-32] + counts

    made, before, after = with_child_created(body, 9)

    assert before == creates
    assert after == (creates + 1 if creates < 2**31 - 1 else -(2**31))
    assert made == with_child_added(body, after, 9)


def test_versions_leave_out_minus_one() -> None:
    assert next_version(-2) == 0
    assert next_version(2**31 - 1) == -(2**31)


PATHS = [b"/a", b"/b", b"/a/x", b"/a/y", b"/b/z", b"/a/x/deep"]
step = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(PATHS), st.sampled_from([0, 1, 2, 3, 4])),
    st.tuples(st.just("delete"), st.sampled_from(PATHS), st.just(-1)),
    st.tuples(st.just("set"), st.sampled_from(PATHS), st.integers(-1, 2)),
    st.tuples(st.just("multi"), st.sampled_from(PATHS), st.integers(-1, 1)),
    st.tuples(st.just("sync"), st.just(b""), st.just(0)),
    st.tuples(st.just("close"), st.just(b""), st.just(0)),
)


def play(core: Core, steps: list[tuple[str, bytes, int]]) -> None:
    """Run steps with many requests outstanding at a time."""
    client = core.client()
    core.auto = False
    for kind, path, number in steps:
        if kind == "create":
            client.send_bytes(request(opcodes.CREATE, CreateRequest(path, b"d", OPEN_ACL, number)))
        elif kind == "delete":
            client.send_bytes(request(opcodes.DELETE, DeleteRequest(path, number)))
        elif kind == "set":
            client.send_bytes(request(opcodes.SET_DATA, SetDataRequest(path, b"new" * (number + 2), number)))
        elif kind == "multi":
            parts = [
                (opcodes.CREATE, CreateRequest(path, b"m", OPEN_ACL, 0)),
                (opcodes.SET_DATA, SetDataRequest(path, b"mm", number)),
                (opcodes.DELETE, DeleteRequest(b"/b", -1)),
            ]
            client.send(opcodes.MULTI, multi_body(*parts))
        elif kind == "sync":
            core.sync()
        else:
            client.send(opcodes.CLOSE_SESSION)
            core.sync()
            client.close()
            core.auto = True
            client = core.client()
            core.auto = False
    core.sync()


def request(op: int, record: Any) -> bytes:
    import struct

    from tests.support.core import framed

    from corral.wire.schema import encode

    return framed(struct.pack(">ii", 1, op) + encode(record))


@settings(max_examples=150)
@given(st.lists(step, max_size=40))
def test_recorded_changes_installed_equal_transactions_applied(steps: list[tuple[str, bytes, int]]) -> None:
    """What a leader installs and what a follower or a replay applies is one and the same tree."""
    core = Core()
    play(core, steps)
    replayed = fresh()
    mismatches: list[Any] = []
    replay = Replay(replayed, Registry(), on_mismatch=lambda *seen: mismatches.append(seen))
    for entry in core.entries:
        replay.apply(entry)

    assert contents(replayed) == contents(core.tree)
    assert replayed.sessions == core.tree.sessions
    assert replayed.ephemerals == core.tree.ephemerals
    assert mismatches == []
    assert core.tree.digest.value == tree_digest(core.tree.nodes) == replayed.digest.value


@settings(max_examples=80)
@given(st.lists(step, max_size=30), st.integers(0, 60))
def test_applying_transactions_again_changes_nothing(steps: list[tuple[str, bytes, int]], since: int) -> None:
    """A fuzzy snapshot means that transactions are applied to a tree that has them already."""
    core = Core()
    play(core, steps)
    replayed = fresh()
    replay = Replay(replayed, Registry())
    for entry in core.entries:
        replay.apply(entry)
    for entry in core.entries[since:]:
        replay.apply(entry)

    mine, theirs = contents(replayed), contents(core.tree)
    assert {p: v[3] for p, v in mine.items()}.keys() == theirs.keys()
    for path, (body, acl, owner, children) in theirs.items():
        assert (mine[path][1], mine[path][2], sorted(mine[path][3])) == (acl, owner, sorted(children))
        assert decode(GetDataResponse, mine[path][0]).data == decode(GetDataResponse, body).data


def test_a_failed_multi_leaves_no_trace_in_what_is_prepared_next() -> None:
    core = Core(auto=False)
    core.auto = True
    client = core.client()
    client.create(b"/a", b"1")
    parts = [
        (opcodes.SET_DATA, SetDataRequest(b"/a", b"2", 0)),
        (opcodes.CREATE, CreateRequest(b"/e", b"", OPEN_ACL, 1)),
        (opcodes.DELETE, DeleteRequest(b"/none", -1)),
    ]

    reply = client.call(opcodes.MULTI, multi_body(*parts))

    assert reply.err == 0
    assert client.get(b"/a").as_(GetDataResponse).stat.version == 0
    assert client.exists(b"/e").err == -101
    assert core.replica.pipeline.overlay.ephemerals_of(client.conn.session_id) == []


def test_errors_have_the_codes_of_the_protocol() -> None:
    codes = {cls.code for cls in ZooKeeperError.__subclasses__()}

    assert {-101, -102, -103, -110, -111, -112, -114, -125} <= codes
