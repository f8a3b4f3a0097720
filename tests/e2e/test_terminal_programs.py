"""Real programs on a real terminal, under the guardian, under a shell: what a person sees is what he sees without the guardian.

An interactive bash is on a pseudo-terminal of 100 columns and 30 rows; it runs the guardian, that runs the program, and an emulator
draws the screen. ``SCREENS=directory`` writes the screens of these tests down.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor.host.procstat import read_children

from ..support import ROOT, eventually_sync, read_events
from ..terminals import PATIENCE, PROMPT, Sight, needed, sitting_at
from .guarded import configured, runs, whole

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them"),
    pytest.mark.deadline(4 * PATIENCE),
]

LINES = [f"line {number} of the text" for number in range(1, 201)]


class Guarded:
    """A terminal whose command ``guard`` runs a program under the guardian."""

    def __init__(self, sight: Sight, folder: Path) -> None:
        self.sight, self.folder = sight, folder

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events so far."""
        return read_events(self.folder / "events.jsonl")

    def named(self, name: str) -> list[dict[str, Any]]:
        """The events of a name about the program."""
        return [event for event in self.events if event["event"] == name and event["path"][-1] == "leaf"]

    def leaf(self, life: int = 1) -> int:
        """Wait for a life of the program; its pid."""
        self.sight.until(lambda: len(self.named("child_started")) >= life, f"life {life}")
        pid: int = self.named("child_started")[life - 1]["data"]["pid"]
        return pid

    @property
    def guardian(self) -> int:
        """The guardian's pid, which it has written down before it began."""
        return int((self.folder / "guardian.pid").read_text())

    def state(self, pid: int) -> str:
        """The kernel's letter for what a process does; empty when it is gone."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def goes_on(self, pid: int) -> bool:
        """Whether a process is there and not stopped."""
        return self.state(pid) not in ("", "T", "Z")

    def command(self, pid: int) -> str:
        """What a process is called; empty when it is gone."""
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return ""

    def catches(self, pid: int, signum: signal.Signals) -> bool:
        """Whether a process has a handler for a signal."""
        caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (signum - 1) & 1)

    def stopped(self, *pids: int) -> None:
        """Wait until all of these are stopped."""
        self.sight.until(lambda: all(self.state(pid) == "T" for pid in pids), f"{pids} stopped")

    def rests(self, pid: int) -> None:
        """Wait until a program that has drawn its screen waits for a key: less and vim miss a signal that comes just before that."""
        self.sight.until(lambda: self.state(pid) == "S", f"{pid} waits for a key")

    def in_front(self, pid: int) -> None:
        """Wait until a process group has the terminal."""
        self.sight.until(lambda: self.sight.front == pid, f"{pid} in front")

    def finished(self, code: int) -> None:
        """Wait for the prompt: the run is over, with this exit code, nothing of it lives, and the terminal is usable."""
        self.sight.until(lambda: "exit code    " in self.sight.text and self.sight.here == PROMPT, "the end of the run")
        assert re.search(rf"exit code    {code}$", self.sight.text, re.MULTILINE), self.sight.framed()
        self.sight.type("echo code $?\n")
        self.sight.until(lambda: f"code {code}" in self.sight.look() and self.sight.here == PROMPT, f"exit code {code}")
        whole(self.events, code)
        assert not runs(self.guardian) and not [pid for pid in self._pids() if runs(pid)]
        self.sight.assert_usable()

    def _pids(self) -> list[int]:
        return [event["data"]["pid"] for event in self.named("child_started")]


@contextlib.contextmanager
def at_terminal(
    folder: Path, backend: str, tables: Mapping[str, Mapping[str, object]] | None = None, **variables: str
) -> Iterator[Guarded]:
    """Sit at a terminal with ``guard PROGRAM ...`` for a command."""
    file = configured(folder / "guardian.toml", {"monitoring": {"normal_interval": 0.2}, "thresholds": {}, **(tables or {})})
    guard = folder / "guard"
    options = f"--backend {backend} --config {file} --events {folder}/events.jsonl --state-dir {folder}/state"
    guard.write_text(f'#!/bin/sh\necho $$ > {folder}/guardian.pid\nexec {sys.executable} -m supervisor {options} -- "$@"\n')
    guard.chmod(0o755)
    with sitting_at(folder, **variables) as sight:
        yield Guarded(sight, folder)


LARGE = {"thresholds": {"warning": "700MiB", "critical": "800MiB", "emergency": "900MiB"}}
"""Far above what these programs need."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a text in it."""
    (tmp_path / "text").write_text("\n".join(LINES) + "\n")
    return tmp_path


def test_a_shell_with_its_own_jobs(backend: str, place: Path) -> None:
    """bash under the guardian controls jobs of its own: Ctrl-Z, ``jobs``, ``fg``, Ctrl-C; its exit code is the run's."""
    with at_terminal(place, backend, LARGE, LC_ALL="C") as at:
        sight = at.sight
        sight.type("PS1='inner$ ' guard bash --norc --noprofile\n")
        sight.prompt("inner$ ")
        inner = at.leaf()
        sight.type("bind 'set enable-bracketed-paste off'\n")
        sight.prompt("inner$ ")
        sight.type("sleep 100\n")
        # until it is sleep it is a copy of bash, and deaf to Ctrl-Z
        sight.until(lambda: sight.front in read_children(inner) and at.command(sight.front) == "sleep", "sleep in front")
        job = sight.front
        sight.type("\x1a")
        sight.shows("Stopped")
        sight.prompt("inner$ ")
        assert at.goes_on(at.guardian) and at.state(job) == "T"
        assert re.search(r"\[1\]\+ +Stopped +sleep 100", "\n".join(sight.run("jobs", "inner$ ")))
        sight.type("fg\n")
        at.in_front(job)
        sight.type("\x03")
        sight.until(lambda: not runs(job))
        sight.prompt("inner$ ")
        sight.keep(f"bash-{backend}")
        sight.type("exit 7\n")
        at.finished(7)


def test_a_pager(backend: str, place: Path) -> None:
    """less pages, searches, follows the window's size and gives the screen back as it found it."""
    needed("less")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.run("echo before")
        sight.type("guard less text\n")
        sight.until(lambda: sight.look()[:29] == LINES[:29] and sight.screen.alternate, "the first page")
        sight.type(" ")
        sight.until(lambda: LINES[29] == sight.look()[0], "the second page")
        sight.type("/line 150\n")
        sight.until(lambda: sight.look()[0] == LINES[149], "what was searched for")
        sight.keep(f"less-{backend}")
        at.rests(at.leaf())
        sight.resize(60, 12)
        sight.until(lambda: sight.look()[:11] == LINES[149:160] and sight.look()[11].startswith((":", "text")), "the smaller window")
        sight.keep(f"less-small-{backend}")
        at.rests(at.leaf())
        sight.resize(100, 30)
        sight.until(lambda: sight.look()[28] == LINES[177], "the larger window")
        sight.type("q")
        sight.shows("before")
        at.finished(0)


def test_an_editor(backend: str, place: Path) -> None:
    """vim writes, is suspended by Ctrl-Z to a usable shell, comes back by fg with its screen, and saves."""
    needed("vim")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("guard vim -u NONE -i NONE -n -N note\n")
        sight.until(lambda: sight.screen.alternate and sight.look()[1:3] == ["~", "~"], "an empty file")
        leaf = at.leaf()
        sight.type("ihello from the editor\x1b")
        sight.shows("hello from the editor")
        sight.keep(f"vim-{backend}")
        for _ in range(2):
            sight.type("\x1a")
            sight.shows("Stopped")
            sight.prompt()
            at.stopped(leaf, at.guardian)
            sight.keep(f"vim-stopped-{backend}")
            sight.assert_usable()
            sight.type("fg\n")
            sight.until(lambda: sight.screen.alternate and sight.look()[:2] == ["hello from the editor", "~"], "the editor's screen again")
            at.in_front(leaf)
            assert not sight.cooked
        sight.type("A again\x1b:wq\n")
        at.finished(0)
    assert (place / "note").read_text() == "hello from the editor again\n"


@pytest.mark.parametrize(("ending", "code"), [("\x04", 0), ("exit(9)\n", 9)], ids=["ctrl-d", "exit"])
def test_an_interpreter(backend: str, place: Path, ending: str, code: int) -> None:
    """Python's prompt survives Ctrl-C, ends by Ctrl-D with 0, and by ``exit(9)`` with that."""
    # the newer prompt of 3.13 itself makes 1 of every such code; Ctrl-D is pressed at it
    basic = {"PYTHON_BASIC_REPL": "1"} if code else {}
    with at_terminal(place, backend, LARGE, **basic) as at:
        sight = at.sight
        sight.type(f"guard {sys.executable} -q\n")
        sight.prompt(">>> ")
        # one statement: the newer prompt of 3.13 goes on with the next one of a line after Ctrl-C
        sight.type("import time; (print('a' 'sleep'), time.sleep(100))\n")
        sight.until(lambda: "asleep" in sight.look(), "the line is taken")
        sight.type("\x03")
        sight.shows("KeyboardInterrupt")
        sight.prompt(">>> ")
        sight.type("print(6 * 7)\n")
        sight.shows("\n42")
        sight.prompt(">>> ")
        sight.keep(f"python-{code}-{backend}")
        sight.type(ending)
        at.finished(code)


def test_quit(backend: str, place: Path) -> None:
    """Ctrl-\\ ends the program, not the guardian, which reports it as a shell does."""
    with at_terminal(place, backend, LARGE) as at:
        at.sight.type("guard sleep 100\n")
        at.in_front(at.leaf())
        at.sight.type("\x1c")
        at.finished(131)
    assert not list(place.glob("core*"))


def test_interrupt(backend: str, place: Path) -> None:
    """Ctrl-C likewise."""
    with at_terminal(place, backend, LARGE) as at:
        at.sight.type("guard sleep 100\n")
        at.in_front(at.leaf())
        at.sight.type("\x03")
        at.finished(130)


@pytest.mark.parametrize("begun", ["in front", "behind"])
@pytest.mark.parametrize("key", ["ctrl-c", "ctrl-\\", "ctrl-z", "size"])
def test_a_job_that_runs_is_brought_to_the_front(backend: str, place: Path, begun: str, key: str) -> None:
    """``fg`` of a job that runs puts the guardian in front, and the shell sends no signal: the next key is the program's all the same."""
    with at_terminal(place, backend, LARGE, LC_ALL="C") as at:
        sight = at.sight
        program = place / "program.py"
        program.write_text(
            "import os, signal, time\n"
            "signal.signal(signal.SIGWINCH, lambda *_: print('now', *os.get_terminal_size(0), flush=True))\n"
            "print('here', flush=True)\n"
            "while True:\n    time.sleep(1)\n"
        )
        if begun == "behind":
            sight.type(f"guard {sys.executable} {program} &\n")
            leaf = at.leaf()
            sight.shows("here")
        else:
            sight.type(f"guard {sys.executable} {program}\n")
            leaf = at.leaf()
            at.in_front(leaf)
            sight.shows("here")
            sight.type("\x1a")
            at.stopped(leaf, at.guardian)
            sight.prompt()
            sight.type("bg\n")
        sight.until(lambda: at.goes_on(leaf) and at.goes_on(at.guardian))
        sight.type("fg\n")
        at.in_front(os.getpgid(at.guardian))
        if key == "size":
            sight.resize(90, 25)
            sight.shows("now 90 25")
        elif key == "ctrl-z":
            sight.type("\x1a")
            at.stopped(leaf, at.guardian)
            sight.prompt()
            sight.type("fg\n")
        if key in ("size", "ctrl-z"):
            at.in_front(leaf)
            sight.type("\x03")
        else:
            sight.type("\x03" if key == "ctrl-c" else "\x1c")
        at.finished(131 if key == "ctrl-\\" else 130)


def test_reading_in_the_background(backend: str, place: Path) -> None:
    """``&``: the program stops when it reads, the shell says so as of any job, and fg lets it read."""
    with at_terminal(place, backend, LARGE, LC_ALL="C") as at:
        sight = at.sight
        sight.type("guard cat &\n")
        at.stopped(at.leaf(), at.guardian)
        assert "Stopped (tty input)" in "\n".join(sight.run("jobs -l"))
        sight.keep(f"background-{backend}")
        sight.type("fg\n")
        at.in_front(at.leaf())
        sight.type("hello\n\x04")
        sight.until(lambda: sight.look().count("hello") == 2, "echo and answer")
        at.finished(0)


def test_a_stop_that_is_sent_to_the_guardian(backend: str, place: Path) -> None:
    """SIGTSTP for the guardian by its pid stops the program with it, orderly; fg continues both."""
    needed("vim")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("guard vim -u NONE -i NONE -n -N text\n")
        sight.until(lambda: sight.look()[:2] == LINES[:2], "the file")
        # an editor is quick, and until its terminal is followed a stop is what it is for any program
        sight.until(lambda: at.catches(at.guardian, signal.SIGTSTP), "the guardian listens")
        at.rests(at.leaf())
        os.kill(at.guardian, signal.SIGTSTP)
        sight.shows("Stopped")
        at.stopped(at.leaf(), at.guardian)
        sight.assert_usable()
        sight.type("fg\n")
        sight.until(lambda: sight.screen.alternate and sight.look()[:2] == LINES[:2], "the file again")
        sight.type(":q\n")
        at.finished(0)


def test_a_halt_of_the_guardian(backend: str, place: Path) -> None:
    """SIGSTOP for the guardian, which it cannot see: the shell has its terminal, the program stops when it reads, fg hands it back."""
    needed("vim")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("guard vim -u NONE -i NONE -n -N text\n")
        sight.until(lambda: sight.look()[:2] == LINES[:2], "the file")
        leaf, guardian = at.leaf(), at.guardian
        os.kill(guardian, signal.SIGSTOP)
        sight.until(lambda: sight.front == sight.shell.pid, "the shell in front")
        sight.until(lambda: sight.here.endswith(PROMPT), "the shell's prompt")
        # the screen is the editor's still, since nobody could leave it; but what is typed is the shell's
        assert sight.run("echo shell")[-1] == "shell"
        # what is typed is there for the editor only as long as the shell does not take it
        sight.type("until [ -e taken ]; do sleep 0.05; done\n")
        sight.until(lambda: sight.front != sight.shell.pid, "the shell is busy")
        sight.type("\n")
        at.stopped(leaf, guardian)
        (place / "taken").touch()
        sight.until(lambda: sight.front == sight.shell.pid and sight.here.endswith(PROMPT), "the shell's prompt again")
        sight.type("fg\n")
        at.in_front(leaf)
        assert at.goes_on(guardian)
        # both are continued although neither is stopped
        for pid in (guardian, leaf):
            os.kill(pid, signal.SIGCONT)
        # as under a shell, nobody could note the editor's modes before the halt, so keys come to it by the line now
        sight.type("\n")
        sight.until(lambda: sight.look()[:2] == LINES[:2], "the file again")
        sight.type(":q!\n")
        at.finished(0)


def test_a_halt_of_the_program(backend: str, place: Path) -> None:
    """SIGSTOP for the program by its pid is a stop like Ctrl-Z's; SIGCONT by its pid leaves it in the background until fg."""
    needed("less")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("guard less text\n")
        sight.until(lambda: sight.look()[:29] == LINES[:29], "the first page")
        leaf = at.leaf()
        os.kill(leaf, signal.SIGSTOP)
        at.stopped(leaf, at.guardian)
        sight.until(lambda: sight.front == sight.shell.pid, "the shell in front")
        sight.until(lambda: sight.here.endswith(PROMPT), "the shell's prompt")
        os.kill(leaf, signal.SIGCONT)
        assert at.state(at.guardian) == "T" and sight.front == sight.shell.pid
        sight.type("fg\n")
        at.in_front(leaf)
        sight.type("\x0c")
        sight.until(lambda: sight.look()[:29] == LINES[:29], "the page, drawn again")
        sight.type("q")
        at.finished(0)


def test_an_editor_that_is_killed(backend: str, place: Path) -> None:
    """SIGKILL for vim in raw mode, on the alternate screen, with the mouse and more switched on: the terminal is usable afterwards."""
    needed("vim")
    with at_terminal(place, backend, {**LARGE, "command": {"restart": "never"}}) as at:
        sight = at.sight
        sight.run("echo before")
        sight.type("guard vim -u NONE -i NONE -n -N text\n")
        sight.until(lambda: sight.look()[:29] == LINES[:29] and not sight.screen.cursor.hidden, "the file")

        def switched_on() -> bool:
            # vim switches some of them on only once the terminal has told its kind, which the emulator does not do
            os.write(sight.line, b"\x1b[?1000h\x1b[?1002h\x1b[?1006h\x1b[?2004h\x1b[?1004h\x1b[?25l\x1b[?1h\x1b=")
            sight.look()
            return sight.screen.private_modes >= {1, 1000, 1002, 1004, 1006, 2004, 1049} and sight.screen.cursor.hidden

        sight.until(switched_on, "all modes on")
        assert not sight.cooked
        os.kill(at.leaf(), signal.SIGKILL)
        sight.shows("before")
        sight.keep(f"vim-killed-{backend}")
        at.finished(137)


def test_an_editor_that_is_asked_to_end(backend: str, place: Path) -> None:
    """SIGTERM for vim: it says so and dies of it, its screen left and the modes of the terminal not; these are put back."""
    needed("vim")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("guard vim -u NONE -i NONE -n -N text\n")
        sight.until(lambda: sight.look()[:2] == LINES[:2], "the file")
        os.kill(at.leaf(), signal.SIGTERM)
        at.finished(143)
        assert b"Vim: Caught deadly signal TERM" in sight.raw


def test_the_guardian_is_asked_to_end(backend: str, place: Path) -> None:
    """SIGTERM for the guardian while vim has the screen: vim is asked, and the shell has a usable terminal again."""
    needed("vim")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("guard vim -u NONE -i NONE -n -N text\n")
        sight.until(lambda: sight.look()[:2] == LINES[:2], "the file")
        os.kill(at.guardian, signal.SIGTERM)
        sight.until(lambda: "exit code    " in sight.text and sight.here == PROMPT, "the end of the run")
        sight.assert_usable()


def test_a_shell_without_job_control_in_between(backend: str, place: Path) -> None:
    """``sh -c`` puts the guardian into its own group: Ctrl-Z stops them all, fg continues them all, and sh goes on afterwards."""
    needed("less")
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("sh -c 'guard less text; echo then $?'\n")
        sight.until(lambda: sight.look()[:29] == LINES[:29], "the first page")
        leaf = at.leaf()
        at.rests(leaf)
        sight.type("\x1a")
        sight.shows("Stopped")
        sight.prompt()
        at.stopped(leaf, at.guardian)
        sight.type("fg\n")
        sight.until(lambda: sight.screen.alternate and sight.look()[:29] == LINES[:29], "the first page again")
        sight.type("q")
        sight.shows("then 0")
        at.finished(0)


def test_nohup(backend: str, place: Path) -> None:
    """Under nohup there is no terminal to own; closing the window ends neither the guardian nor the program."""
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type(f"nohup guard sh -c 'echo up; while [ ! -e {place}/end ]; do sleep 0.05; done; echo down' &\n")
        leaf, guardian = at.leaf(), at.guardian
        assert sight.front == sight.shell.pid
        os.kill(sight.shell.pid, signal.SIGHUP)  # what the kernel does when the window is closed; the shell tells its jobs
        sight.shell.wait(PATIENCE)
        assert runs(leaf) and runs(guardian)
        (place / "end").touch()
        eventually_sync(lambda: not runs(guardian), PATIENCE)
    whole(at.events, 0)
    out = (place / "nohup.out").read_text()
    assert "up\n" in out and "down\n" in out and "exit code    0" in out


def test_input_from_elsewhere(backend: str, place: Path) -> None:
    """With standard input a pipe the program is not interactive: it reads the pipe, writes to the screen, and Ctrl-C ends the run."""
    with at_terminal(place, backend, LARGE) as at:
        sight = at.sight
        sight.type("echo from the pipe | guard sh -c 'cat; exec sleep 100'\n")
        sight.shows("from the pipe")
        leaf = at.leaf()
        assert sight.front not in (leaf, sight.shell.pid)
        sight.type("\x03")
        sight.until(lambda: "exit code    " in sight.text and sight.here == PROMPT, "the end of the run")
        sight.assert_usable()
        assert not runs(leaf)


def test_a_restart_in_the_middle_of_a_screen(backend: str, place: Path) -> None:
    """The guardian restarts a program that has grown while somebody types into it: the new life owns the terminal, Ctrl-C included."""
    tables = {"thresholds": {"warning": "60MiB", "critical": "80MiB", "emergency": "900MiB"}}
    with at_terminal(place, backend, tables) as at:
        sight = at.sight
        sight.type(f"guard {sys.executable} -q\n")
        sight.prompt(">>> ")
        sight.type("x = b'x' * (100 << 20)\n")
        leaf = at.leaf(2)
        at.in_front(leaf)
        # the first life died in the middle of its line
        sight.until(lambda: sight.here.endswith(">>> "), "the prompt of the new life")
        sight.type("print('a new', 'life')\n")
        sight.shows("a new life")
        sight.type("(print('loop' 'ing'), all(_ == 0 for _ in iter(int, 1)))\n")
        sight.until(lambda: "looping" in sight.look(), "the loop runs")
        sight.type("\x03")
        sight.shows("KeyboardInterrupt")
        sight.prompt(">>> ")
        sight.keep(f"restarted-{backend}")
        sight.until(lambda: at.named("restart_completed"))
        sight.type("exit()\n")
        at.finished(0)


def test_without_the_launch_helper(backend: str, place: Path) -> None:
    """Where `setpriv` stands in, a program that reads at once is handed the terminal, and Ctrl-Z and fg are the same."""
    needed("setpriv")
    for package in ("supervisor", "workers"):
        shutil.copytree(ROOT / package, place / "installed" / package, ignore=shutil.ignore_patterns("_launch", "__pycache__"))
    with at_terminal(place, backend, LARGE, PYTHONPATH=str(place / "installed")) as at:
        sight = at.sight
        sight.type("guard cat\n")
        leaf = at.leaf()
        at.in_front(leaf)
        sight.until(lambda: at.command(leaf) == "cat", "the program runs")
        # one that came too early is stopped for it; the guardian's SIGCONT would then take back a Ctrl-Z that comes before it
        at.rests(leaf)
        sight.type("\x1a")
        sight.shows("Stopped")
        at.stopped(leaf, at.guardian)
        sight.type("fg\n")
        at.in_front(leaf)
        sight.type("hello\n\x04")
        sight.until(lambda: sight.look().count("hello") == 2, "echo and answer")
        at.finished(0)
