"""The client's DIGEST-MD5 at an Apache ZooKeeper that serves nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.clients import Style
from tests.support.loops import run, until
from tests.support.proxy import Proxy
from tests.support.servers import Process, need_apache

import corral
from corral.base.errors import AuthFailed, NoAuth, SessionClosedRequireSaslAuth
from corral.cli.main import main as cli
from corral.client.sasl import DigestMd5
from corral.client.values import EventType, State, WatchEvent
from corral.wire import opcodes
from corral.wire.data import ACL

pytestmark = pytest.mark.interop

LOGIN = """Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_ann="secret"
  user_bob="geheim-ß"
  user_eve="тайна";
};
"""
ANN = DigestMd5("ann", "secret")
BOB = DigestMd5("bob", "geheim-ß")
EVE = DigestMd5("eve", "тайна")
ANNS = [ACL(31, "sasl", "ann")]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the connect string of a server that answers nothing else before SASL, and so shows what leaves too early."""
    need_apache()
    directory: Path = tmp_path_factory.mktemp("sasl")
    (directory / "login.conf").write_text(LOGIN, encoding="utf-8")
    java = [
        f"-Djava.security.auth.login.config={directory / 'login.conf'}",
        "-Dzookeeper.authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "-Dzookeeper.sessionRequireClientSASLAuth=true",
        "-Dfile.encoding=UTF-8",
    ]
    with Process("apache", directory, java) as running:
        yield f"127.0.0.1:{running.port}"


@pytest.fixture(params=["async", "blocking"])
def style(request: pytest.FixtureRequest) -> Style:
    """Give a form of the client."""
    return Style(request.param)


def test_what_is_one_users_is_readable_by_that_user_alone(hosts: str, style: Style) -> None:
    async def main() -> None:
        path = f"/only-ann-{style.is_blocking}"
        async with style.open(hosts, sasl=ANN) as ann, style.open(hosts, sasl=BOB) as bob:
            assert ("sasl", "ann") in await style.ask(ann.who_am_i)
            assert ("sasl", "bob") in await style.ask(bob.who_am_i)
            await style.ask(ann.create, path, b"1", acl=ANNS)

            assert (await style.ask(ann.get, path))[0] == b"1"
            with pytest.raises(NoAuth):
                await style.ask(bob.get, path)

    run(main())


def test_a_password_may_have_any_characters(hosts: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts, sasl=EVE) as zk:
            assert ("sasl", "eve") in await zk.who_am_i()

    run(main())


def test_a_wrong_password_is_refused_once_and_at_once(hosts: str, style: Style) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy:
            with pytest.raises(AuthFailed, match=f"{proxy.hosts} refused its SASL credentials") as caught:
                async with style.open(proxy.hosts, sasl=DigestMd5("ann", "wrong-guess"), connect_timeout=None):
                    pass

            assert proxy.requests == {opcodes.SASL: 2}
            assert "wrong-guess" not in repr(caught.value)

    run(main(), timeout=5.0)


def test_a_client_that_does_not_authenticate_gets_nowhere(hosts: str) -> None:
    async def main() -> None:
        async with corral.connect(hosts) as zk:
            with pytest.raises(SessionClosedRequireSaslAuth):
                await zk.get("/")

    run(main())


def test_every_connection_is_authenticated_before_anything_else(hosts: str, style: Style) -> None:
    """Credentials of other schemes and watches come behind, or the server would hang up."""

    async def main() -> None:
        path = f"/again-{style.is_blocking}"
        events: list[WatchEvent] = []
        options = {"sasl": ANN, "auth": [("digest", b"ann:other")], "session_timeout_ms": 20_000}
        async with Proxy(hosts) as proxy, style.open(proxy.hosts, **options) as zk:
            await style.ask(zk.create, path, b"1", acl=ANNS)
            await style.ask(zk.get, path, events.append)
            session = zk.session_id
            proxy.cut()
            await until(lambda: proxy.requests[opcodes.SASL] == 4)

            await style.ask(zk.set, path, b"2")
            await until(lambda: [event.type for event in events] == [EventType.CHANGED])
            assert zk.session_id == session
            assert {scheme for scheme, _ in await style.ask(zk.who_am_i)} == {"sasl", "digest", "ip"}

    run(main())


def test_a_request_that_waits_for_a_connection_waits_for_its_rights(hosts: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts, sasl=ANN, session_timeout_ms=20_000) as zk:
            await zk.create("/waits", b"1", acl=ANNS)
            proxy.shut()
            await zk.wait_for(State.SUSPENDED)
            waiting = zk.get("/waits")
            proxy.open()

            assert (await waiting)[0] == b"1"

    run(main())


def corral_shell(hosts: str, password: str, *commands: str) -> Result:
    """Run commands of the shell as ann, whose password is in the environment."""
    said = [part for command in commands for part in ("-c", command)]
    asked = ["shell", "--sasl", "digest-md5", "--sasl-user", "ann", *said, hosts]
    return CliRunner().invoke(cli, asked, env={"CORRAL_SASL_PASSWORD": password}, catch_exceptions=False)


def test_the_command_line_authenticates_and_so_it_does_when_it_connects_again(hosts: str) -> None:
    done = corral_shell(hosts, "secret", "create /shells x auth::cdrwa", "connect", "getAcl /shells", "whoami")

    assert (done.stderr, done.exit_code) == ("", 0)
    assert "'sasl,'ann\n: cdrwa\n" in done.stdout
    assert "sasl: ann" in done.stdout


def test_the_command_line_says_that_a_password_is_refused(hosts: str) -> None:
    done = corral_shell(hosts, "wrong-guess", "ls /")

    assert (done.stdout, done.exit_code) == ("", 1)
    assert done.stderr == f"corral: {hosts} refused its SASL credentials\n"


def test_kazoo_is_the_same_user(hosts: str) -> None:
    kazoo = pytest.importorskip("kazoo.client", reason="kazoo is not installed")
    options = {"mechanism": "DIGEST-MD5", "username": "ann", "password": "secret"}
    with corral.Client(hosts, sasl=ANN) as zk:
        zk.create("/kazoos-too", b"1", acl=ANNS)

        other = kazoo.KazooClient(hosts, sasl_options=options)
        other.start()
        try:
            assert other.get("/kazoos-too")[0] == b"1"
        finally:
            other.stop()
            other.close()
