"""What doctor finds of Claude Code: by names and sizes, and never by what is in conversations."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from supervisor import identify
from workers.claude import findings
from workers.claude.findings import Build, builds, files, found_builds, hooks, sessions
from workers.claude.limits import LARGE_SETTINGS, LARGE_TOTAL, LARGE_TRANSCRIPT
from workers.claude.settings import managed_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="paths and processes as Linux has them")
SECRET = "sk-ant-made-up-and-said-by-nobody"


def sized(path: Path, size: int) -> Path:
    """A file of that size, which takes no disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(SECRET.encode()[:size])
        file.truncate(size)
    return path


def install(folder: Path, package: str, program: str, content: bytes, version: str | None = "9.8.7", size: int = 0) -> Path:
    """A package as npm installs it, and the directory with its link."""
    place = folder / "lib" / "node_modules" / "@anthropic-ai" / package
    target = place / program
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    os.truncate(target, size or len(content))
    target.chmod(0o755)
    if version is not None:
        (place / "package.json").write_text(json.dumps({"name": f"@anthropic-ai/{package}", "version": version}))
    (folder / "bin").mkdir()
    (folder / "bin" / "claude").symlink_to(target)
    return folder / "bin"


def test_the_builds_on_the_path(tmp_path: Path) -> None:
    """Native, by its wrapper, on Node, what npm leaves without scripts, and something else; each with the version that its package says."""
    node = install(tmp_path / "a", "claude-code", "cli.js", b"#!/usr/bin/env node\n", "2.0.77")
    native = install(tmp_path / "b", "claude-code-linux-x64", "claude", b"\x7fELF", "2.1.332", size=2 << 20)
    wrapped = install(tmp_path / "c", "claude-code", "cli-wrapper.cjs", b"#!/usr/bin/env node\n")
    stub = install(tmp_path / "d", "claude-code", "bin/claude.exe", b"#!/bin/sh\nexit 1\n")
    script = install(tmp_path / "e", "other", "claude", b"#!/bin/sh\n", None)
    versions = tmp_path / "share" / "claude" / "versions"
    own = sized(versions / "2.1.300", 2 << 20)
    own.write_bytes(b"\x7fELF" + bytes(2 << 20))
    own.chmod(0o755)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "claude").symlink_to(own)
    path = os.pathsep.join(map(str, [native, node, "", native, wrapped, stub, script, tmp_path / "own", tmp_path / "nowhere"]))
    assert found_builds(path) == [
        Build(f"{native}/claude", "native", "2.1.332"),
        Build(f"{node}/claude", "node", "2.0.77"),
        Build(f"{wrapped}/claude", "wrapper", "9.8.7"),
        Build(f"{stub}/claude", "stub", "9.8.7"),
        Build(f"{script}/claude", "other", None),
        Build(f"{tmp_path}/own/claude", "native", "2.1.300"),
    ]
    found = builds({"PATH": path})
    assert found.state == "ok" and f"{native}/claude (native, 2.1.332); behind it {node}/claude (on Node, 2.0.77)" in found.says
    for alone, remedy in ((stub, "cli-wrapper.cjs"), (node, "install node")):
        found = builds({"PATH": str(alone)})
        assert found.state == "limited" and remedy in (found.remedy or "")
    assert builds({"PATH": str(tmp_path / "nowhere")}).says == "none on the path"


@pytest.mark.parametrize("own_directory", [True, False])
def test_how_large_what_it_keeps_has_grown(tmp_path: Path, own_directory: bool) -> None:
    """Absurd sizes are named, each with what helps; what is within reason is not, and nothing of what is inside is said."""
    config = tmp_path / ("config" if own_directory else ".claude")
    environ = {"CLAUDE_CONFIG_DIR": str(config)} if own_directory else {"HOME": str(tmp_path)}
    settings = config / ".claude.json" if own_directory else tmp_path / ".claude.json"
    assert files(environ).state == "ok" and files(environ).says == f"no {settings}; no transcripts"
    sized(settings, LARGE_SETTINGS)
    sized(config / "projects" / "p" / "a.jsonl", LARGE_TRANSCRIPT)
    sized(config / "projects" / "p" / "a" / "subagents" / "agent-1.jsonl", 1)
    sized(config / "projects" / "p" / "b.json", LARGE_TOTAL)
    found = files(environ)
    assert found.state == "ok" and "2 transcripts, 50.0 MiB" in found.says

    sized(settings, LARGE_SETTINGS + 1)
    assert files(environ).state == "limited" and "history" in (files(environ).remedy or "")
    sized(settings, 5)
    large = sized(config / "projects" / "q" / "b.jsonl", LARGE_TRANSCRIPT + 1)
    found = files(environ)
    assert found.state == "limited" and str(large) in found.says and "a.jsonl" not in found.says and "/clear" in (found.remedy or "")
    for number in range(5):
        sized(config / "projects" / "r" / f"{number}.jsonl", LARGE_TOTAL // 5)
    assert "cleanupPeriodDays" in (files(environ).remedy or "") and SECRET not in repr((files(environ).says, files(environ).remedy))


def test_a_great_many_files_are_not_all_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a link to somewhere else is not followed."""
    for number in range(20):
        sized(tmp_path / "projects" / str(number) / "x.jsonl", 10)
    (tmp_path / "projects" / "loop").symlink_to(tmp_path / "projects")
    assert findings.kept_transcripts(tmp_path / "projects").count == 20
    monkeypatch.setattr(findings, "LOOKED_AT", 7)
    began = time.monotonic()
    assert findings.kept_transcripts(tmp_path / "projects").count == 7 and time.monotonic() - began < 10


def test_sessions_that_are_over_and_still_registered(tmp_path: Path) -> None:
    """An entry counts for the process that made it, and for no later one of its number; a damaged one for none."""
    environ = {"CLAUDE_CONFIG_DIR": str(tmp_path)}
    assert sessions(environ).says == "none running" and sessions({}).state == "ok"
    ours = identify(os.getpid())
    assert ours is not None
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / f"{ours.pid}.json").write_text(json.dumps({"pid": ours.pid, "procStart": str(ours.created)}))
    assert (sessions(environ).state, sessions(environ).says) == ("ok", "1 running")
    (tmp_path / "sessions" / "1.json").write_text(json.dumps({"pid": 1, "procStart": "7"}))
    (tmp_path / "sessions" / "2.json").write_text("{")
    found = sessions(environ)
    assert found.state == "limited" and "1 running; 2 in its registry that are over: 1.json, 2.json" in found.says


def test_settings_that_turn_hooks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's, the project's, and what an organization manages, also in files beside; what cannot be read is the program's affair."""
    place = tmp_path / "managed"
    monkeypatch.setattr(findings, "managed_files", lambda: managed_files(place))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    environ = {"CLAUDE_CONFIG_DIR": str(tmp_path / "config")}
    assert hooks(environ).state == "ok"
    for file, key in (
        (tmp_path / "config" / "settings.json", "disableAllHooks"),
        (tmp_path / "project" / ".claude" / "settings.local.json", "disableAllHooks"),
        (place / "managed-settings.json", "allowManagedHooksOnly"),
        (place / "managed-settings.d" / "50-hooks.json", "disableAllHooks"),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({key: True, "env": {"X": SECRET}}))
        found = hooks(environ)
        assert found.state == "limited" and str(file) in found.says and key in found.says and SECRET not in found.says
        file.write_text("{")
        assert hooks(environ).state == "ok"
        shutil.rmtree(file.parent)
    (place / "managed-settings.d").mkdir(parents=True)
    (place / "managed-settings.d" / ".hidden.json").write_text('{"disableAllHooks": true}')
    assert hooks(environ).state == "ok"
