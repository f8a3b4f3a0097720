"""A terminal as a person sees it: a real pseudo-terminal, an interactive shell on it, and an emulator that draws the screen.

The emulator is `pyte`, to which the alternate screen is added, and which is spared the sequences that it would draw as text.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pyte
import pytest

from supervisor.host.procstat import read_children

from .support import ROOT, eventually_sync

COLUMNS, ROWS = 100, 30
PATIENCE = 60.0
"""Seconds for anything to show itself: what a crowded machine needs at its worst, many times over."""
PROMPT = "outer$ "
SESSION = ROOT / "tests" / "e2e" / "agents" / "session.py"

ALTERNATE = 1049
ORDINARY = frozenset({7, 25})
"""The private modes that a terminal has on when nobody has set any: lines wrap, the cursor is shown."""

_SKIPPED = re.compile(rb"\x1b\[[<=>][0-9;]*[ -/]*[@-~]|\x1b\[\?[0-9;]*[@-gi-km-~]|\x1b\[[?]?[0-9;]*[ -/]+[@-~]|\x1bP.*?\x1b\\", re.DOTALL)
_WHOLE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|P.*?\x1b\\|\][^\x07\x1b]*(\x07|\x1b\\)|[ -/]+[0-~]|[0-Z^-~])", re.DOTALL)


class Emulator(pyte.Screen):
    """A screen with an alternate one behind it, which knows its private modes by their numbers."""

    def __init__(self) -> None:
        self._main: Any = None
        super().__init__(COLUMNS, ROWS)

    @property
    def private_modes(self) -> frozenset[int]:
        """The private modes that are on."""
        return frozenset(mode >> 5 for mode in self.mode if mode >= 32 and not mode % 32)

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is shown."""
        return self._main is not None

    def set_mode(self, *modes: int, **options: Any) -> None:
        """Switch modes on."""
        if options.get("private") and ALTERNATE in modes and self._main is None:
            self._main = (copy.deepcopy(self.buffer), copy.copy(self.cursor))
            self.erase_in_display(2)
        super().set_mode(*modes, **options)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        """Switch modes off."""
        super().reset_mode(*modes, **options)
        if options.get("private") and ALTERNATE in modes and self._main is not None:
            (self.buffer, cursor), self._main = self._main, None
            self.cursor.x, self.cursor.y = cursor.x, cursor.y
            self.dirty.update(range(self.lines))


@attrs.define
class Sight:
    """What a person has: keys, a screen, and a shell on it."""

    keys: int
    line: int
    shell: subprocess.Popen[bytes]
    folder: Path
    modes: list[Any]
    screen: Emulator = attrs.field(factory=Emulator)
    _stream: pyte.ByteStream = attrs.field(init=False)
    _waiting: bytes = b""
    _lines: list[str] = attrs.field(factory=list)
    _commands: int = 0
    raw: bytes = b""

    def __attrs_post_init__(self) -> None:
        self._stream = pyte.ByteStream(self.screen)

    def look(self) -> list[str]:
        """The lines of the screen now, without what is blank at their ends."""
        while self.keys >= 0 and select.select([self.keys], [], [], 0)[0]:
            try:
                more = os.read(self.keys, 65536)
            except OSError:
                break
            if not more:
                break
            self.raw += more
            self._waiting += more
        # a sequence that has not come whole waits for its rest
        at = self._waiting.rfind(b"\x1b")
        whole = at < 0 or _WHOLE.match(self._waiting, at) or len(self._waiting) - at > 200
        ready, self._waiting = (self._waiting, b"") if whole else (self._waiting[:at], self._waiting[at:])
        if ready or len(self._lines) != self.screen.lines:
            self._stream.feed(_SKIPPED.sub(b"", ready))
            self._lines = [text.rstrip() for text in self.screen.display]
        return self._lines

    @property
    def text(self) -> str:
        """The screen as one text, without blank lines at its end."""
        return "\n".join(self.look()).rstrip("\n")

    @property
    def here(self) -> str:
        """The line that the cursor is in, up to the cursor."""
        return self.look()[self.screen.cursor.y].ljust(self.screen.cursor.x)[: self.screen.cursor.x]

    def until(self, holds: Callable[[], object], what: str = "") -> None:
        """Wait for something; a failure shows the screen."""
        try:
            eventually_sync(lambda: (self.look(), holds())[1], PATIENCE, what=what)
        except AssertionError as error:
            pytest.fail(f"{error}\n{self.framed()}", pytrace=False)

    def shows(self, text: str) -> None:
        """Wait until a text is on the screen."""
        self.until(lambda: text in "\n".join(self.look()), f"{text!r} on the screen")

    def prompt(self, prompt: str = PROMPT) -> None:
        """Wait until a shell waits for a command: the cursor stands behind its prompt."""
        self.until(lambda: self.here == prompt, f"the prompt {prompt!r}")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.keys, keys.encode())

    def run(self, command: str, prompt: str = PROMPT) -> list[str]:
        """Have the shell run a command that ends, on a clean screen; the lines that it has shown, fewer than a screen's."""
        self._commands += 1
        end = f"end of {self._commands}"
        self.type(f"clear; {command}; echo end 'of' {self._commands}\n")
        self.until(lambda: end in self.look() and self.here == prompt, f"the end of {command!r}")
        return self.look()[: self.look().index(end)]

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.keys, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Close the window. May be called again."""
        if self.keys >= 0:
            os.close(self.keys)
        self.keys = -1

    @property
    def front(self) -> int:
        """The group that has the terminal."""
        return os.tcgetpgrp(self.keys)

    @property
    def cooked(self) -> bool:
        """Whether keys are echoed, taken by the line, and make signals."""
        flags: int = termios.tcgetattr(self.line)[3]
        return all(flags & flag for flag in (termios.ECHO, termios.ICANON, termios.ISIG))

    def assert_usable(self) -> None:
        """The terminal is as it was: its modes, its screen, its cursor; and a command that is typed is run."""
        self.prompt()
        assert self.screen.private_modes == ORDINARY, sorted(self.screen.private_modes)
        assert not self.screen.alternate and not self.screen.cursor.hidden, self.framed()
        assert max(self.raw.rfind(b"\x1b>"), 0) >= self.raw.rfind(b"\x1b="), "the keypad sends codes of its own"
        # the shell's own line editor changes modes while it waits, so what a program gets is asked for
        assert self.run("stty -a > modes; echo al''ive") == ["alive"]
        modes = (self.folder / "modes").read_text().split()
        assert {"echo", "icanon", "isig", "icrnl", "opost", "onlcr"} <= set(modes), modes

    def framed(self) -> str:
        """The screen with a frame, for a person."""
        width = self.screen.columns
        lines = [f"|{text:<{width}}|" for text in self.look()]
        cursor = f"cursor {self.screen.cursor.x},{self.screen.cursor.y}{' hidden' if self.screen.cursor.hidden else ''}"
        return "\n".join([f"+{'-' * width}+ {cursor}, modes {sorted(self.screen.private_modes)}", *lines, f"+{'-' * width}+"])

    def keep(self, name: str) -> None:
        """Write the screen down where somebody wants to look at it: in the directory that ``$SCREENS`` names."""
        if directory := os.environ.get("SCREENS"):
            Path(directory, f"{name}.txt").write_text(self.framed() + "\n")


@contextlib.contextmanager
def sitting_at(folder: Path, **variables: str) -> Iterator[Sight]:
    """An interactive shell with job control on a terminal of its own; everything on it is gone afterwards.

    Args:
        folder: The shell's working directory.
        variables: Additions to its environment.
    """
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "PS1": PROMPT,
        "HISTFILE": os.devnull,
        "INPUTRC": os.devnull,
        "LESSHISTFILE": "-",
        "PATH": f"{folder}:{os.environ['PATH']}",
        **variables,
    }
    argv = [sys.executable, "-S", "-E", str(SESSION), needed("bash"), "--norc", "--noprofile", "-i"]
    keys, line = os.openpty()
    sight = None
    try:
        fcntl.ioctl(keys, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        modes = termios.tcgetattr(line)
        with subprocess.Popen(argv, cwd=folder, stdin=line, stdout=line, stderr=line, start_new_session=True, env=environment) as shell:
            sight = Sight(keys, line, shell, folder, modes)
            try:
                sight.prompt()
                # readline would switch a mode on at each prompt, which could not be told from one that a program left on
                sight.type("bind 'set enable-bracketed-paste off'; ulimit -c 0; clear\n")
                sight.until(lambda: sight.here == PROMPT and "ulimit" not in sight.text and 2004 not in sight.screen.private_modes)
                yield sight
            finally:
                _end(sight)
    finally:
        if sight is None:
            os.close(keys)
        else:
            sight.close()
        os.close(line)


def needed(program: str) -> str:
    """Where a program is; without it the test is skipped, but not in CI, which installs it."""
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI has no {program}: tools/install-optional.sh terminal should have installed it")
        pytest.skip(f"no {program} here: tools/install-optional.sh terminal installs it")
    return found


def _end(sight: Sight) -> None:
    """End the shell and the jobs that it has: as when the window is closed, and then by force."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        for pid in read_children(sight.shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
                os.kill(pid, signal.SIGCONT)
        with contextlib.suppress(AssertionError):
            eventually_sync(lambda: (sight.look(), not read_children(sight.shell.pid))[1], PATIENCE / 4)
    sight.shell.kill()
