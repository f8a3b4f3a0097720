"""The real Claude Code under `MemoryAwareRunner`, from a program in Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..claude_code import Api, claude_code, surroundings
from ..support import running

SCRIPT = """
import sys, anyio
from workers import MemoryAwareRunner, MemoryGuardianConfig, RestartPolicy
policy = RestartPolicy(continue_prompt='FAKE: [{"text": "the rest"}]')
config = MemoryGuardianConfig(state_dir="state", restart_policy=policy)
sys.exit(anyio.run(MemoryAwareRunner(config).run, *sys.argv[2:], backend=sys.argv[1]))
"""


@pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
def test_it_is_the_same_from_python(build: str, backend: str, api: Api, tmp_path: Path) -> None:
    """A command of its own kills it in the middle of its task: the next life goes on in the conversation, and has the answer."""
    task = 'FAKE: [{"tool": "Bash", "input": {"command": "kill -9 $PPID"}}, {"text": "never"}]'
    words = (str(claude_code(build)), "--allowedTools", "Bash", "-p", task)
    with running(sys.executable, "-c", SCRIPT, backend, *words, cwd=tmp_path, env=surroundings(tmp_path, api.url)) as program:
        done = program.wait(60)

    assert (done.returncode, done.stdout.strip()) == (0, "the rest"), done.stderr
    told = [texts for texts in api.turns if texts[-1].endswith('"the rest"}]')]
    assert told and told[0][0] == task
