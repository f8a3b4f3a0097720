"""A table for people: as wide as it has to be, or as narrow as a terminal, and drawn with what that has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from ..core.value import Value
from .render import columns, fitted

SHORTEST: Final = 16
"""The least of a column that may be cut that is worth showing."""

Branches = tuple[str, str, str, str]
"""Of a tree: a fork, the last fork, past a fork, past the last one."""


@attrs.frozen(repr=False, eq=False)
class Layout(Value):
    """How the columns of a table are shown.

    Attributes:
        least: Columns of text that each takes at least, so that it stays where it is while numbers grow.
        right: Those with numbers, aligned to the right.
        spared: Those that a narrow terminal goes without, the first one first, after the one that is cut.
        cut: The one that is cut first, and left out when little of it would remain; None for none.
    """

    least: tuple[int, ...]
    right: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()
    cut: int | None = None


def branches(unicode: bool) -> Branches:
    """What the branches of a tree are drawn with."""
    return ("├─ ", "└─ ", "│  ", "   ") if unicode else ("|- ", "`- ", "|  ", "   ")


def table(rows: Sequence[tuple[str, ...]], layout: Layout, *, width: int | None = None, unicode: bool = True) -> str:
    """Rows, the headings among them, as lines; without a newline at the end. The first column is always shown, and cut last.

    Args:
        rows: Each with a text for each column.
        layout: How they are shown.
        width: Columns of the terminal; None for no limit.
        unicode: Whether the terminal has more than ASCII: what it lacks it does not get, neither in texts nor as the mark of a cut.
    """
    mark = "…" if unicode else "~"
    if not unicode:
        rows = [tuple(cell.encode("ascii", "backslashreplace").decode("ascii") for cell in row) for row in rows]
    widths = [max(least, *(columns(row[index]) for row in rows)) for index, least in enumerate(layout.least)]
    shown = list(range(len(layout.least)))
    if width is not None:
        _narrow(shown, widths, layout, width)
    cells = ("  ".join(_cell(row[index], widths[index], index in layout.right, mark) for index in shown) for row in rows)
    return "\n".join(line.rstrip() for line in cells)


def _narrow(shown: list[int], widths: list[int], layout: Layout, width: int) -> None:
    """Make the table as narrow as it has to be."""

    def excess() -> int:
        return sum(widths[index] + 2 for index in shown) - 2 - width

    if layout.cut is not None and excess() > 0:
        widths[layout.cut] -= excess()
        if widths[layout.cut] < SHORTEST:
            shown.remove(layout.cut)
    for index in layout.spared:
        if excess() > 0:
            shown.remove(index)
    if excess() > 0:
        widths[0] = max(1, widths[0] - excess())


def _cell(text: str, width: int, right: bool, mark: str) -> str:
    taken = columns(text)
    if taken > width:
        text = fitted(text, width - 1) + mark
        taken = columns(text)
    space = " " * (width - taken)
    return space + text if right else text + space
