"""The real Claude Code, both builds, against a scripted API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..claude_code import BUILDS, Api, claude_code, remove_tool_files, scripted_api, surroundings
from ..support import running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with scripted_api(tmp_path) as api:
        yield api
    remove_tool_files(tmp_path)


@pytest.mark.parametrize("build", BUILDS)
def test_it_talks_to_the_scripted_api_alone(build: str, api: Api, tmp_path: Path) -> None:
    """The environment of the tests is enough for a turn, and all that the program writes is in the test's own folder."""
    with running(str(claude_code(build)), "-p", "hello", cwd=tmp_path, env=surroundings(tmp_path, api.url)) as program:
        done = program.wait()

    assert (done.returncode, done.stdout.strip()) == (0, "ok: hello"), done.stderr
    assert ["hello"] in api.turns
    assert list((tmp_path / "config" / "projects").glob("*/*.jsonl"))
