"""Service discovery: Curator's form, registered once and in place, and consumers that see little of outages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from tests.support.loops import expire, give_up_session, run, until
from tests.support.proxy import Proxy

import corral
from corral.base.errors import NoAuth
from corral.client.aio import AsyncClient
from corral.client.errors import RequestTooLarge
from corral.client.values import READ_ONLY_ACL, State
from corral.recipes.balance import DownPolicy, RandomChoice, RoundRobin, Sticky
from corral.recipes.discovery import Discovery, ServiceProvider
from corral.recipes.errors import RecipeTimeout
from corral.recipes.mirror import ChangeType
from corral.recipes.registration import NotRegistered, Registration, RegistrationState
from corral.recipes.service_instance import InstanceSerializer, ServiceInstance, ServiceType
from corral.wire.opcodes import CREATE2, DELETE, MULTI, SET_DATA

GOLDEN = (
    b'{"name":"web","id":"i-1","address":"10.0.0.7","port":8080,"sslPort":null,"payload":null,'
    b'"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":null}'
)
WEB = ServiceInstance("web", "i-1", "10.0.0.7", 8080, registered_ms=1700000000000)


def of_type(kind: ServiceType) -> ServiceInstance:
    """Return an instance of a type."""
    return ServiceInstance("web", "i-1", "10.0.0.7", 8080, type=kind)


def moved(port: int) -> ServiceInstance:
    """Return the instance with another port."""
    return ServiceInstance("web", "i-1", "10.0.0.7", port, registered_ms=1700000000000)


# What is written.


def test_an_instance_is_curators_json() -> None:
    """Byte for byte, both ways."""
    assert InstanceSerializer().dumps(WEB) == GOLDEN
    assert InstanceSerializer().loads(GOLDEN) == WEB


def test_what_a_reader_does_not_know_is_ignored() -> None:
    """Newer fields, and Java's class of the payload."""
    data = (
        GOLDEN.replace(b'"payload":null', b'"payload":{"@class":"com.x.Y","a":1},"new":[]')[:-1] + b',"enabled":false}'
    )

    found = InstanceSerializer().loads(data)

    assert found.payload == {"@class": "com.x.Y", "a": 1}
    assert not found.is_enabled


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", GOLDEN.replace(b"8080", b'"x"'), GOLDEN.replace(b"DYNAMIC", b"?"),
     GOLDEN.replace(b'"uriSpec":null', b'"uriSpec":3'), b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_instance_is_a_value_error(data: bytes) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"."):
        InstanceSerializer().loads(data)


def test_a_uri_is_made_of_its_spec() -> None:
    """With the instance's fields, braces, and the caller's own variables."""
    one = ServiceInstance("web", "i", "h", 80, 443, uri_spec="{scheme}://{address}:{ssl-port}/{[}{ x }{]}{none}")

    again = InstanceSerializer().loads(InstanceSerializer().dumps(one))

    assert again.uri({"x": 7}) == "https://h:443/{7}"
    with pytest.raises(ValueError, match="brace at 1"):
        InstanceSerializer().dumps(ServiceInstance("web", "i", uri_spec="a{b"))


# How it is registered.


@pytest.mark.parametrize("kind", ServiceType)
def test_an_instance_lives_as_its_type_says(hosts: str, path: str, kind: ServiceType) -> None:
    """Made, found, and gone at the end unless it is permanent."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            async with Registration(zk, path, of_type(kind)) as mine:
                stat = await zk.exists(mine.path)
                assert stat is not None
                assert (stat.ephemeral_owner == zk.session_id) == kind.is_dynamic
                suffix = "0000000000" if kind is ServiceType.DYNAMIC_SEQUENTIAL else ""
                assert mine.path == f"{path}/web/i-1{suffix}"
                assert await Discovery(zk, path).instances("web") == [of_type(kind)]
                assert await Discovery(zk, path).names() == ["web"]

            is_there = await zk.exists(mine.path) is not None
            assert is_there == (kind is ServiceType.PERMANENT)

    run(main())


@pytest.mark.parametrize("kind", [ServiceType.DYNAMIC, ServiceType.DYNAMIC_SEQUENTIAL])
def test_a_reconnect_leaves_the_znode_alone(hosts: str, path: str, kind: ServiceType) -> None:
    """Curator deletes and makes it again, and a sequential one once more each time."""

    async def main() -> None:
        async with (
            Proxy(hosts) as proxy,
            corral.connect(proxy.hosts) as zk,
            Registration(zk, path, of_type(kind)) as mine,
        ):
            before = await zk.exists(mine.path)
            proxy.shut()
            await until(lambda: zk.state is not State.CONNECTED)
            assert mine.state is RegistrationState.IN_DOUBT
            proxy.open()
            await mine.wait_registered()

            assert await zk.exists(mine.path) == before
            assert await zk.children(f"{path}/web") == [mine.path.rsplit("/", 1)[1]]

    run(main())


@pytest.mark.parametrize("replace", [expire, lambda zk, hosts: give_up_session(zk)], ids=["expired", "given up"])
@pytest.mark.parametrize("kind", [ServiceType.DYNAMIC, ServiceType.DYNAMIC_SEQUENTIAL])
def test_it_is_registered_in_the_next_session(
    hosts: str, path: str, kind: ServiceType, replace: Callable[[AsyncClient, str], Awaitable[object]]
) -> None:
    """Also while the server still keeps the znode of the old one; then in its place."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Registration(zk, path, of_type(kind)) as mine:
            await replace(zk, hosts)

            await until(lambda: _is_mine(zk, mine))
            await until(lambda: _are_children(zk, f"{path}/web", 1))
            await mine.wait_registered()

    run(main())


async def _is_mine(zk: AsyncClient, mine: Registration) -> bool:
    stat = await zk.exists(mine.path)
    return stat is not None and stat.ephemeral_owner == zk.session_id


async def _are_children(zk: AsyncClient, path: str, count: int) -> bool:
    return len(await zk.children(path)) == count


def test_a_znode_of_an_earlier_life_is_replaced_without_a_gap(hosts: str, path: str) -> None:
    """A restarted process finds its predecessor's znode: consumers see no moment without."""

    async def main() -> None:
        async with corral.connect(hosts) as old, corral.connect(hosts) as zk, corral.connect(hosts) as reader:
            await Registration(old, path, moved(1)).start()
            async with ServiceProvider(reader, path, "web") as provider:
                feed = provider.changes()

                async with Registration(zk, path, moved(2)) as mine:
                    first, second = await anext(feed), await anext(feed)

                    assert [first.type, second.type] == [ChangeType.DELETED, ChangeType.CREATED]
                    assert second.before is not None
                    assert provider.instances() == [moved(2)]
                    stat = await zk.exists(mine.path)
                    assert stat is not None
                    assert stat.ephemeral_owner == zk.session_id

    run(main())


def test_who_is_displaced_does_not_fight(hosts: str, path: str) -> None:
    """The second of two with one id takes over; the first says so and leaves its znode alone, at close too."""

    async def main() -> None:
        async with corral.connect(hosts) as one, corral.connect(hosts) as two:
            first = await Registration(one, path, moved(1)).start()
            second = await Registration(two, path, moved(2)).start()

            await until(lambda: first.state is RegistrationState.DISPLACED)
            with pytest.raises(NotRegistered, match="is DISPLACED"):
                await first.update(moved(3))
            await first.close()

            assert await Discovery(one, path).instance("web", "i-1") == moved(2)
            assert second.state is RegistrationState.REGISTERED
            await second.close()

    run(main())


def test_a_change_is_written_in_place(hosts: str, path: str) -> None:
    """One set; the znode stays the same."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, Registration(zk, path, moved(1)) as mine:
            proxy.lose_reply(SET_DATA)

            await mine.update(moved(2))

            stat = await zk.exists(mine.path)
            assert stat is not None
            assert stat.version == 1
            assert proxy.requests[DELETE] == 0
            assert await Discovery(zk, path).instances("web") == [moved(2)]
            with pytest.raises(ValueError, match="cannot become"):
                await mine.update(ServiceInstance("web", "i-2"))

    run(main())


def test_a_change_that_took_too_long_is_written_later(hosts: str, path: str) -> None:
    """RecipeTimeout, and the new data when the server answers again; a listener's fault stops nothing."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as other:
            mine = Registration(zk, path, moved(1))

            def fail(state: RegistrationState) -> None:
                raise ValueError(state)

            mine.on_change(fail)
            await mine.start()
            proxy.hold()
            with pytest.raises(RecipeTimeout, match=r"not changed within 0\.05 s"):
                await mine.update(moved(2), timeout=0.05)
            proxy.flow()

            await until(lambda: _has(other, path, moved(2)))
            await mine.close()

    run(main())


async def _has(zk: AsyncClient, path: str, instance: ServiceInstance) -> bool:
    return await Discovery(zk, path).instances("web") == [instance]


def test_what_another_client_wrote_is_kept(hosts: str, path: str) -> None:
    """Also in the next session."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Registration(zk, path, moved(1)) as mine:
            await zk.set(mine.path, InstanceSerializer().dumps(moved(2)))
            await until(lambda: mine.instance.port == 2)

            await expire(zk, hosts)
            await until(lambda: _is_mine(zk, mine))

            assert await Discovery(zk, path).instances("web") == [moved(2)]

    run(main())


@pytest.mark.parametrize("kind", ServiceType)
def test_a_lost_reply_makes_no_second_znode(hosts: str, path: str, kind: ServiceType) -> None:
    """The create is carried out, its reply lost; the same at the end with the delete."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(f"{path}/web", make_parents=True)
            proxy.lose_reply(CREATE2)
            mine = await Registration(zk, path, of_type(kind)).start()
            assert len(await zk.children(f"{path}/web")) == 1
            assert proxy.lost == 1

            proxy.lose_reply(DELETE)
            assert await mine.close()

            assert len(await zk.children(f"{path}/web")) == (kind is ServiceType.PERMANENT)

    run(main())


def test_a_lost_reply_to_a_replacement_is_found_out(hosts: str, path: str) -> None:
    """The transaction was carried out: the znode is ours, and nobody is displaced."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk, corral.connect(hosts) as old:
            await Registration(old, path, moved(1)).start()
            proxy.lose_reply(MULTI)

            async with Registration(zk, path, moved(2)) as mine:
                assert proxy.requests[MULTI] == 1
                assert await _is_mine(zk, mine)

    run(main())


@pytest.mark.parametrize("kind", [ServiceType.DYNAMIC, ServiceType.DYNAMIC_SEQUENTIAL])
def test_a_deleted_znode_is_made_again(hosts: str, path: str, kind: ServiceType) -> None:
    """By hand, with its parents."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Registration(zk, path, of_type(kind)) as mine:
            await zk.delete_tree(path)

            await until(lambda: _is_mine(zk, mine))

    run(main())


@pytest.mark.parametrize("kind", ServiceType)
@pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 8, 13, 21])
def test_a_start_may_be_cancelled_at_any_await(hosts: str, path: str, kind: ServiceType, turns: int) -> None:
    """No znode stays, but a permanent one may."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(f"{path}/web", make_parents=True)
            mine = Registration(zk, path, of_type(kind))
            task = asyncio.ensure_future(mine.start())
            for _ in range(turns):
                await zk.exists(path) if turns > 5 else await asyncio.sleep(0)

            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await mine.close()

            if kind is not ServiceType.PERMANENT:
                await until(lambda: not zk._tasks)
                assert await zk.children(f"{path}/web") == []
            assert mine.state is RegistrationState.CLOSED

    run(main())


def test_a_refusal_is_raised_and_a_silent_server_times_out(hosts: str, path: str) -> None:
    """NoAuth at once; RecipeTimeout after the time given."""

    async def main() -> None:
        async with Proxy(hosts) as proxy, corral.connect(proxy.hosts) as zk:
            await zk.create(path)
            await zk.create(f"{path}/web", acl=READ_ONLY_ACL)
            with pytest.raises(NoAuth):
                await Registration(zk, path, WEB).start()
            proxy.hold()
            with pytest.raises(RecipeTimeout, match=r"not registered within 0\.05 s"):
                await Registration(zk, f"{path}/b", WEB).start(timeout=0.05)
            proxy.flow()

    run(main())


# How it is consumed.


def test_an_instance_that_is_too_large_is_refused(hosts: str, path: str) -> None:
    """By whom it was given to; what is registered stays."""

    async def main() -> None:
        async with corral.connect(hosts) as zk, Registration(zk, path, WEB) as mine:
            large = ServiceInstance("web", "i-1", payload="x" * 2_000_000)
            with pytest.raises(RequestTooLarge):
                await Registration(zk, f"{path}-other", large).start()
            with pytest.raises(RequestTooLarge):
                await mine.update(large)

            await mine.update(moved(81))
            assert await _has(zk, path, moved(81))

    run(main())


def test_a_provider_follows_and_leaves_out(hosts: str, path: str) -> None:
    """What cannot be read, is not enabled, not accepted, or had errors."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            write = InstanceSerializer(has_enabled=True)
            for name in "abcd":
                one = ServiceInstance("web", name, port=1, payload=name, is_enabled=name != "b")
                await zk.create(f"{path}/web/{name}", write.dumps(one), make_parents=True)
            await zk.create(f"{path}/web/bad", b"?")
            async with ServiceProvider(zk, path, "web", accepts=lambda one: one.payload != "c") as web:
                assert [one.id for one in web.instances()] == ["a", "d"]
                assert list(web.faults) == ["bad"]
                first, second, third = web.instance(), web.instance(), web.instance()
                assert first is not None
                assert second is not None
                assert [first.id, second.id] == ["a", "d"]
                assert third == first

                web.note_error(first)
                web.note_error(first)
                assert [one.id for one in web.instances()] == ["d"]

                await zk.delete(f"{path}/web/d")
                await until(lambda: web.instance() is None)

    run(main())


def test_strategies_choose() -> None:
    """In turn, by chance, the same as before."""
    all_of = [ServiceInstance("s", name) for name in "abc"]
    turn, sticky = RoundRobin(), Sticky(RoundRobin())

    assert [one.id for one in (turn.pick(all_of) for _ in range(4)) if one] == ["a", "b", "c", "a"]
    assert [one.id for one in (sticky.pick(all_of) for _ in range(3)) if one] == ["a", "a", "a"]
    left = sticky.pick(all_of[1:])
    assert left in all_of[1:]
    assert sticky.pick(all_of) == left
    chosen = {one.id for one in (RandomChoice(random.Random(1)).pick(all_of) for _ in range(3)) if one}
    assert chosen <= {"a", "b", "c"}
    for strategy in (turn, sticky, RandomChoice(random.Random(1))):
        assert strategy.pick([]) is None


def test_errors_count_within_their_window() -> None:
    """Two within 30 s, and no longer than that."""
    down = DownPolicy()

    down.note("a", 0.0)
    assert not down.is_down("a", 0.0)
    down.note("a", 29.9)
    assert down.is_down("a", 29.95)
    assert not down.is_down("a", 30.0)
    down.note("a", 31.0)
    assert down.is_down("a", 31.0)
    assert not down.is_down("a", 61.0)
