"""A controlled restart of Claude Code: from the decision to the next reply, and to the prompt on a terminal, beside doing it by hand."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from supervisor.edge.control.client import chosen

from .claude import PATIENCE, STREAMS, Place, at_home, builds, ended, prompt, until
from .figures import Effort, Figure, Peer, Summary, at_most_above

MORE: Final = 150.0
"""Milliseconds that a restart by the guardian may take more than the program's own stop and resumption."""

ALONE: Final = "stopped and resumed by hand"
_MARK: Final = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}".encode()
_PASTE: Final = b"\x1b[?2004h"


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    rounds = effort.pick(12, 5, 1)
    for build, program in builds().items():
        if effort is Effort.SMOKE and figures:
            break
        with at_home() as place:
            first, ours, theirs = _replies(place, program, rounds)
            figures.append(_beside(f"decision to the next reply, headless, {build}", ours, theirs))
            figures.append(Figure(f"the same where nothing was captured in the minute before, {build}", "ms", Summary.of([first])))
        if effort is Effort.SMOKE:
            break
        with at_home() as place:
            figures.append(_beside(f"decision to the prompt, on a terminal, {build}", *_prompts(place, program, rounds)))
    return figures or [Figure("not measured, for there is no program", "ms", Summary.of([0.0]))]


def _beside(name: str, ours: list[float], theirs: list[float]) -> Figure:
    peer = Peer(ALONE, Summary.of(theirs))
    return Figure(name, "ms", Summary.of(ours), (peer,), at_most_above(MORE, "ms", peer))


# ------------------------------------------------------------ headless


@attrs.define
class _Talk:
    """A program that is talked to in lines."""

    process: subprocess.Popen[bytes]

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(prompt(text))
        self.process.stdin.flush()

    def reply(self, text: str) -> None:
        """Wait for the result that has a text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if told["type"] == "result" and text in str(told.get("result")):
                return
        raise RuntimeError("it ended without a reply")


@contextmanager
def _talking(words: list[str], place: Place) -> Iterator[_Talk]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=place.folder, env=dict(place.environ), **pipes) as process:  # type: ignore[call-overload]
        watchdog = threading.Timer(4 * PATIENCE, process.kill)
        watchdog.start()
        try:
            yield _Talk(process)
        finally:
            watchdog.cancel()
            ended(process)


def _replies(place: Place, program: Path, rounds: int) -> tuple[float, list[float], list[float]]:
    """Milliseconds under the guardian, the first time and later, and by hand; in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    with _talking(place.guarded(program, *STREAMS), place) as guarded:
        guarded.say("hello")
        guarded.reply("ok: hello")
        own = place.session()
        session = _begun(place, program)
        assert session != own
        for number in range(rounds + 1):
            before = place.decisions
            with _restarting(place):
                # not earlier: the old life would answer it, and be waited for
                began = place.decided(before)
                guarded.say(f"again {number}")
                guarded.reply(f"again {number}")
                ours.append((time.time() - began) * 1000)
            theirs.append(_by_hand(place, program, session, number))
    return ours[0], ours[1:], theirs[1:]


def _begun(place: Place, program: Path) -> str:
    with _talking([str(program), *STREAMS], place) as talk:
        talk.say("hello")
        talk.reply("ok: hello")
        return place.session()


def _by_hand(place: Place, program: Path, session: str, number: int) -> float:
    with _talking([str(program), *STREAMS, "--resume", session], place) as old:
        old.say("before")
        old.reply("before")
        began = time.perf_counter()
        old.process.terminate()
        old.process.wait()
        with _talking([str(program), *STREAMS, "--resume", session], place) as new:
            new.say(f"again {number}")
            new.reply(f"again {number}")
            return (time.perf_counter() - began) * 1000


@contextmanager
def _restarting(place: Place) -> Iterator[None]:
    """Ask the guardian for a restart of its leaf; it is over when the block is."""

    def ask() -> None:
        with chosen(place.environ, None, "benchmark") as client:
            client.call("restart", timeout=PATIENCE, path="claude")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        asking.join()


# ------------------------------------------------------------ on a terminal


@attrs.define
class _Screen:
    """A terminal with a program on it."""

    pid: int
    keys: int
    raw: bytes = b""
    code: int | None = None

    def prompt(self, since: int = 0) -> None:
        """Wait until the program has drawn its prompt, as it does when it takes keys."""
        until(lambda: self._drawn(since), "the prompt", pause=0)

    def settle(self) -> None:
        """Let it come to rest: what it draws later must not be taken for what the next life draws."""
        self._rest(1.0)

    def say(self, text: str) -> None:
        """Have it answer something."""
        since = len(self.raw)
        os.write(self.keys, text.encode())
        until(lambda: self._look(0.05) and text.encode() in self.raw[since:], "what was typed", pause=0)
        self._rest(0.5)  # else the return belongs to what was pasted
        os.write(self.keys, b"\r")
        until(lambda: self._look(0.05) and b"ok:" in self.raw[since:], "the answer", pause=0)
        self.settle()  # until it is written and the guardian knows of it

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """Have it end, and wait for that."""
        if self.code is None:
            os.kill(self.pid, signum)
            until(self._gone, "the end", pause=0)

    def _gone(self) -> bool:
        self._look(0.002)
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def _drawn(self, since: int) -> bool:
        self._look(0.05)
        _, mode, after = self.raw[since:].rpartition(_PASTE)
        return bool(mode) and _MARK in after

    def _rest(self, pause: float) -> None:
        end = time.monotonic() + pause
        while time.monotonic() < end:
            self._look(0.1)

    def _look(self, pause: float) -> bool:
        if select.select([self.keys], [], [], pause)[0]:
            with suppress(OSError):  # nobody has the other end any more
                self.raw += os.read(self.keys, 65536)
        return True


@contextmanager
def _screen(words: list[str], place: Place) -> Iterator[_Screen]:
    keys, line = os.openpty()
    fcntl.ioctl(keys, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    if (pid := os.fork()) == 0:
        try:
            os.close(keys)
            os.login_tty(line)
            os.chdir(place.folder)
            os.execvpe(words[0], words, dict(place.environ))
        finally:
            os._exit(127)
    os.close(line)
    screen = _Screen(pid, keys)
    try:
        yield screen
    finally:
        try:
            screen.stop()
        finally:
            if screen.code is None:
                screen.stop(signal.SIGKILL)
            os.close(keys)


def _prompts(place: Place, program: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds under the guardian, and by hand; after one each that does not count."""
    ours: list[float] = []
    theirs: list[float] = []
    with _screen(place.guarded(program), place) as guarded:
        guarded.prompt()
        guarded.say("hello")
        for _ in range(rounds + 1):
            before = place.decisions
            with _restarting(place):
                began, since = place.decided(before), len(guarded.raw)
                guarded.prompt(since)
                ours.append((time.time() - began) * 1000)
            guarded.settle()
    with _screen([str(program)], place) as first:
        first.prompt()
        first.say("hello")
    words = [str(program), "--resume", place.session()]
    with ExitStack() as stack:
        screen = stack.enter_context(_screen(words, place))
        screen.prompt()
        for _ in range(rounds + 1):
            began = time.perf_counter()
            screen.stop()
            screen = stack.enter_context(_screen(words, place))
            screen.prompt()
            theirs.append((time.perf_counter() - began) * 1000)
            screen.settle()
    return ours[1:], theirs[1:]
