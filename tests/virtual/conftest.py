"""Time that passes when everybody waits, and then at once."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run each asynchronous test on trio, with a clock that jumps to the next deadline as soon as nothing else can happen."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}
