"""On a terminal: an interactive leaf has it to itself, and what a person sees otherwise."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from supervisor import Client
from supervisor.edge.control.finding import found

from ..support import ROOT, eventually_sync, read_events
from .guarded import ACTOR, PATIENCE, actor, configured, whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them")

SESSION = str(ACTOR.with_name("session.py"))
SCREEN = str(ROOT / "tests" / "children" / "screen.py")
GUARDIANS = re.compile(r"memory-guardian|started|watched|MiB|restart")
"""What the guardian might say."""


@attrs.define
class Screen:
    """A terminal with the guardian on it, and who sits in front of it."""

    process: subprocess.Popen[bytes]
    keys: int
    line: int
    folder: Path
    before: list[Any]
    shown: str = ""

    def read(self) -> str:
        """Everything that was shown so far."""
        while self.keys >= 0 and select.select([self.keys], [], [], 0)[0]:
            try:
                more = os.read(self.keys, 4096)
            except OSError:
                break
            if not more:
                break
            self.shown += more.decode(errors="replace")
        return self.shown

    def until(self, text: str) -> str:
        """Wait until a text is shown."""
        eventually_sync(lambda: text in self.read(), PATIENCE, what=f"{text!r} on the screen")
        return self.shown

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.keys, text.encode())

    def ended(self) -> int:
        """Wait for the guardian's end; its exit code."""
        eventually_sync(lambda: (self.read(), self.process.poll() is not None)[1], PATIENCE, what="the end of the guardian")
        self.read()
        whole(self.events, self.process.returncode)
        return self.process.returncode

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its events so far."""
        return read_events(self.folder / "events.jsonl")

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of a name about the leaf."""
        return [event for event in self.events if event["event"] == name and event["path"][-1] == "leaf"]

    def leaf(self, life: int = 1) -> int:
        """Wait for the leaf's life, and return its pid."""
        eventually_sync(lambda: len(self.named("child_started")) >= life, PATIENCE, what=f"life {life}; {self.read()!r}")
        pid: int = self.named("child_started")[life - 1]["data"]["pid"]
        return pid

    def front(self) -> int:
        """The group that has the terminal."""
        return os.tcgetpgrp(self.keys)

    @property
    def modes_are_back(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self.line) == self.before


@contextmanager
def screen(
    folder: Path, backend: str, *command: str, restart: str = "crash", interactive: bool = True, out: Any = None, cooldown: float = 0
) -> Iterator[Screen]:
    """Run a command under the guardian on a terminal; without `interactive` only standard error is one, and `out` standard output."""
    cooldowns = {"initial_cooldown": cooldown, "max_cooldown": cooldown}
    file = configured(folder / "guardian.toml", {"command": {"restart": restart}, "restart": cooldowns})
    options = ["--backend", backend, "--config", str(file), "--events", f"{folder}/events.jsonl", "--state-dir", f"{folder}/state"]
    argv = [sys.executable, "-m", "supervisor", *options, "--", *command]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    keys, line = os.openpty()
    try:
        before = termios.tcgetattr(line)
        if interactive:
            argv = [sys.executable, "-S", "-E", SESSION, *argv]
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environ,
            stdin=line if interactive else subprocess.DEVNULL,
            stdout=line if interactive or out is None else out,
            stderr=line,
            start_new_session=True,
        )
        with process:
            made = Screen(process, keys, line, folder, before)
            try:
                yield made
            finally:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                process.kill()
                keys = made.keys
    finally:
        for descriptor in (keys, line):
            if descriptor >= 0:
                os.close(descriptor)


def test_an_interactive_leaf_has_the_terminal(backend: str, tmp_path: Path) -> None:
    """It is in front and gets the keys; Ctrl-C reaches it and not the guardian; its exit code is passed on, and the summary comes after
    its end, not before.
    """
    with screen(tmp_path, backend, sys.executable, SCREEN, "cooked") as terminal:
        terminal.until("<ready>")
        leaf = terminal.leaf()
        assert terminal.front() == os.getpgid(leaf) == leaf != os.getpgid(terminal.process.pid)
        terminal.type("\x03")
        terminal.until("<interrupted>")
        assert terminal.process.poll() is None
        terminal.type("k\n")
        shown = terminal.until("<key k>")
        assert not GUARDIANS.search(shown), shown
        terminal.type("x\n")
        assert terminal.ended() == 3

    shown = terminal.shown
    assert "exit code    3" in shown[shown.index("memory-guardian:") :]
    assert terminal.events[-1]["data"] == {"exit_code": 3, "source": "command"}


def test_a_killed_leaf_leaves_a_usable_terminal(backend: str, tmp_path: Path) -> None:
    """SIGKILL for a leaf in raw mode on the alternate screen: modes and screen are put back before the summary is written."""
    with screen(tmp_path, backend, sys.executable, SCREEN, restart="never") as terminal:
        terminal.until("<ready>")
        assert not terminal.modes_are_back
        shown = terminal.read()
        assert not GUARDIANS.search(shown), shown
        os.kill(terminal.leaf(), signal.SIGKILL)
        assert terminal.ended() == 137
        assert terminal.modes_are_back

    after = terminal.shown[len(shown) :]
    assert after.index("\x1b[?1049l") < after.index("\x1b[?25h") < after.index("memory-guardian:")


def test_a_screen_that_waits_for_a_restart_says_so(backend: str, tmp_path: Path) -> None:
    """After a crash the leaf has no screen to be disturbed. Ctrl-C ends the wait; the exit code is how the leaf ended."""
    with screen(tmp_path, backend, str(actor(tmp_path)), str(tmp_path / "report"), "signal:KILL", cooldown=30) as terminal:
        shown = terminal.until("restart waits 30 s: killed by SIGKILL")
        assert len(terminal.named("child_started")) == 2
        terminal.type("\x03")
        assert terminal.ended() == 137

    assert len(GUARDIANS.findall(shown)) == 1
    assert terminal.events[-1]["data"] == {"exit_code": 137, "source": "signal"}


def test_a_restarted_leaf_has_the_terminal_again(backend: str, tmp_path: Path) -> None:
    """After a controlled restart the new life is in front and reads what is typed."""
    with screen(tmp_path, backend, str(actor(tmp_path)), str(tmp_path / "report"), "grow:80", "stay", "/", "line", "exit:0") as terminal:
        leaf = terminal.leaf(2)
        eventually_sync(lambda: terminal.front() == leaf, PATIENCE)
        eventually_sync(lambda: terminal.named("restart_completed"), PATIENCE)
        terminal.type("hello\n")
        assert terminal.ended() == 0

    leafs, summary = terminal.shown.split("memory-guardian:")
    assert "read hello" in leafs and not GUARDIANS.search(leafs), leafs
    assert "restarts" in summary and re.search(r"memory is at (79|8\d)\.", summary)


def test_the_terminal_is_the_first_agent_s_alone(backend: str, tmp_path: Path) -> None:
    """One that is added gets no input and no terminal, also while the first one is down; nothing of it is on the screen, nor is its wait
    for a restart. Its last lines are in the report of its failure.
    """
    script = "echo LOUD; test -t 0 || test -t 1 || test -t 2 || (: < /dev/tty) 2> /dev/null || echo > seen; read line; exec sleep 1000"
    with screen(tmp_path, backend, str(actor(tmp_path)), str(tmp_path / "report"), "await:go", "signal:KILL", cooldown=40) as terminal:
        first = terminal.leaf()
        eventually_sync(lambda: terminal.front() == first, PATIENCE)
        places = eventually_sync(lambda: [one for one in found(os.environ) if one.process.pid == terminal.process.pid], PATIENCE)
        with Client(places[0]) as client:
            added = client.call("add_agent", argv=["sh", "-c", script], name="other", working_directory=str(tmp_path), timeout=PATIENCE)
            eventually_sync((tmp_path / "seen").exists, PATIENCE, what="an agent without a terminal")
            assert terminal.front() == first
            for life in range(2):  # the first restart waits for nothing
                eventually_sync(lambda: len(of(terminal, added["path"], "child_started")) > life, PATIENCE)  # noqa: B023
                os.kill(of(terminal, added["path"], "child_started")[life]["data"]["pid"], signal.SIGKILL)
            eventually_sync(lambda: of(terminal, added["path"], "restart_deferred"), PATIENCE)
            assert of(terminal, added["path"], "child_exited")[0]["data"]["exit"]["output"] == ["LOUD"]
            shown = terminal.read()
            assert not GUARDIANS.search(shown) and "LOUD" not in shown, shown
            (tmp_path / "seen").unlink()
            (tmp_path / "go").touch()
            terminal.until("restart waits 40 s: killed by SIGKILL")
            client.call("remove_agent", path="other", timeout=PATIENCE)
            client.call("add_agent", argv=["sh", "-c", script], name="other", working_directory=str(tmp_path), timeout=PATIENCE)
            eventually_sync((tmp_path / "seen").exists, PATIENCE, what="an agent without a terminal")
            assert "LOUD" not in terminal.read()


def of(terminal: Screen, path: list[str], name: str) -> list[dict[str, Any]]:
    """The events of a name about a path."""
    return [event for event in terminal.events if (event["event"], event["path"]) == (name, path)]


def test_a_hangup_ends_it_all(backend: str, tmp_path: Path) -> None:
    """When the terminal is gone leaf and guardian end, and no new life is begun, not even under ``always``."""
    with screen(tmp_path, backend, sys.executable, SCREEN, restart="always") as terminal:
        terminal.until("<ready>")
        leaf = terminal.leaf()
        os.close(terminal.keys)
        terminal.keys = -1
        asked = time.monotonic()
        # the kernel tells the session's leader, which is the guardian, and that asks its leaf
        assert terminal.ended() == 143
        assert time.monotonic() - asked < 10

    assert [event["data"]["pid"] for event in terminal.named("child_started")] == [leaf]


STATUS = re.compile(r"actor: [0-9.]+ MiB of 60\.0 MiB, normal")


def test_a_status_line_where_it_disturbs_nobody(backend: str, tmp_path: Path) -> None:
    """With standard error alone on a terminal there is one status line; it is erased before anything else is written, and at the end."""
    with (tmp_path / "out").open("wb") as out:
        words = (str(actor(tmp_path)), str(tmp_path / "report"), "grow:45", f"await:{tmp_path}/end", "say:done", "exit:0")
        with screen(tmp_path, backend, *words, interactive=False, out=out) as terminal:
            eventually_sync(lambda: re.search(r"actor: [0-9.]+ MiB of 60\.0 MiB, warning", terminal.read()), PATIENCE)
            (tmp_path / "end").touch()
            assert terminal.ended() == 0

    lines = emulated(terminal.shown)
    assert not [line for line in lines if " of 60.0 MiB" in line], lines
    assert any("normal -> warning" in line for line in lines) and any("ended: exit code 0" in line for line in lines)
    assert all(re.match(r"\d\d:\d\d:\d\d  actor  |memory-guardian:$|  \S|\s+\S|$", line) for line in lines), lines
    assert (tmp_path / "out").read_text() == "done\n"


def test_no_status_line_on_the_leafs_screen(tmp_path: Path) -> None:
    """A leaf without input that writes to the same terminal is not written into: whole lines only. (No event loop is involved.)"""
    words = (str(actor(tmp_path)), str(tmp_path / "report"), "grow:45", f"await:{tmp_path}/end", "say:done", "exit:0")
    with screen(tmp_path, "trio", *words, interactive=False) as terminal:
        terminal.until("state captured")
        (tmp_path / "end").touch()
        assert terminal.ended() == 0

    assert " of 60.0 MiB" not in terminal.shown and "\x1b[K" not in terminal.shown
    assert "\r\ndone\r\n" in terminal.shown


def emulated(shown: str) -> list[str]:
    """The lines that are left on a screen: carriage return, line feed and "erase to the end of the line" are obeyed, colours dropped."""
    lines, column = [""], 0
    for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", shown):
        if part == "\r":
            column = 0
        elif part == "\n":
            lines.append("")
        elif part == "\x1b[K":
            lines[-1] = lines[-1][:column]
        elif not part.startswith("\x1b"):
            lines[-1] = lines[-1][:column].ljust(column) + part + lines[-1][column + len(part) :]
            column += len(part)
    return lines
