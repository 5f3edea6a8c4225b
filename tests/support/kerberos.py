"""A Kerberos realm for tests: MIT's KDC as a process of its own on 127.0.0.1, its database, keytabs and tickets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from tests.support.servers import START_S, free_port, missing_peer

NAME = "CORRAL.TEST"
# Debian has them where only root's PATH leads.
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kvno")

# Over TCP alone, which has no packets that are lost; and a host's name is taken as it is given.
CLIENTS = """[libdefaults]
  default_realm = {realm}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
[domain_realm]
  localhost = {realm}
"""
KDC = """[kdcdefaults]
  kdc_listen = ""
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {directory}/principal
    key_stash_file = {directory}/stash
    acl_file = {directory}/acl
    max_life = 1h
  }}
[logging]
  kdc = FILE:{directory}/kdc.log
"""


def need_kerberos() -> None:
    """Skip or fail where MIT's KDC, its tools or the client's package for Kerberos are not installed."""
    for program in PROGRAMS:
        if shutil.which(program, path=SEARCHED) is None:
            missing_peer(f"MIT Kerberos is not installed: there is no {program}")
    if find_spec("gssapi") is None:
        missing_peer("the package gssapi of corral[gssapi] is not installed")


class Realm:
    """A realm with its KDC, used as `with Realm(directory) as realm`. config: its krb5.conf."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._port = free_port()
        self._kdc: subprocess.Popen[bytes] | None = None
        self.config = directory / "krb5.conf"

    def principal(self, name: str) -> Path:
        """Make a principal; return its keytab."""
        keytab = self.keytab(name)
        self._run("kadmin.local", "-q", f"addprinc -randkey {name}")
        self._run("kadmin.local", "-q", f"ktadd -k {keytab} {name}")
        return keytab

    def keytab(self, name: str) -> Path:
        """Return where a principal's keytab is."""
        return self._dir / f"{name.replace('/', '-')}.keytab"

    def put_ticket(self, cache: str, name: str, lifetime: str = "1h") -> None:
        """Put the ticket of a principal, whose keytab is there, into a cache."""
        # A collection gets one more of them so; with kinit's -c the ticket there would be replaced.
        self._run("kinit", "-l", lifetime, "-kt", str(self.keytab(name)), name, cache=cache)

    def is_good(self, cache: str, service: str) -> bool:
        """Tell whether a cache's ticket gets one for a service."""
        command = [_path("kvno"), "-q", "-c", cache, service]
        return subprocess.run(command, env=self._env(), capture_output=True, check=False).returncode == 0

    def start(self) -> None:
        """Start the KDC, and wait until it answers."""
        with (self._dir / "out").open("ab") as out:
            command = [_path("krb5kdc"), "-n", "-r", NAME]
            self._kdc = subprocess.Popen(command, stdout=out, stderr=out, env=self._env())
        deadline = time.monotonic() + START_S
        while self._kdc.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise AssertionError(f"the KDC did not start:\n{(self._dir / 'out').read_text()}")

    def hold(self) -> None:
        """Have the KDC answer nothing until `resume`."""
        assert self._kdc is not None
        self._kdc.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have the KDC go on."""
        assert self._kdc is not None
        self._kdc.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the KDC; its port refuses connections from then on."""
        assert self._kdc is not None
        self._kdc.terminate()
        self._kdc.wait(30)

    def __enter__(self) -> Self:
        fields = {"realm": NAME, "port": self._port, "directory": self._dir}
        self.config.write_text(CLIENTS.format(**fields))
        (self._dir / "kdc.conf").write_text(KDC.format(**fields))
        self._run("kdb5_util", "create", "-s", "-r", NAME, "-P", "master")
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self, program: str, *args: str, cache: str = "MEMORY:") -> None:
        env = {**self._env(), "KRB5CCNAME": cache}
        done = subprocess.run([_path(program), *args], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {args}: {done.stdout}{done.stderr}"

    def _env(self) -> dict[str, str]:
        return {**os.environ, "KRB5_CONFIG": str(self.config), "KRB5_KDC_PROFILE": str(self._dir / "kdc.conf")}


def _path(program: str) -> str:
    found = shutil.which(program, path=SEARCHED)
    assert found is not None
    return found
