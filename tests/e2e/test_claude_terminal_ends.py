"""However the real Claude Code ends on a terminal, or its guardian: the terminal is as it was."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from ..terminals import PATIENCE, PROMPT, Sight
from .claude_run import CALM
from .guarded import Tables
from .test_claude_interactive import begun, both, sitting, takes_keys

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them"), pytest.mark.deadline(4 * PATIENCE)]
ONCE: Tables = {**CALM, "restart": {**CALM["restart"], "max_attempts": 1}}
"""It is restarted once, and then given up."""


def back(sight: Sight, build: str, code: int | None) -> None:
    """Wait for the shell: the run has ended with this code, and what is typed is run; None: nobody has told of the end."""
    if code is None:
        sight.until(lambda: sight.here.endswith(PROMPT) and sight.front == sight.shell.pid, "the shell")
        sight.type("\n")
    else:
        sight.until(lambda: re.search(rf"exit code    {code}\b", sight.text) and sight.here == PROMPT, "the end of the run")
        if build == "node" and code in (0, 143):  # which leaves bracketed paste on, also without a guardian
            sight.type("printf '\\033[?2004l'\n")
            sight.until(lambda: 2004 not in sight.screen.private_modes, "no bracketed paste")
    sight.assert_usable()


@both
def test_after_any_end_the_terminal_is_as_it_was(build: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C twice, SIGTERM, SIGKILL of the program until protection gives up, SIGKILL of the guardian: modes, screen and keys."""
    with sitting(tmp_path / "place", backend, monkeypatch, ONCE) as (at, _):
        sight = at.sight
        begun(at, "guard", build)
        sight.type("\x03")
        sight.until(lambda: re.search("again to exit", sight.text), "it asks again")
        sight.type("\x03")
        back(sight, build, 0)

        begun(at, "guard", build)
        os.kill(sight.front, signal.SIGTERM)
        back(sight, build, 143)

        begun(at, "guard", build)
        first = sight.front
        os.kill(first, signal.SIGKILL)
        sight.until(lambda: sight.front not in (first, at.guardian) and takes_keys(sight), "the prompt of the next life")
        os.kill(sight.front, signal.SIGKILL)
        sight.keep(f"{build}-gave-up")
        back(sight, build, 75)

        begun(at, "guard", build)
        leaf = sight.front
        os.kill(at.guardian, signal.SIGKILL)
        back(sight, build, None)
        sight.keep(f"{build}-guardian-killed")
        sight.until(lambda: not at.goes_on(leaf), "the end of the program")
