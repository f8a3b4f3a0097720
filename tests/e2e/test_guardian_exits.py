"""How a run ends: the command's exit code, what is restarted, when protection gives up, and what signals do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from ..support import ROOT, supervising
from .guarded import LEAF, Guarded, Tables, actor, configured, guarding, names, runs

TOGETHER = 4
"""Runs at the same time: enough to keep a small machine busy, few enough that none has to wait long."""


@attrs.frozen
class Case:
    """A policy, what the leaf does, and what comes of it."""

    restart: str
    script: str
    code: int
    restarts: int = 0
    source: str = "command"
    max_attempts: int = 3

    def __str__(self) -> str:
        return f"{self.restart}: {self.script} -> {self.code} after {self.restarts} restarts"


CASES = [
    Case("crash", "signal:SEGV / exit:4", 4, 1),
    Case("crash", "signal:ABRT / signal:KILL / exit:0", 0, 2),
    Case("crash", "exit:3", 3),
    Case("crash", "exit:0", 0),
    Case("crash", "exit:134 / exit:137 / exit:139 / exit:5", 5, 3),
    Case("crash", "signal:TERM", 143),
    Case("crash", "signal:HUP", 129),
    Case("crash", "signal:INT", 130),
    Case("crash", "signal:QUIT", 131),
    Case("crash", "signal:PIPE", 141),
    Case("crash", "signal:SEGV", 75, 2, "protection", max_attempts=2),
    Case("failure", "exit:3 / signal:TERM / exit:0", 0, 2),
    Case("failure", "exit:3", 75, 1, "protection", max_attempts=1),
    Case("always", "exit:0 / exit:6", 75, 2, "protection", max_attempts=2),
    Case("never", "signal:SEGV", 139),
    Case("never", "exit:3", 3),
]


@pytest.mark.parametrize("cases", [CASES[at : at + TOGETHER] for at in range(0, len(CASES), TOGETHER)], ids=lambda cases: cases[0].restart)
def test_exit_codes_and_restarts(cases: Sequence[Case], backend: str, tmp_path: Path) -> None:
    """What is restarted is what the policy says, within the budget; the command's exit code is the run's, 75 when protection gave up.

    What an exit means is a function of its status, so the second event loop gets every fourth case.
    """
    with ExitStack() as stack:
        cases = cases if backend == "trio" else cases[:1]
        started = []
        for number, case in enumerate(cases):
            tables: Tables = {"command": {"restart": case.restart}, "restart": {"max_attempts": case.max_attempts, "circuit_failures": 10}}
            started.append(stack.enter_context(guarding(tmp_path / str(number), backend, *case.script.split(), tables=tables)))
        for run, case in zip(started, cases, strict=True):
            assert run.finish().returncode == case.code, f"{case}\n{run.told}"
            restarted = run.named("child_restarted")
            assert [event["data"]["controlled"] for event in restarted] == [False] * case.restarts, str(case)
            assert run.events[-1]["data"] == {"exit_code": case.code, "source": case.source}, str(case)
            assert len(run.named("supervisor_gave_up")) == (case.source == "protection"), str(case)


def test_repeated_crashes_open_the_circuit(backend: str, tmp_path: Path) -> None:
    """Restarts that do not hold end the run before the budget of attempts is spent: the circuit opens."""
    tables = {"restart": {"max_attempts": 100, "circuit_failures": 2}}
    with guarding(tmp_path, backend, "signal:SEGV", tables=tables) as run:
        finished = run.finish()

    assert finished.returncode == 75
    assert len(run.named("child_restarted")) == 2
    assert "circuit" in run.named("supervisor_gave_up")[0]["data"]["reason"]
    assert "restart protection gave up" in finished.stderr


def test_what_was_spent_outlives_the_run(backend: str, tmp_path: Path) -> None:
    """A crash loop that ended a run is not restarted by the next one of the same agent; another agent, and one without state, begin anew.

    The record says so on disk, and a damaged one is told of and costs nothing but the memory of it.
    """
    tables: Tables = {"restart": {"max_attempts": 2, "circuit_failures": 10}}
    with guarding(tmp_path, backend, "signal:SEGV", tables=tables) as run:
        assert run.finish().returncode == 75
        assert len(run.named("child_restarted")) == 2
    (record,) = tmp_path.glob("state/*/protection/actor.json")
    spent = json.loads(record.read_text())["crashes"]
    assert 1700 < spent["reopens_in"] <= 1800

    for tag, options, known in (("again", (), True), ("other", ("--name", "other"), False)):
        with guarding(tmp_path, backend, "signal:SEGV", tables=tables, tag=tag, options=options) as run:
            assert run.finish().returncode == 75
            assert len(run.named("child_restarted")) == (0 if known else 2)
    assert json.loads(record.read_text())["crashes"]["reopens_in"] <= spent["reopens_in"]

    record.write_text("{")
    with guarding(tmp_path, backend, "signal:SEGV", tables=tables, tag="damaged") as run:
        assert f"the record of restart protection {record} cannot be used (it is damaged)" in run.finish().stderr
        assert len(run.named("child_restarted")) == 2
    with guarding(tmp_path, backend, "signal:SEGV", tables={**tables, "guardian": {"persist_state": False}}, tag="forgets") as run:
        assert run.finish().returncode == 75
        assert len(run.named("child_restarted")) == 2


def test_a_controlled_restart_is_judged_by_what_came_of_it(backend: str, tmp_path: Path) -> None:
    """Memory that is back at critical within the window is a failure of the restart before it: two of them in a row open the circuit,
    though each new life was light at first; a life that stays light closes the case.
    """
    leaking = " / ".join(f"await:go{life} grow:80 stay" for life in range(1, 4))
    tables: Tables = {"restart": {"max_attempts": 10, "circuit_failures": 2, "stability_period": 0.3, "ineffective_window": 60}}
    with guarding(tmp_path, backend, *leaking.split(), tables=tables) as run:
        for life in (1, 2):
            run.touch(f"go{life}")
            run.wait_for("restart_completed", life)
        run.touch("go3")
        refused = run.wait_for("restart_refused")
        assert "circuit" in refused["data"]["reason"]
        failures = run.named("restart_failed")
        assert [event["generation"] for event in failures] == [2, 3]
        assert "after the restart, critical is" in failures[0]["data"]["reason"]
        run.program.send(signal.SIGTERM)
        run.finish()


def test_what_a_leaf_weighs_is_not_restarted_again(backend: str, tmp_path: Path) -> None:
    """A life that is critical from its start fails its restart and raises the thresholds: it is left in peace after that."""
    heavy = " / ".join(["await:go grow:62 stay", "grow:62 await:end exit:0"])
    tables: Tables = {"thresholds": {"emergency": "200MiB"}, "restart": {"max_attempts": 10, "stability_period": 0.2}}
    with guarding(tmp_path, backend, *heavy.split(), tables=tables) as run:
        run.touch("go")
        floor = run.wait_for("memory_floor_changed")
        run.wait_for("memory_level_changed", new="normal")
        run.touch("end")
        assert run.finish().returncode == 0
    assert floor["data"]["warning_bytes"] > floor["data"]["floor_bytes"] > 0
    assert len(run.named("restart_initiated")) == 1
    assert len(run.named("restart_failed")) == 1


def test_a_crash_in_the_cooldown_waits(backend: str, tmp_path: Path) -> None:
    """The first restart is at once, the second comes when the cooldown is over; that it waits is an event, and waiting can be ended."""
    tables = {"restart": {"initial_cooldown": 0.3, "max_cooldown": 30, "cooldown_multiplier": 100}}
    with guarding(tmp_path, backend, "signal:SEGV", tables=tables) as run:
        run.wait_for("restart_deferred", 2)
        asked = time.monotonic()
        run.program.send(signal.SIGTERM)
        assert run.finish().returncode == 139
        assert time.monotonic() - asked < 15

    deferred = run.named("restart_deferred")
    assert [event["generation"] for event in deferred] == [2, 3]
    assert 0 < deferred[0]["data"]["remaining"] <= 0.3 < 20 < deferred[1]["data"]["remaining"] <= 30
    waited = run.named("child_restarted")[1]["monotonic"] - deferred[0]["monotonic"]
    assert deferred[0]["data"]["remaining"] - 0.01 <= waited < deferred[0]["data"]["remaining"] + 2


def test_refused_controlled_restarts(backend: str, tmp_path: Path) -> None:
    """With two attempts the third request is refused: the mode degrades, monitoring goes on. Then an ordinary exit is passed on, but
    crashes are restarted, for controlled restarts have not spent their budget; when that is spent too, the run ends with 75.
    """
    leaking = [f"await:go{life} grow:80 stay" for life in (1, 2)]
    third = "await:go3 grow:80 await:less grow:20"
    tables = {"restart": {"max_attempts": 2, "circuit_failures": 10}}
    with ExitStack() as stack:
        ending = [
            stack.enter_context(guarding(tmp_path / name, backend, *" / ".join([*leaking, f"{third} {rest}"]).split(), tables=tables))
            for name, rest in {"exits": "await:end exit:3", "crashes": "await:end signal:SEGV / signal:SEGV"}.items()
        ]
        for life in (1, 2):
            for run in ending:
                run.wait_for("child_started", life, path=LEAF)
                run.touch(f"go{life}")
            for run in ending:
                run.wait_for("restart_completed", life)
        for run in ending:
            run.touch("go3")
        for run in ending:
            refused = run.wait_for("restart_refused")
            assert "2 restarts within 3600 s, 2 allowed" in refused["data"]["reason"]
            assert refused["data"]["wanted"].startswith("memory is at") and 3500 < refused["data"]["retry_in"] <= 3600
            degraded = run.wait_for("degradation_changed")
            assert (degraded["data"]["old"], degraded["data"]["new"]) == ("normal", "read_only")
            assert refused["generation"] == 3 and runs(run.wait_pid("leaf", 3))
            run.touch("less")
            # only who goes on looking can see this
            run.wait_for("memory_level_changed", generation=3, new="normal")
            run.wait_for("degradation_changed", old="read_only", new="normal")
            run.touch("end")
        exits, crashes = ending
        assert exits.finish().returncode == 3
        assert crashes.finish().returncode == 75

    for run in ending:
        assert [event["data"]["attempt_number"] for event in run.named("restart_initiated")] == [1, 2]
        assert len(run.named("restart_refused")) == 1
    assert [event["data"]["controlled"] for event in crashes.named("child_restarted")] == [True, True, False, False]
    assert [event["data"]["controlled"] for event in exits.named("child_restarted")] == [True, True]


def test_never_is_never(tmp_path: Path) -> None:
    """Under ``never`` a leak is reported and refused, and nothing is begun. (The policy knows no event loop: one is enough.)"""
    with guarding(tmp_path, "trio", "await:go", "grow:80", "await:end", "exit:3", tables={"command": {"restart": "never"}}) as run:
        run.touch("go")
        refused = run.wait_for("restart_refused")
        run.wait_for("degradation_changed", new="read_only")
        run.touch("end")
        assert run.finish().returncode == 3

    assert refused["data"]["retry_in"] is None
    assert "restart_initiated" not in names(run.events)


def test_a_deaf_leaf_is_killed_and_the_run_goes_on(backend: str, tmp_path: Path) -> None:
    """A controlled restart waits `graceful_timeout` for a leaf that ignores SIGTERM, and then does not."""
    with guarding(
        tmp_path, backend, "deaf", "grow:80", "stay", "/", "await:end", "exit:0", tables={"restart": {"graceful_timeout": 0.3}}
    ) as run:
        run.wait_for("restart_completed")
        run.touch("end")
        assert run.finish().returncode == 0

    captured, exited = run.named("state_captured")[-1], run.named("child_exited", generation=1)[0]
    assert exited["data"]["exit"]["signal"] == "SIGKILL" and exited["data"]["expected"]
    assert 0.3 <= exited["monotonic"] - captured["monotonic"] < 4


def test_a_daemon_that_emptied_its_environment_is_swept(tmp_path: Path) -> None:
    """Nobody had looked at the tree while it could be seen there. (Sweeping knows no event loop: one is enough.)"""
    with guarding(tmp_path, "trio", "daemon", "exit:4", tables={"guardian": {"enabled": False}}) as run:
        assert run.finish().returncode == 4

    (swept,) = run.named("orphans_swept")
    assert swept["data"]["pids"] == run.pids("daemon")


def test_a_filter_is_a_filter(backend: str, tmp_path: Path) -> None:
    """Input and output are the command's own, byte by byte and however much it is; what the guardian says is on standard error."""
    given = os.urandom(300_000)
    (tmp_path / "given").write_bytes(given)
    with (tmp_path / "given").open("rb") as stdin:
        argv = [sys.executable, "-m", "supervisor", "--backend", backend, "--", "cat"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, stdin=stdin, capture_output=True, cwd=tmp_path, env=environ, timeout=30, check=False)

    assert (done.returncode, done.stdout) == (0, given)
    assert b"exit code    0" in done.stderr


ENDINGS = {
    "obeys": (signal.SIGINT, "stay", 143),
    "answers": (signal.SIGTERM, "answer:9 ready stay", 9),
    "never ready": (signal.SIGHUP, "stay", 143),
    "deaf to INT": (signal.SIGINT, "deaf stray stay", 137),
    "deaf to TERM": (signal.SIGTERM, "deaf stray stay", 137),
    "deaf to HUP": (signal.SIGHUP, "deaf stray stay", 137),
}


def test_signals_end_a_run_in_order(backend: str, tmp_path: Path) -> None:
    """Whatever the leaf does: obey, answer with a code, never get ready, be deaf and have deaf strays; always in bounded time. The exit
    code is what became of the leaf.
    """
    with ExitStack() as stack:
        started = {}
        for name, (_, script, _) in ENDINGS.items():
            ready = "fd" if name in ("answers", "never ready") else "spawn"
            tables: Tables = {"restart": {"graceful_timeout": 0.3 if "deaf" in name else 30}, "command": {"ready": ready}}
            started[name] = stack.enter_context(guarding(tmp_path / name, backend, *script.split(), tables=tables))
        for name, run in started.items():
            run.wait_pid("stray" if "deaf" in name else "leaf")
        started["answers"].wait_for("monitoring_started")
        asked = time.monotonic()
        for name, run in started.items():
            run.program.send(ENDINGS[name][0])
        for name, run in started.items():
            assert run.finish().returncode == ENDINGS[name][2], f"{name}\n{run.told}"
            assert run.events[-1]["data"]["source"] == "signal"
        assert time.monotonic() - asked < 15

    about_leaf = [event["event"] for event in started["answers"].events if event["path"] == LEAF]
    assert about_leaf == ["child_started", "monitoring_started", "monitoring_stopped", "child_exited"]


def test_a_second_interrupt_hurries(backend: str, tmp_path: Path) -> None:
    """The first asks and would wait half a minute, the second kills; also while the leaf has not even said that it is ready."""
    with ExitStack() as stack:
        started: list[Guarded] = []
        for ready in ("spawn", "fd"):
            tables: Tables = {"restart": {"graceful_timeout": 30}, "command": {"ready": ready}}
            started.append(stack.enter_context(guarding(tmp_path / ready, backend, "stubborn", "stray", "stay", tables=tables)))
        for run in started:
            run.wait_pid("stray")
            run.program.send(signal.SIGINT)
        for run in started:
            # asked, and nothing comes of it
            assert runs(run.wait_pid("asked"))
        asked = time.monotonic()
        for run in started:
            run.program.send(signal.SIGINT)
        assert [run.finish().returncode for run in started] == [137, 137]
        assert time.monotonic() - asked < 15


def test_a_restart_that_the_end_of_the_run_cuts_short(backend: str, tmp_path: Path) -> None:
    """It failed, and why is said; of the guardian's own workers, killed in a hurry, nothing is."""
    with guarding(tmp_path, backend, "stubborn", "grow:80", "stay") as run:
        run.wait_pid("asked")
        run.program.send(signal.SIGINT)
        run.wait_for("restart_failed")
        run.program.send(signal.SIGINT)
        finished = run.finish()

    told = finished.stderr
    assert finished.returncode == 137
    (failed,) = run.named("restart_failed")
    assert failed["data"] == {"reason": "the supervisor above it was stopped meanwhile", "memory_mb": None}
    assert "the restart failed: the supervisor above it was stopped meanwhile" in told
    assert "services" not in told


def test_what_has_ended_before_watching_began_is_not_said_to_be_watched(backend: str, tmp_path: Path) -> None:
    """A leaf ends while the one after it has still to say that it is ready: watching begins and ends for the latter alone."""
    command = actor(tmp_path)
    file = configured(tmp_path / "guardian.toml", {"command": {"ready": "fd"}})
    with file.open("a") as config:
        for name, words in (("short", ["ready", "exit:0"]), ("slow", [f"await:{tmp_path}/go", "ready", f"await:{tmp_path}/end", "exit:0"])):
            config.write(f"[[agents]]\nname = '{name}'\nargv = {[str(command), f'{tmp_path}/report-{name}', *words]}\n")
    options = ("--backend", backend, "--config", file, "--events", tmp_path / "events.jsonl", "--state-dir", tmp_path / "state")
    with supervising(*options, cwd=tmp_path) as program:
        run = Guarded(program, tmp_path)
        run.wait_for("child_exited", path=["guardian", "agents", "short", "leaf"])
        run.touch("go")
        run.wait_for("monitoring_started")
        run.touch("end")
        assert run.finish().returncode == 0

    watched = [(event["event"], event["path"][2]) for event in run.events if event["event"].startswith("monitoring_")]
    assert watched == [("monitoring_started", "slow"), ("monitoring_stopped", "slow")]
