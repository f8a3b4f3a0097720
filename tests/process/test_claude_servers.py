"""What Claude Code's processes are known by, from the files that it reads itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from workers.claude.continuation import Continuation
from workers.claude.recognition import recognised
from workers.claude.servers import LARGEST, LONGEST, SERVERS, ClaudeProcesses


class Place:
    """A project, the program's own directory and a home."""

    def __init__(self, folder: Path) -> None:
        self.project, self.config, self.home = (folder / name for name in ("project", "config", "home"))
        for directory in (self.project, self.config, self.home):
            directory.mkdir()

    def processes(self, line: str = "", **environ: str) -> ClaudeProcesses:
        """Of Claude Code with these arguments."""
        env = {"PATH": os.defpath, "HOME": str(self.home), "CLAUDE_CONFIG_DIR": str(self.config), **environ}
        command = recognised(("claude", *line.split()), env, str(self.project))
        assert command is not None
        return ClaudeProcesses(Continuation(command, env, str(self.project), lambda session: None), env)

    def names(self, line: str = "") -> list[str]:
        return [server.name for server in self.processes(line).servers()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def servers(*names: str, **more: Any) -> str:
    return json.dumps({"mcpServers": {name: {"command": f"/bin/{name}", "args": ["-x"]} for name in names} | more})


def test_where_servers_are_configured(place: Place) -> None:
    """By the command, the project, and the user for this project and for all; the first of a name counts."""
    (place.project / "given.json").write_text(servers("given", "both"))
    (place.project / ".mcp.json").write_text(servers("project", both={"command": "other"}))
    mine = {"mcpServers": {"local": {"command": "l"}}}
    (place.config / ".claude.json").write_text(json.dumps({"projects": {str(place.project): mine, "/other": json.loads(servers("far"))}}))
    (place.home / ".claude.json").write_text(servers("user"))
    assert place.names("--mcp-config given.json") == ["given", "both", "project", "local", "user"]
    assert place.names("--mcp-config given.json --strict-mcp-config") == ["given", "both"]
    assert place.names(f"--strict-mcp-config --mcp-config {servers('said')}".replace(", ", ",").replace(": ", ":")) == ["said"]
    assert place.processes("--mcp-config given.json").servers()[1].words == ("/bin/both", "-x")


def test_words_with_variables(place: Place) -> None:
    """As the program replaces them: by the environment, or by what they name for want of it."""
    words = {"command": "${HOME}/run", "args": ["${PORT:-80}", "${NONE}", "$HOME", 5]}
    (place.project / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": words}}))
    (server,) = place.processes().servers()
    assert server.words == (f"{place.home}/run", "80", "", "$HOME", "5")
    (server,) = place.processes(PORT="9").servers()
    assert server.words[1] == "9"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 5000,
        "[]",
        '{"mcpServers": []}',
        '{"mcpServers": {"x": []}}',
        '{"mcpServers": {"x": {"type": "http", "url": "http://127.0.0.1"}}}',
        '{"mcpServers": {"x": {"command": 5}}}',
        '{"mcpServers": {"x": {"command": "x", "args": "y"}}}',
        '{"projects": []}',
        json.dumps({"mcpServers": {"x": {"command": "x", "args": ["y" * LARGEST]}}}),
        "\0\xff",
    ],
)
def test_what_names_no_server(place: Place, text: str) -> None:
    """Broken, absurdly large, or of servers that are no processes here: it is the program's to complain about."""
    for file in (place.project / ".mcp.json", place.config / ".claude.json"):
        file.write_text(text, encoding="latin-1")
    (place.home / ".claude.json").mkdir()
    assert place.names("--mcp-config nowhere.json") == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes of this kind")
def test_a_pipe_in_its_place_holds_up_nobody(place: Place) -> None:
    """Nobody would write to it."""
    os.mkfifo(place.project / ".mcp.json")
    assert place.names() == []


def test_no_more_than_can_be_told_apart(place: Place) -> None:
    """Names and their number are bounded."""
    (place.project / ".mcp.json").write_text(servers(*(f"{number:0500}" for number in range(SERVERS + 50))))
    names = place.names()
    assert len(names) == SERVERS and {len(name) for name in names} == {LONGEST}


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (("/x/claude-code-linux-x64/claude", "-p"), True),
        (("claude",), True),
        (("claude   ",), True),
        (("node", "/x/node_modules/@anthropic-ai/claude-code/cli.js"), True),
        (("/bin/sh", "-c", "printf x 1<>/run/claude.hooks || :"), True),
        (("python", "claude.py"), False),
        (("/bin/bash", "-c", "claude -p hi"), False),
        ((), False),
    ],
)
def test_what_is_the_programs_own(place: Place, words: tuple[str, ...], known: bool) -> None:
    """By its name, by its package, or a hook of ours."""
    assert place.processes().is_program(words) is known
