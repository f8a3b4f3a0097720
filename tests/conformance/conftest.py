"""The ported cases run in virtual time, on both event loops."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.testing import virtual_time


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Run each asynchronous case on both event loops, with a clock that jumps to the next deadline as soon as nothing else can happen."""
    return virtual_time(request.param)
