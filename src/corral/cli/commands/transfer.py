"""`corral export` and `corral import`: subtrees to files and back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from corral.base.errors import CorralError
from corral.base.paths import validate_path
from corral.cli import INTERRUPTED
from corral.cli.connection import connection_of, server_option
from corral.cli.failures import UsageError, complain, exit_unread, exit_unwritten, status_of

if TYPE_CHECKING:
    from corral.cli.connection import Connection


@click.command("export")
@click.argument("path")
@click.option("--output", "-o", metavar="FILE", help="Where to write; standard output unless given.")
@click.option("--no-acl", is_flag=True, help="Leave access lists out.")
@server_option
def export(path: str, output: str | None, no_acl: bool, **given: Any) -> None:
    """Write the znode at PATH and all below it as JSON lines. Ephemerals are left out.

    A file is put in its place when it is whole.
    """
    _run(lambda: _export(connection_of(given), path, output, not no_acl))


async def _export(connection: Connection, path: str, output: str | None, with_acl: bool) -> None:
    from corral.cli import transfer

    validate_path(path.encode("utf-8", "surrogatepass"))
    skipped: list[str] = []
    async with await connection.open() as zk:
        total = await transfer.count_below(zk, path)
        written = 0
        with _opened(output) as file, _progress("exporting", total) as advance:
            file.write(transfer.header_line(await transfer.begin_header(zk, path)) + "\n")
            async for node in transfer.read_tree(zk, path, skipped.append):
                if not with_acl:
                    node = transfer.Node(node.path, node.data, None)
                file.write(transfer.node_line(node) + "\n")
                written += 1
                advance()
    left = f", {len(skipped)} ephemeral left out" if skipped else ""
    click.echo(f"{_nodes(written)} exported{left}", err=True)


@click.command("import")
@click.argument("path", required=False)
@click.option("--input", "-i", "source", metavar="FILE", help="What to read; standard input unless given.")
@click.option("--existing", type=click.Choice(("fail", "skip", "overwrite")), default="fail", show_default=True,
              help="What to do about znodes that are there.")  # fmt: skip
@click.option("--no-acl", is_flag=True, help="Give everybody every right instead of the access lists in the file.")
@click.option("--dry-run", is_flag=True, help="Look, count, and change nothing.")
@server_option
def import_(path: str | None, source: str | None, existing: str, no_acl: bool, dry_run: bool, **given: Any) -> None:
    """Make the znodes that `corral export` wrote, at PATH, or where they were. Missing parents of PATH are made."""
    try:
        # All of it is read before anything is changed: a file that is damaged changes nothing.
        lines = _lines(source)
    except UsageError as error:
        sys.exit(complain(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    _run(lambda: _import(connection_of(given), path, lines, existing, not no_acl, dry_run))


async def _import(
    connection: Connection, path: str | None, lines: list[str], existing: str, with_acl: bool, is_dry: bool
) -> None:
    from corral.cli import transfer

    header = transfer.parse_header(lines[0])
    nodes = list(transfer.parse_nodes(lines[1:]))
    root = header.root if path is None else path
    validate_path(root.encode("utf-8", "surrogatepass"))
    async with await connection.open() as zk:
        if not is_dry and root.count("/") > 1:
            await zk.ensure_path(root[: root.rfind("/")])
        importer = transfer.Importer(zk, root, existing=existing, with_acl=with_acl, is_dry=is_dry)
        with _progress("importing", len(nodes)) as advance:
            await importer.run(nodes, advance)
    what = "would be " if is_dry else ""
    click.echo(
        f"{_nodes(importer.created)} {what}created, {importer.overwritten} overwritten, {importer.skipped} left "
        "as they are",
        err=True,
    )


def _nodes(count: int) -> str:
    return f"{count} {'node' if count == 1 else 'nodes'}"


def _lines(source: str | None) -> list[str]:
    try:
        # UTF-8 wherever it comes from, whatever the locale is.
        data = sys.stdin.buffer.read() if source in (None, "-") else Path(str(source)).read_bytes()
        return data.decode().split("\n")
    except OSError as error:
        raise UsageError(f"cannot read {source or 'standard input'}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        what = source or "standard input"
        raise UsageError(f"{what} is not UTF-8: {error.reason} at byte {error.start}") from error


@contextlib.contextmanager
def _opened(output: str | None) -> Iterator[IO[str]]:
    """Open where an export goes: a file appears under its name when it is whole. Raises UsageError."""
    if output is None or output == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        if os.path.exists(output) and not os.path.isfile(output):
            # A device or a pipe is written to; a file put in its place would be its end.
            with open(output, "w", encoding="utf-8") as file:
                yield file
        else:
            with _replaced(Path(os.path.realpath(output))) as file:
                yield file
    except OSError as error:
        if error.errno is None:
            # A timeout of the client's.
            raise
        raise UsageError(f"cannot write {output}: {error.strerror}") from error


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[IO[str]]:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error, if that is a terminal."""
    if total is None or not sys.stderr.isatty():
        yield lambda: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True) as bar:
        yield lambda: bar.update(1)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a command; end the process with its exit code."""
    try:
        asyncio.run(work())
    except CorralError as error:
        status = complain(error)
        cause = error.__cause__
        sys.exit(status_of(cause) if isinstance(cause, CorralError) and not isinstance(error, UsageError) else status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        exit_unread()
    except OSError as error:
        exit_unwritten(error)
    sys.exit(0)
