"""The shell's commands for quotas: a quota of P is two nodes below `/zookeeper/quota/P`, which commands write."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from corral.base.errors import NodeExists, NoNode, NotEmpty
from corral.base.paths import QUOTA
from corral.cli.failures import Missing, UsageError
from corral.cli.shell.context import Command, Context
from corral.cli.shell.nodes import walk
from corral.cli.shell.words import Args
from corral.client.aio import AsyncClient
from corral.tree.quota import LIMITS_NAME, Limits, format_stats, limits_path, parse_limits, stats_path

_ROOT: Final = QUOTA.decode()
_LIMITS: Final = LIMITS_NAME.decode()
# The option, the field that it sets, the least it may be.
_OPTIONS: Final = {"n": ("count", 1), "b": ("size", 0), "N": ("count_hard", 1), "B": ("size_hard", 0)}


async def _set_quota(context: Context, args: Args) -> None:
    zk = _without_chroot(context)
    path = args.at(0)
    fields = _fields(args)
    if path == "/" or path.startswith("/zookeeper"):
        raise UsageError(f"there is no quota of {path}: / and what is below /zookeeper have none")
    if await zk.exists(path) is None:
        raise NoNode(path)
    await _check_no_other(zk, path)
    at = limits_path(path.encode()).decode()
    for _ in range(4):
        try:
            data, stat = await zk.get(at)
        except NoNode:
            try:
                await zk.create(at, _spell(Limits(**fields)), make_parents=True)
                await zk.create(stats_path(path.encode()).decode(), format_stats(0, 0))
            except NodeExists:
                # Somebody else sets it too.
                continue
            break
        await zk.set(at, _spell(replace(parse_limits(data), **fields)), stat.version)
        break
    await _warn_if_passed(context, path)


def _fields(args: Args) -> dict[str, int]:
    fields = {}
    for option, (field, least) in _OPTIONS.items():
        if args.has(option):
            fields[field] = value = args.number(option, bits=64)
            if value < least:
                raise UsageError(f"-{option} {value}: must be at least {least}; usage: {args.usage}")
    if not fields:
        raise UsageError(f"no limit is given; usage: {args.usage}")
    return fields


async def _check_no_other(zk: AsyncClient, path: str) -> None:
    """Refuse a quota above or below another one."""
    parent = path.rpartition("/")[0]
    while parent:
        if await zk.exists(f"{_ROOT}{parent}/{_LIMITS}") is not None:
            raise UsageError(f"{path} has a parent {parent} which has a quota")
        parent = parent.rpartition("/")[0]
    try:
        async for each, level, names in walk(zk, _ROOT + path):
            if level and _LIMITS in names:
                raise UsageError(f"{path} has a child {each.removeprefix(_ROOT)} which has a quota")
    except NoNode:
        pass


async def _warn_if_passed(context: Context, path: str) -> None:
    limits, stats = await _read(context.zk, path)
    for name, values, now in (
        ("count", (limits.count, limits.count_hard), stats.count),
        ("bytes", (limits.size, limits.size_hard), stats.size),
    ):
        if any(-1 < value < now for value in values):
            text = f"[Warning]: the {name} quota you create is less than the existing {name}:{now}"
            context.emit(text, {"path": path, "warning": text})


async def _read(zk: AsyncClient, path: str) -> tuple[Limits, Limits]:
    limits, _ = await zk.get(limits_path(path.encode()).decode())
    stats, _ = await zk.get(stats_path(path.encode()).decode())
    return parse_limits(limits), parse_limits(stats)


async def _list_quota(context: Context, args: Args) -> None:
    zk = _without_chroot(context)
    path = args.at(0)
    try:
        limits, stats = await _read(zk, path)
    except NoNode as error:
        raise Missing(f"quota for {path} does not exist") from error
    text = (
        f"absolute path is {limits_path(path.encode()).decode()}\n"
        f"Output quota for {path} {_spell(limits).decode()}\n"
        f"Output stat for {path} {format_stats(stats.count, stats.size).decode()}"
    )
    fields = {"count": limits.count, "bytes": limits.size, "count_hard": limits.count_hard,
              "bytes_hard": limits.size_hard}  # fmt: skip
    context.emit(text, {"path": path, "quota": fields, "stat": {"count": stats.count, "bytes": stats.size}})


async def _delete_quota(context: Context, args: Args) -> None:
    zk = _without_chroot(context)
    path = args.at(0)
    at = limits_path(path.encode()).decode()
    try:
        data, stat = await zk.get(at)
    except NoNode as error:
        raise Missing(f"quota for {path} does not exist") from error
    unlimited = {field: -1 for option, (field, _) in _OPTIONS.items() if args.has(option)}
    if unlimited:
        await zk.set(at, _spell(replace(parse_limits(data), **unlimited)), stat.version)
        return
    async with zk.transaction() as both:
        both.delete(at).delete(stats_path(path.encode()).decode())
    above = _ROOT + path
    while above != _ROOT:
        try:
            await zk.delete(above)
        except (NotEmpty, NoNode):
            return
        above = above.rpartition("/")[0]


def _spell(limits: Limits) -> bytes:
    """Write the text of a limits node, which old servers read as well. Source: ZooKeeper StatsTrack.toString."""
    return b"count=%d,bytes=%d=;byteHardLimit=%d;countHardLimit=%d" % (
        limits.count, limits.size, limits.size_hard, limits.count_hard,
    )  # fmt: skip


def _without_chroot(context: Context) -> AsyncClient:
    zk = context.zk
    if zk.chroot:
        raise UsageError(f"quotas are not below the chroot {zk.chroot}; connect without it")
    return zk


COMMANDS: Final = (
    Command("listquota", "listquota path", "a node's quota and what is used of it", _list_quota, least=1, most=1),
    Command("setquota", "setquota -n|-b|-N|-B val path",
            "limit the count or the bytes below a node: small letters warn, capitals refuse", _set_quota, (),
            ("n", "b", "N", "B"), least=1, most=1),
    Command("delquota", "delquota [-n|-b|-N|-B] path", "end a node's quota, or one limit of it", _delete_quota,
            ("n", "b", "N", "B"), least=1, most=1),
)  # fmt: skip
