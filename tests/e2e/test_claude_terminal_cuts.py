"""The real Claude Code on a terminal whose turn is cut: by a restart that does not wait, and by whoever closes the window."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from supervisor.host.procstat import read_stat

from ..claude_code import Api
from ..support import eventually_sync, run_supervisor
from ..terminals import PATIENCE, Sight
from .claude_run import CALM
from .guarded import Tables
from .test_claude_interactive import begun, both, sitting
from .test_claude_terminal import NAME, prompts
from .test_terminal_programs import Guarded

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them"), pytest.mark.deadline(4 * PATIENCE)]
TOOL = 'FAKE: [{"tool": "Bash", "input": {"command": "echo $$ > pid; tail -f /dev/null"}}, {"text": "never"}]'
GO_ON: Tables = {**CALM, "restart": {**CALM["restart"], "continue_prompt": "go on"}}


def say(sight: Sight, words: str) -> None:
    """Type a prompt and give it."""
    sight.type(words)
    sight.shows(words[:20])
    sight.type("\r")


def working(at: Guarded, build: str) -> int:
    """Start the program and have it use a tool; the pid of that."""
    begun(at, "guard", build, *(("--permission-mode", "acceptEdits") if build == "native" else ()), "--allowedTools", "Bash")
    say(at.sight, "the first")
    at.sight.shows("ok: the first")
    say(at.sight, TOOL)
    pid = at.folder / "pid"
    at.sight.until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the tool")
    return int(pid.read_text())


def cut(at: Guarded, api: Api) -> None:
    """Restart the program in the middle of its turn, and wait until the next life takes keys."""
    begin = len(at.sight.raw)
    name = at.named("child_started")[0]["path"][-2]
    environ = {"HOME": str(at.folder / "home")}
    asked = run_supervisor("restart", name, "--now", "--reason", "for a test", cwd=at.folder, env=environ)
    assert asked.returncode == 0, asked.stderr
    at.sight.until(lambda: prompts(at.sight, begin, f"{NAME}: restarted: for a test."), "the next life")


def shows(at: Guarded, words: str) -> None:
    """Wait until words are on the screen, wherever its lines are broken."""
    at.sight.until(lambda: words in " ".join(at.sight.text.split()), words)


@both
def test_who_is_told_what_was_cut_says_what_to_go_on_with(
    build: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice says that the turn was cut, nothing is said to the model by itself, and the next prompt goes on in the conversation."""
    with sitting(tmp_path / "place", backend, monkeypatch) as (at, api):
        tool = working(at, build)
        cut(at, api)
        shows(at, "The turn that was under way was cut, and what its last tool did may be half done: say what to go on with.")
        at.sight.keep(f"{build}-cut")
        assert read_stat(tool) is None
        say(at.sight, "the second")
        at.sight.until(lambda: any(texts[-1] == "the second" for texts in api.turns), "the next prompt")
    assert next(texts for texts in api.turns if texts[-1] == "the second")[0] == "the first"
    assert [(event["data"]["how"], event["data"]["cut"]) for event in at.named("conversation_started")] == [
        ("new", False),
        ("resumed", True),
    ]


def test_who_wants_it_to_go_on_by_itself_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next life is told to go on, as the configuration has it, and the person sees that it is."""
    with sitting(tmp_path / "place", "trio", monkeypatch, GO_ON) as (at, api):
        working(at, "native")
        cut(at, api)
        shows(at, "The turn that was under way was cut, and is gone on with.")
        at.sight.until(lambda: any(texts[-1] == "go on" for texts in api.turns), "the prompt that goes on")
        at.sight.keep("native-goes-on")
    assert len({tuple(texts) for texts in api.turns if texts[-1] == "go on"}) == 1, "once"


@both
def test_when_the_window_is_closed_all_of_it_ends(build: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool as well, which is in a session of its own; and no new life is begun, whatever the program makes of that itself."""
    with sitting(tmp_path / "place", backend, monkeypatch) as (at, _):
        tool, leaf, guardian = working(at, build), at.leaf(), at.guardian
        at.sight.close()
        eventually_sync(lambda: not any(map(read_stat, (tool, leaf, guardian))), PATIENCE, what="the end of all")
        assert len(at.named("child_started")) == 1
