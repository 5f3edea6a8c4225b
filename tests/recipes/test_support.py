"""What the recipes' tests stand on does what it says."""

from __future__ import annotations

import pytest
from tests.support.loops import expire, give_up_session, run, until
from tests.support.proxy import Proxy

import corral
from corral.base.errors import Outcome
from corral.client.errors import ConnectionLoss
from corral.client.values import State
from corral.wire.opcodes import CREATE


def test_a_lost_reply_is_unknown_and_done(hosts: str, path: str) -> None:
    """The proxy swallows the reply to a create that the server carried out."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            proxy.lose_reply(CREATE)

            with pytest.raises(ConnectionLoss) as caught:
                await zk.create(path)

            assert caught.value.outcome is Outcome.UNKNOWN
            assert await zk.exists(path) is not None
            assert proxy.requests[CREATE] == 1

    run(main())


def test_a_lost_request_is_not_done(hosts: str, path: str) -> None:
    """The proxy swallows the create itself."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            proxy.lose_request(CREATE)

            with pytest.raises(ConnectionLoss):
                await zk.create(path)

            assert await zk.exists(path) is None

    run(main())


def test_an_expired_session_loses_its_ephemerals(hosts: str, path: str) -> None:
    """`expire` ends the session at the server."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path, ephemeral=True)

            await expire(zk, hosts)

            assert await zk.exists(path) is None

    run(main())


def test_a_session_given_up_keeps_its_ephemerals_for_a_while(hosts: str, path: str) -> None:
    """`give_up_session` leaves the old session to the server."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path, ephemeral=True)

            old = await give_up_session(zk)

            stat = await zk.exists(path)
            assert stat is not None
            assert stat.ephemeral_owner == old != zk.session_id

    run(main())


def test_a_shut_proxy_suspends_and_an_open_one_connects(hosts: str) -> None:
    """`shut` and `open` are seen as SUSPENDED and CONNECTED."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            session = zk.session_id
            proxy.shut()
            await until(lambda: zk.state is State.SUSPENDED)

            proxy.open()

            await until(lambda: zk.state is State.CONNECTED)
            assert zk.session_id == session

    run(main())
