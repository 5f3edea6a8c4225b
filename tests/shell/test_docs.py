"""The documents' examples as they stand, one after the other, on a server."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.loops import run

from corral.testing import EmbeddedServer

ROOT = Path(__file__).parents[2]
ADDRESS = "127.0.0.1:2181"


@pytest.mark.parametrize("name", ["README.md", "docs/client.md"])
def test_the_examples_of_a_document_run(name: str) -> None:
    async def main(connect_string: str) -> None:
        names: dict[str, Any] = {}
        text = (ROOT / name).read_text()
        found = list(re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
        assert found
        for block in found:
            line = text.count("\n", 0, block.start(1))
            code = "\n" * line + block[1].replace(ADDRESS, connect_string)
            work = eval(compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
            if inspect.iscoroutine(work):
                await work

    with EmbeddedServer() as server:
        run(main(server.connect_string))
