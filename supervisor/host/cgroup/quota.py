"""Limits of a whole tree, as the files of its cgroup that they are written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ...core.limits import Limits

PERIOD: Final = 100_000
"""Microseconds over which a share of the processor is counted out, the kernel's default."""

_LEAST_SHARE: Final = 1000
"""Microseconds of that, the least that the kernel takes."""

_FIELDS: Final = {"memory": ("memory_max", "memory_high"), "cpu": ("cpu_quota",), "pids": ("pids_max",)}


def controllers_for(limits: Limits | None) -> list[str]:
    """The controllers that limits need."""
    return [] if limits is None else [name for name in _FIELDS if fields_of(limits, name)]


def fields_of(limits: Limits, controller: str) -> list[str]:
    """The names of what is limited through a controller."""
    return [name for name in _FIELDS[controller] if getattr(limits, name) is not None]


def all_fields(limits: Limits | None) -> list[str]:
    """The names of what is limited."""
    return [] if limits is None else [name for controller in _FIELDS for name in fields_of(limits, controller)]


def files_of(limits: Limits, controller: str, version: int) -> list[tuple[str, str]]:
    """The files to write, with their values, for a controller of that version."""
    written: list[tuple[str, str]] = []
    if controller == "memory":
        for value, second, first in (
            (limits.memory_high, "memory.high", "memory.soft_limit_in_bytes"),
            (limits.memory_max, "memory.max", "memory.limit_in_bytes"),
        ):
            if value is not None:
                written.append((second if version == 2 else first, str(value)))
    elif controller == "cpu" and limits.cpu_quota is not None:
        share = max(_LEAST_SHARE, round(limits.cpu_quota * PERIOD))
        written = [("cpu.max", f"{share} {PERIOD}")]
        if version == 1:
            written = [("cpu.cfs_period_us", str(PERIOD)), ("cpu.cfs_quota_us", str(share))]
    elif controller == "pids" and limits.pids_max is not None:
        written = [("pids.max", str(limits.pids_max))]
    return written
