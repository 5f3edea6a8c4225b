"""What the package offers by name is there."""

from __future__ import annotations

import pytest

import corral
from corral import recipes


@pytest.mark.parametrize("name", sorted(recipes._MODULES))
def test_each_recipe_is_importable_by_its_name(name: str) -> None:
    assert getattr(recipes, name).__name__ == name


def test_the_clients_are_importable_by_their_names() -> None:
    assert corral.connect is corral.AsyncClient
    assert corral.Client.__module__ == "corral.client.blocking"


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match=r"corral\.recipes"):
        _ = recipes.Nothing
    with pytest.raises(AttributeError, match="corral"):
        _ = corral.Nothing
