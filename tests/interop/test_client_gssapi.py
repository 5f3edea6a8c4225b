"""The client's GSSAPI with MIT's KDC, at an Apache ZooKeeper that serves nobody else."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.clients import Style
from tests.support.kerberos import NAME, Realm, need_kerberos
from tests.support.loops import run, until
from tests.support.proxy import Proxy
from tests.support.servers import Process, need_apache

import corral
from corral.base.errors import AuthFailed, NoAuth
from corral.cli.main import main as cli
from corral.client.errors import ClientClosed
from corral.client.sasl import Gssapi
from corral.client.values import EventType, State, WatchEvent
from corral.wire import opcodes
from corral.wire.client import SaslToken
from corral.wire.data import ACL
from corral.wire.schema import encode

pytestmark = pytest.mark.interop

SERVER = "zookeeper/localhost"
LOGIN = """Server {{
  com.sun.security.auth.module.Krb5LoginModule required
  useKeyTab=true keyTab="{keytab}" storeKey=true useTicketCache=false isInitiator=false doNotPrompt=true
  principal="{principal}";
}};
"""
ANN, BOB = f"ann@{NAME}", f"bob@{NAME}"
NO_TICKET = f"the client is closed: the SASL exchange with localhost:{{port}} failed: no Kerberos ticket for {SERVER}"
ANNS = [ACL(31, "sasl", ANN)]


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """Give a realm with two users, the server, and one more that no server is."""
    need_kerberos()
    with Realm(tmp_path_factory.mktemp("realm")) as realm:
        for name in ("ann", "bob", "zookeeper/elsewhere"):
            realm.principal(name)
        yield realm


@pytest.fixture(scope="module")
def port(realm: Realm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Give the port of a server on localhost that answers nothing else before SASL."""
    need_apache()
    directory = tmp_path_factory.mktemp("gssapi")
    login = LOGIN.format(keytab=realm.principal(SERVER), principal=f"{SERVER}@{NAME}")
    (directory / "login.conf").write_text(login)
    java = [
        f"-Djava.security.krb5.conf={realm.config}",
        f"-Djava.security.auth.login.config={directory / 'login.conf'}",
        "-Dzookeeper.authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        "-Dzookeeper.sessionRequireClientSASLAuth=true",
    ]
    with Process("apache", directory, java) as running:
        yield running.port


@pytest.fixture(autouse=True)
def cache(realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of the cache that clients look into; there is no ticket in it."""
    name = f"FILE:{tmp_path / 'cache'}"
    monkeypatch.setenv("KRB5_CONFIG", str(realm.config))
    monkeypatch.setenv("KRB5CCNAME", name)
    return name


@pytest.fixture(params=["async", "blocking"])
def style(request: pytest.FixtureRequest) -> Style:
    """Give a form of the client."""
    return Style(request.param)


@pytest.fixture
def tickets(realm: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tickets of both users at hand."""
    (tmp_path / "caches").mkdir()
    name = f"DIR:{tmp_path / 'caches'}"
    realm.put_ticket(name, "bob")
    realm.put_ticket(name, "ann")
    monkeypatch.setenv("KRB5CCNAME", name)


def held() -> tuple[set[str], list[str]]:
    """Return this process's threads, but for those of `to_thread`, and its sockets."""
    threads = {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
    sockets = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            sockets.append(target)
    return threads, sorted(sockets)


async def refused(style: Style, hosts: str, sasl: Gssapi) -> str:
    """Return why a client is refused, which is to be final, quick and without traces."""
    if style.is_blocking:
        # A loop that has handed a call to a thread keeps that thread.
        await style.ask(lambda: None)
    before, tasks = held(), asyncio.all_tasks()
    with pytest.raises(AuthFailed) as caught:
        async with asyncio.timeout(5.0), style.open(hosts, sasl=sasl, connect_timeout=None):
            pass
    await until(lambda: asyncio.all_tasks() == tasks and held() == before)
    return str(caught.value)


def test_whose_ticket_it_is_may_read_what_is_theirs_alone(tickets: None, port: int, style: Style) -> None:
    async def main() -> None:
        path, hosts = f"/only-ann-{style.is_blocking}", f"localhost:{port}"
        async with (
            style.open(hosts, sasl=Gssapi()) as ann,
            style.open(hosts, sasl=Gssapi(principal=BOB)) as bob,
        ):
            assert ("sasl", ANN) in await style.ask(ann.who_am_i)
            assert ("sasl", BOB) in await style.ask(bob.who_am_i)
            await style.ask(ann.create, path, b"1", acl=ANNS)

            assert (await style.ask(ann.get, path))[0] == b"1"
            with pytest.raises(NoAuth):
                await style.ask(bob.get, path)

    run(main())


def test_every_connection_is_authenticated_before_anything_else(tickets: None, port: int, style: Style) -> None:
    async def main() -> None:
        path = f"/again-{style.is_blocking}"
        events: list[WatchEvent] = []
        options: dict[str, Any] = {"sasl": Gssapi(host="localhost"), "session_timeout_ms": 20_000}
        async with Proxy(f"127.0.0.1:{port}") as proxy, style.open(proxy.hosts, **options) as zk:
            await style.ask(zk.create, path, b"1", acl=ANNS)
            await style.ask(zk.get, path, events.append)
            session, tokens = zk.session_id, proxy.requests[opcodes.SASL]
            proxy.cut()
            await until(lambda: proxy.requests[opcodes.SASL] == 2 * tokens)

            await style.ask(zk.set, path, b"2")
            await until(lambda: [event.type for event in events] == [EventType.CHANGED])
            assert zk.session_id == session
            assert ("sasl", ANN) in await style.ask(zk.who_am_i)

    run(main())


def test_without_a_ticket_nobody_is_authenticated(cache: str, port: int, style: Style) -> None:
    why = run(refused(style, f"localhost:{port}", Gssapi()))

    assert why == f"{NO_TICKET.format(port=port)}: No Kerberos credentials available (default cache: {cache})"


def test_a_ticket_of_another_is_not_taken(realm: Realm, cache: str, port: int, style: Style) -> None:
    realm.put_ticket(cache, "ann")

    why = run(refused(style, f"localhost:{port}", Gssapi(principal=BOB)))

    assert why == f"{NO_TICKET.format(port=port)}: Can't find client principal {BOB} in cache collection"


def test_a_ticket_that_has_expired_is_good_for_nothing(realm: Realm, cache: str, port: int, style: Style) -> None:
    async def main() -> None:
        realm.put_ticket(cache, "ann", "1s")
        await until(lambda: not realm.is_good(cache, SERVER))

        assert await refused(style, f"localhost:{port}", Gssapi()) == f"{NO_TICKET.format(port=port)}: Ticket expired"

    run(main())


@pytest.mark.parametrize(
    ("options", "host", "name"),
    [
        ({}, "127.0.0.1", "zookeeper/127.0.0.1"),
        ({"service": "keeper"}, "localhost", "keeper/localhost"),
        ({"host": "nowhere"}, "localhost", "zookeeper/nowhere"),
    ],
)
def test_a_service_that_the_realm_does_not_have_is_named(
    tickets: None, port: int, style: Style, options: dict[str, str], host: str, name: str
) -> None:
    why = run(refused(style, f"{host}:{port}", Gssapi(**options)))

    assert why.endswith(
        f"{host}:{port} failed: no Kerberos ticket for {name}: Server {name}@{NAME} not found in Kerberos database"
    )


def test_a_server_does_not_take_what_is_for_another(tickets: None, port: int, style: Style) -> None:
    why = run(refused(style, f"localhost:{port}", Gssapi(host="elsewhere")))

    assert why == f"the client is closed: localhost:{port} refused its SASL credentials"


def test_a_server_that_does_not_prove_itself_is_not_believed(tickets: None, port: int, style: Style) -> None:
    async def main() -> None:
        async with Proxy(f"127.0.0.1:{port}") as proxy:
            proxy.answer(opcodes.SASL, 0, encode(SaslToken(b"it is me")))
            why = await refused(style, proxy.hosts, Gssapi(host="localhost"))

        assert why.endswith(f"the answer is not that of {SERVER}: Invalid token was supplied")

    run(main())


def test_a_ticket_that_is_gone_ends_the_client_when_it_has_to_connect_again(
    realm: Realm, cache: str, port: int, style: Style
) -> None:
    async def main() -> None:
        realm.put_ticket(cache, "ann")
        async with Proxy(f"127.0.0.1:{port}") as proxy, style.open(proxy.hosts, sasl=Gssapi(host="localhost")) as zk:
            os.unlink(cache.removeprefix("FILE:"))
            assert await style.ask(zk.exists, "/") is not None
            proxy.cut()

            with pytest.raises(AuthFailed, match="failed: no Kerberos ticket for zookeeper/localhost: No Kerb"):
                await style.ask(zk.wait_for, State.LOST)

    run(main())


@pytest.mark.parametrize("principal", [None, BOB])
def test_the_loop_goes_on_while_the_kdc_does_not_answer(
    realm: Realm, cache: str, port: int, monkeypatch: pytest.MonkeyPatch, principal: str | None
) -> None:
    """With the client's own keytab it is asked for the ticket itself, at another step if the principal is given."""

    async def main() -> None:
        realm.put_ticket(cache, "ann")
        async with corral.connect(f"localhost:{port}", sasl=Gssapi()) as other:
            monkeypatch.setenv("KRB5CCNAME", f"{cache}-of-bob")
            monkeypatch.setenv("KRB5_CLIENT_KTNAME", str(realm.keytab("bob")))
            realm.hold()
            try:
                zk = corral.connect(f"localhost:{port}", sasl=Gssapi(principal=principal))
                starting = asyncio.ensure_future(zk.start())
                await until(lambda: "corral-sasl" in held()[0])

                assert await other.exists("/") is not None
                await zk.close()
                with pytest.raises(ClientClosed):
                    await starting
            finally:
                realm.resume()
            await until(lambda: "corral-sasl" not in held()[0])

    run(main())


def test_a_kdc_that_is_not_there_is_asked_again(realm: Realm, cache: str, port: int) -> None:
    async def main() -> None:
        realm.put_ticket(cache, "ann")
        zk = corral.connect(f"localhost:{port}", sasl=Gssapi())
        realm.stop()
        try:
            starting = asyncio.ensure_future(zk.start())
            await until(lambda: "KDC" in zk._session.why)
        finally:
            realm.start()

        await starting
        assert ("sasl", ANN) in await zk.who_am_i()
        await zk.close()

    run(main())


def corral_shell(port: int, *options: str) -> Result:
    """Ask by the command line who its user is."""
    asked = ["shell", "--sasl", "gssapi", *options, "-c", "whoami", f"127.0.0.1:{port}"]
    return CliRunner().invoke(cli, asked, catch_exceptions=False)


def test_the_command_line_shows_a_ticket(tickets: None, port: int) -> None:
    done = corral_shell(port, "--sasl-host", "localhost", "--sasl-principal", BOB)

    assert (done.stderr, done.exit_code) == ("", 0)
    assert f"sasl: {BOB}" in done.stdout


def test_the_command_line_says_which_ticket_is_not_there(tickets: None, port: int) -> None:
    done = corral_shell(port, "--sasl-host", "localhost", "--sasl-service", "keeper")

    assert (done.stdout, done.exit_code) == ("", 1)
    assert done.stderr == (
        f"corral: the SASL exchange with 127.0.0.1:{port} failed: no Kerberos ticket for keeper/localhost: "
        f"Server keeper/localhost@{NAME} not found in Kerberos database\n"
    )
