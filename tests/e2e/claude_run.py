"""One run of the guardian with the real Claude Code as its leaf, headless: lines in, lines out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from supervisor.edge.control.client import chosen

from ..claude_code import Api, claude_code, remove_tool_files, said, surroundings
from ..support import eventually_sync, run_supervisor, supervising
from .guarded import Guarded, Tables, configured

STREAMS = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
LEAF = ["guardian", "agents", "claude", "leaf"]
CALM: Tables = {
    "thresholds": {"warning": "4GiB", "critical": "5GiB", "emergency": "6GiB"},
    "restart": {"initial_cooldown": 0, "max_cooldown": 0, "graceful_timeout": 10},
    "mpm": {"monitor": "off"},
}
"""No level is ever reached, and nobody else on this machine is told."""


@attrs.define
class ClaudeRun(Guarded):
    """A run whose leaf reads prompts from our end of its standard input."""

    writer: int = -1
    env: Mapping[str, str | None] = attrs.field(factory=dict)

    def say(self, text: str) -> None:
        """Give it a prompt."""
        line = {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": text}]}}
        os.write(self.writer, json.dumps(line).encode() + b"\n")

    def interrupt(self) -> None:
        """Interrupt the turn that is under way, as a person does with the escape key."""
        os.write(self.writer, b'{"type":"control_request","request_id":"r1","request":{"subtype":"interrupt"}}\n')

    def wait_idle(self, idle: bool) -> None:
        """Wait until the guardian knows whether a turn is under way."""

        def known() -> bool:
            asked = run_supervisor("status", "--json", cwd=self.folder, env=self.env)
            assert asked.returncode == 0, asked.stderr
            return f'"idle": {json.dumps(idle)}' in asked.stdout

        self._await(known, 20.0, f"idle {idle}")

    def end_input(self) -> None:
        """It gets no more."""
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = -1

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What the program has written so far, line by line."""
        return [json.loads(line) for line in self.program.stdout.split("\n")[:-1] if line]

    @property
    def results(self) -> list[str]:
        """What the turns came to so far."""
        return [line.get("result", line["subtype"]) for line in self.lines if line["type"] == "result"]

    def wait_results(self, count: int, timeout: float = 40.0) -> list[str]:
        """Wait for the end of so many turns."""
        self._await(lambda: len(self.results) >= count, timeout, f"{count} results")
        return self.results


@contextlib.contextmanager
def guarding_claude(
    folder: Path,
    backend: str,
    api: Api,
    build: str,
    *arguments: str,
    tables: Tables | None = None,
    streams: bool = True,
    piped: bool = False,
    command: tuple[str, ...] | None = None,
    options: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    tag: str = "",
) -> Iterator[ClaudeRun]:
    """Run Claude Code under the guardian.

    Args:
        folder: Its working directory, private to the test.
        backend: The event loop.
        api: The scripted API.
        build: Which Claude Code.
        arguments: Its arguments.
        tables: Configuration over `CALM`.
        streams: Whether it reads prompts from our end of its standard input.
        piped: Whether it reads its one prompt from there.
        command: What starts it, if that is not the program itself.
        options: More options of the guardian.
        env: More variables.
        tag: Tells the files of several runs in one folder apart.
    """
    merged = {name: {**CALM.get(name, {}), **(tables or {}).get(name, {})} for name in {**CALM, **(tables or {})}}
    file = configured(folder / f"claude{tag}.toml", merged)
    reader, writer = os.pipe()
    events = folder / f"events{tag}.jsonl"
    words: list[str | Path] = [
        "--backend",
        backend,
        "--config",
        file,
        "--events",
        events,
        "--state-dir",
        folder / "state",
        "--name",
        "claude",
        *options,
    ]
    environ = surroundings(folder, api.url, **(env or {}))
    try:
        with supervising(
            *words,
            "--",
            *(command or (str(claude_code(build)),)),
            *(STREAMS if streams else ()),
            *arguments,
            cwd=folder,
            env=environ,
            stdin=reader if streams or piped else subprocess.DEVNULL,
        ) as program:
            run = ClaudeRun(program, folder, tag, writer=writer, env=environ)
            try:
                yield run
            finally:
                run.end_input()
    finally:
        os.close(reader)
        remove_tool_files(folder)


def restart(run: ClaudeRun) -> None:
    """Restart the leaf in order, as ``memory-guardian restart`` does, without the start of an interpreter for it."""
    environ = {name: value for name, value in {**os.environ, **run.env}.items() if value is not None}
    with chosen(environ, None, "test") as client:
        client.call("restart", timeout=60, path="claude")


def transcripts(folder: Path) -> list[Path]:
    """The transcripts of conversations that began in a folder's runs, subagents' left out."""
    found = (folder / "config" / "projects").glob("*/*.jsonl")
    return sorted(path for path in found if not path.name.startswith("agent-"))


def wait_request(api: Api, text: str) -> dict[str, Any]:
    """Wait until the API is asked for an answer where a prompt holds a text; the first such request."""

    def asked() -> dict[str, Any] | None:
        for request in api.requests:
            if request.get("n_tools") and any(text in spoken for spoken in said(request["body"])):
                return request
        return None

    return cast("dict[str, Any]", eventually_sync(asked, 30, what=f"a request about {text}"))
