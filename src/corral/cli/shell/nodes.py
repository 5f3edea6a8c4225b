"""The shell's commands for znodes: looking, making, changing, deleting."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from corral.base.errors import NoNode
from corral.cli.failures import UsageError
from corral.cli.shell.context import Command, Context
from corral.cli.shell.words import Args
from corral.cli.text import data_json, data_text, hexdump, parse_acl, stat_json, stat_text
from corral.client.aio import AsyncClient
from corral.client.values import ZnodeStat
from corral.client.watches import Listener


def join(path: str, name: str) -> str:
    """Return the path of a child."""
    return f"/{name}" if path == "/" else f"{path}/{name}"


async def walk(
    zk: AsyncClient, path: str, watch: Listener | None = None, depth: int = -1
) -> AsyncIterator[tuple[str, int, list[str]]]:
    """Yield a path and all below it, parents first: each with its depth and the names of its children, sorted.

    depth: how deep to go, -1 for all. What goes meanwhile is left out. Raises NoNode if `path` is not there.
    """
    stack = [(path, 0)]
    while stack:
        at, level = stack.pop()
        try:
            names = sorted(await zk.children(at, watch))
        except NoNode:
            if level == 0:
                raise
            continue
        yield at, level, names
        if depth < 0 or level < depth:
            stack += [(join(at, name), level + 1) for name in reversed(names)]


async def _ls(context: Context, args: Args) -> None:
    path = args.at(0)
    watch = context.on_event if args.has("w") else None
    if args.has("R"):
        async for each, _, _ in walk(context.zk, path, watch):
            context.emit(each, each)
        return
    names, stat = await context.zk.children_and_stat(path, watch)
    names.sort()
    _emit_children(context, names, stat if args.has("s") else None)


async def _ls2(context: Context, args: Args) -> None:
    names, stat = await context.zk.children_and_stat(args.at(0), context.on_event if args.has("w") else None)
    _emit_children(context, sorted(names), stat)


def _emit_children(context: Context, names: list[str], stat: ZnodeStat | None) -> None:
    text = f"[{', '.join(names)}]"
    if stat is None:
        context.emit(text, names)
    else:
        context.emit(f"{text}\n{stat_text(stat)}", {"children": names, "stat": stat_json(stat)})


async def _tree(context: Context, args: Args) -> None:
    path = args.at(0, "/")
    depth = args.number("L")
    root: dict[str, Any] = {}
    nodes: dict[str, dict[str, Any]] = {}
    # For each level above: whether more siblings follow.
    last_at: dict[str, tuple[str, bool]] = {}
    async for at, level, names in walk(context.zk, path, depth=depth):
        node: dict[str, Any] = {"path": at, "children": []}
        prefix, is_last = last_at.pop(at, ("", True))
        if context.is_json:
            nodes[at] = node
            parent = nodes.get(at.rpartition("/")[0] or "/") if level else None
            if parent is None:
                root = node
            else:
                parent["children"].append(node)
        else:
            branch = ("└── " if is_last else "├── ") if level else ""
            more = f"  ({len(names)} below)" if level == depth and names else ""
            context.emit(f"{prefix}{branch}{at.rpartition('/')[2] if level else at}{more}", None)
        below = prefix + (("    " if is_last else "│   ") if level else "")
        last_at |= {join(at, name): (below, name == names[-1]) for name in names}
    if context.is_json:
        try:
            context.emit("", root)
        except RecursionError:
            raise UsageError(f"the tree at {path} is too deep for JSON: give it a depth with -L") from None


async def _get(context: Context, args: Args) -> None:
    data, stat = await context.zk.get(args.at(0), context.on_event if args.has("w") else None)
    if args.has("x"):
        text = hexdump(data)
    elif args.has("b"):
        text = base64.b64encode(data).decode()
    else:
        text = data_text(data, context.is_terminal)
    fields: dict[str, Any] = {"path": args.at(0)}
    fields |= {"data_base64": base64.b64encode(data).decode()} if args.has("b") else data_json(data)
    if args.has("s"):
        text += "\n" + stat_text(stat)
        fields["stat"] = stat_json(stat)
    context.emit(text, fields)


async def _stat(context: Context, args: Args) -> None:
    path = args.at(0)
    stat = await context.zk.exists(path, context.on_event if args.has("w") else None)
    if stat is None:
        raise NoNode(path)
    context.emit(stat_text(stat), {"path": path, "stat": stat_json(stat)})


async def _set(context: Context, args: Args) -> None:
    data = await _data(args, 1)
    if data is None:
        raise UsageError(f"the data is missing; usage: {args.usage}")
    stat = await context.zk.set(args.at(0), data, args.number("v"))
    _emit_stat(context, args, stat)


def _emit_stat(context: Context, args: Args, stat: ZnodeStat) -> None:
    """Show the stat of what was changed where that was asked for; JSON always has it."""
    if args.has("s") or context.is_json:
        context.emit(stat_text(stat), {"path": args.at(0), "stat": stat_json(stat)})


async def _create(context: Context, args: Args) -> None:
    has_file = args.has("f")
    acl_at = 1 if has_file else 2
    ttl = args.number("t", 0, bits=64) if args.has("t") else None
    try:
        path, stat = await context.zk.create_and_stat(
            args.at(0),
            await _data(args, 1) or b"",
            acl=parse_acl(args.at(acl_at)) if args.at(acl_at) else None,
            ephemeral=args.has("e"),
            sequence=args.has("s"),
            container=args.has("c"),
            ttl_ms=ttl,
            make_parents=args.has("p"),
        )
    except ValueError as error:
        raise UsageError(f"{error}; usage: {args.usage}") from error
    context.emit(f"Created {path}", {"path": path, "stat": stat_json(stat)})


async def _data(args: Args, index: int) -> bytes | None:
    """Return the data that a command was given: a file's, or an argument's. Raises UsageError."""
    name = args.options.get("f")
    if name is not None:
        try:
            return await _standard_input() if name == "-" else _file(name)
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror}") from error
    if index >= len(args.values):
        return None
    if not args.has("b"):
        return args.values[index].encode()
    try:
        return base64.b64decode(args.values[index], validate=True)
    except binascii.Error as error:
        raise UsageError(f"-b needs base64, not {args.values[index]!r}: {error}") from error


def _file(name: str) -> bytes:
    return Path(name).read_bytes()


async def _standard_input() -> bytes:
    """Read to its end, while the session lives on. Raises OSError."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[bytes | OSError] = loop.create_future()

    def settle(data: bytes | OSError) -> None:
        if not found.done():
            found.set_result(data)

    def read() -> None:
        data: bytes | OSError
        try:
            # Through a file of the thread's own: Python cannot close one at its end that a thread is reading.
            with open(sys.stdin.fileno(), "rb", closefd=False) as file:
                data = file.read()
        except OSError as error:
            data = error
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, data)

    threading.Thread(target=read, daemon=True).start()
    result = await found
    if isinstance(result, OSError):
        raise result
    return result


async def _delete(context: Context, args: Args) -> None:
    await context.zk.delete(args.at(0), args.number("v"))


async def _delete_all(context: Context, args: Args) -> None:
    path = args.at(0)
    args.number("b")
    if path == "/":
        raise UsageError("/ cannot be deleted; name what is below it")
    if await context.zk.exists(path) is None:
        raise NoNode(path)
    await context.zk.delete_tree(path)


async def _sync(context: Context, args: Args) -> None:
    path = args.at(0, "/")
    await context.zk.sync(path)
    context.emit("Sync is OK", {"synced": path})


async def _count(context: Context, args: Args) -> None:
    number = await context.zk.all_children_number(args.at(0, "/"))
    context.emit(str(number), number)


async def _ephemerals(context: Context, args: Args) -> None:
    paths = sorted(await context.zk.ephemerals(args.at(0, "/")))
    context.emit(f"[{', '.join(paths)}]", paths)


async def _find(context: Context, args: Args) -> None:
    wanted = args.at(1)
    async for each, level, _ in walk(context.zk, args.at(0)):
        if level and wanted in each.rpartition("/")[2]:
            context.emit(each, each)


COMMANDS: Final = (
    Command("ls", "ls [-s] [-w] [-R] path", "the children of a node; with its stat, a watch, all below it", _ls,
            ("s", "w", "R"), least=1, most=1),
    Command("ls2", "ls2 [-w] path", "the children of a node and its stat, as ls -s", _ls2, ("w",), least=1, most=1),
    Command("tree", "tree [-L depth] [path]", "a node and all below it, drawn", _tree, (), ("L",), most=1,
            is_endless=True),
    Command("get", "get [-s] [-w] [-b] [-x] path", "a node's data; with its stat, a watch, as base64, as a hexdump",
            _get, ("s", "w", "b", "x"), least=1, most=1),
    Command("stat", "stat [-w] path", "a node's stat", _stat, ("w",), least=1, most=1),
    Command("set", "set [-s] [-v version] [-b] [-f file] path [data]", "give a node new data", _set, ("s", "b"),
            ("v", "f"), least=1, most=2),
    Command("create", "create [-s] [-e] [-c] [-t ttl] [-p] [-b] [-f file] path [data] [acl]",
            "make a node: sequential, ephemeral, container, with a time to live in ms, with its parents", _create,
            ("s", "e", "c", "p", "b"), ("t", "f"), least=1, most=3),
    Command("delete", "delete [-v version] path", "delete a node", _delete, (), ("v",), least=1, most=1),
    Command("deleteall", "deleteall [-b size] path", "delete a node and all below it; zkCli's -b changes nothing",
            _delete_all, (), ("b",), least=1, most=1, is_endless=True),
    Command("sync", "sync [path]", "see all that was committed before", _sync, most=1),
    Command("getAllChildrenNumber", "getAllChildrenNumber [path]", "how many nodes are below a node", _count, most=1),
    Command("getEphemerals", "getEphemerals [path]", "this session's ephemerals", _ephemerals, most=1),
    Command("find", "find path text", "the nodes below a node whose names have a text in them", _find, least=2, most=2,
            is_endless=True),
)  # fmt: skip
