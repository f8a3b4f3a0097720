"""The words of scenarios and traces, and what they are called here.

Both players use these: the one on the pure machine (`tests/pure/otp_traces.py`) and the one on the library (`otp.py`). What
this library does in another way on purpose is translated in this module, under "differences", and nowhere else.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from supervisor.core.errors import (
    AlreadyPresent,
    AlreadyStarted,
    BadCombination,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    DuplicateChildName,
    InvalidField,
    NoProc,
    SimpleOneForOne,
    SpecError,
    StartFailed,
)
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.launch import Launch
from supervisor.core.spec import BRUTAL_KILL, AutoShutdown, ChildSpec, Restart, Shutdown, Strategy, SupervisorFlags, check_childspecs

DATA = Path(__file__).parent / "data"
RECORDED = ("seed1", "seed2026modern")

Json = dict[str, Any]

REASONS = {
    "normal": Exit.normal(),
    "shutdown": Exit.shutdown(),
    "shutdown_term": Exit.shutdown("scripted"),
    "abnormal": Exit(ExitKind.ABNORMAL, "boom"),
    "kill": Exit.killed(),
}

ERRORS: dict[type[BaseException], str] = {
    AlreadyPresent: "already_present",
    AlreadyStarted: "already_started",
    BadCombination: "bad_combination",
    ChildNotFound: "not_found",
    ChildRestarting: "restarting",
    ChildRunning: "running",
    DuplicateChildName: "duplicate_child_name",
    NoProc: "noproc",
    SimpleOneForOne: "simple_one_for_one",
}

FIELDS = {
    "id": "missing_id",
    "start": "missing_start",
    "restart": "invalid_restart_type",
    "type": "invalid_child_type",
}


class Refused(Exception):
    """What a scripted start function answers instead of a child."""


class FlagsRefused(Exception):
    """A supervisor's own flags are wrong; `__cause__` says how."""


class SpecsRefused(Exception):
    """One of a supervisor's first children is wrong; `__cause__` says how."""


def recorded(name: str) -> Iterator[tuple[Json, list[Any]]]:
    """The recorded scenarios, each with Erlang's trace."""
    with gzip.open(DATA / f"{name}.scenarios.jsonl.gz", "rt") as one, gzip.open(DATA / f"{name}.traces.jsonl.gz", "rt") as other:
        for first, second in zip(one, other, strict=True):
            scenario, trace = json.loads(first), json.loads(second)
            assert scenario["id"] == trace["id"]
            yield scenario, trace["trace"]


def difference(scenario: Json, actual: list[Any], expected: list[Any]) -> str | None:
    """Where two traces of a scenario part, for people; None where they are equal."""
    if actual == expected:
        return None
    line = next((i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b), min(len(actual), len(expected)))
    number, name = next((event[1:] for event in reversed(expected[: line + 1]) if event[0] == "op"), (0, "start"))
    op = scenario["ops"][number - 1] if 0 < number <= len(scenario["ops"]) else name
    return (
        f"{scenario['id']} line {line}, within operation {number}: {json.dumps(op)}\n"
        f"    Erlang: {json.dumps(expected[line : line + 4])}\n"
        f"    here:   {json.dumps(actual[line : line + 4])}"
    )


# ---------------------------------------------------------------- into this library


def flags(words: Json) -> SupervisorFlags:
    """A scenario's supervisor flags, or `FlagsRefused`."""

    def member(kind: Any, key: str, default: str) -> Any:
        value = words.get(key, default)
        return kind(value) if value in {each.value for each in kind} else value

    try:
        return SupervisorFlags(
            member(Strategy, "strategy", "one_for_one"),
            intensity=words.get("intensity", 1),
            period=words.get("period", 5),
            auto_shutdown=member(AutoShutdown, "auto_shutdown", "never"),
        )
    except SpecError as error:
        raise FlagsRefused from error


def spec(words: Json, launch: Callable[[Json], Launch]) -> ChildSpec:
    """A scenario's child specification; `launch` makes what it starts.

    Raises:
        SpecError: It is one of the scenarios about that.
    """
    more: Json = {}
    if "shutdown" in words:
        value = words["shutdown"]
        more["shutdown"] = {"infinity": math.inf, "brutal_kill": BRUTAL_KILL}.get(value) or (
            value / 1000 if isinstance(value, int) else value
        )
    if "restart" in words:
        value = words["restart"]
        more["restart"] = Restart(value) if value in {each.value for each in Restart} else value
    start: Any = None if words.get("no_start") else launch(words)
    id: Any = words.get("id")
    if words.get("type", "worker") not in ("worker", "supervisor"):
        raise InvalidField("type", words["type"], "worker or supervisor")
    return ChildSpec(id, start, significant=words.get("significant", False), **more)


def children(words: Json, checked: SupervisorFlags, launch: Callable[[Json], Launch]) -> tuple[tuple[ChildSpec, ...], Json]:
    """A scenario's first children of one supervisor; for a dynamic one none, and the words of its template. Or `SpecsRefused`."""
    try:
        specs = check_childspecs([spec(child, launch) for child in words.get("children", [])], checked.auto_shutdown)
    except SpecError as error:
        raise SpecsRefused from error
    return ((), words["children"][0]) if checked.dynamic else (specs, {})


# ---------------------------------------------------------------- out of this library


def word(exit: Exit) -> str:
    """An exit, in the trace's words."""
    if exit.kind is ExitKind.SHUTDOWN:
        return "shutdown" if exit.term is None else "shutdown_term"
    if exit.kind is ExitKind.NORMAL:
        return "normal"
    return "killed" if exit == Exit.killed() else "abnormal"


def fields(child: ChildSpec) -> list[Any]:
    """What `get_childspec` answers."""
    return [child.restart.value, child.significant, milliseconds(child.shutdown), child.type.value]


def milliseconds(shutdown: float | Shutdown) -> int | str:
    """A `shutdown`, in the scenario's words."""
    if isinstance(shutdown, Shutdown):
        return str(shutdown.value)
    return "infinity" if shutdown == math.inf else round(shutdown * 1000)


def error_class(error: BaseException) -> Any:
    """An error, in the trace's words."""
    match error:
        case Refused():
            return "start_failed"
        case StartFailed(path=path):
            return ["failed_to_start_child", path[-1]]
        case FlagsRefused(__cause__=Exception() as cause):
            return ["supervisor_data", error_class(cause)]
        case SpecsRefused(__cause__=Exception() as cause):
            return ["start_spec", error_class(cause)]
        case InvalidField(field=field):
            return FIELDS.get(field, f"invalid_{field}")
    return ERRORS[type(error)]


def refused(error: Exception) -> list[Any]:
    """The result of a call that raised; a failed start is told by what the child said."""
    if isinstance(error, StartFailed):
        assert error.exit.exception is not None
        error_here: BaseException = error.exit.exception
    else:
        error_here = error
    return ["error", error_class(error_here)]


def normalized(trace: Iterable[Any], dynamic: set[str]) -> list[Any]:
    """The trace, with the ends of children that are stopped at the same time in alphabetical order; the oracle does the same."""
    result: list[Any] = []
    for event in trace:
        if event[0] == "sup_stopped" and event[1] in dynamic:
            run = len(result)
            while run and result[run - 1][0] == "stopped" and result[run - 1][1].rpartition("/")[0] == event[1]:
                run -= 1
            result[run:] = sorted(result[run:])
        result.append(event)
    return result


# ---------------------------------------------------------------- differences, on purpose


def about_a_process(answer: list[Any], *, dynamic: bool, had_process: bool, dead: list[Any], stranger: str) -> list[Any]:
    """What is asked about one child of a dynamic supervisor: OTP by pid, this library, whose instances keep an id, by that.

    The oracle asks with the pid where there has been a process and with the id where there has not; a child that is gone is
    `ChildNotFound` here, and in OTP either a dead pid or no pid at all. For a dead pid OTP's `terminate_child` says that all is done,
    and its `get_childspec` answers with the template, which this library does not have.
    """
    if not dynamic or answer[0] == "ok":
        return answer
    return dead if had_process else ["error", stranger]


def specifications(count: int, *, dynamic: bool) -> int:
    """What `count_children` says of specifications: OTP's dynamic supervisor has one template, this library's one for each child."""
    return 1 if dynamic else count


def listed(rows: list[list[Any]], *, dynamic: bool) -> list[Any]:
    """What `which_children` says: under a dynamic supervisor OTP promises no order."""
    return sorted(rows) if dynamic else rows
