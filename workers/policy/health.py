"""How a host can be. Apart from the rest of the verdict, because events name it from the first moment on."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Health(Enum):
    """The verdict."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @property
    def rank(self) -> int:
        """0 for healthy to 2 for unhealthy."""
        return _RANK[self]


_RANK: Final = {health: rank for rank, health in enumerate(Health)}
