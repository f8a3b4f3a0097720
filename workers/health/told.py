"""What is known of the host's health, for whoever asks: as data, and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from supervisor import duration, format_bytes

from ..policy.pressure import MemoryState

if TYPE_CHECKING:
    from ..ledger import Ledger
    from .metrics import HealthMetrics, LeafMetrics


def standing(ledger: Ledger) -> dict[str, Any]:
    """The verdict, and how short of memory the host is.

    Returns:
        ``health`` and ``memory`` (None before the first look, and where nobody looks) and ``reasons``, the worst first.
    """
    verdict, host = ledger.verdict, ledger.host
    short = [] if host is None or host.level is MemoryState.NORMAL else [host.reason]
    return {
        "health": None if verdict is None else verdict.health.value,
        "memory": None if host is None else host.level.value,
        "reasons": [*short, *(() if verdict is None else verdict.reasons)],
    }


def health_told(ledger: Ledger, now: float) -> dict[str, Any]:
    """All that is known: `standing`, ``seconds_ago`` of the latest look, its ``metrics``, and ``words`` for a person, by line."""
    metrics = ledger.metrics
    told = standing(ledger)
    if metrics is None:
        return {**told, "seconds_ago": None, "metrics": None, "words": [_unseen(ledger)]}
    data = attrs.asdict(metrics)
    ago = round(now - data.pop("at"), 3)
    judged = [f"the host is {told['health']}", *told["reasons"]]
    return {**told, "seconds_ago": ago, "metrics": data, "words": [*judged, *_lines(metrics)]}


def _unseen(ledger: Ledger) -> str:
    if not ledger.watches:
        return "nothing is watched: the configuration says so"
    return "the host has not been looked at yet" if ledger.run.config.health.interval else "the host is not looked at: health.interval is 0"


def _lines(seen: HealthMetrics) -> Iterator[str]:
    """What is known, each resource in a line; what is unknown is left out."""
    load = None if seen.load is None else f"load {', '.join(f'{one:.2f}' for one in seen.load)}"
    up = None if seen.uptime is None else f"up {duration(seen.uptime)}"
    yield from _line("processors", _ratio(seen.cpu, f"busy of {seen.cores}"), load, up)
    swap = _of(seen.swap_free_bytes, seen.swap_total_bytes) if seen.swap_total_bytes else None
    yield from _line("memory", _of(seen.memory_available_bytes, seen.memory_total_bytes, "available"), swap and f"swap {swap}")
    for disk in seen.disks:
        yield from _line(disk.what, _of(disk.free_bytes, disk.total_bytes) or "does not answer")
    yield from _line("open files", _count(seen.open_files, seen.open_files_limit), _ratio(seen.own_open_files, "of the guardian's own"))
    yield from _line("threads", _count(seen.threads, seen.threads_limit))
    stalls = (("processors", seen.stall_cpu.some), ("memory", seen.stall_memory.full), ("disks", seen.stall_io.full))
    yield from _line("waiting", *(_ratio(share, f"of the time for {what}") for what, share in stalls))
    if seen.received_bytes is not None and seen.sent_bytes is not None:
        yield f"network: {format_bytes(seen.received_bytes)} received, {format_bytes(seen.sent_bytes)} sent"
    for leaf in seen.leaves:
        yield from _line(leaf.name, *_leaf(leaf))


def _leaf(leaf: LeafMetrics) -> Iterator[str | None]:
    yield None if leaf.uptime is None else f"up {duration(leaf.uptime)}"
    yield None if leaf.memory_bytes is None else f"memory {format_bytes(leaf.memory_bytes)}"
    yield f"processes {leaf.processes}"
    yield None if leaf.cpu is None else f"processors kept busy {leaf.cpu:.2f}"
    yield None if leaf.threads is None else f"threads {leaf.threads}"
    yield None if leaf.open_files is None else f"open files {leaf.open_files}"
    yield _ratio(leaf.stall_memory.some, "of the time waiting for memory")


def _line(what: str, *said: str | None) -> Iterator[str]:
    known = [one for one in said if one]
    if known:
        yield f"{what}: {', '.join(known)}"


def _ratio(share: float | None, of: str) -> str | None:
    return None if share is None else f"{share:.0%} {of}"


def _of(part: int | None, whole: int | None, what: str = "free") -> str | None:
    return None if part is None or whole is None else f"{format_bytes(part)} of {format_bytes(whole)} {what}"


def _count(number: int | None, limit: int | None) -> str | None:
    return None if number is None else f"{number}" if limit is None else f"{number} of {limit}"
