"""Java Curator in a process of its own, told what to do line by line: see tests/interop/curator/Driver.java.

Environment: JAVA_LIB, where Debian's jars are.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.servers import missing_peer

JARS = Path(os.environ.get("JAVA_LIB", "/usr/share/java"))
NEEDED = ("curator-recipes.jar", "curator-x-discovery.jar")
# Each jar names those it needs itself; the last one keeps the logging façade quiet. javac does not follow the names.
CLASSES = ":".join(str(JARS / name) for name in (*NEEDED, "slf4j-nop.jar"))
COMPILED_WITH = ":".join(
    str(JARS / name) for name in (*NEEDED, "curator-framework.jar", "curator-client.jar", "zookeeper.jar")
)
SOURCES = Path(__file__).resolve().parents[1] / "interop" / "curator"
WAIT_MS = 10_000
"""How long Curator waits for what has to come."""


class CuratorError(Exception):
    """What a recipe of Curator's has thrown."""


def compile_driver(directory: Path) -> Path:
    """Compile the driver into a directory, and return that; skip or fail where Curator is not installed."""
    for command in ("java", "javac"):
        if shutil.which(command) is None:
            missing_peer(f"Curator is not tested: there is no {command} (default-jdk-headless)")
    for jar in NEEDED:
        if not (JARS / jar).exists():
            missing_peer(
                f"Curator is not installed: no {JARS / jar} (libcurator-recipes-java, libcurator-discovery-java)"
            )
    sources = sorted(str(source) for source in SOURCES.glob("*.java"))
    done = subprocess.run(
        ["javac", "-nowarn", "-d", str(directory), "-cp", COMPILED_WITH, *sources], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return directory


class Curator:
    """A process with any number of actors: clients of Curator's, each with a session and a thread of its own."""

    def __init__(self, classes: Path, log: Path) -> None:
        self._log = log
        with log.open("ab") as stderr:
            # A test's process lives for seconds: the second compiler would only take time.
            self._process = subprocess.Popen(
                ["java", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", f"{classes}:{CLASSES}", "Driver"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, encoding="utf-8",
            )  # fmt: skip
        self._numbers = itertools.count(1)
        self._asked: dict[str, Future[str]] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def actor(self, hosts: str, *, session_ms: int = WAIT_MS) -> Actor:
        """Return a client that `async with` opens."""
        return Actor(self, f"actor-{next(self._numbers)}", hosts, session_ms)

    async def ask(self, line: str) -> str:
        """Send a line, without its number, and await the answer. Raises CuratorError."""
        number = str(next(self._numbers))
        future: Future[str] = Future()
        with self._lock:
            self._asked[number] = future
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number} {line}\n")
        self._process.stdin.flush()
        return await asyncio.wrap_future(future)

    def kill(self) -> None:
        """End it as a crash does: nothing is said to the server."""
        self._process.kill()

    def stop(self) -> None:
        """End it, and what waits for its answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._reader.join()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, how, answer = line.rstrip("\n").split(" ", 2)
            self._settle(number, answer, None if how == "ok" else CuratorError(answer))
        with self._lock:
            left = list(self._asked)
        for number in left:
            self._settle(number, "", CuratorError(f"the process has ended: {self._log.read_text()[-2000:]}"))

    def _settle(self, number: str, answer: str, error: CuratorError | None) -> None:
        with self._lock:
            future = self._asked.pop(number)
        # Whoever asked may have stopped to wait.
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)


class Actor:
    """One client of Curator's; its requests are carried out one after the other."""

    def __init__(self, curator: Curator, name: str, hosts: str, session_ms: int) -> None:
        self._curator = curator
        self._name = name
        self._opening = f"open {hosts} {session_ms}"
        self.session_id = 0

    async def __aenter__(self) -> Self:
        self.session_id = int(await self._curator.ask(f"{self._name} {self._opening}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._curator.ask(f"{self._name} close")
        except CuratorError:
            # A recipe that cannot be closed, or a process that is gone, hides no failure of the test's.
            if error is None:
                raise

    async def tell(self, recipe: str, path: str, verb: str, *words: object) -> str:
        """Tell the recipe at a path to do something; return its answer. Raises CuratorError."""
        return await self._curator.ask(" ".join([self._name, recipe, path, verb, *map(str, words)]))

    async def does(self, recipe: str, path: str, verb: str, *words: object) -> bool:
        """Tell it something that is answered by yes or no."""
        return {"true": True, "false": False}[await self.tell(recipe, path, verb, *words)]
