"""What the tests of the program from outside get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..claude_code import Api, remove_tool_files, scripted_api


@pytest.fixture(scope="module", params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop that the program runs on."""
    name: str = request.param
    return name


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """The scripted API that the real Claude Code of a test talks to."""
    with scripted_api(tmp_path) as api:
        yield api
    remove_tool_files(tmp_path)
