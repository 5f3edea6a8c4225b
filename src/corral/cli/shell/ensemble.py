"""The shell's commands for the ensemble's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from corral.cli.failures import UsageError
from corral.cli.shell.context import Command, Context
from corral.cli.shell.words import Args
from corral.cli.text import stat_json, stat_text


async def _config(context: Context, args: Args) -> None:
    data, stat = await context.zk.get_config(context.on_event if args.has("w") else None)
    text = data.decode("utf-8", "backslashreplace")
    fields = {"config": text}
    if args.has("c"):
        text = client_addresses(text)
        fields = {"connect": text}
    if args.has("s"):
        context.emit(f"{text}\n{stat_text(stat)}", fields | {"stat": stat_json(stat)})
    else:
        context.emit(text, fields)


def client_addresses(config: str) -> str:
    """Return the connect string for a configuration's servers.

    Source: ZooKeeper ConfigUtils.getClientConfigStr; where a server listens everywhere, its host of the quorum counts.
    """
    found = []
    for line in config.splitlines():
        key, _, spec = line.partition("=")
        quorum, semicolon, client = spec.partition(";")
        if not key.startswith("server.") or not semicolon:
            continue
        host, _, port = client.partition(";")[0].rpartition(":")
        if host in ("", "0.0.0.0", "[::]"):
            at = quorum.find("]") + 1
            host = quorum[: quorum.find(":", at)]
        found.append(f"{host}:{port}")
    return ",".join(found)


async def _reconfig(context: Context, args: Args) -> None:
    whole = [option for option in ("file", "members") if args.has(option)]
    if len(whole) > 1 or (whole and (args.has("add") or args.has("remove"))):
        raise UsageError("-file, -members, and -add with -remove are three ways of which one is taken")
    if not whole and not args.has("add") and not args.has("remove"):
        raise UsageError(f"no change is given; usage: {args.usage}")
    members = _members_of(args.options["file"]) if args.has("file") else args.options.get("members")
    config, stat = await context.zk.reconfig(
        args.options.get("add"), args.options.get("remove"), members, args.number("v", -1, 16, bits=64)
    )
    text = config.decode("utf-8", "backslashreplace")
    shown = f"Committed new configuration:\n{text}"
    if args.has("s"):
        context.emit(f"{shown}\n{stat_text(stat)}", {"config": text, "stat": stat_json(stat)})
    else:
        context.emit(shown, {"config": text})


def _members_of(name: str) -> str:
    """Return the members that a configuration file names. Raises UsageError."""
    try:
        lines = Path(name).read_text("utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from error
    members = [line.strip() for line in lines if line.strip().startswith(("server.", "group.", "weight."))]
    if not members:
        raise UsageError(f"{name} names no member; a line is server.1=host:2888:3888;2181")
    return ",".join(members)


COMMANDS: Final = (
    Command("config", "config [-c] [-w] [-s]", "the ensemble's configuration, or the connect string for it", _config,
            ("c", "w", "s")),
    Command("reconfig", "reconfig [-s] [-v version] [-file path | -members server.ID=spec,... | [-add ID=spec,...] "
            "[-remove ID,...]]", "change the ensemble's members", _reconfig, ("s",),
            ("v", "file", "members", "add", "remove")),
)  # fmt: skip
