"""Real servers in processes of their own: Apache ZooKeeper where it is installed, and Corral.

Environment: ZK_LIB, Apache's class path; CORRAL_INTEROP=1 makes a missing peer a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pytest

APACHE_CLASSES = os.environ.get("ZK_LIB", "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar")
APACHE_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
APACHE_LOGGING = "/usr/share/java/slf4j-simple.jar"
APACHE_ADMIN = "/usr/share/java/servlet-api.jar"
APACHE_NETTY = "/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar"
"""What Debian's ZooKeeper lacks for a log, the admin server and TLS; the project's own package has all of it."""
START_S = 60.0
# What Apache reads from the JVM's properties alone, and Corral from its file.
JVM_ONLY = ("jute.", "znode.", "readonlymode.", "zookeeper.")


WITH_APACHE = (
    pytest.mark.interop,
    pytest.mark.skipif(os.environ.get("CORRAL_INTEROP") != "1", reason="needs CORRAL_INTEROP=1"),
)
"""The marks of what is tested at Apache ZooKeeper's server."""
KINDS = ("corral", pytest.param("apache", marks=WITH_APACHE))
"""What a fixture that gives a server of each kind is parametrised over."""


def at_apache(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that needs Apache ZooKeeper's server and no other."""
    for mark in WITH_APACHE:
        test = mark(test)
    return test


def missing_peer(reason: str) -> None:
    """Skip, saying so, where a peer is not installed; fail where it has to be (CORRAL_INTEROP=1)."""
    if os.environ.get("CORRAL_INTEROP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def need_apache() -> None:
    """Skip or fail where Apache ZooKeeper is not installed."""
    jar = APACHE_CLASSES.split(":")[-1]
    if shutil.which("java") is None or not os.path.exists(jar):
        missing_peer(f"Apache ZooKeeper is not installed: no java, or no {jar}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Process:
    """A server in its own directory. kind: "apache" or "corral". java: options for Java, "apache" alone has them."""

    def __init__(self, kind: str, directory: Path, java: Sequence[str] = (), **keys: str) -> None:
        self.kind = kind
        self._java = java
        self.dir = directory
        self.port = free_port()
        (directory / "data").mkdir(parents=True, exist_ok=True)
        settings = {
            "tickTime": "2000",
            "dataDir": str(directory / "data"),
            "clientPort": str(self.port),
            "clientPortAddress": "127.0.0.1",
            "admin.enableServer": "false",
            "maxClientCnxns": "0",
            "4lw.commands.whitelist": "*",
            **keys,
        }
        self.config = directory / "zoo.cfg"
        self._properties = [
            f"-D{key}={value}" for key, value in settings.items() if kind == "apache" and key.startswith(JVM_ONLY)
        ]
        self.config.write_text(
            "".join(f"{key}={value}\n" for key, value in settings.items() if f"-D{key}={value}" not in self._properties)
        )
        self.log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def expect_refusal(self) -> None:
        """Start it where it must not start; raises AssertionError with its log, as `start` does."""
        self.launch()
        assert self._process is not None
        code = self._process.wait(30)
        assert code == 0, self.log.read_text()

    def start(self, before: Sequence[str] = ()) -> Self:
        """Start it and wait until it answers. before: a command that starts the one that follows it."""
        self.launch(before)
        return self.await_answer()

    def await_answer(self) -> Self:
        """Wait until it answers."""
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if b"Mode:" in word(self.port, b"srvr"):
                return self
            if process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop(signal.SIGKILL)
        raise AssertionError(f"{self.kind} did not start:\n{self.log.read_text()[-3000:]}")

    def launch(self, before: Sequence[str] = ()) -> None:
        """Start it without waiting."""
        if self.kind == "apache":
            classes = ":".join((APACHE_CLASSES, APACHE_NETTY, *(APACHE_LOGGING, APACHE_ADMIN) * bool(self._java)))
            options = ["-Xmx512m", "-Dzookeeper.root.logger=WARN,CONSOLE", *self._java, *self._properties]
            command = ["java", *options, "-cp", classes, APACHE_MAIN]
        else:
            command = [sys.executable, "-m", "corral", "serve"]
        with self.log.open("ab") as log:
            env = {key: value for key, value in os.environ.items() if not key.startswith("CORRAL_")}
            self._process = subprocess.Popen([*before, *command, str(self.config)], stdout=log, stderr=log, env=env)

    def send_signal(self, how: signal.Signals) -> None:
        """Send it a signal, and do not wait."""
        assert self._process is not None
        self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(30)

    def log_text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def is_running(self) -> bool:
        """Tell whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[int]:
        """The processes that it has started."""
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def resident_bytes(self) -> int:
        """How much memory its process has now."""
        assert self._process is not None
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop(signal.SIGKILL)


def word(port: int, text: bytes) -> bytes:
    """Send a four-letter word; return the answer, empty if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), 3) as sock:
            sock.sendall(text)
            answer = b""
            while chunk := sock.recv(65_536):
                answer += chunk
            return answer
    except OSError:
        return b""
