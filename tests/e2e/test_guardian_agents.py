"""The real launcher with many agents."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from ..support import ROOT, eventually_sync, read_events, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory as Linux tells it")


def agents_file(folder: Path, script: str, count: int, *more: str) -> Path:
    """A configuration with so many agents that run a script."""
    agents = [f'[[agents]]\nname = "a{number}"\nargv = ["sh", "-c", {script!r}]\n' for number in range(count)]
    file = folder / "guardian.toml"
    file.write_text("\n".join(['[guardian]\nstate_dir = "state"', *more, *agents]))
    return file


def with_descriptors(soft: int, hard: int | None, *words: str | Path) -> list[str]:
    """The launcher as a command, under these limits."""
    program = shlex.join([sys.executable, "-m", "supervisor", *map(str, words)])
    return ["sh", "-c", f"ulimit -S -n {soft}; {'' if hard is None else f'ulimit -H -n {hard}; '}exec {program}"]


def watched(folder: Path) -> int:
    """How many agents are watched."""
    file = folder / "events"
    return sum(event["event"] == "monitoring_started" for event in read_events(file)) if file.exists() else 0


def test_many_agents_are_no_matter_of_the_soft_limit_of_descriptors(tmp_path: Path, backend: str) -> None:
    """The guardian takes what its hard limit allows; its agents get the limit that it was given."""
    file = agents_file(tmp_path, "ulimit -S -n >> said; while [ ! -e go ]; do sleep 0.05; done", 24)
    argv = with_descriptors(50, None, "run", "--config", file, "--backend", backend, "--events", tmp_path / "events")
    with running(*argv, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as program:
        eventually_sync(lambda: watched(tmp_path) == 24, 20, what="all of them")
        (tmp_path / "go").touch()
        done = program.wait()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said").read_text().splitlines() == ["50"] * 24


def test_more_agents_than_there_are_descriptors_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """Which one could not be started, why, and what is too little; those that had started are stopped."""
    file = agents_file(tmp_path, "exec sleep 100", 24)
    with running(*with_descriptors(50, 50, "run", "--config", file), cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as program:
        done = program.wait()
    assert done.returncode == 2
    (said,) = [line for line in done.stderr.splitlines() if "cannot be started" in line]
    assert ": 'sh' cannot be started: Too many open files; 24 agents take more of them than this process may have (ulimit -Hn)" in said
