"""``doctor``: what the host offers, what is missing, and the remedy, whatever state the host is in."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor import cgroup_support, worker_start_method
from supervisor.edge.doctor import as_json, as_text, examine, exit_code
from supervisor.edge.doctor_checks import CHECKS
from supervisor.edge.finding import Finding

from ..children.sandboxed import NUMBERS
from ..support import ROOT, Finished, run_supervisor
from ..terminals import PATIENCE, sitting_at

NAMES = [
    *("python", "platform", "package", "event-loops", "launch", "exits", "orphans", "cgroups", "sentry", "workers", "processes"),
    *(
        "terminal",
        "descriptors",
        "temporary-directory",
        "memory-reader",
        "memory-events",
        "memory-hold",
        "memory-limit",
        "configuration",
        "state-directory",
        "git",
    ),
    *("claude-code", "claude-code-hooks", "claude-code-files", "claude-code-sessions"),
]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what Linux offers")
SECCOMP = pytest.mark.skipif(
    not os.path.exists("/proc/sys/kernel/seccomp") or platform.machine() not in NUMBERS, reason="a kernel without seccomp, or strange to us"
)


def doctor(**env: str | None) -> tuple[Finished, dict[str, dict[str, Any]]]:
    """Run ``doctor --json`` from a directory that is on no path; its findings by name."""
    done = run_supervisor("doctor", "--json", cwd=os.environ["HOME"], env=env)
    assert done.stderr == "", done.stderr
    told, found = findings(done.stdout)
    assert done.returncode == (0 if told["usable"] else 1)
    return done, found


def findings(text: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What ``doctor --json`` has printed: all of it, and the findings by name."""
    told = json.loads(text)
    assert list(told) == ["v", "version", "usable", "findings"] and told["v"] == 1
    for finding in told["findings"]:
        assert list(finding) == ["name", "state", "says", "remedy"]
        assert finding["state"] in ("ok", "limited", "missing")
    return told, {finding["name"]: finding for finding in told["findings"]}


@LINUX
def test_a_host_that_has_everything() -> None:
    """Each finding is there once, under its stable name, and this host can guard; one line each for a person."""
    done, found = doctor()
    assert list(found) == NAMES and done.returncode == 0
    assert {finding["state"] for finding in found.values()} <= {"ok", "limited"}
    assert found["processes"]["state"] == "ok" and "procfs" in found["memory-reader"]["says"]

    text = run_supervisor("doctor")
    assert text.returncode == 0 and text.stderr == ""
    lines = [line for line in text.stdout.splitlines() if not line.lstrip().startswith("->")]
    assert [line.split()[1] for line in lines[:-1]] == NAMES
    assert lines[-1].startswith("a command can be guarded here")


def test_the_order_and_the_names_are_those_of_the_checks() -> None:
    """A program may look for a name, so each check finds what it is listed as."""
    found = examine(CHECKS)
    assert [finding.name for finding in found] == [name for name, _ in CHECKS] == NAMES[: len(CHECKS)]


@LINUX
def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    """A state directory that cannot be is missing, with what to set instead; everything else is found out all the same."""
    file = tmp_path / "file"
    file.touch()
    done, found = doctor(MEMORY_GUARDIAN_GUARDIAN_STATE_DIR=str(file / "below"))
    assert done.returncode == 1 and list(found) == NAMES
    assert found["state-directory"]["state"] == "missing" and "is no directory" in found["state-directory"]["says"]
    assert "--state-dir" in found["state-directory"]["remedy"]
    assert found["configuration"]["state"] == "ok"
    assert not (file.parent / "below").exists()

    _, found = doctor(HOME="/proc/self", XDG_STATE_HOME=None)
    assert found["state-directory"]["state"] == "missing" and "cannot be read and written" in found["state-directory"]["says"]


def test_a_broken_configuration() -> None:
    """What the environment sets wrongly is a finding that names all of it, and the only one that it spoils."""
    done, found = doctor(MEMORY_GUARDIAN_RESTART_CIRCUIT_RESET="soon", MEMORY_GUARDIAN_THRESHOLDS_WARNING="much")
    assert done.returncode == 1
    assert [name for name, finding in found.items() if finding["state"] == "missing"] == ["configuration"]
    said = found["configuration"]["says"]
    assert "MEMORY_GUARDIAN_RESTART_CIRCUIT_RESET" in said and "MEMORY_GUARDIAN_THRESHOLDS_WARNING" in said
    assert "unset" in found["configuration"]["remedy"]


@LINUX
def test_programs_that_are_missing_or_not_executable(tmp_path: Path) -> None:
    """Without the compiled helper and sentry, or with another machine's, a command is guarded with less; the remedy says how to get it."""
    for package in ("supervisor", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("_launch", "_sentry", "__pycache__"))
    done, found = doctor(PYTHONPATH=str(tmp_path))
    assert done.returncode == 0 and str(tmp_path) in found["package"]["says"]
    assert found["launch"]["state"] == "limited" and found["launch"]["says"].startswith("setpriv")
    assert found["sentry"]["state"] == "limited" and found["sentry"]["says"].startswith("a shell: none was compiled")
    assert "C compiler" in found["launch"]["remedy"] and found["sentry"]["remedy"] == found["launch"]["remedy"]

    _, found = doctor(PYTHONPATH=str(tmp_path), PATH="/nowhere")
    assert found["launch"]["says"].startswith("nothing") and "setpriv" in found["launch"]["remedy"]
    assert found["git"]["state"] == "limited" and found["git"]["remedy"] == "install git"

    for name in ("_launch", "_sentry"):
        helper = tmp_path / "supervisor" / "host" / name
        helper.write_bytes(b"\x7fELF of another machine")
        helper.chmod(0o755)
    _, found = doctor(PYTHONPATH=str(tmp_path))
    for name in ("launch", "sentry"):
        assert found[name]["state"] == "limited" and "cannot be executed" in found[name]["says"]


def test_supervisord_beside_and_over_us(tmp_path: Path) -> None:
    """Another package of our name on the path is pointed out; one that was installed over ours is missing half of either."""
    elsewhere = tmp_path / "elsewhere" / "supervisor"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").touch()
    done, found = doctor(PYTHONPATH=f"{ROOT}{os.pathsep}{elsewhere.parent}")
    assert done.returncode == 0 and found["package"]["state"] == "limited"
    assert str(elsewhere) in found["package"]["says"] and "environment of its own" in found["package"]["remedy"]

    for package in ("supervisor", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "supervisor" / "supervisord.py").touch()
    done, found = doctor(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1 and found["package"]["state"] == "missing" and "install memory-guardian again" in found["package"]["remedy"]


def test_an_application_that_cannot_be_imported(tmp_path: Path) -> None:
    """Half an installation is still examined, and what is missing is named."""
    shutil.copytree(ROOT / "supervisor", tmp_path / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").touch()
    done, found = doctor(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1 and list(found) == [*NAMES[: len(CHECKS)], "application"]
    assert "workers.application" in found["application"]["says"]


@LINUX
def test_scarce_resources(tmp_path: Path) -> None:
    """Few descriptors and a temporary directory that is none are limits, with their remedies."""
    words = f"ulimit -n 100; exec {sys.executable} -m supervisor doctor --json"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "gone")}
    done = subprocess.run(["sh", "-c", words], env=env, capture_output=True, text=True, check=True)
    _, found = findings(done.stdout)
    assert found["descriptors"]["state"] == "limited" and "ulimit -n" in found["descriptors"]["remedy"]
    assert found["temporary-directory"]["state"] == "limited" and "TMPDIR" in found["temporary-directory"]["remedy"]


@LINUX
def test_the_start_of_workers() -> None:
    """What is said is what `worker` does: a fork server here, or an interpreter for each."""
    _, found = doctor()
    assert (found["workers"]["state"] == "ok") == (worker_start_method() == "fork_server")
    assert "; in a cgroup of its own if it supervises, " in found["workers"]["says"]


@LINUX
def test_cgroups_are_found_as_they_are_used() -> None:
    """Which kind, and which limits; where there are none, why, and what would help."""
    _, found = doctor()
    support = cgroup_support()
    says = found["cgroups"]["says"]
    if support.tracking is None:
        assert found["cgroups"]["state"] == "limited" and says == f"none: {support.reason}"
    else:
        assert says.startswith("version 2:" if support.tracking == "v2" else f"version 1 ({support.tracking})")
        assert all(("memory" in says, "cpu" in says, "pids" in says)) or not (support.memory and support.cpu and support.pids)
        assert (found["cgroups"]["state"] == "ok") == (not support.reason)
    assert found["cgroups"]["remedy"] == support.remedy


@LINUX
def test_memory_is_told_as_it_is_used() -> None:
    """Who reads it, what tells of crossings, and how a leaf is held: what a leaf's cgroup has, and nothing else."""
    _, found = doctor()
    support = cgroup_support()
    reader, events, hold = (found[f"memory-{name}"] for name in ("reader", "events", "hold"))
    assert reader["state"] == "ok" and reader["says"].endswith("procfs, psutil" if support.memory else "psutil")
    assert (events["state"] == "ok") == support.memory and ("cgroup" in reader["says"]) == support.memory
    assert (hold["state"] == "ok") == (support.freeze or support.memory)
    assert ("frozen" in hold["says"]) == support.freeze


@SECCOMP
def test_a_sandbox_that_refuses() -> None:
    """Where the kernel refuses pidfds and prctl there is less of everything that needs them, and each says what should be allowed."""
    words = [sys.executable, "-m", "supervisor", "doctor", "--json"]
    sandbox = [sys.executable, str(ROOT / "tests" / "children" / "sandboxed.py"), "prctl,pidfd_open,pidfd_send_signal", *words]
    done = subprocess.run(sandbox, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    told, found = findings(done.stdout)
    assert told["usable"] and done.stderr == ""
    limited = {name: finding for name, finding in found.items() if finding["state"] == "limited"}
    assert limited.keys() >= {"launch", "exits", "orphans", "workers"}
    assert "no parent-death signal" in limited["launch"]["says"] and "an interpreter of its own" in limited["workers"]["says"]
    assert "pidfd_open" in limited["exits"]["remedy"]
    assert all("prctl" in limited[name]["remedy"] for name in ("launch", "orphans", "workers"))


@LINUX
@pytest.mark.deadline(4 * PATIENCE)
def test_the_terminal(tmp_path: Path) -> None:
    """On a terminal it is named; one without a kind is limited; and looking at it changes nothing of it."""
    with sitting_at(tmp_path) as sight:
        shown = sight.run(f"{sys.executable} -m supervisor doctor 2>&1 | cat > piped; {sys.executable} -m supervisor doctor | tail -1")
        assert shown[-1].startswith("a command can be guarded here")
        sight.run(f"{sys.executable} -m supervisor doctor")
        assert any("xterm-256color: an interactive program" in line for line in sight.look()), sight.framed()
        sight.run(f"TERM=dumb {sys.executable} -m supervisor doctor")
        assert any("set TERM" in line for line in sight.look()), sight.framed()
        sight.keep("doctor")
        sight.assert_usable()
    assert "none here" in (tmp_path / "piped").read_text()


def test_usage() -> None:
    """What it does not know is a mistake of usage; its help and the launcher's name it."""
    for words in (["doctor", "--jsom"], ["doctor", "extra"], ["doctor", "--", "command"]):
        done = run_supervisor(*words)
        assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert "--json" in run_supervisor("doctor", "--help").stdout
    assert "  doctor " in run_supervisor("--help").stdout


def test_a_check_that_fails_is_a_finding() -> None:
    """No surprise of a host keeps the others from being told."""

    def fails() -> Finding:
        raise RuntimeError("a strange host")

    found = examine([("strange", fails), ("fine", lambda: Finding("fine", "ok", "fine"))])
    assert [(finding.name, finding.state) for finding in found] == [("strange", "limited"), ("fine", "ok")]
    assert "a strange host" in found[0].says and exit_code(found) == 0
    assert json.loads(as_json(found, "x"))["usable"] is True
    assert "1 thing is limited" in as_text(found)
    assert "cannot be guarded" in as_text([Finding("gone", "missing", "not here")])


def test_no_event_loop_is_imported() -> None:
    """It answers in the time of an interpreter's start."""
    words = "import sys; sys.argv = ['x', 'doctor', '--json']; from supervisor.edge.command_line import main; main()"
    words += "; print(sorted({'anyio', 'trio', 'asyncio', 'psutil'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
