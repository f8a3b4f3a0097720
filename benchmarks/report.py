"""How figures are shown: a table for people, JSON for programs, and the facts of the machine that they hold for."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .figures import Figure, Summary

HEADINGS = ("", "ours", "p99 or range", "beside", "its median", "ratio", "target", "met")


def table(results: Sequence[tuple[str, Sequence[Figure]]]) -> str:
    """All figures as one table, a heading for each benchmark; further peers of a figure get a line of their own."""
    rows: list[tuple[str, ...] | str] = []
    for title, figures in results:
        rows.append(title)
        rows += [cells for figure in figures for cells in lines(figure)]
    cells_only = [HEADINGS, *(row for row in rows if isinstance(row, tuple))]
    widths = [max(len(row[column]) for row in cells_only) for column in range(len(HEADINGS))]
    written = [_line(HEADINGS, widths), "  ".join("-" * width for width in widths)]
    written += [f"\n{row}" if isinstance(row, str) else _line(row, widths) for row in rows]
    return "\n".join(written)


def lines(figure: Figure) -> Iterable[tuple[str, ...]]:
    """The cells of a figure: one line for it and its first peer, one more for each further peer."""
    target, met = "", ""
    if figure.target is not None:
        target, met = figure.target.text, "yes" if figure.met else "NO"
    compared = [(peer.name, amount(peer.value.median), f"{_ratio(figure.ours, peer.value)}") for peer in figure.peers] or [("", "", "")]
    head = (f"  {figure.name}", f"{amount(figure.ours.median)} {figure.unit}", spread(figure.ours))
    yield (*head, *compared[0], target, met)
    for more in compared[1:]:
        yield ("", "", "", *more, "", "")


def spread(summary: Summary) -> str:
    """The 99th percentile where there are samples enough, else the whole range, or nothing for a single sample."""
    if summary.count >= 100:
        return f"p99 {amount(summary.p99)}"
    return "" if summary.count == 1 else f"{amount(summary.low)} .. {amount(summary.high)}"


def amount(value: float) -> str:
    """A number with three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def machine() -> dict[str, Any]:
    """What is to be known of this machine beside the figures."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processors": os.cpu_count(),
        "processor": _field("/proc/cpuinfo", "model name"),
        "memory_mib": int(_field("/proc/meminfo", "MemTotal").split()[0] or 0) // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 2),
        "libraries": {name: _version(name) for name in ("anyio", "trio", "attrs", "rpds-py", "psutil")},
    }


def facts(about: dict[str, Any]) -> str:
    """`machine`, as one paragraph."""
    libraries = ", ".join(f"{name} {number}" for name, number in about["libraries"].items())
    return (
        f"{about['date']}: {about['processors']} x {about['processor']}, {about['memory_mib']} MiB, {about['kernel']}, "
        f"{about['python']}, {libraries}; load before {about['load_before']}"
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    # text to the left, numbers to the right
    left = {0, 3, 6, 7}
    return "  ".join(
        cell.ljust(width) if column in left else cell.rjust(width) for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()


def _ratio(ours: Summary, theirs: Summary) -> str:
    return f"{ours.median / theirs.median:.2f}" if theirs.median else "-"


def _field(path: str, name: str) -> str:
    if sys.platform == "linux":
        for line in Path(path).read_text().splitlines():
            label, _, value = line.partition(":")
            if label.strip() == name:
                return value.strip()
    return "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
