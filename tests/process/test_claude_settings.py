"""Which settings count, what turns hooks off, and that a guard waits for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.claude.arguments import Arguments
from workers.claude.recognition import ClaudeCommand, recognised
from workers.claude.settings import GUARD_LIMIT, USED, SettingsUnreadable, managed_files, off_switch, with_hooks
from workers.claude.switches import Switches
from workers.config import CommandConfig
from workers.config.likeness import may_be_claude

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and links of POSIX")
OFF = '{"disableAllHooks": true}'


def test_of_several_settings_the_one_counts_that_the_program_takes(tmp_path: Path) -> None:
    """Old builds take the first, the others the last; which it is, the file says that is run."""
    package = tmp_path / "@anthropic-ai" / "claude-code"
    package.mkdir(parents=True)
    for name in ("cli.js", "cli-wrapper.cjs", "claude"):
        (package / name).touch(0o755)
    (tmp_path / "old").symlink_to(package / "cli.js")
    words = ("--settings", "a", "--settings=b")
    for program, taken in [
        (("node", str(package / "cli.js")), "a"),
        ((str(tmp_path / "old"),), "a"),
        (("old",), "a"),
        (("node", str(package / "cli-wrapper.cjs")), "b"),
        ((str(package / "claude"),), "b"),
    ]:
        found = recognised((*program, *words), {"PATH": str(tmp_path)}, str(tmp_path))
        assert found is not None and found.settings == (taken,), program
    assert ClaudeCommand(("claude",), Arguments.of(())).settings == ()


def test_settings_that_are_no_file_are_not_waited_for(tmp_path: Path) -> None:
    """The program takes no pipe; opening one would wait for ever. An empty word gives nothing."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsUnreadable, match="is no file"):
        with_hooks(("pipe",), str(tmp_path), "/p", "1 1")
    assert off_switch((tmp_path / "pipe", tmp_path)) is None
    assert list(with_hooks(("",), str(tmp_path), "/p", "1 1")) == ["hooks"]


def test_what_an_organization_says(tmp_path: Path) -> None:
    """It can turn off all hooks but its own, in its file and in those beside it; nobody else can say that."""
    files = managed_files(tmp_path)
    assert files == (tmp_path / "managed-settings.json",) and off_switch(files, tmp_path) is None
    more = tmp_path / "managed-settings.d" / "10.json"
    more.parent.mkdir()
    more.write_text('{"allowManagedHooksOnly": true}')
    assert off_switch(managed_files(tmp_path), tmp_path) == f"{more} says allowManagedHooksOnly"
    assert off_switch((more,), tmp_path / "elsewhere") is None
    files[0].write_text(OFF)
    assert off_switch(managed_files(tmp_path), tmp_path) == f"{files[0]} says disableAllHooks"


def test_a_switch_is_seen_when_it_is_turned(tmp_path: Path) -> None:
    """On, off, and when the file is gone; what has not changed is not read again."""
    switches, file = Switches(), tmp_path / "settings.json"
    assert switches.look((file,)) == ""
    file.write_text(OFF)
    assert switches.look((file,)) == f"{file} says disableAllHooks"
    before = file.stat()
    file.write_text(OFF.replace("true", "null"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert switches.look((file,)) != ""  # the same to look at
    file.write_text("{}")
    assert switches.look((file,)) == ""
    file.write_text(OFF)
    assert switches.look((file,)) != ""
    file.unlink()
    assert switches.look((file,)) == ""


@pytest.mark.parametrize("doubt", ["pipe", "directory", "garbage", "nothing", "link", "two words", "blank line first"])
def test_a_guard_refuses_on_any_doubt_and_waits_for_nothing(doubt: str, tmp_path: Path) -> None:
    """Whatever is in the place of the mode; a guard that waited would be given up, and the tool would run."""
    mode = tmp_path / "mode"
    if doubt == "pipe":
        os.mkfifo(mode)
    elif doubt == "directory":
        mode.mkdir()
    elif doubt == "link":
        mode.symlink_to(tmp_path / "gone")
    elif doubt != "nothing":
        mode.write_bytes(
            {"garbage": b"\xff\0normal\n" * 1000, "two words": b"normal read_only\n", "blank line first": b"\nnormal\n"}[doubt]
        )
    guard = with_hooks((), "/", "/p", "1 1", str(mode))["hooks"][USED][-1]["hooks"][0]
    done = subprocess.run(["sh", "-c", guard["command"]], input="{}", capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "cannot be read" in done.stderr and guard["timeout"] == GUARD_LIMIT


def test_a_link_by_any_name_may_be_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a script of its package; whatever else is named so is not looked at closely."""
    package = tmp_path / "claude-code"
    package.mkdir()
    (package / "cli.js").touch(0o755)
    (tmp_path / "cc").symlink_to(package / "cli.js")
    (tmp_path / "vi").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def may(*argv: str, directory: Path = tmp_path, **env: str) -> bool:
        return may_be_claude(CommandConfig(argv, env=env, working_directory=str(directory)))

    assert may("cc") and may("./cc") and may(str(tmp_path / "cc"), "-p") and may("node", "cli.js", directory=package)
    assert may("npx", "@anthropic-ai/claude-code") and may("/opt/Claude")
    assert not may("vi") and not may("cc", PATH="/nowhere") and not may("./vi") and not may("gone") and not may("x" * 5000)
