"""How amounts are written in reasons."""

from __future__ import annotations

from typing import Final

_MIB: Final = 1024 * 1024


def mib(total_bytes: int | None) -> str:
    """Bytes as MiB, to a tenth."""
    return "unknown" if total_bytes is None else f"{total_bytes / _MIB:.1f} MiB"
