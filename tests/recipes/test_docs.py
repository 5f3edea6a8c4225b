"""The examples of docs/recipes run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.loops import run

import corral

DOCS = Path(__file__).resolve().parents[2] / "docs" / "recipes"
EXAMPLES = [
    pytest.param(match[1], id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, match in enumerate(re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, hosts: str, path: str) -> None:
    """An example says where its server is; it gets a chroot of its own there, as two may use one path."""
    assert "127.0.0.1:2181" in example

    async def make() -> None:
        async with corral.connect(hosts) as zk:
            await zk.create(path)

    run(make())

    exec(compile(example.replace("127.0.0.1:2181", hosts + path), "example", "exec"), {"__name__": "__main__"})
