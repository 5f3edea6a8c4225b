"""The client over TLS: whom it trusts, what it says where it does not, and that all else is as without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from tests.support.clients import Style
from tests.support.loops import run, until
from tests.support.servers import KINDS, Process, free_port, need_apache

from corral.cli.main import main as cli
from corral.client import tls
from corral.client.errors import BadCertificate, ClientClosed, RequestTimeout, TlsFailed
from corral.client.values import State
from corral.testing import EmbeddedServer

pytest.importorskip("cryptography")

from tests.support.certificates import Authority, Issued
from tests.support.tlsproxy import TlsProxy

PASSWORD = "secret"  # Of a key that lasts for an hour.
NETTY = "org.apache.zookeeper.server.NettyServerCnxnFactory"


class Files(NamedTuple):
    """What tests show and trust. other: an authority that nobody here trusts."""

    authority: Authority
    other: Authority
    server: Issued
    stranger: Issued
    elsewhere: Issued
    expired: Issued
    client: Issued
    hidden: Issued


class Secure(NamedTuple):
    """A server's ports for clients. plain: of the same server, without TLS."""

    kind: str
    port: int
    plain: int


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Give certificates."""
    directory = tmp_path_factory.mktemp("certificates")
    authority, other = Authority(directory), Authority(directory, "other-authority")
    return Files(
        authority,
        other,
        authority.issue("server", "localhost", "127.0.0.1"),
        other.issue("stranger"),
        authority.issue("elsewhere", "zk.example.com"),
        authority.issue("expired", "localhost", is_expired=True),
        authority.issue("client"),
        authority.issue("hidden", password=PASSWORD),
    )


@contextmanager
def serving(kind: str, files: Files, directory: Path, own: Issued, wants_certificates: bool) -> Iterator[Secure]:
    """Run a server of a kind that speaks TLS, and shows the certificate `own`."""
    with ExitStack() as stack:
        if kind == "apache":
            need_apache()
            port = free_port()
            keys = {
                "secureClientPort": str(port),
                "secureClientPortAddress": "127.0.0.1",
                "serverCnxnFactory": NETTY,
                "ssl.keyStore.location": str(own.both),
                "ssl.trustStore.location": str(files.authority.cert),
                "ssl.clientAuth": "need" if wants_certificates else "none",
            }
            server = stack.enter_context(Process("apache", directory, **keys))
            yield Secure(kind, port, server.port)
        else:
            embedded = stack.enter_context(EmbeddedServer())
            plain = int(embedded.connect_string.rpartition(":")[2])
            ca = files.authority.cert if wants_certificates else None
            proxy = stack.enter_context(TlsProxy(plain, own, ca))
            yield Secure(kind, proxy.port, plain)


@pytest.fixture(scope="module", params=KINDS)
def secure(request: pytest.FixtureRequest, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Give a server that speaks TLS with everybody."""
    with serving(request.param, files, tmp_path_factory.mktemp("tls"), files.server, False) as server:
        yield server


@pytest.fixture(scope="module", params=KINDS)
def strict(request: pytest.FixtureRequest, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Give a server that speaks TLS with clients that show a certificate."""
    with serving(request.param, files, tmp_path_factory.mktemp("mtls"), files.server, True) as server:
        yield server


def trusting(files: Files, **options: Any) -> ssl.SSLContext:
    return tls.context(ca=files.authority.cert, **options)


async def refusal(style: Style, hosts: str, error: type[Exception], **options: Any) -> str:
    """Return what a client says that cannot connect."""
    with pytest.raises(error) as caught:
        async with style.open(hosts, session_timeout_ms=2000, **options):
            pass
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_requests_and_watches_pass_and_large_answers_too(host: str, secure: Secure, files: Files, style: Style) -> None:
    async def main() -> None:
        path = f"/tls-{host}-{style.is_blocking}"
        async with style.open(f"{host}:{secure.port}", ssl_context=trusting(files)) as zk:
            events: list[Any] = []
            large = b"x" * 900_000
            await style.ask(zk.create, path, large)
            assert (await style.ask(zk.get, path, events.append))[0] == large
            await style.ask(zk.set, path, b"y")
            await until(lambda: len(events) == 1)
            found = await asyncio.gather(*(style.ask(zk.get, path) for _ in range(50)))
            assert {data for data, _ in found} == {b"y"}

    run(main())


def test_a_client_with_a_certificate_is_known_by_it(strict: Secure, files: Files, style: Style) -> None:
    async def main() -> None:
        for shown, password in ((files.client, None), (files.hidden, PASSWORD)):
            context = trusting(files, cert=shown.cert, key=shown.key, password=password)
            async with style.open(f"localhost:{strict.port}", ssl_context=context) as zk:
                identities = dict(await style.ask(zk.who_am_i))
                if strict.kind == "apache":
                    assert identities["x509"] == f"CN={shown.cert.stem}"
                else:
                    assert identities == {"ip": "127.0.0.1"}
        context = trusting(files, cert=files.client.both)
        async with style.open(f"localhost:{strict.port}", ssl_context=context) as zk:
            assert await style.ask(zk.exists, "/") is not None

    run(main())


def test_a_client_without_the_right_certificate_is_told(strict: Secure, files: Files, style: Style) -> None:
    async def main() -> None:
        for shown in ({}, {"cert": files.stranger.cert, "key": files.stranger.key}):
            said = await refusal(
                style, f"localhost:{strict.port}", TlsFailed, ssl_context=trusting(files, **shown)
            )  # fmt: skip
            assert "client's certificate" in said
            assert f"localhost:{strict.port}" in said

    run(main())


def test_a_server_of_an_unknown_authority_is_refused(secure: Secure, files: Files, style: Style) -> None:
    async def main() -> None:
        hosts = f"localhost:{secure.port}"
        for context in (tls.context(ca=files.other.cert), tls.context()):
            said = await refusal(style, hosts, TlsFailed, ssl_context=context, connect_timeout=None)
            assert f"the last one {hosts}: certificate verify failed: " in said
            assert said.endswith("the server's certificate is of no authority that this client trusts (ca)")

    run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_for_another_name_is_refused_unless_names_do_not_matter(
    kind: str, files: Files, tmp_path: Path, style: Style
) -> None:
    async def main(server: Secure) -> None:
        said = await refusal(style, f"localhost:{server.port}", TlsFailed, ssl_context=trusting(files))
        assert said.endswith("Hostname mismatch, certificate is not valid for 'localhost'")
        said = await refusal(style, f"127.0.0.1:{server.port}", TlsFailed, ssl_context=trusting(files))
        assert said.endswith("IP address mismatch, certificate is not valid for '127.0.0.1'")
        context = trusting(files, check_hostname=False)
        async with style.open(f"localhost:{server.port}", ssl_context=context) as zk:
            assert await style.ask(zk.exists, "/") is not None

    with serving(kind, files, tmp_path, files.elsewhere, False) as server:
        run(main(server))


def test_a_certificate_that_is_out_of_date_is_refused(files: Files, tmp_path: Path, style: Style) -> None:
    async def main(server: Secure) -> None:
        said = await refusal(style, f"localhost:{server.port}", TlsFailed, ssl_context=trusting(files))
        assert said.endswith("certificate has expired; a certificate of the server's is out of date")

    with serving("corral", files, tmp_path, files.expired, False) as server:
        run(main(server))


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_tell_of_the_missing_certificate(
    newest: ssl.TLSVersion, files: Files, style: Style
) -> None:
    async def main(port: int) -> None:
        said = await refusal(style, f"localhost:{port}", TlsFailed, ssl_context=trusting(files))
        assert "want" in said
        assert "a client's certificate" in said

    with TlsProxy(1, files.server, files.authority.cert, newest) as proxy:
        run(main(proxy.port))


def test_plain_and_tls_do_not_meet_and_both_say_so(secure: Secure, files: Files, style: Style) -> None:
    async def main() -> None:
        plain, tls_port = f"127.0.0.1:{secure.plain}", f"127.0.0.1:{secure.port}"
        said = await refusal(style, plain, RequestTimeout, ssl_context=trusting(files), connect_timeout=1.0)
        assert "does it speak TLS on this port" in said
        said = await refusal(style, tls_port, RequestTimeout, connect_timeout=1.0)
        assert "speaks TLS on this port" in said

    run(main())


def test_what_is_no_tls_at_all_is_known_by_it(files: Files, style: Style) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            hosts = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            said = await refusal(style, hosts, TlsFailed, ssl_context=trusting(files))
            assert said.endswith("the server does not speak TLS on this port (wrong version number)")

    run(main())


def test_a_server_that_is_silent_in_the_handshake_is_given_up(files: Files, style: Style) -> None:
    async def main() -> None:
        taken: list[asyncio.StreamWriter] = []
        async with await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0) as server:
            hosts = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            said = await refusal(style, hosts, RequestTimeout, ssl_context=trusting(files), connect_timeout=1.5)
            assert said.endswith("no answer within 1000 ms")
            for writer in taken:
                writer.transport.abort()

    run(main())


def test_a_session_goes_on_over_the_next_connection(secure: Secure, files: Files, style: Style) -> None:
    async def main() -> None:
        hosts = f"localhost:{secure.port}"
        async with style.open(hosts, session_timeout_ms=10_000, ssl_context=trusting(files)) as zk:
            states: list[State] = []
            path = await style.ask(zk.create, "/here-", ephemeral=True, sequence=True)
            session = zk.session_id
            zk.on_state(states.append)
            inner = zk._zk if style.is_blocking else zk
            inner._loop.call_soon_threadsafe(inner._transport._transport.abort)
            await until(lambda: states == [State.SUSPENDED, State.CONNECTED])
            assert await style.ask(zk.exists, path) is not None
            assert zk.session_id == session

    run(main())


def test_a_client_refused_later_keeps_trying_and_is_told_once(files: Files) -> None:
    """One with a session has more to lose than a start."""

    class Log:
        def __init__(self) -> None:
            self.said: list[tuple[str, dict[str, Any]]] = []

        def info(self, event: str, **keys: Any) -> None: ...

        debug = error = info

        def warning(self, event: str, **keys: Any) -> None:
            self.said.append((event, keys))

    async def main(port: int) -> None:
        log = Log()
        style = Style("async")
        with TlsProxy(port, files.server) as proxy:
            hosts = f"localhost:{proxy.port}"
            async with style.open(hosts, session_timeout_ms=10_000, ssl_context=trusting(files), log=log) as zk:
                proxy.show(files.expired)
                proxy.cut()
                await until(lambda: proxy.refused >= 4)
                proxy.show(files.server)
                assert await zk.wait_for(State.CONNECTED) is State.CONNECTED
                told = [keys for event, keys in log.said if event == "no connection over TLS"]
                assert [each["server"] for each in told] == [hosts]
                assert "certificate has expired" in told[0]["why"]

    with EmbeddedServer() as server:
        run(main(int(server.connect_string.rpartition(":")[2])))


# Files.


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ca": "nowhere.pem"}, "ca '{0}/nowhere.pem': No such file or directory"),
        ({"ca": "."}, "ca '{0}': Is a directory"),
        ({"ca": "text"}, "ca '{0}/text': no PEM; a PEM file has a line like -----BEGIN CERTIFICATE-----"),
        ({"ca": "client.key"}, "ca '{0}/client.key': there is no certificate in it that can be read"),
        ({"ca": "store.jks"}, "ca '{0}/store.jks': a Java key store; what is needed is PEM"),
        ({"cert": "nowhere.pem"}, "cert '{0}/nowhere.pem': No such file or directory"),
        ({"cert": "text"}, "cert '{0}/text': no PEM"),
        ({"cert": "client.key"}, "cert '{0}/client.key': there is no certificate in it that can be read"),
        ({"cert": "client.crt"}, "cert '{0}/client.crt': there is no private key in it that can be read"),
        ({"cert": "client.crt", "key": "nowhere.pem"}, "key '{0}/nowhere.pem': No such file or directory"),
        ({"cert": "client.crt", "key": "text"}, "key '{0}/text': no PEM; a PEM file has a line like -----BEGIN P"),
        ({"cert": "client.crt", "key": "server.key"}, "key '{0}/server.key': the private key is not that of cert"),
        ({"cert": "hidden.crt", "key": "hidden.key"}, "key '{0}/hidden.key': the private key is encrypted: give its"),
        ({"cert": "hidden.crt", "key": "hidden.key", "password": "x"}, "key '{0}/hidden.key': the password is wrong"),
        ({"key": "client.key"}, "a private key was given, but no certificate to go with it"),
    ],
)  # fmt: skip
def test_files_that_will_not_do_are_named(given: dict[str, str], says: str, files: Files) -> None:
    directory = files.authority.cert.parent
    (directory / "text").write_text("hello")
    (directory / "store.jks").write_bytes(b"\xfe\xed\xfe\xed\0\0\0\2")
    options = {name: value if name == "password" else str(directory / value) for name, value in given.items()}

    with pytest.raises(BadCertificate) as caught:
        tls.context(**options)  # type: ignore[arg-type]  # Files and a password.

    assert str(caught.value).startswith(says.format(directory))


# The command line.


def command(server: Secure, *options: str) -> Any:
    where = ("--timeout", "3", f"localhost:{server.port}")
    return CliRunner().invoke(cli, ["shell", *options, "-c", "whoami", *where], catch_exceptions=False)


def test_the_shell_speaks_tls(strict: Secure, files: Files) -> None:
    shown = ("--cert", str(files.hidden.cert), "--key", str(files.hidden.key), "--key-password", PASSWORD)
    done = command(strict, "--ca", str(files.authority.cert), *shown)
    assert done.exit_code == 0, done.output
    if strict.kind == "apache":
        assert "CN=hidden" in done.stdout


def test_the_shell_says_what_is_wrong_with_tls(secure: Secure, files: Files) -> None:
    done = command(secure, "--tls")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"corral: no server is reached over TLS, the last one localhost:{secure.port}: cert")
    assert done.stderr.count("\n") == 1

    done = command(secure, "--ca", "/nowhere.pem")
    assert (done.exit_code, done.stderr) == (2, "corral: ca '/nowhere.pem': No such file or directory\n")


def test_a_client_that_gave_up_is_closed(secure: Secure, files: Files) -> None:
    async def main() -> None:
        from corral import connect

        zk = connect(f"localhost:{secure.port}", ssl_context=tls.context(ca=files.other.cert))
        with pytest.raises(TlsFailed):
            await zk.start()
        assert zk.state is State.CLOSED
        with pytest.raises(ClientClosed, match="certificate verify failed"):
            await zk.get("/")
        await zk.close()

    run(main())
