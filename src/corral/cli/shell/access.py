"""The shell's commands for access lists and identities."""

from __future__ import annotations

from typing import Final

from corral.cli.shell.context import Command, Context
from corral.cli.shell.nodes import walk
from corral.cli.shell.words import Args
from corral.cli.text import acl_json, parse_acl, permissions_text, stat_json, stat_text


async def _get_acl(context: Context, args: Args) -> None:
    path = args.at(0)
    acl, stat = await context.zk.get_acl(path)
    text = "\n".join(f"'{entry.scheme},'{entry.id}\n: {permissions_text(entry.perms)}" for entry in acl)
    fields = {"path": path, "acl": acl_json(acl)}
    if args.has("s"):
        context.emit(f"{text}\n{stat_text(stat)}", fields | {"stat": stat_json(stat)})
    else:
        context.emit(text, fields)


async def _set_acl(context: Context, args: Args) -> None:
    path = args.at(0)
    acl = parse_acl(args.at(1))
    version = args.number("v")
    if args.has("R"):
        async for each, _, _ in walk(context.zk, path):
            stat = await context.zk.set_acl(each, acl, version)
            if args.has("s") or context.is_json:
                context.emit(f"{each}\n{stat_text(stat)}", {"path": each, "stat": stat_json(stat)})
        return
    stat = await context.zk.set_acl(path, acl, version)
    if args.has("s") or context.is_json:
        context.emit(stat_text(stat), {"path": path, "stat": stat_json(stat)})


async def _add_auth(context: Context, args: Args) -> None:
    await context.zk.add_auth(args.at(0), args.at(1).encode())


async def _who_am_i(context: Context, args: Args) -> None:
    known = await context.zk.who_am_i()
    lines = ["Auth scheme: User", *(f"{scheme}: {name}" for scheme, name in known)]
    context.emit("\n".join(lines), [{"scheme": scheme, "id": name} for scheme, name in known])


COMMANDS: Final = (
    Command("getAcl", "getAcl [-s] path", "a node's access list", _get_acl, ("s",), least=1, most=1),
    Command("setAcl", "setAcl [-s] [-v version] [-R] path acl",
            "give a node, or all below it too, another access list", _set_acl, ("s", "R"), ("v",), least=2, most=2),
    Command("addauth", "addauth scheme [credentials]", "show credentials", _add_auth, least=1, most=2),
    Command("whoami", "whoami", "the identities that the server knows you by", _who_am_i),
)  # fmt: skip
