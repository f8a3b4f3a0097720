"""What Claude Code's processes are known by: its own command lines, and those of the MCP servers that it is configured to start."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..policy.attribution import Server, named
from .continuation import Continuation
from .hook_pipe import PIPE

LARGEST: Final = 4 << 20
"""Bytes of a configuration that are read; what is larger names nobody."""

SERVERS: Final = 200
"""Servers that are told apart."""

LONGEST: Final = 100
"""Characters of a server's name."""

_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class ClaudeProcesses:
    """See `Knowledge`.

    Args:
        continuation: Has its command line as of now, and knows where it is started.
        environ: Its environment.
    """

    def __init__(self, continuation: Continuation, environ: Mapping[str, str]) -> None:
        self._continuation, self._environ = continuation, environ

    def servers(self) -> tuple[Server, ...]:
        """Those of ``--mcp-config``, then of the project, then of the user; of one name the first counts. Blocks for a few reads.

        A configuration that cannot be read is the program's to complain about: its servers have no names here.
        """
        found: dict[str, Server] = {}
        for settings in self._settings():
            servers = settings.get("mcpServers")
            for name, server in servers.items() if isinstance(servers, dict) else ():
                if isinstance(server, dict) and name not in found and len(found) < SERVERS and (words := self._words(server)):
                    found[name] = Server(name[:LONGEST], words)
        return tuple(found.values())

    def is_program(self, words: tuple[str, ...]) -> bool:
        """Whether a command line is Claude Code's or a hook's of ours; builds on Node show nothing but their name."""
        if not words or any(PIPE in word for word in words):
            return bool(words)
        return named(words) in ("claude", "claude.exe") or any("claude-code" in word.split("/") for word in words[:3])

    def _settings(self) -> Iterator[dict[str, Any]]:
        directory, arguments = self._continuation.directory, self._continuation.command.arguments
        for given in arguments.values("--mcp-config"):
            yield _parsed(given) if given.lstrip().startswith("{") else _loaded(Path(directory, given))
        if arguments.has("--strict-mcp-config"):
            return
        yield _loaded(Path(directory, ".mcp.json"))
        for place in self._users():
            settings = _loaded(place)
            projects = settings.get("projects")
            project = projects.get(directory) if isinstance(projects, dict) else None
            yield project if isinstance(project, dict) else {}
            yield settings

    def _users(self) -> Iterator[Path]:
        if self._continuation.config is not None:
            yield self._continuation.config / ".claude.json"  # where a directory of its own is given
        if home := self._environ.get("HOME"):
            yield Path(home, ".claude.json")

    def _words(self, server: Mapping[str, Any]) -> tuple[str, ...]:
        """The command of a server; empty for one that is reached by a network."""
        command, arguments = server.get("command"), server.get("args", [])
        if not isinstance(command, str) or not command or not isinstance(arguments, list):
            return ()
        return tuple(_VARIABLE.sub(self._valued, str(word)) for word in (command, *arguments))

    def _valued(self, variable: re.Match[str]) -> str:
        return self._environ.get(variable[1], variable[2] or "")


def _loaded(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # a pipe would have us wait
            return {}
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError):
        return {}
    return _parsed(data) if len(data) <= LARGEST else {}


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}
