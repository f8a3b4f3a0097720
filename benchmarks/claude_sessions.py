"""Memory of a guardian with 1, 10 and 50 sessions of Claude Code; what is under it is a stand-in, which weighs nothing here."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Final

from .claude import ended, until
from .figures import Effort, Figure, Peer, Summary
from .launcher import BACKENDS, Launcher, launcher
from .launcher_memory import weight

COUNTS: Final = (1, 10, 50)
SETTLED: Final = 5.0
SESSION: Final = "#!/bin/sh\nexec sleep 600\n"


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    counts = effort.pick(COUNTS, COUNTS, COUNTS[:2])
    for backend in effort.pick(BACKENDS, BACKENDS[:1], BACKENDS[:1]):
        with launcher() as here:
            _weighed(here, backend, 2, "claude", Effort.SMOKE)  # who compiles modules weighs more
            sessions = {count: _weighed(here, backend, count, "claude", effort) for count in counts}
            others = {count: _weighed(here, backend, count, "other", effort) for count in counts}
        for count in counts:
            peer = Peer("commands that are no Claude Code", Summary.of([others[count]]))
            name = f"PSS of the guardian, {count} session{'s' if count > 1 else ''}, {backend}"
            figures.append(Figure(name, "MiB", Summary.of([sessions[count]]), (peer,)))
        each = (sessions[counts[-1]] - sessions[1]) / (counts[-1] - 1) * 1024
        peer = Peer("commands that are no Claude Code", Summary.of([(others[counts[-1]] - others[1]) / (counts[-1] - 1) * 1024]))
        figures.append(Figure(f"of that for each session more, {backend}", "KiB", Summary.of([each]), (peer,)))
    return figures


def _weighed(here: Launcher, backend: str, count: int, name: str, effort: Effort) -> float:
    """MiB of the guardian's process when all of them have begun and nothing happens."""
    folder = here.folder / f"{backend}-{name}-{count}"
    folder.mkdir()
    program = folder / name
    program.write_text(SESSION)
    program.chmod(0o755)
    agents = "".join(f'[[agents]]\nname = "a{number}"\nargv = ["{program}"]\n' for number in range(count))
    (folder / "many.toml").write_text(f"[monitoring]\nnormal_interval = 1\n{agents}")
    words = here.words(backend, ())[:3]
    events = folder / "events.jsonl"
    options = ["--backend", backend, "--config", "many.toml", "--events", str(events), "--state-dir", str(folder / "state")]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*words, *options], cwd=folder, env=dict(here.environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
    try:
        until(lambda: process.poll() is not None or _begun(events) >= count, f"{count} sessions", pause=0.05)
        if process.poll() is not None:
            raise RuntimeError(f"the guardian ended: {(folder / 'output').read_text()}")
        time.sleep(effort.pick(SETTLED, SETTLED / 2, 0.5))
        return weight(process)["PSS"]
    finally:
        ended(process)


def _begun(events: Path) -> int:
    try:
        lines = events.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return 0
    return sum(json.loads(line)["event"] == "monitoring_started" for line in lines)
