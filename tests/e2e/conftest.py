"""What the tests of the program from outside get."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The event loop that the program runs on."""
    name: str = request.param
    return name
