"""A leaf on a real terminal: who is in front, where keys go, and what is put back. The programs run under a pseudo-terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
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

from supervisor.host.lending import borrow
from supervisor.host.procstat import read_children
from supervisor.host.terminal import MODES_RESET, reset_sequence

from ..support import eventually_sync
from .host_support import CHILDREN, PYTHON, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="job control is tested on Linux")

ROOT = Path(__file__).resolve().parents[2]
SCREEN = [PYTHON, str(CHILDREN / "screen.py")]
BACKENDS = pytest.mark.parametrize("backend", ["trio", "asyncio"])


@attrs.define
class Console:
    """A pseudo-terminal with a program on it, and all that it has shown."""

    master: int
    slave: int
    process: subprocess.Popen[bytes]
    report: Path
    shown: bytes = b""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read(self) -> bytes:
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:
                break
        return self.shown

    def expect(self, text: str, timeout: float = 15) -> None:
        """Wait until a text is shown, and forget all up to its end."""
        eventually_sync(lambda: text.encode() in self.read(), timeout, what=f"{text!r} in {self.shown!r}")
        self.shown = self.shown.split(text.encode(), 1)[1]

    def facts(self, number: int = 1) -> dict[str, Any]:
        """The line of that number of the report of on_terminal.py."""

        def line() -> dict[str, Any] | None:
            self.read()  # a program that ends waits for its output to be taken
            with suppress(FileNotFoundError, IndexError):
                found: dict[str, Any] = json.loads(self.report.read_text().splitlines(keepends=True)[number - 1])
                return found
            return None

        found = eventually_sync(line, 15, what=f"line {number} of the report; shown: {self.shown!r}")
        assert found is not None
        return found

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def front(self) -> int:
        return struct.unpack("i", fcntl.ioctl(self.master, termios.TIOCGPGRP, b"\0" * 4))[0]  # type: ignore[no-any-return]


@contextmanager
def console(tmp_path: Path, *argv: str) -> Iterator[Console]:
    """Run a program as the leader of a session; it takes the pseudo-terminal for its own by itself."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "PS1": "$ ", "HISTFILE": "/dev/null"}
    try:
        with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment) as process:
            made = Console(master, slave, process, tmp_path / "report")
            try:
                yield made
            finally:
                for pid in [process.pid, *read_children(process.pid)]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                        os.kill(pid, signal.SIGTERM)
                deadline = time.monotonic() + 10
                while process.poll() is None and time.monotonic() < deadline:
                    made.read()
                    time.sleep(0.01)
                process.kill()
    finally:
        os.close(master)
        os.close(slave)


def host(tmp_path: Path, backend: str, *leaf: str) -> list[str]:
    return [PYTHON, str(CHILDREN / "on_terminal.py"), str(tmp_path / "report"), backend, *leaf]


@BACKENDS
def test_leaf_is_in_front(tmp_path: Path, backend: str) -> None:
    """The leaf has a group of its own within our session, and that is the terminal's foreground before its first instruction."""
    with console(tmp_path, *host(tmp_path, backend, *SCREEN)) as terminal:
        terminal.expect("<ready>")
        facts = terminal.facts()
        assert facts["interactive"] and facts["leaf_group"] == facts["leaf"] == facts["front"] == terminal.front()
        assert facts["leaf_session"] == facts["pid"] == facts["group"]
        terminal.type("aq")
        terminal.expect("<key a>")
        after = terminal.facts(2)
        assert after["exit"]["code"] == 0 and after["in_front"] and after["same_modes"]


@BACKENDS
def test_leaf_may_read_at_once(tmp_path: Path, backend: str) -> None:
    """A command that reads its first line immediately is not stopped for reading from the background."""
    with console(tmp_path, *host(tmp_path, backend, "head", "-n", "1")) as terminal:
        terminal.facts()
        terminal.type("hello\n")
        assert terminal.facts(2)["exit"]["code"] == 0


@BACKENDS
def test_a_leaf_whose_line_is_waited_for_gets_no_terminal(tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outputs are pipes, in a session of its own; what it prints is shown all the same, and the terminal stays in our hands."""
    monkeypatch.setenv("READY", "line:^up$")
    script = "[ -t 1 ] || [ -t 2 ] || echo up; echo and well >&2"
    with console(tmp_path, *host(tmp_path, backend, "sh", "-c", script)) as terminal:
        facts = terminal.facts()
        assert not facts["interactive"] and facts["leaf_session"] == facts["leaf"] and facts["front"] == facts["group"]
        assert terminal.facts(2)["in_front"]
        eventually_sync(lambda: b"up\r\n" in terminal.read() and b"and well\r\n" in terminal.read())


@BACKENDS
def test_interrupt_reaches_the_leaf_only(tmp_path: Path, backend: str) -> None:
    """Ctrl-C is the leaf's; the program around it does not even notice."""
    with console(tmp_path, *host(tmp_path, backend, *SCREEN, "cooked")) as terminal:
        terminal.expect("<ready>")
        terminal.type("\x03")
        terminal.expect("<interrupted>")
        terminal.type("\x03")
        terminal.expect("<interrupted>")
        terminal.type("q\n")
        assert terminal.facts(2)["exit"] == {"kind": "normal", "reason": "exit code 0", "code": 0}


@BACKENDS
def test_window_size_reaches_the_leaf(tmp_path: Path, backend: str) -> None:
    """A resized window is told to the leaf, with the right size."""
    with console(tmp_path, *host(tmp_path, backend, *SCREEN)) as terminal:
        terminal.expect("<ready>")
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
        terminal.expect("<size 101x33>")
        terminal.type("q")
        terminal.facts(2)


@BACKENDS
def test_terminal_is_usable_after_a_kill(tmp_path: Path, backend: str) -> None:
    """SIGKILL in raw mode, on the alternate screen: modes, foreground and screen are put back."""
    with console(tmp_path, *host(tmp_path, backend, *SCREEN)) as terminal:
        before = terminal.modes()
        terminal.expect("<ready>")
        assert terminal.modes() != before
        os.kill(terminal.facts()["leaf"], signal.SIGKILL)
        after = terminal.facts(2)
        assert after["exit"]["signal"] == "SIGKILL"
        assert after["same_modes"] and after["echo"] and after["in_front"] and terminal.modes() == before
        terminal.expect(MODES_RESET)


@BACKENDS
def test_terminal_is_usable_after_a_leaf_that_did_not_clean_up(tmp_path: Path, backend: str) -> None:
    """An exit code is no proof of good manners: modes that are left changed are put back."""
    with console(tmp_path, *host(tmp_path, backend, *SCREEN)) as terminal:
        terminal.expect("<ready>")
        terminal.type("x")
        after = terminal.facts(2)
        assert after["exit"]["code"] == 3 and after["same_modes"] and after["in_front"]
        terminal.expect(MODES_RESET)


@BACKENDS
def test_orderly_leaf_is_left_alone(tmp_path: Path, backend: str) -> None:
    """Nothing is written after a leaf that put everything back itself, and what was typed ahead is kept."""
    script = "printf 'started\\n'; read line; exit 1"
    with console(tmp_path, *host(tmp_path, backend, "sh", "-c", script)) as terminal:
        terminal.expect("started")
        terminal.type("one\ntwo\n")
        assert terminal.facts(2)["exit"]["code"] == 1
        assert b"\x1b" not in terminal.read()
        assert select.select([terminal.slave], [], [], 1)[0] and os.read(terminal.slave, 100) == b"two\n"


@BACKENDS
def test_ctrl_z_without_a_shell_is_harmless(tmp_path: Path, backend: str) -> None:
    """Where nobody could continue us, a leaf that stops is continued at once."""
    with console(tmp_path, *host(tmp_path, backend, *SCREEN, "cooked")) as terminal:
        terminal.expect("<ready>")
        terminal.type("\x1a")
        terminal.expect("<continued>")
        terminal.type("q\n")
        after = terminal.facts(2)
        assert after["exit"]["code"] == 0 and after["in_front"]


@contextmanager
def shell(tmp_path: Path) -> Iterator[Console]:
    """An interactive shell with job control."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    # only the leader of a session can take a terminal, so a few words of Python do it before bash begins
    words = f"import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv({bash!r}, ['bash', '--norc', '--noprofile', '-i'])"
    with console(tmp_path, PYTHON, "-c", words) as terminal:
        terminal.expect("$ ")
        terminal.type("bind 'set enable-bracketed-paste off'\n")
        terminal.expect("$ ")
        yield terminal
        terminal.type("exit\nexit\n")


@BACKENDS
@pytest.mark.parametrize("how", ["\x1a", "z"], ids=["ctrl-z", "by-itself"])
def test_shell_suspends_and_resumes_us_with_the_leaf(tmp_path: Path, backend: str, how: str) -> None:
    """Ctrl-Z gives the shell its terminal back, in its own modes; fg goes on where it was, in the leaf's modes, once."""
    cooked = ["cooked"] if how == "\x1a" else []
    with shell(tmp_path) as terminal:
        terminal.type(" ".join(host(tmp_path, backend, *SCREEN, *cooked)) + "\n")
        terminal.expect("<ready>")
        facts, modes = terminal.facts(), terminal.modes()
        for _ in range(2):
            assert terminal.front() == facts["leaf"]
            terminal.type(how)
            terminal.expect("Stopped")
            terminal.expect("$ ")
            assert terminal.front() == terminal.process.pid
            terminal.type("echo a${EMPTY}live\n")
            terminal.expect("alive")
            terminal.expect("$ ")
            terminal.type("fg\n")
            terminal.expect("<continued>")
            eventually_sync(lambda: terminal.front() == facts["leaf"])
            eventually_sync(lambda: terminal.modes() == modes)
        terminal.type("aq" + ("\n" if cooked else ""))
        eventually_sync(lambda: b"<key a>" in terminal.read())
        assert b"<continued>" not in terminal.shown  # it gets one SIGCONT for one fg
        after = terminal.facts(2)
        assert after["exit"]["code"] == 0 and after["in_front"] and not running(facts["leaf"])
        terminal.expect("$ ")


@BACKENDS
def test_started_in_the_background_the_terminal_is_left_to_the_shell(tmp_path: Path, backend: str) -> None:
    """``&`` takes nothing from the shell; a leaf that wants to read stops with us, and fg hands it the terminal."""
    with shell(tmp_path) as terminal:
        terminal.type(" ".join(host(tmp_path, backend, "head", "-n", "1")) + " &\n")
        for _ in range(300):  # the shell tells of stopped jobs before its next prompt
            terminal.type("\n")
            terminal.expect("$ ")
            if b"Stopped" in terminal.read():
                break
            assert terminal.front() == terminal.process.pid
            time.sleep(0.05)
        terminal.type("jobs -s\n")
        terminal.expect("Stopped")
        assert terminal.front() == terminal.process.pid
        terminal.type("fg\n")
        leaf = terminal.facts()["leaf"]
        eventually_sync(lambda: (terminal.read(), terminal.front() == leaf)[1])
        terminal.type("hello\n")
        assert terminal.facts(2)["exit"]["code"] == 0
        terminal.expect("$ ")


def test_without_a_terminal_there_is_nothing_to_borrow() -> None:
    """Files and pipes are no terminal, and a terminal of another session is not ours."""
    script = "import sys; from supervisor.host.lending import borrow; sys.exit(0 if borrow() is None else 1)"
    master, slave = pty.openpty()
    try:
        for stream in (subprocess.DEVNULL, slave):
            done = subprocess.run(
                [PYTHON, "-c", script], cwd=ROOT, stdin=stream, stdout=stream, stderr=subprocess.PIPE, start_new_session=True, check=False
            )
            assert done.returncode == 0, done.stderr
    finally:
        os.close(master)
        os.close(slave)
    assert borrow() is None or os.isatty(0)


def test_reset_suits_the_terminal() -> None:
    """A terminal that knows no sequences gets none, the Linux console none that it misreads."""
    assert reset_sequence("dumb") == reset_sequence("") == ""
    assert reset_sequence("xterm-256color") == MODES_RESET
    assert "\x1b[<u" not in reset_sequence("linux")
    assert MODES_RESET.index("\x1b7") < MODES_RESET.index("\x1b[?1049l")
    assert "?1049l" not in reset_sequence("xterm", crashed=False)
    assert "?25h" in reset_sequence("xterm", crashed=False)
    # what full-screen programs set of cursor keys, keypad and the cursor's shape
    assert all(text in MODES_RESET for text in ("\x1b[?1l", "\x1b>", "\x1b[4l", "\x1b[0 q"))
    assert " q" not in reset_sequence("linux")
