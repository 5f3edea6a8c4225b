"""Subtrees as JSON lines: what `corral export` writes and `corral import` reads.

The first line says what follows: `{"corral_export": 1, "root": "/app", ...}`. Each other line is a znode, parents
before children, its path relative to the root ("" for the root itself): `{"path": "/a", "data": "text",
"acl": ["world:anyone:cdrwa"]}`, with `data_base64` where the data is no text. Ephemerals are left out: they are a
session's. Servers do not tell clients of containers and times to live: such nodes come back as persistent ones. A tree
that changes meanwhile is not read at one moment.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from corral.base.errors import BadArguments, CorralError, NodeExists, NoNode, Unimplemented
from corral.base.ids import zxid_hex
from corral.base.paths import validate_path
from corral.base.records import record
from corral.cli.failures import UsageError, sentence_of
from corral.cli.text import acl_json, data_json, parse_acl
from corral.client.aio import AsyncClient
from corral.wire.data import ACL

T = TypeVar("T")
FORMAT: Final = 1
IN_FLIGHT_MAX: Final = 64
"""How many znodes are read or made at a time."""
EXISTING: Final = ("fail", "skip", "overwrite")
OWN: Final = "/zookeeper"
"""The server's own nodes, which neither leave nor come with a subtree of others."""


class TransferFailed(CorralError):
    """An import that stopped on the way; the cause says why."""


@record
class Node:
    """A znode in a file. path: relative to the root. acl: None to leave it open."""

    path: str
    data: bytes
    acl: list[ACL] | None


@record
class Header:
    """A file's first line. root: where its znodes were. zxid: the newest seen when it was begun, as hex."""

    root: str
    zxid: str = "0x0"


def header_line(header: Header) -> str:
    """Write the first line, without its end."""
    return json.dumps({"corral_export": FORMAT, "root": header.root, "zxid": header.zxid}, ensure_ascii=False)


def node_line(node: Node) -> str:
    """Write a znode's line, without its end."""
    fields: dict[str, Any] = {"path": node.path} | data_json(node.data)
    if node.acl is not None:
        fields["acl"] = acl_json(node.acl)
    return json.dumps(fields, ensure_ascii=False)


async def read_tree(zk: AsyncClient, root: str, skipped: Callable[[str], None]) -> AsyncIterator[Node]:
    """Yield a znode and all below it, parents first. skipped: told of each ephemeral.

    What goes meanwhile is left out. Raises NoNode if `root` is not there, NoAuth for what may not be read.
    """
    level = [root]
    is_first = True
    while level:
        below: list[str] = []
        for batch in _batches(level, IN_FLIGHT_MAX):
            for path, found in zip(batch, await asyncio.gather(*(_read(zk, path) for path in batch)), strict=True):
                if found is None:
                    if is_first:
                        raise NoNode(root)
                    continue
                data, acl, names, is_ephemeral = found
                if is_ephemeral:
                    skipped(path)
                    continue
                relative = path.removeprefix(root if root != "/" else "")
                yield Node("" if is_first else relative, data, acl)
                base = "" if path == "/" else path
                below += [each for name in names if (each := f"{base}/{name}") != OWN]
                is_first = False
        level = below


async def _read(zk: AsyncClient, path: str) -> tuple[bytes, list[ACL], list[str], bool] | None:
    try:
        (data, stat), (acl, _), names = await asyncio.gather(zk.get(path), zk.get_acl(path), zk.children(path))
    except NoNode:
        return None
    return data, acl, sorted(names), stat.ephemeral_owner != 0


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def parse_header(line: str) -> Header:
    """Read the first line of a file. Raises UsageError."""
    fields = _fields(line, 1) if line.strip() else {}
    if fields.get("corral_export") != FORMAT or not isinstance(fields.get("root"), str):
        raise UsageError("line 1: this is no file of corral export, or one of a later version")
    return Header(fields["root"], str(fields.get("zxid", "0x0")))


def parse_nodes(lines: Iterable[str]) -> Iterator[Node]:
    """Read all other lines, numbered from 2. Raises UsageError at the first that is wrong."""
    lines_of: dict[str, int] = {}
    for number, line in enumerate(lines, 2):
        if line.strip():
            node = _node(_fields(line, number), number)
            before = lines_of.setdefault(node.path, number)
            if before != number:
                raise UsageError(f"line {number}: {node.path or '/'} is there already, in line {before}")
            yield node


def _fields(line: str, number: int) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise UsageError(f"line {number}: it is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UsageError(f"line {number}: it is no JSON object")
    return fields


def _node(fields: dict[str, Any], number: int) -> Node:
    try:
        path = fields["path"]
        if path:
            validate_path(path.encode())
        encoded = fields.get("data_base64")
        data = base64.b64decode(encoded, validate=True) if encoded is not None else fields["data"].encode()
        acl = fields.get("acl")
        return Node(path, data, parse_acl(",".join(acl)) if acl else None)
    except KeyError as error:
        raise UsageError(f"line {number}: {error.args[0]} is missing") from error
    except (AttributeError, TypeError) as error:
        raise UsageError(f"line {number}: a value is of a wrong type") from error
    except (BadArguments, UsageError, binascii.Error, ValueError) as error:
        raise UsageError(f"line {number}: {error}") from error


class Importer:
    """Makes znodes below `root`. existing: what to do about those that are there, one of EXISTING.

    Requests are sent ahead, in order, so that a parent is made before its children without waiting for its answer.
    created, overwritten, skipped: how many znodes so far. is_dry: nothing is changed; what would be is counted.
    """

    def __init__(self, zk: AsyncClient, root: str, *, existing: str, with_acl: bool, is_dry: bool) -> None:
        self._zk = zk
        self._root = "" if root == "/" else root
        self._existing = existing
        self._with_acl = with_acl
        self._is_dry = is_dry
        self._under_way: deque[tuple[str, asyncio.Task[None]]] = deque()
        self.created = self.overwritten = self.skipped = 0

    async def run(self, nodes: Iterable[Node], done: Callable[[], object]) -> None:
        """Make `nodes`. done: called for each. Raises TransferFailed at the first that cannot be made."""
        try:
            for node in nodes:
                path = self._root + node.path or "/"
                if path == OWN or path.startswith(f"{OWN}/"):
                    self.skipped += 1
                    done()
                    continue
                self._under_way.append((path, asyncio.create_task(self._make(path, node))))
                if len(self._under_way) >= IN_FLIGHT_MAX:
                    await self._settle(done)
            while self._under_way:
                await self._settle(done)
        finally:
            left = [task for _, task in self._under_way]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _settle(self, done: Callable[[], object]) -> None:
        path, task = self._under_way.popleft()
        try:
            await task
        except CorralError as error:
            # What was sent ahead may still succeed, and counts.
            await asyncio.gather(*(each for _, each in self._under_way), return_exceptions=True)
            made = f"{self.created} created, {self.overwritten} overwritten"
            raise TransferFailed(f"stopped at {path}: {sentence_of(error)}; {made}") from error
        done()

    async def _make(self, path: str, node: Node) -> None:
        if self._is_dry:
            is_there = path == "/" or await self._zk.exists(path) is not None
        else:
            is_there = path == "/" or not await self._create(path, node)
        if not is_there:
            self.created += 1
        elif self._existing == "fail" and path != "/":
            raise NodeExists(path)
        elif self._existing == "overwrite":
            if not self._is_dry:
                await self._overwrite(path, node)
            self.overwritten += 1
        else:
            self.skipped += 1

    async def _create(self, path: str, node: Node) -> bool:
        try:
            await self._zk.create(path, node.data, acl=self._acl(node))
        except NodeExists:
            return False
        return True

    async def _overwrite(self, path: str, node: Node) -> None:
        acl = self._acl(node)
        await self._zk.set(path, node.data)
        if acl is not None:
            await self._zk.set_acl(path, acl)

    def _acl(self, node: Node) -> list[ACL] | None:
        return node.acl if self._with_acl else None


async def begin_header(zk: AsyncClient, root: str) -> Header:
    """Return a file's header, and see all that was committed before."""
    await zk.sync(root)
    return Header(root, zxid_hex(zk.last_zxid))


async def count_below(zk: AsyncClient, root: str) -> int | None:
    """Return how many znodes an export has to look at, None where the server does not tell."""
    try:
        return await zk.all_children_number(root) + 1
    except Unimplemented:
        return None
