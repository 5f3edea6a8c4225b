"""Snapshots: golden bytes of a real server, round trips, damage, and writing while the tree changes."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Iterator, Mapping
from zlib import adler32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corral.base.errors import StorageError
from corral.ops.registry import Registry
from corral.replica.replay import Replay
from corral.store.compression import packer, unpacked
from corral.store.snapshot_read import UnknownVersion, is_complete, read_snapshot
from corral.store.snapshot_write import SnapshotWriter
from corral.tree.access import AclList
from corral.tree.node import creates_of
from corral.tree.tree import Tree
from corral.tree.watches import Watcher
from corral.wire.data import ACL, OPEN_ACL
from corral.wire.schema import encode
from corral.wire.txns import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTtlTxn,
    CreateTxn,
    DeleteTxn,
    SetAclTxn,
    SetDataTxn,
    TxnBody,
    TxnHeader,
)

SESSION = 0x100000000000001
CREATE, DELETE, SET_DATA, SET_ACL, OPEN, CLOSE = 1, 2, 5, 7, -10, -11

FRESH = bytes.fromhex(
    "5a4b534e 00000002 ffffffffffffffff 00000000"
    "00000001 0000000000000001 00000001 00000001 00000005 776f726c64 00000006 616e796f6e65"
    "00000000 00000000 ffffffffffffffff" + "00" * 60 + "0000000a 2f7a6f6f6b6565706572 00000000 ffffffffffffffff"
    + "00" * 60
    + "00000011" + b"/zookeeper/config".hex() + "00000000 0000000000000001" + "00" * 40 + "ffffffff" + "00" * 16
    + "00000010" + b"/zookeeper/quota".hex() + "00000000 ffffffffffffffff" + "00" * 60
    + "00000001 2f 00000000b8a23b49 00000001 2f"
    "0000000000000000 00000002 0000000000000000 0000000095b93d59 00000001 2f"
    "0000000000000000 00000000bde83f6d 00000001 2f"
)  # fmt: skip


class Deaf:
    def event(self, kind: int, frame: bytes, acl: AclList, watchers: Mapping[Watcher, object]) -> None:
        """Nobody watches in these tests."""


def new_tree() -> Tree:
    return Tree(Deaf())


def fresh() -> Tree:
    tree = new_tree()
    tree.populate()
    return tree


def snapshot_of(tree: Tree, nodes: int = 3, **parts: bool) -> bytes:
    return b"".join(chunks_of(SnapshotWriter(tree, **parts), nodes))


def chunks_of(writer: SnapshotWriter, nodes: int) -> Iterator[bytes]:
    while (chunk := writer.next_chunk(nodes)) is not None:
        assert chunk
        yield chunk


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def contents(tree: Tree) -> object:
    nodes = {p: (n.body, n.acl.entries, n.acl.is_null, n.owner, set(n.children)) for p, n in tree.nodes.items()}
    ephemerals = {owner: set(paths) for owner, paths in tree.ephemerals.items()}
    return nodes, tree.sessions, ephemerals, set(tree.containers), set(tree.ttls)


def entry(zxid: int, kind: int, body: TxnBody, client: int = SESSION) -> bytes:
    return encode(TxnHeader(client, 0, zxid, 1000 + zxid, kind)) + encode(body)


class Server:
    """A tree with transactions applied to it, and their log."""

    def __init__(self) -> None:
        self.tree = fresh()
        self.log: list[tuple[int, bytes]] = []
        self._replay = Replay(self.tree, Registry())

    def do(self, kind: int, body: TxnBody, client: int = SESSION) -> None:
        zxid = self.tree.zxid + 1
        self.log.append((zxid, entry(zxid, kind, body, client)))
        self._replay.apply(self.log[-1][1])

    def create(self, path: bytes, data: bytes | None = b"", acl: list[ACL] = OPEN_ACL, ephemeral: bool = False) -> None:
        parent = self.tree.nodes[path[: path.rfind(b"/")] or b"/"]
        self.do(CREATE, CreateTxn(path, data, acl, ephemeral, creates_of(parent.body) + 1))

    def restored(self, snapshot: bytes, zxid: int) -> Tree:
        """Return what a restart makes of a snapshot begun at `zxid`, and the log."""
        tree = new_tree()
        ending = read_snapshot("snapshot", snapshot, tree)
        tree.zxid = zxid
        tree.load_index()
        if ending.has_digest and ending.digest_zxid == zxid:
            tree.digest.value = ending.digest
        elif not ending.has_digest:
            tree.count_digest()
        replay = Replay(tree, Registry(), ending.digest_zxid, ending.digest)
        for logged, each in self.log:
            if logged > zxid:
                replay.apply(each)
        replay.finish()
        return tree


def large(width: int = 40) -> Server:
    """Return a server with more nodes than are written in one go."""
    server = Server()
    for d in range(width):
        server.create(b"/d%03d" % d)
        for i in range(width):
            server.create(b"/d%03d/n%03d" % (d, i), b"x")
    return server


def test_a_fresh_tree_is_written_byte_for_byte_as_zookeeper_does() -> None:
    assert len(FRESH) == 478
    assert snapshot_of(fresh()) == FRESH


def test_zookeepers_snapshot_of_a_fresh_tree_is_read() -> None:
    tree = new_tree()

    ending = read_snapshot("snapshot.0", FRESH, tree)
    tree.load_index()

    assert contents(tree) == contents(fresh())
    assert (ending.has_digest, ending.last_zxid, ending.unlisted) == (False, 0, 0)


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_all_kinds_of_nodes_and_values_survive_whatever_the_chunks(size: int) -> None:
    server = Server()
    tree = server.tree
    tree.zxid = 0x500000000
    server.do(OPEN, CreateSessionTxn(30000))
    server.do(OPEN, CreateSessionTxn(4000), client=-3 << 60)
    server.create(b"/a", None)
    server.create(b"/a/long" + b"x" * 2000, b"\0" * 5000, [ACL(5, "digest", "bob:hash"), ACL(1, "ip", "10.0.0.0/8")])
    server.create(b"/a/ephemeral", b"e", ephemeral=True)
    server.create(b"/a/gone")
    server.do(DELETE, DeleteTxn(b"/a/gone"))
    server.do(SET_DATA, SetDataTxn(b"/a/ephemeral", b"f", 7))
    server.do(SET_ACL, SetAclTxn(b"/a", [ACL(31, "auth", "ü")], 3))
    server.do(19, CreateContainerTxn(b"/container", b"c", OPEN_ACL, 2))
    server.do(21, CreateTtlTxn(b"/ttl", b"t", OPEN_ACL, 3, 5000))

    loaded = new_tree()
    ending = read_snapshot("snapshot", pieces(snapshot_of(tree), size), loaded)
    loaded.load_index()

    assert (set(tree.containers), set(tree.ttls)) == ({b"/container"}, {b"/ttl"})
    assert contents(loaded) == contents(tree)
    assert loaded.data_bytes == tree.data_bytes
    assert (ending.has_digest, ending.digest_zxid, ending.digest) == (True, tree.zxid, tree.digest.value)
    assert ending.last_zxid == tree.zxid
    assert all(child in loaded.nodes for node in loaded.nodes.values() for child in node.children)


@pytest.mark.parametrize(("digest", "zxid"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_missing_parts_at_the_end_are_told_by_what_is_left(digest: bool, zxid: bool, size: int) -> None:
    server = Server()
    server.create(b"/a")

    data = snapshot_of(server.tree, has_digest=digest, has_zxid=zxid)
    ending = read_snapshot("snapshot", pieces(data, size), new_tree())

    assert ending.has_digest == digest
    assert ending.last_zxid == (1 if zxid else None)


def test_the_digest_of_a_development_version_is_passed_over() -> None:
    data = snapshot_of(fresh(), has_digest=False, has_zxid=False)
    data += struct.pack(">qii", 5, 1, 8) + b"0123abcd"
    data += struct.pack(">q", adler32(data)) + b"\0\0\0\1/"

    assert not read_snapshot("snapshot", data, new_tree()).has_digest


@given(st.integers(0, len(FRESH) - 1), st.integers(1, 255))
@settings(max_examples=200)
def test_no_changed_byte_goes_unnoticed(at: int, flip: int) -> None:
    damaged = bytearray(FRESH)
    damaged[at] ^= flip
    # The dbid of the header is covered by the seals like everything else.
    with pytest.raises(StorageError, match=r"^dir/snapshot\.0"):
        read_snapshot("dir/snapshot.0", bytes(damaged), new_tree())


@pytest.mark.parametrize("size", [50, 1 << 20])
def test_no_cut_goes_unnoticed(size: int) -> None:
    """But for cuts right after a seal, which are what older versions wrote."""
    sound = {len(FRESH), len(FRESH) - 21, len(FRESH) - 54}
    for cut in range(len(FRESH)):
        if cut in sound:
            read_snapshot("snapshot.0", pieces(FRESH[:cut], size), new_tree())
        else:
            with pytest.raises(StorageError, match=r"^snapshot\.0"):
                read_snapshot("snapshot.0", pieces(FRESH[:cut], size), new_tree())


def test_bytes_after_the_end_are_noticed() -> None:
    with pytest.raises(StorageError, match="1 bytes after"):
        read_snapshot("snapshot.0", FRESH + b"/", new_tree())


def test_a_later_version_is_refused_as_such() -> None:
    with pytest.raises(UnknownVersion, match=r"snapshot\.0: snapshot version 3 is unknown"):
        read_snapshot("snapshot.0", FRESH[:7] + b"\3" + FRESH[8:], new_tree())


def test_an_unlisted_access_list_grants_nothing_until_the_log_gives_one() -> None:
    """ZooKeeper writes nodes with lists that its table lacks, when they appear while it writes."""
    at = FRESH.index(b"/zookeeper/quota") + 20
    data = bytearray(FRESH[: len(FRESH) - 54])
    data[at : at + 8] = struct.pack(">q", 77)
    data[-13:-5] = struct.pack(">q", adler32(bytes(data[:-13])))
    tree = new_tree()

    ending = read_snapshot("snapshot", bytes(data), tree)

    assert ending.unlisted == 1
    assert tree.nodes[b"/zookeeper/quota"].acl.world == 0


def test_a_chunk_ends_at_a_mebibyte_of_data() -> None:
    server = Server()
    for i in range(8):
        server.create(b"/n%d" % i, bytes(1 << 20))

    chunks = list(chunks_of(SnapshotWriter(server.tree), 1000))

    assert max(map(len, chunks)) < 3 << 20
    loaded = server.restored(b"".join(chunks), 8)
    assert contents(loaded) == contents(server.tree)


def test_lists_that_appear_while_it_is_written_are_right_after_replay_and_nowhere_too_generous_before() -> None:
    server = large()
    zxid = server.tree.zxid
    writer = SnapshotWriter(server.tree)
    parts = [writer.next_chunk(1), writer.next_chunk(1)]
    secret = [ACL(31, "digest", "new:list")]
    server.do(SET_ACL, SetAclTxn(b"/d039/n039", secret, 1))
    server.create(b"/d038/made", b"", secret)
    server.create(b"/d038/made/below", b"", secret)
    parts += list(chunks_of(writer, 100))
    data = b"".join(part for part in parts if part)

    before = new_tree()
    assert read_snapshot("snapshot", data, before).unlisted == 0
    loaded = server.restored(data, zxid)

    assert before.nodes[b"/d039/n039"].acl.world == 0
    assert b"/d038/made" not in before.nodes
    assert contents(loaded) == contents(server.tree)


def test_what_is_deleted_and_made_again_while_it_is_written_comes_out_right() -> None:
    server = large()
    zxid = server.tree.zxid
    writer = SnapshotWriter(server.tree)
    parts = [writer.next_chunk(1), writer.next_chunk(1), writer.next_chunk(30)]
    for i in range(40):
        server.do(DELETE, DeleteTxn(b"/d020/n%03d" % i))
    server.do(DELETE, DeleteTxn(b"/d020"))
    server.create(b"/d020", b"again", [ACL(1, "ip", "1.2.3.4")])
    parts += list(chunks_of(writer, 7))

    loaded = server.restored(b"".join(part for part in parts if part), zxid)

    assert contents(loaded) == contents(server.tree)
    assert loaded.digest.value == server.tree.digest.value


NAMES = st.sampled_from([b"/d001", b"/d020", b"/d039", b"/d020/n001", b"/d020/new", b"/d039/n038", b"/d001/new/below",
                         b"/d001/new", b"/top"])  # fmt: skip
LISTS = st.sampled_from([OPEN_ACL, [ACL(1, "world", "anyone")], [ACL(31, "digest", "a:b")], [ACL(3, "ip", "::1")]])
VERBS = st.one_of(
    st.tuples(st.just("create"), NAMES, LISTS, st.booleans()),
    st.tuples(st.just("delete"), NAMES, LISTS, st.booleans()),
    st.tuples(st.just("data"), NAMES, LISTS, st.booleans()),
    st.tuples(st.just("acl"), NAMES, LISTS, st.booleans()),
    st.tuples(st.just("close"), NAMES, LISTS, st.booleans()),
    st.tuples(st.just("write"), NAMES, LISTS, st.booleans()),
)
LARGE = large()
SECOND_LIFE = [("create", b""), ("delete", b""), ("create", b""), ("create", b"/below")]


@given(st.lists(VERBS, max_size=40), st.integers(1, 400))
# The snapshot shows the second node with its child already when the delete of the first is replayed.
@example([(verb, b"/d001/new" + below, OPEN_ACL, False) for verb, below in SECOND_LIFE], 1)
@example([("write", b"/top", OPEN_ACL, False)] * 3 + [("create", b"/d001/new", OPEN_ACL, False)], 1)
@settings(max_examples=60)
def test_a_snapshot_written_between_transactions_and_the_log_after_it_make_the_same_tree(
    verbs: list[tuple[str, bytes, list[ACL], bool]], slice_nodes: int
) -> None:
    """Whatever happens while a snapshot is written, a restart from it ends where the server was."""
    server = Server()
    base = snapshot_of(LARGE.tree, 1000)
    server.tree = server.restored(base, LARGE.tree.zxid)
    server._replay = Replay(server.tree, Registry())
    server.do(OPEN, CreateSessionTxn(30000))
    start = server.tree.zxid
    writer = SnapshotWriter(server.tree)
    parts: list[bytes] = []
    for verb, path, acl, flag in verbs:
        tree = server.tree
        node = tree.get(path)
        parent = tree.get(path[: path.rfind(b"/")] or b"/")
        if verb == "write":
            parts.append(writer.next_chunk(slice_nodes) or b"")
        elif verb == "close":
            server.do(CLOSE, CloseSessionTxn(tree.ephemerals_of(SESSION)))
            server.do(OPEN, CreateSessionTxn(1000))
        elif verb == "create" and node is None and parent is not None and parent.owner == 0:
            server.create(path, b"new", acl, flag)
        elif verb == "delete" and node is not None and not node.children:
            server.do(DELETE, DeleteTxn(path))
        elif verb == "data" and node is not None:
            server.do(SET_DATA, SetDataTxn(path, b"changed", 5))
        elif verb == "acl" and node is not None:
            server.do(SET_ACL, SetAclTxn(path, acl, 4))
    parts += chunks_of(writer, slice_nodes)

    loaded = server.restored(b"".join(parts), start)

    assert contents(loaded) == contents(server.tree)
    assert loaded.digest.value == server.tree.digest.value
    loaded.count_digest()
    assert loaded.digest.value == server.tree.digest.value


@pytest.mark.parametrize("suffix", ["", ".gz", ".snappy"])
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_compressed_files_are_read_back(suffix: str, size: int) -> None:
    if suffix == ".snappy" and importlib.util.find_spec("cramjam") is None:
        with pytest.raises(StorageError, match=r"install corral\[snappy\]"):
            packer(suffix)
        return
    pack = packer(suffix)
    content = snapshot_of(large(10).tree) * 20

    packed = b"".join([*map(pack.pack, pieces(content, 50_000)), pack.finish()])

    assert b"".join(unpacked("snapshot.1" + suffix, pieces(packed, size))) == content
    assert is_complete("snapshot.1" + suffix, len(packed), packed[:16], packed[-16:])
    if suffix:
        assert len(packed) < len(content)
        with pytest.raises(StorageError, match=r"^snapshot\.1.*cut off"):
            list(unpacked("snapshot.1" + suffix, pieces(packed[:-1], size)))
        with pytest.raises(StorageError, match=r"^snapshot\.1"):
            list(unpacked("snapshot.1" + suffix, pieces(b"no" + packed[2:], size)))


def test_java_snappy_framing_is_what_is_written() -> None:
    snappy = pytest.importorskip("cramjam", reason="the package cramjam is not installed").snappy
    packed = packer(".snappy").pack(b"a" * 40_000)

    assert packed[:16] == bytes.fromhex("82534e4150505900 00000001 00000001")
    (length,) = struct.unpack_from(">i", packed, 16)
    assert bytes(snappy.decompress_raw(packed[20 : 20 + length])) == b"a" * 32768


@pytest.mark.parametrize(
    ("name", "size", "first", "last", "expected"),
    [
        ("snapshot.0", 478, FRESH[:16], FRESH[-16:], True),
        ("snapshot.0", 9, b"", b"\0\0\0\1/", False),
        ("snapshot.0", 478, FRESH[:16], bytes(16), False),
        ("snapshot.0.gz", 100, b"\x1f\x8b", b"", True),
        ("snapshot.0.gz", 100, b"\x1f\x8c", b"", False),
        ("snapshot.0.snappy", 100, b"\x82SNAPPY\0\0", b"", True),
        ("snapshot.0.snappy", 100, b"\x83SNAPPY\0\0", b"", False),
    ],
)
def test_a_glance_tells_files_that_are_not_worth_reading(
    name: str, size: int, first: bytes, last: bytes, expected: bool
) -> None:
    assert is_complete(name, size, first, last) is expected
