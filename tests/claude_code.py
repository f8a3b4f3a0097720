"""The real Claude Code for tests: where it is, an environment that is nobody's, and a scripted API on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from .leaks import MARK
from .support import ROOT, eventually_sync, running

FOLDER: Final = ROOT / ".claude-code"
BUILDS: Final = ("native", "node")
_KEPT: Final = ("PATH", "LANG", "TMPDIR", MARK, "VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
_KEY: Final = "-".join(("sk", "ant", "made", "up", "for", "tests", "0123456789abcdefghij"))


def claude_code(build: str) -> Path:
    """The program of a build that the tests have installed, and of no other; skips where it is missing, and fails in CI."""
    package = FOLDER / build / "node_modules" / "@anthropic-ai" / "claude-code"
    program = package / "cli.js"
    if build == "native":
        # what npm links is the program only where it ran the package's scripts
        program = next(iter(sorted(package.parent.glob("claude-code-*/claude"))), package / "bin" / "claude.exe")
    found = program.is_file() and (build == "native" or shutil.which("node") is not None)
    if not found:
        remedy = "tools/install-optional.sh claude installs it"
        if os.environ.get("CI"):
            pytest.fail(f"CI has no Claude Code ({build}): {remedy}")
        pytest.skip(f"no Claude Code ({build}) here: {remedy}")
    return program


def wrapper() -> Path:
    """The script by which the native build starts where npm runs no scripts of packages."""
    claude_code("native")
    return FOLDER / "native" / "node_modules" / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"


@attrs.frozen
class Api:
    """A scripted API that runs."""

    url: str
    log: Path

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What it was asked so far, bodies and all; of answers that broke off: who went away."""
        try:
            lines = self.log.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    @property
    def turns(self) -> list[list[str]]:
        """The texts that the user had said, for each model call that offers tools; 2.0.77 makes some of its own to warm up."""
        return [said(request["body"]) for request in self.requests if request.get("n_tools")]


def said(body: Mapping[str, Any]) -> list[str]:
    """The texts of the user in a request, without what the program adds of its own."""
    found = []
    for message in body.get("messages", []):
        content = message.get("content", [])
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [block["text"] for block in blocks if message["role"] == "user" and block.get("type") == "text"]
    return [text for text in found if not text.lstrip().startswith("<")]


@contextlib.contextmanager
def scripted_api(folder: Path, lifetime: float = 300.0) -> Iterator[Api]:
    """Run a scripted API on loopback, for so many seconds at most; what it is told and answers is in `fake_anthropic`."""
    port, log = folder / "api.port", folder / "api.jsonl"
    words = ("--port-file", str(port), "--log", str(log), "--log-bodies", "--lifetime", str(lifetime))
    with running(sys.executable, str(ROOT / "tests" / "fake_anthropic.py"), *words) as program:

        def found() -> str:
            assert program.process.poll() is None, program.stderr
            return port.read_text() if port.exists() else ""

        yield Api(f"http://127.0.0.1:{eventually_sync(found, what='the scripted API')}", log)


def surroundings(folder: Path, api: str, **more: str) -> dict[str, str | None]:
    """The environment of a Claude Code that reaches nothing but the scripted API and sees nothing of whoever runs the tests.

    Args:
        folder: Gets its home, its configuration and its temporary files.
        api: Its URL.
        more: Further variables.

    Returns:
        Changes to ours: None removes what is not needed.
    """
    home, temporary = folder / "home", folder / "t"
    for place in (home, temporary, folder / "config"):
        place.mkdir(exist_ok=True)
    own = {
        "HOME": str(home),
        "TERM": "xterm-256color",
        "CLAUDE_CONFIG_DIR": str(folder / "config"),
        "TMPDIR": str(temporary),
        "ANTHROPIC_API_KEY": _KEY,
        "ANTHROPIC_BASE_URL": api,
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        **more,
    }
    return {**{name: None for name in os.environ if name not in _KEPT}, **own}


def answer_questions(folder: Path) -> None:
    """Answer beforehand what the program asks a person at its first start in a directory."""
    answers = {
        "hasCompletedOnboarding": True,
        "hasSeenAutoDefaultNudge": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [_KEY[-20:]], "rejected": []},
        "projects": {str(folder): {"hasTrustDialogAccepted": True}},
    }
    (folder / "config" / ".claude.json").write_text(json.dumps(answers))


def remove_tool_files(cwd: Path) -> None:
    """Remove what 2.0.77 writes outside of its TMPDIR."""
    shutil.rmtree(Path("/tmp/claude", re.sub(r"[^A-Za-z0-9]", "-", str(cwd))), ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir("/tmp/claude")
