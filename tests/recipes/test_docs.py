"""The examples of docs/recipes, and of the guides from other libraries, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import corral

DOCS = Path(__file__).resolve().parents[2] / "docs" / "recipes"
EXAMPLES = [
    pytest.param(match[1], id=f"{page.stem}-{number}")
    for page in sorted([*DOCS.glob("*.md"), *DOCS.parent.glob("from-*.md")])
    for number, match in enumerate(re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, hosts: str, request: pytest.FixtureRequest) -> None:
    """An example says where its server is, nothing else is changed; each has an empty one, below its own chroot."""
    assert "127.0.0.1:2181" in example
    chroot = f"/doc-{request.node.name}".replace("[", "-").replace("]", "")
    with corral.Client(hosts) as zk:
        zk.create(chroot)

    exec(compile(example.replace("127.0.0.1:2181", hosts + chroot), "example", "exec"), {"__name__": "__main__"})
