"""What ``status`` shows to a person: the run in a line or two, then the tree as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core.text import counted, duration, printable
from ..sizes import format_bytes
from ..table import Branches, Layout, branches, table

Data = Mapping[str, Any]


def render(status: Data, notes: Sequence[str] = (), *, width: int | None = None, unicode: bool = True) -> str:
    """The answer of ``status`` as text, without a newline at the end.

    Args:
        status: The answer.
        notes: Lines of the application's own, between the first line and the table.
        width: Columns of the terminal, None for no limit.
        unicode: Whether it has more than ASCII.
    """
    added = status["columns"]
    titles = [column["title"] for column in added]
    header = ("tree", "state", *titles, "pid", "restarts", "left", "uptime", "next")
    more = len(added)
    layout = Layout(
        least=(0, 8, *([6] * more), 5, 8, 5, 8, 0),
        right=(*(2 + index for index, column in enumerate(added) if column["unit"]), more + 2, more + 3, more + 4, more + 5),
        spared=(more + 2, more + 5, more + 3, more + 4, *range(more + 1, 2, -1)),
        cut=more + 6,
    )
    rows = [header, *_rows(status["tree"], added, "", "", branches(unicode))]
    return "\n".join([_first(status), *map(printable, notes), "", table(rows, layout, width=width, unicode=unicode)])


def _first(status: Data) -> str:
    up = status.get("uptime")
    said = [f"run {status['run'][:8]}", f"pid {status['pid']}", *([f"up {duration(up)}"] if up is not None else [])]
    said += [counted(status["events"], "event", "events")]
    said += {"now": ["is being stopped"], "when_idle": ["stops when nobody is at work"]}.get(status.get("stopping") or "", [])
    return printable(", ".join(said))


def _rows(node: Data, added: Sequence[Data], first: str, rest: str, drawn: Branches) -> Iterator[tuple[str, ...]]:
    yield (
        first + printable(node["id"]),
        node["state"],
        *(_cell(node.get(column["key"]), column["unit"]) for column in added),
        "-" if node["pid"] is None else str(node["pid"]),
        str(node["restarts"]),
        _left(node),
        "-" if node["uptime"] is None else duration(node["uptime"]),
        printable(_about(node)),
    )
    children = node.get("children", ())
    fork, last, through, past = drawn
    for number, child in enumerate(children, start=1):
        is_last = number == len(children)
        yield from _rows(child, added, rest + (last if is_last else fork), rest + (past if is_last else through), drawn)


def _cell(value: Any, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "bytes":
        return format_bytes(value)
    return duration(value) if unit == "seconds" else printable(str(value))


def _left(node: Data) -> str:
    """The restarts that the window still admits, of how many: those after failures, or fewer where requests have spent more."""
    if "restarts_left" not in node:
        return ""
    return f"{min(node['restarts_left'], node.get('cycles_left', node['restarts_left']))} of {node['intensity']}"


def _about(node: Data) -> str:
    said = [node["next"]] if node.get("next") else []
    said += [f"says: {node['status']}"] if node.get("status") else []
    exit = node.get("exit")
    if exit is not None and node["state"] in ("undefined", "restarting"):
        said.append(f"ended: {exit['reason']}")
    return "; ".join(said)
