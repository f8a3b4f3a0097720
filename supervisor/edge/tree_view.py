"""A tree as a table for people: the shape on the left, what each child does on the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..core.breaker import CircuitState
from ..core.report import brief
from ..core.text import duration, printable
from ..runtime.ref import SupervisorRef
from ..runtime.tree_info import SupervisorInfo, TreeInfo
from .table import Branches, Layout, branches, table

HEADER: Final = ("tree", "state", "pid", "restarts", "uptime", "about")
LAYOUT: Final = Layout(least=(0, 10, 7, 8, 11, 0), right=(2, 3, 4), spared=(2, 4, 3), cut=5)


def render(tree: SupervisorRef | TreeInfo, *, width: int | None = None, unicode: bool = True) -> str:
    """A tree as text, one line per child in start order, below a line of headings; without a newline at the end.

    Args:
        tree: A running supervisor, or what its `tree` has said.
        width: Columns of the terminal: what a child is about is cut first, then columns are left out, then names are cut; the state is
            always shown. None for no limit.
        unicode: Whether the branches are drawn with box characters, or with ASCII.

    Raises:
        NoProc: The supervisor is not running.
    """
    info = tree if isinstance(tree, TreeInfo) else tree.tree()
    rows = [HEADER, *_rows(info, "", "", branches(unicode))]
    return table(rows, LAYOUT, width=width, unicode=unicode)


def _rows(info: TreeInfo, first: str, rest: str, drawn: Branches) -> Iterator[tuple[str, ...]]:
    """The row of a child and those of its children; `first` precedes its own name, `rest` what is below it."""
    yield (
        first + printable(info.id),
        info.state,
        "-" if info.pid is None else str(info.pid),
        str(info.restarts),
        "-" if info.uptime is None else duration(info.uptime),
        printable(_about(info)),
    )
    children = info.supervisor.children if info.supervisor is not None else ()
    fork, last, through, past = drawn
    for number, child in enumerate(children, start=1):
        is_last = number == len(children)
        yield from _rows(child, rest + (last if is_last else fork), rest + (past if is_last else through), drawn)


def _about(info: TreeInfo) -> str:
    said = [brief(info.spec) if info.spec is not None else "supervisor"]
    if info.supervisor is not None:
        said += _budget(info.supervisor, named=info.spec is not None)
    if info.status is not None:
        said.append(f"says: {info.status}")
    if info.retry_in is not None:
        said.append(f"next restart in {duration(info.retry_in)}")
    if info.state in ("undefined", "restarting") and info.exit is not None:
        said.append(f"ended: {info.exit.reason}")
    return ", ".join(said)


def _budget(supervisor: SupervisorInfo, *, named: bool) -> list[str]:
    said = [] if named else [supervisor.strategy.value]
    said.append(f"{supervisor.restarts_left} of {supervisor.intensity} restarts left in {supervisor.period:g} s")
    if supervisor.circuit is CircuitState.OPEN and supervisor.reopens_in is not None:
        said.append(f"circuit open for {duration(supervisor.reopens_in)}")
    elif supervisor.circuit is not CircuitState.CLOSED:
        said.append("circuit half-open")
    return said
