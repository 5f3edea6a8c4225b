"""The examples on the recipes' pages run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.loops import run

import corral

PAGES = Path(__file__).parents[2] / "docs" / "recipes"
NAMES = ["tree_cache", "children_cache", "node_cache", "models", "discovery", "migrations", "partitioner"]


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_page_runs(hosts: str, path: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Below a chroot of its own."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)

    async def begin() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)

    run(begin())
    assert code.count("127.0.0.1:2181") == 1
    exec(compile(code.replace("127.0.0.1:2181", hosts + path), f"{name}.md", "exec"), {"__name__": "__main__"})

    assert "Traceback" not in capsys.readouterr().out
