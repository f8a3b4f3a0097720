"""One run of the program under test, from outside: its configuration, its leaf's script, its events."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..leaks import read_process
from ..support import Finished, Program, eventually_sync, read_events, supervising

ACTOR = Path(__file__).parent / "agents" / "actor.py"
LEAF = ["guardian", "agents", "actor", "leaf"]
PATIENCE = 20.0

QUICK: Mapping[str, Mapping[str, object]] = {
    "thresholds": {"warning": "40MiB", "critical": "60MiB", "emergency": "900MiB"},
    "restart": {"initial_cooldown": 0, "max_cooldown": 0, "graceful_timeout": 5, "force_kill_timeout": 5, "stability_period": 30},
    "monitoring": {"normal_interval": 0.05, "warning_interval": 0.03, "critical_interval": 0.02, "emergency_interval": 0.02},
    "degradation": {"mode_cooldown": 0.2},
    "mpm": {"monitor": "off"},
}
"""Real memory, but little of it, and looked at often; nobody else on this machine is told."""

Tables = Mapping[str, Mapping[str, object]]
Event = dict[str, Any]


@attrs.define
class Guarded:
    """A run that was started."""

    program: Program
    folder: Path
    tag: str = ""
    finished: Finished | None = None

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        return read_events(self.folder / f"events{self.tag}.jsonl")

    def named(self, name: str, **where: object) -> list[Event]:
        """The events of a name so far; of these the ones whose `generation`, `path` or data are as given."""
        return [event for event in self.events if event["event"] == name and matches(event, where)]

    def wait_for(self, name: str, count: int = 1, timeout: float = PATIENCE, **where: object) -> Event:
        """Wait for the event of that name (number `count` of them), and return it."""

        self._await(lambda: len(self.named(name, **where)) >= count, timeout, f"event {name} {where}")
        return self.named(name, **where)[count - 1]

    def pids(self, role: str, life: int | None = None) -> list[int]:
        """The pids of the processes in a role, of one life or all, as the actor reported them."""
        return [pid for number, found, pid in self.report if found == role and life in (None, number)]

    @property
    def report(self) -> list[tuple[int, str, int]]:
        """What the actor has reported: life, role, pid."""
        return report(self.folder / f"report{self.tag}")

    def wait_pid(self, role: str, life: int = 1) -> int:
        """Wait until a process in that role has reported."""
        self._await(lambda: bool(self.pids(role, life)), PATIENCE, f"{role} of life {life}")
        return self.pids(role, life)[0]

    def _await(self, holds: Callable[[], bool], timeout: float, what: str) -> None:
        def found() -> bool:
            ended = self.program.process.poll()
            if holds():
                return True
            assert ended is None, f"ended with {ended}"
            return False

        try:
            eventually_sync(found, timeout, what=what)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{self.told}") from None

    def touch(self, name: str) -> None:
        """Make the file that the actor awaits."""
        (self.folder / name).touch()

    def finish(self, timeout: float = PATIENCE) -> Finished:
        """Wait for its end; no traceback was seen, the event stream is whole and no process of it lives."""
        finished = self.finished = self.program.wait(timeout)
        assert "Traceback" not in finished.stderr, finished.stderr
        whole(self.events, finished.returncode)
        left = [(number, role, pid) for number, role, pid in self.report if runs(pid) and is_actor(pid)]
        assert not left, left
        return finished

    @property
    def told(self) -> str:
        """What it told a person, for the text of a failure."""
        tail = "\n".join(json.dumps(event) for event in self.events[-12:])
        output = self.finished or self.program
        return f"stderr:\n{output.stderr}\nstdout:\n{output.stdout}\nevents:\n{tail}"


@contextlib.contextmanager
def guarding(
    folder: Path,
    backend: str,
    *script: str,
    options: tuple[str, ...] = (),
    tables: Tables | None = None,
    state_dir: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    tag: str = "",
) -> Iterator[Guarded]:
    """Run an actor under the guardian.

    Args:
        folder: Its working directory, which gets the configuration, the report and the events; made if need be.
        backend: The event loop.
        script: What the actor plays.
        options: More options of the guardian.
        tables: Configuration over `QUICK`.
        state_dir: In the folder, unless said otherwise.
        env: Additions to the environment; a value None removes.
        tag: Tells the files of several runs in one folder apart.
    """
    folder.mkdir(exist_ok=True)
    file = configured(folder / f"guardian{tag}.toml", tables)
    words = [word.replace("await:", f"await:{folder}/") for word in script]
    with supervising(
        "--backend",
        backend,
        "--config",
        file,
        "--events",
        folder / f"events{tag}.jsonl",
        "--state-dir",
        state_dir or folder / "state",
        *options,
        "--",
        actor(folder),
        folder / f"report{tag}",
        *words,
        cwd=folder,
        env=env,
    ) as program:
        yield Guarded(program, folder, tag)


def actor(folder: Path) -> Path:
    """A command called ``actor``, so that the agent's derived name is that."""
    command = folder / "actor"
    if command.exists():
        return command  # another run may just be reading it
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {ACTOR} "$@"\n')
    command.chmod(0o755)
    return command


def configured(file: Path, tables: Tables | None = None) -> Path:
    """Write a configuration file: `QUICK`, and `tables` over it."""
    merged: dict[str, dict[str, object]] = {name: dict(table) for name, table in QUICK.items()}
    for name, table in (tables or {}).items():
        merged.setdefault(name, {}).update(table)
    file.write_text(
        "".join(f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items()) for name, table in merged.items())
    )
    return file


def toml(value: object) -> str:
    """A value in TOML, which is JSON where it is simple."""
    return json.dumps(value)


def report(file: Path) -> list[tuple[int, str, int]]:
    """What an actor has reported: life, role, pid."""
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(int(number), role, int(pid)) for number, role, pid in map(str.split, lines)]


def whole(events: list[Event], exit_code: int) -> None:
    """An event stream is numbered without gaps, of one run, in the one shape, and ends with how the run ended."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["run"] for event in events}) == 1
    for event in events:
        assert list(event) == ["v", "run", "seq", "time", "monotonic", "event", "path", "generation", "data"]
        assert event["v"] == 1 and event["path"][0] == "guardian"
    times = [event["monotonic"] for event in events]
    assert times == sorted(times)
    assert events[-1]["event"] == "run_finished"
    assert events[-1]["data"]["exit_code"] == exit_code
    assert events[-1]["data"]["source"] in ("command", "signal", "protection", "fault")


def matches(event: Event, where: Mapping[str, object]) -> bool:
    """Whether an event has these values, of its own or in its data."""
    return all(event.get(key, event["data"].get(key)) == value for key, value in where.items())


def names(events: list[Event]) -> list[str]:
    """The events' names, in order."""
    return [event["event"] for event in events]


def runs(pid: int) -> bool:
    """Whether a process lives; how soon init reaps is not ours."""
    process = read_process(pid)
    return process is not None and process.state != "Z"


def is_actor(pid: int) -> bool:
    """Whether a process is an actor: on a busy machine the pid of one that is dead may be another's within a minute."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return ACTOR.name.encode() in words or words == b"sleep\x0060\x00"


def marked_pids(value: str) -> list[int]:
    """The live processes with this text in their environment."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if value.encode() in Path("/proc", name, "environ").read_bytes():
                    found.append(int(name))
    return found


def sentry_of(guardian: int) -> int:
    """The sentry of a guardian whose leaf runs."""
    children = Path(f"/proc/{guardian}/task/{guardian}/children").read_text().split()
    (found,) = [int(pid) for pid in children if b"sentry" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]]
    return found
