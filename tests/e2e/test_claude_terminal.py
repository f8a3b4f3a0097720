"""The real Claude Code on a real terminal, under the guardian."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from ..claude_code import answer_questions, claude_code, remove_tool_files, scripted_api, surroundings
from ..support import run_supervisor
from ..terminals import PATIENCE, PROMPT, Sight
from .claude_run import CALM
from .test_terminal_programs import at_terminal

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them"), pytest.mark.deadline(4 * PATIENCE)]
NAME = "memory-guardian"
MARK = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"


def prompts(sight: Sight, begin: int, shown: str) -> bool:
    """Whether the program has drawn its prompt since a byte of its output, below a text, and takes keys."""
    _, mode, since = sight.raw[begin:].rpartition(b"\x1b[?2004h")
    return mode != b"" and MARK.encode() in since and shown in sight.text and not sight.cooked


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
def test_a_restart_puts_a_person_back_into_the_conversation(
    build: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said is on the screen again, and why it was restarted; the next prompt goes on with it, and after the end the terminal is as
    it was. The user's own status line is there, and what the guardian has to say below it while there is something."""
    program = claude_code(build)
    agent = "cli.js" if build == "node" else "claude"
    with scripted_api(tmp_path) as api:
        for name, value in surroundings(tmp_path, api.url).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        answer_questions(tmp_path)
        own = {"statusLine": {"type": "command", "command": "cat >/dev/null; echo 'my own line'", "padding": 2}}
        (tmp_path / "config" / "settings.json").write_text(json.dumps(own))
        with at_terminal(tmp_path, backend, CALM) as at:
            sight = at.sight
            sight.type(f"guard {program}\n")
            begin, shown = len(sight.raw), ""
            for number, words in enumerate(("my number is 41", "my letter is x"), start=1):
                at.leaf(number)
                sight.until(partial(prompts, sight, begin, shown), "the program's prompt")
                sight.type(words)
                sight.shows(words)
                sight.type("\r")
                sight.shows(f"ok: {words}")
                sight.shows("my own line")
                if number == 1:
                    assert NAME not in sight.text, sight.framed()
                    sight.keep(f"claude-{build}-before")
                    for asked in (("degrade", agent, "read_only", "--reason", "for a test"), ("restart", agent, "--reason", "new tools")):
                        done = run_supervisor(*asked, cwd=tmp_path)
                        assert done.returncode == 0, done.stderr
                    begin, shown = len(sight.raw), f"ok: {words}"
            assert sight.text.count("ok: my number is 41") == 1, sight.framed()
            sight.shows(f"{NAME}: restarted: new tools. The conversation goes on.")
            sight.shows(f"{NAME}: read-only; for a test")
            sight.keep(f"claude-{build}")
            sight.type("/exit")
            sight.shows("/exit")
            sight.type("\r")
            if build == "node":  # which leaves bracketed paste on, also without a guardian
                sight.until(lambda: "exit code    " in sight.text and sight.here == PROMPT, "the end of the run")
                sight.type("printf '\\033[?2004l'\n")
            at.finished(0)
    begun = [(event["data"]["how"], event["data"]["cut"]) for event in at.named("conversation_started")]
    assert begun == [("new", False), ("resumed", False)]
    assert ["my number is 41", "my letter is x"] in api.turns
    remove_tool_files(tmp_path)
