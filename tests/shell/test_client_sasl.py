"""The client's SASL over real connections, at servers that have none: mechanisms that wait, or are refused."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.support.clients import Style
from tests.support.loops import run, until
from tests.support.proxy import Proxy
from tests.support.sasl import Script

import corral
from corral.base.errors import AuthFailed
from corral.client.errors import ClientClosed
from corral.client.sasl import DigestMd5
from corral.client.values import State
from corral.wire import opcodes


def test_a_server_without_sasl_is_named_once_and_at_once(hosts: str, style: Style) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy:
            with pytest.raises(AuthFailed, match=f"{proxy.hosts} does not authenticate by SASL"):
                async with style.open(proxy.hosts, sasl=DigestMd5("ann", "secret"), connect_timeout=None):
                    pass

            assert proxy.requests == {opcodes.SASL: 1}

    run(main())


def test_every_connection_is_authenticated_anew(hosts: str, path: str, style: Style) -> None:
    async def main() -> None:
        script = Script(b"x", may_block=True)
        async with Proxy(hosts) as proxy, style.open(proxy.hosts, sasl=script) as zk:
            await style.ask(zk.create, path)
            session = zk.session_id
            proxy.cut()
            await until(lambda: proxy.requests[opcodes.SASL] == 2)

            assert await style.ask(zk.exists, path) is not None
            assert zk.session_id == session
            assert script.begun == ["127.0.0.1"] * 2
            assert script.heard == [None, None]

    run(main())


def test_the_loop_goes_on_while_a_mechanism_waits(hosts: str) -> None:
    async def main() -> None:
        may_go_on = threading.Event()
        script = Script(b"x", may_block=True, meanwhile=may_go_on.wait)
        start = asyncio.ensure_future(corral.connect(hosts, sasl=script).start())
        await until(lambda: bool(script.heard))
        may_go_on.set()

        zk = await start

        assert zk.state is State.CONNECTED
        await zk.close()

    run(main())


def test_who_gives_up_leaves_a_mechanism_that_waits_behind(hosts: str) -> None:
    """Not even the end of the loop waits for it, nor does it mind."""
    may_go_on = threading.Event()
    threads: list[threading.Thread] = []

    def wait() -> None:
        threads.append(threading.current_thread())
        may_go_on.wait()

    async def main() -> None:
        zk = corral.connect(hosts, sasl=Script(b"x", may_block=True, meanwhile=wait))
        start = asyncio.ensure_future(zk.start())
        await until(lambda: bool(threads))
        await zk.close()

        with pytest.raises(ClientClosed):
            await start

    run(main())
    may_go_on.set()
    threads[0].join()


def test_a_client_that_is_refused_after_it_was_connected_is_closed(hosts: str, path: str) -> None:
    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts, sasl=Script(b"x")) as zk:
            proxy.answer(opcodes.SASL, -115)
            proxy.cut()

            with pytest.raises(AuthFailed, match=f"{proxy.hosts} refused its SASL credentials"):
                await zk.wait_for(State.LOST)
            assert zk.state is State.CLOSED
            with pytest.raises(ClientClosed, match="refused its SASL credentials"):
                await zk.get(path)

    run(main())
