"""Starting and stopping the servers that are measured: Apache ZooKeeper and Corral, with the same configuration.

`$ZK_LIB` is Apache's class path (default: where Debian's package `zookeeper` puts it), `$ZK_JVM` its JVM flags. Corral
is run with the interpreter that runs this; its compiled build too, with the build's directory first on `$PYTHONPATH`.
All listen on 127.0.0.1, on ports that were free, with data in a directory of their own that goes when they are stopped.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from client import Client, RequestError

APACHE = "apache"
CORRAL = "corral"
COMPILED = "compiled"
KINDS = (APACHE, CORRAL)
ZK_LIB = os.environ.get("ZK_LIB", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar")
ZK_JVM = os.environ.get("ZK_JVM", "-Xmx1g -Dzookeeper.root.logger=ERROR,CONSOLE")
MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
START_S = 120.0
STOP_S = 60.0
ATTEMPT_EVERY_S = 0.02
ATTEMPT_MS = 4000


class BenchError(Exception):
    """Something without which nothing can be measured, in one sentence."""


def require_apache() -> None:
    """Raise BenchError where there is no Apache ZooKeeper to measure beside."""
    if shutil.which("java") is None:
        raise BenchError("Java was not found: install Apache ZooKeeper (Debian: apt-get install zookeeper)")
    missing = [entry for entry in ZK_LIB.split(":") if entry.endswith(".jar") and not os.path.exists(entry)]
    if missing:
        raise BenchError(
            f"Apache ZooKeeper was not found: there is no {missing[0]}; install it (Debian: apt-get install zookeeper) "
            "or set ZK_LIB to its class path"
        )


def require_build(build: Path) -> None:
    """Raise BenchError unless `build` is what `make compiled` makes of this source."""
    source = Path(__file__).resolve().parent.parent / "src"
    if next(build.rglob("*.so"), None) is None:
        raise BenchError(f"{build} holds nothing compiled: run make compiled")
    for path in sorted(source.rglob("*.py")):
        copy = build / path.relative_to(source)
        if not copy.is_file() or copy.read_bytes() != path.read_bytes():
            raise BenchError(f"{build} is not compiled from this source, {copy.name} differs: run make compiled")


class Server:
    """One standalone server, Apache's or ours. A context manager: it is started, and stopped and swept away."""

    def __init__(self, kind: str, build: Path | None = None) -> None:
        """Make a server of `kind`. build: the directory that the kind COMPILED is run from."""
        self.kind = kind
        self._environment = dict(os.environ)
        if build is not None and kind == COMPILED:
            others = os.environ.get("PYTHONPATH")
            self._environment["PYTHONPATH"] = f"{build}{os.pathsep}{others}" if others else str(build)
        self.port = _free_port()
        self._dir = Path(tempfile.mkdtemp(prefix=f"bench-{kind}-"))
        self._config = self._dir / "zoo.cfg"
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "tickTime": 2000,
            "dataDir": self._dir / "data",
            "clientPort": self.port,
            "clientPortAddress": "127.0.0.1",
            "maxClientCnxns": 0,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "mntr",
        }
        (self._dir / "data").mkdir()
        self._config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_serving()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._dir, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process, and do not wait for it to serve."""
        if self.kind == APACHE:
            command = ["java", *ZK_JVM.split(), "-cp", ZK_LIB, MAIN, str(self._config)]
        else:
            command = [sys.executable, "-m", "corral", "serve", str(self._config)]
        with open(self._dir / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def wait_until_serving(self, path: str = "/") -> None:
        """Return once a client can see the node at `path`. Raises BenchError.

        A server may take a connection while it starts and never answer on it. So there is a new attempt every few
        milliseconds, and the first one that is answered counts.
        """
        assert self._process is not None
        until = time.monotonic() + START_S
        answers: SimpleQueue[bool] = SimpleQueue()
        while time.monotonic() < until:
            code = self._process.poll()
            if code is not None:
                raise BenchError(f"{self.kind} ended with exit code {code}; its last words:\n{self._last_words()}")
            threading.Thread(target=self._attempt, args=(path, answers), daemon=True).start()
            try:
                if not answers.get(timeout=ATTEMPT_EVERY_S):
                    raise BenchError(f"{self.kind} has lost {path}")
            except Empty:
                continue
            return
        raise BenchError(f"{self.kind} did not serve within {START_S:.0f} s; its last words:\n{self._last_words()}")

    def _attempt(self, path: str, answers: SimpleQueue[bool]) -> None:
        try:
            with Client(self.port, ATTEMPT_MS) as client:
                answers.put(client.exists(path))
        except (OSError, EOFError, RequestError):
            pass  # The next attempt may fare better.

    def stop(self) -> None:
        """Have the server stop in its own time, and end it if that takes too long."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def rss_bytes(self) -> int:
        """Return the process's resident memory."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def live_bytes(self) -> tuple[int, str]:
        """Return what the server's data take of memory, and how that was measured.

        Apache's is its heap after a collection, where the JDK's jcmd is there to tell; otherwise resident memory.
        """
        if self.kind == APACHE and shutil.which("jcmd") is not None:
            heap = self._heap_bytes()
            if heap:
                return heap, "heap after a collection"
        return self.rss_bytes(), "resident memory"

    def _heap_bytes(self) -> int:
        for command in ("GC.run", "GC.heap_info"):
            done = subprocess.run(["jcmd", str(self.pid), command], capture_output=True, text=True, check=False)
        # A line for the heap or for each of its generations; then those of classes, which are no heap.
        used = 0
        for line in done.stdout.splitlines():
            if "Metaspace" in line:
                break
            found = re.search(r"used (\d+)K", line)
            used += int(found[1]) * 1024 if found else 0
        return used

    def _last_words(self) -> str:
        lines = (self._dir / "log").read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-15:])


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
