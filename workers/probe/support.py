"""What of all this a host has, for `doctor`: how memory is counted, what tells of crossings, how a leaf can be held."""

from __future__ import annotations

import os
import sys

import attrs

from supervisor import Value, cgroup_support

from .choice import reader_names
from .reader import CGROUP1, CGROUP2


@attrs.frozen(repr=False, eq=False)
class ProbeSupport(Value):
    """What leaves of this process get.

    Attributes:
        readers: The kinds of readers, best first.
        events: What tells of a leaf that crosses a level: ``threshold`` (version 1), ``high`` (version 2), or nothing (empty).
        pressure: Whether the kernel tells when the host is short of memory.
        holds: How a leaf can be held: ``freeze``, ``limit`` (version 1), ``high`` (version 2).
        reason: What is missing of cgroups, and why.
        remedy: What would help.
    """

    readers: tuple[str, ...]
    events: str
    pressure: bool
    holds: tuple[str, ...]
    reason: str
    remedy: str | None


def probe_support() -> ProbeSupport:
    """What there is here; cgroups are tried out, and nothing is left of that."""
    support = cgroup_support()
    counter = (CGROUP1 if _is_version_1() else CGROUP2) if support.memory else None
    readers = reader_names()
    return ProbeSupport(
        (counter, *readers) if counter is not None else readers,
        {CGROUP1: "threshold", CGROUP2: "high"}.get(counter or "", ""),
        sys.platform == "linux" and os.access("/proc/pressure/memory", os.W_OK),
        (*(("freeze",) if support.freeze else ()), *{CGROUP1: ("limit",), CGROUP2: ("high",)}.get(counter or "", ())),
        support.reason,
        support.remedy,
    )


def _is_version_1() -> bool:
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
            return any("memory" in line.split(":", 2)[1].split(",") for line in lines)
    except OSError:
        return False
