"""When a supervisor is killed whose leaf has the terminal: the sentry gives it back."""

from __future__ import annotations

import os
import signal
import subprocess
import termios
from pathlib import Path

from supervisor.host.procstat import read_stat
from supervisor.host.terminal import MODES_RESET, Terminal

from ..support import eventually_sync as within
from .host_support import CHILDREN, PYTHON
from .host_support import running as runs
from .sentry_support import COMPILED, LINUX_ONLY, PATIENCE, SENTRIES
from .test_terminal import Console, console, shell

pytestmark = LINUX_ONLY


def hosted(folder: Path, kind: str) -> str:
    words = [PYTHON, str(CHILDREN / "host_of_trees.py"), "trio", str(folder / "host"), "act=terminal", f"sentry={kind}"]
    return " ".join(words)


def killed_on(terminal: Console) -> int:
    """Wait for the leaf to have the terminal, and kill the supervisor; the leaf."""
    within(lambda: b"<ready>" in terminal.read() and b'"leaf": ' in terminal.read(), PATIENCE, what=f"{terminal.shown!r}")
    leaf = terminal.front()
    stat = read_stat(leaf)
    assert stat is not None
    os.kill(stat.parent, signal.SIGKILL)
    return leaf


@SENTRIES
def test_a_shell_has_its_terminal_back(tmp_path: Path, kind: str) -> None:
    """Raw mode and the alternate screen were the leaf's: afterwards the screen is reset and the shell goes on as before."""
    with shell(tmp_path) as terminal:
        terminal.type(hosted(tmp_path, kind) + "\n")
        leaf = killed_on(terminal)
        terminal.expect(MODES_RESET)
        within(lambda: not runs(leaf), PATIENCE)
        within(lambda: (terminal.read(), terminal.front() == terminal.process.pid)[1], PATIENCE)
        terminal.type("stty -a; echo a${EMPTY}live\n")
        within(lambda: b"alive" in terminal.read(), PATIENCE)
        assert {b"icanon", b"isig", b"echo", b"opost"} <= set(terminal.shown.split())


@COMPILED
def test_a_script_has_its_terminal_back(tmp_path: Path) -> None:
    """Who has no job control takes no terminal back: modes and foreground are put back in his place, and he can read."""
    script = tmp_path / "script"
    script.write_text(f"{hosted(tmp_path, 'compiled')}\nuntil read line; do sleep 0.1; done\necho got $line\n")
    take = "import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    with console(tmp_path, PYTHON, "-c", f"{take}os.execv('/bin/sh', ['sh', {str(script)!r}])") as terminal:
        before = terminal.modes()
        leaf = killed_on(terminal)
        terminal.expect(MODES_RESET)
        within(lambda: not runs(leaf), PATIENCE)
        assert terminal.front() == terminal.process.pid and terminal.modes() == before
        terminal.type("hello\n")
        terminal.expect("got hello")


def test_the_saved_modes_are_in_the_form_of_stty() -> None:
    """So that a shell can set them."""
    keys, line = os.openpty()
    try:
        text = subprocess.run(["stty", "-g"], stdin=line, capture_output=True, text=True, check=True).stdout.strip()
        assert Terminal(-1, 1, True, termios.tcgetattr(line)).as_saved()[0] == text
    finally:
        os.close(keys)
        os.close(line)
