"""The shell's commands for watches."""

from __future__ import annotations

from typing import Final

from corral.base.errors import NoNode
from corral.cli.failures import UsageError
from corral.cli.shell.context import Command, Context, event_json
from corral.cli.shell.words import Args
from corral.cli.text import data_json, data_text
from corral.client.values import EventType, WatcherType

MODES: Final = ("PERSISTENT", "PERSISTENT_RECURSIVE")
_KINDS: Final = {
    "c": WatcherType.CHILDREN,
    "d": WatcherType.DATA,
    "p": WatcherType.PERSISTENT,
    "r": WatcherType.RECURSIVE,
    "a": WatcherType.ANY,
}


async def _print_watches(context: Context, args: Args) -> None:
    if args.values:
        if args.at(0) not in ("on", "off"):
            raise UsageError(f"printwatches is on or off, not {args.at(0)!r}")
        context.prints_watches = args.at(0) == "on"
        return
    context.emit(f"printwatches is {'on' if context.prints_watches else 'off'}", context.prints_watches)


async def _add_watch(context: Context, args: Args) -> None:
    mode = args.options.get("m", MODES[1]).upper()
    if mode not in MODES:
        raise UsageError(f"the mode is {' or '.join(MODES)}, not {mode!r}")
    await context.zk.add_watch(args.at(0), context.on_event, recursive=mode == MODES[1])


async def _remove_watches(context: Context, args: Args) -> None:
    kinds = [kind for option, kind in _KINDS.items() if args.has(option)]
    if len(kinds) > 1:
        raise UsageError(f"only one kind of watches at a time; usage: {args.usage}")
    await context.zk.remove_watches(args.at(0), *kinds, local=args.has("l"))


async def _watch(context: Context, args: Args) -> None:
    zk = context.zk
    left = args.number("n", 0)
    if args.has("n") and left < 1:
        raise UsageError(f"-n {left}: must be at least 1; usage: {args.usage}")
    async with zk.watch(args.at(0), recursive=args.has("r")) as events:
        async for event in events:
            fields = event_json(event)
            text = f"{event.type.name:<8}{event.path}"
            if args.has("d") and event.type in (EventType.CREATED, EventType.CHANGED):
                try:
                    data, _ = await zk.get(event.path)
                except NoNode:
                    pass
                else:
                    text += f" {data_text(data, context.is_terminal)}"
                    fields |= data_json(data)
            context.emit(text, fields)
            left -= 1
            if left == 0:
                return


COMMANDS: Final = (
    Command("printwatches", "printwatches [on|off]", "whether events are shown", _print_watches, most=1,
            choices=("on", "off")),
    Command("addWatch", f"addWatch [-m {'|'.join(MODES)}] path", "a watch that stays, on all below too unless said",
            _add_watch, (), ("m",), least=1, most=1),
    Command("removewatches", "removewatches path [-c|-d|-p|-r|-a] [-l]", "end watches of a node: of children, of data, "
            "that stay, that stay on all below, any; -l without a server too", _remove_watches,
            ("c", "d", "p", "r", "a", "l"), least=1, most=1),
    Command("watch", "watch [-r] [-d] [-n count] path",
            "show changes of a node, or of all below it too, as they happen, with the new data; Ctrl-C or the count "
            "ends it", _watch, ("r", "d"), ("n",), least=1, most=1, is_endless=True),
)  # fmt: skip
