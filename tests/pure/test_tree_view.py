"""A tree as text: every state, any width, any characters."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.breaker import CircuitState
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.launch import ChildType
from supervisor.core.spec import ChildSpec, Restart, Strategy
from supervisor.edge.render import columns
from supervisor.edge.tree_view import render
from supervisor.leaf.command import command
from supervisor.leaf.task import task
from supervisor.runtime.subtree import subtree
from supervisor.runtime.tree_info import SupervisorInfo, TreeInfo


async def main() -> None:
    """A child's function."""


CRASHED = Exit(ExitKind.ABNORMAL, "exit code 3", code=3)


def leaf(id: str, state: str = "running", **fields: Any) -> TreeInfo:
    spec = ChildSpec(id, fields.pop("start", task(main)), restart=fields.pop("restart", Restart.PERMANENT))
    values: dict[str, Any] = {
        "pid": None,
        "generation": 1,
        "restarts": 0,
        "uptime": 3.0 if state == "running" else None,
        "exit": None,
        "retry_in": None,
        "supervisor": None,
    }
    return TreeInfo(id, ("root", id), spec.type, state, spec=spec, **{**values, **fields})


def below(*children: TreeInfo, **fields: Any) -> SupervisorInfo:
    values: dict[str, Any] = {
        "strategy": Strategy.ONE_FOR_ONE,
        "intensity": 3,
        "period": 60.0,
        "restarts_left": 2,
        "cycles_left": 3,
        "circuit": CircuitState.CLOSED,
        "reopens_in": None,
        "max_children": math.inf,
    }
    return SupervisorInfo(children=children, **{**values, **fields})


def root(*children: TreeInfo, **fields: Any) -> TreeInfo:
    return TreeInfo("root", ("root",), ChildType.SUPERVISOR, "running", None, 1, 0, 7384.0, None, None, None, below(*children, **fields))


TREE = root(
    leaf("probe", pid=4242, restarts=2, start=command("probe", "--secret")),
    leaf(
        "agents",
        start=subtree([], strategy=Strategy.REST_FOR_ONE),
        supervisor=below(
            leaf("claude", "restarting", exit=CRASHED, retry_in=25.0, restarts=3),
            leaf("other", "undefined", exit=Exit.normal(), restart=Restart.TRANSIENT),
            circuit=CircuitState.OPEN,
            reopens_in=90.0,
            restarts_left=0,
        ),
    ),
    leaf("last", "undefined", restart=Restart.TEMPORARY),
)

ABOUT = "task tests.pure.test_tree_view:main"


def test_a_tree_with_everything() -> None:
    """Branches, states, pids, restarts and uptimes are aligned; what each child is, what is left, when it is tried again, how it ended."""
    assert render(TREE).splitlines() == [
        "tree          state           pid  restarts       uptime  about",
        "root          running           -         0   2 h 03 min  supervisor, one_for_one, 2 of 3 restarts left in 60 s",
        "├─ probe      running        4242         2        3.0 s  permanent worker, command probe",
        (
            "├─ agents     running           -         0        3.0 s  permanent supervisor, rest_for_one, "
            "0 of 3 restarts left in 60 s, circuit open for 1 min 30 s"
        ),
        f"│  ├─ claude  restarting        -         3            -  permanent worker, {ABOUT}, next restart in 25 s, ended: exit code 3",
        f"│  └─ other   undefined         -         0            -  transient worker, {ABOUT}, ended: normal",
        f"└─ last       undefined         -         0            -  temporary worker, {ABOUT}",
    ]


def test_a_half_open_circuit_is_told() -> None:
    """It waits for its trial."""
    assert "circuit half-open" in render(root(circuit=CircuitState.HALF_OPEN))


def test_ascii_has_no_other_characters() -> None:
    """Neither for branches nor in names."""
    text = render(root(leaf("日本"), leaf("b")), unicode=False)
    assert text.isascii()
    assert [line.split("  ")[0] for line in text.splitlines()[1:]] == ["root", "|- \\u65e5\\u672c", "`- b"]


def test_control_characters_are_escaped() -> None:
    """A name cannot drive the terminal, nor break a line."""
    text = render(root(leaf("a\x1b[31m\n")))
    assert len(text.splitlines()) == 3
    assert "\\x1b[31m\\n" in text


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (200, ["tree", "state", "pid", "restarts", "uptime", "about"]),
        (80, ["tree", "state", "pid", "restarts", "uptime", "about"]),
        (74, ["tree", "state", "pid", "restarts", "uptime", "about"]),
        (73, ["tree", "state", "pid", "restarts", "uptime"]),
        (56, ["tree", "state", "pid", "restarts", "uptime"]),
        (55, ["tree", "state", "restarts", "uptime"]),
        (47, ["tree", "state", "restarts", "uptime"]),
        (46, ["tree", "state", "restarts"]),
        (34, ["tree", "state", "restarts"]),
        (33, ["tree", "state"]),
        (24, ["tree", "state"]),
        (14, ["t…", "state"]),
        (1, ["…", "state"]),
    ],
)
def test_a_narrow_terminal_goes_without(width: int, headings: list[str]) -> None:
    """First what a child is about is cut, then it is left out, then pid, uptime and restarts; at last names are cut."""
    lines = render(TREE, width=width).splitlines()
    assert lines[0].split() == headings
    assert max(map(columns, lines)) <= max(width, 13)
    assert ["running" in line for line in lines[1:4]] == [True] * 3


def test_names_are_cut_with_a_mark() -> None:
    """So that one sees that they are."""
    assert render(root(leaf("a" * 50)), width=30).splitlines()[2] == "└─ aaaaaaaaaaaaaa…  running"
    assert render(root(leaf("a" * 50)), width=30, unicode=False).splitlines()[2] == "`- aaaaaaaaaaaaaa~  running"
    assert render(root(leaf("日本" * 20)), width=30).splitlines()[2] == "└─ 日本日本日本日…  running"


@given(
    names=st.lists(st.text(min_size=1, max_size=20), max_size=6),
    width=st.none() | st.integers(0, 160),
    unicode=st.booleans(),
)
def test_any_tree_is_one_line_for_each_child_and_fits(names: list[str], width: int | None, unicode: bool) -> None:
    """Whatever the names and the terminal; the states stand below each other."""
    text = render(root(*map(leaf, names)), width=width, unicode=unicode)
    lines = text.split("\n")
    assert len(lines) == len(names) + 2
    if width is not None:
        assert max(map(columns, lines)) <= max(width, 13)
    elsewhere = {columns(line[: line.rindex("running")]) for line in lines[1:]}
    assert elsewhere == {columns(lines[0][: lines[0].rindex("state")])}


def test_a_tree_as_data() -> None:
    """JSON without infinity: a supervisor's own fields beside those of every child, and its children."""
    data = TREE.as_data()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["id"], data["spec"], data["strategy"], data["restarts_left"], data["max_children"]) == (
        "root",
        None,
        "one_for_one",
        2,
        "infinity",
    )
    probe, agents, last = data["children"]
    assert (probe["pid"], probe["restarts"], probe["uptime"], probe["spec"]["start"]["command"]) == (4242, 2, 3.0, "probe")
    assert "children" not in probe
    assert (agents["circuit"], agents["reopens_in"]) == ("open", 90.0)
    assert agents["children"][0]["exit"] == {"kind": "abnormal", "reason": "exit code 3", "code": 3}
    assert agents["children"][0]["retry_in"] == 25.0
    assert last["state"] == "undefined"
    assert attrs.evolve(TREE, supervisor=below(max_children=5)).as_data()["max_children"] == 5
