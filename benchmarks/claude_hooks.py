"""What our hooks cost: the shell that each one starts, and a tool call of the real program with and without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from workers.claude.hook_pipe import HookPipe
from workers.claude.settings import PROMPTED, STOPPED, USED, hooks

from .claude import at_home, builds
from .figures import Effort, Figure, Peer, Summary, at_most_above, at_most_times, interleaved

CALLS: Final = 10
INPUT: Final = json.dumps({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "true"}}).encode()
MORE: Final = 5.0
"""Milliseconds that a tool call may take more with our hooks than with one that does nothing, which is what the program needs."""

WITHOUT: Final = "without hooks"
EMPTY: Final = "with a hook that does nothing"
OURS: Final = "ours"


def measure(effort: Effort) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="hooks-") as name:
        folder = Path(name)
        (folder / "mode").write_text("normal\n")
        pipe = HookPipe(folder)
        try:
            made = hooks(os.fspath(pipe.path), "1 1", os.fspath(folder / "mode"))
            figures = _shells(effort, made, pipe)
            if effort is not Effort.SMOKE:
                for build, program in builds().items():
                    figures.append(_calls(build, program, made, pipe, effort.pick(10, 2, 1)))
        finally:
            pipe.close()
    return figures


def _shells(effort: Effort, made: dict[str, list[dict[str, Any]]], pipe: HookPipe) -> list[Figure]:
    """Milliseconds of each hook by itself."""
    shells = {
        f"{event}, {'guards' if group.get('matcher', '*') != '*' else 'tells'}": group
        for event in (USED, PROMPTED, STOPPED)
        for group in made[event]
    }

    def run(*argv: str) -> Callable[[], object]:
        def call() -> None:
            subprocess.run(argv, input=INPUT, capture_output=True, check=True)
            pipe.take()

        return call

    calls = {name: (run("sh", "-c", group["hooks"][0]["command"]), 1) for name, group in shells.items()}
    nothing, python = "a shell that does nothing", "Python, isolated, that reads its input"
    calls[nothing] = (run("sh", "-c", ":"), 1)
    calls[python] = (run(sys.executable, "-I", "-S", "-c", "import json, sys; json.load(sys.stdin)"), 1)
    taken = {
        name: Summary(s.median / 1000, s.p99 / 1000, s.low / 1000, s.high / 1000, s.count)
        for name, s in interleaved(calls, effort.pick(300, 80, 2)).items()
    }
    peers = tuple(Peer(name, taken[name]) for name in (nothing, python))
    return [
        Figure(f"hook of {name}", "ms", taken[name], peers, at_most_times(3, peers[0]) if name.startswith(USED) else None)
        for name in shells
    ]


def _calls(build: str, program: Path, made: dict[str, list[dict[str, Any]]], pipe: HookPipe, rounds: int) -> Figure:
    """Milliseconds of one call of Bash in a turn with many, in turns."""
    steps = [{"tool": "Bash", "input": {"command": "true"}}] * CALLS
    prompt = f"FAKE: {json.dumps([*steps, {'text': 'done'}])}"
    empty = {USED: [{"matcher": "Bash", "hooks": [{"type": "command", "command": ":", "timeout": 5}]}]}
    given: dict[str, dict[str, Any]] = {OURS: {"hooks": made}, EMPTY: {"hooks": empty}, WITHOUT: {}}
    taken: dict[str, list[float]] = {name: [] for name in given}
    with at_home() as place:
        words = [str(program), "-p", "--output-format", "json", "--allowedTools=Bash"]
        for number in range(rounds + 1):
            for name, settings in given.items():
                file = place.folder / "hooks.json"
                file.write_text(json.dumps(settings))
                done = subprocess.run(
                    [*words, "--settings", str(file), prompt],
                    cwd=place.folder,
                    env=dict(place.environ),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=True,
                    timeout=120,
                )
                pipe.take()
                told = json.loads(done.stdout)
                if told["result"] != "done" or told["num_turns"] < CALLS:
                    raise RuntimeError(f"not {CALLS} calls: {told}")
                if number:
                    taken[name].append(told["duration_ms"] / CALLS)
    peers = tuple(Peer(name, Summary.of(taken[name])) for name in (EMPTY, WITHOUT))
    return Figure(f"a tool call, {build}", "ms", Summary.of(taken[OURS]), peers, at_most_above(MORE, "ms", peers[0]))
