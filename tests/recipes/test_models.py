"""Typed znodes: templates, serializers, versions, and caches that survive what they cannot read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.support.loops import run, until

import corral
from corral.base.errors import BadVersion, NodeExists, NoNode
from corral.recipes.models import JsonOf, ModelCache, ModelFault, Models, PathTemplate, Raw, Text


@dataclass
class User:
    """A model."""

    name: str
    age: int = 0


def test_a_template_is_filled_in_partly_or_whole() -> None:
    """Parameters that are left stay parameters."""
    template = PathTemplate("/a/{x}/b-{y}")

    assert template.path({"x": "1", "y": "2"}) == "/a/1/b-2"
    assert template.fill({"x": "1"}).text == "/a/1/b-{y}"
    assert template.parent().names == ("x",)


@pytest.mark.parametrize("at", [{}, {"x": ""}, {"x": "a/b"}, {"x": ".."}, {"x": "{y}"}, {"z": "1", "x": "1"}])
def test_what_is_no_part_of_a_name_is_refused(at: dict[str, str]) -> None:
    """Missing, empty, with slashes, relative, a parameter again, unknown."""
    with pytest.raises(ValueError, match=r"path /a/\{x\}"):
        PathTemplate("/a/{x}").path(at)


def test_a_json_model_ignores_what_it_does_not_know() -> None:
    """And refuses what it cannot do without."""
    serializer = JsonOf(User)

    assert serializer.loads(b'{"name":"Ada","shoe":38}') == User("Ada")
    assert serializer.dumps(User("Ada", 36)) == b'{"name":"Ada","age":36}'
    for data in (b"{}", b"[]", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            serializer.loads(data)


def test_models_are_made_read_changed_and_deleted(hosts: str, path: str) -> None:
    """The life of a model."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            users = Models(zk, path + "/{id}", JsonOf(User))
            at = {"id": "7"}
            await users.set(at, User("Ada"))
            with pytest.raises(NodeExists):
                await users.create(at, User("Eve"))
            await users.set({"id": "8"}, User("Bob"))

            node = await users.modify(at, lambda user: User(user.name, user.age + 1))

            assert await users.read(at) == node.model == User("Ada", 1)
            assert await users.names({}) == ["7", "8"]
            with pytest.raises(BadVersion):
                await users.update(at, User("Eve"), version=0)
            await users.delete(at, node.stat.version)
            assert await users.exists(at) is None
            with pytest.raises(NoNode):
                await users.read(at)

    run(main())


def test_models_change_in_transactions(hosts: str, path: str) -> None:
    """Two kinds in one."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            texts = Models(zk, path + "/text", Text())
            raws = Models(zk, path + "/raw", Raw())
            async with zk.transaction() as work:
                texts.create_in(work, {}, "ü")
                raws.create_in(work, {}, b"\xff")
                texts.update_in(work, {}, "ö", 0)

            assert await texts.read({}) == "ö"
            assert await raws.read({}) == b"\xff"

    run(main())


@pytest.mark.parametrize("bad", [b"?", b"[" * 100_000], ids=["rubbish", "nested too deeply"])
def test_a_model_cache_leaves_out_what_it_cannot_read(hosts: str, path: str, bad: bytes) -> None:
    """The fault is named; the others are there; a repaired one comes back."""

    async def main() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)
            await zk.create(f"{path}/good", b'{"name":"Ada"}')
            await zk.create(f"{path}/bad", bad)
            async with ModelCache(zk, path, JsonOf(User)) as cache:
                assert cache.models == {"good": User("Ada")}
                assert list(cache.faults) == ["bad"]
                with pytest.raises(ModelFault, match=f"{path}/bad cannot be read"):
                    cache.get("bad")

                await zk.set(f"{path}/bad", b'{"name":"Bob"}')
                await until(lambda: cache.get("good") is not None and not cache.faults)

                assert cache.get("bad") == User("Bob")
                assert cache.get("none") is None

    run(main())
