"""What a person who sits at Claude Code is shown: our line of the status line while it lasts, and a notice when a new life begins.

Both are drawn by the program: whoever else wrote to its screen would destroy it. Words go through files in the run's private directory.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from ..redactor import redacted_text
from ..state.files import StateWriteFailed, write_atomic
from . import banner
from .settings import LIMIT, STARTED
from .status_line import SOURCES, theirs, with_status_line

if TYPE_CHECKING:
    from ..leaf import Leaf
    from .continuation import Continuation

QUIET: Final = 15.0
"""Seconds for which no key may have been pressed before a life is ended that can wait; a prompt that is half typed is lost with it."""

COARSE: Final = 8.0
"""Seconds by which the kernel may not note a key: whoever watches a terminal is not to learn how a password is typed."""


class Shown:
    """What one leaf shows.

    Args:
        leaf: The leaf.
        directory: A private one.
        failed: Told what cannot be shown, and why, until it can again.
        terminal: The descriptor of its terminal; None where nobody sits at one.
    """

    def __init__(self, leaf: Leaf, directory: Path, failed: Callable[[str], object], terminal: int | None = 0) -> None:
        self._leaf, self._failed, self._terminal = leaf, failed, terminal
        self._words, self._notice = (directory / f"{leaf.name}{os.extsep}{kind}" for kind in ("words", "notice"))
        self._line, self._unwritten = "", False

    def refresh(self) -> None:
        """Show how the leaf is now, if that is something else than before. Blocks for one write of a small file."""
        leaf, now = self._leaf, anyio.current_time()
        line = banner.line(leaf.guard, now, _clock, mode=leaf.mode, reason=leaf.mode_reason, typed=leaf.typed)
        if line == self._line:
            return
        self._line = line
        self._write(self._words, redacted_text(line))

    def is_typed(self) -> bool:
        """Whether somebody has just pressed keys that the leaf has read; False where that cannot be seen."""
        return self._terminal is not None and pressed_within(self._terminal, QUIET, time.time())

    def equipped(self, settings: Mapping[str, Any], continuation: Continuation) -> dict[str, Any]:
        """The settings of a life that shows. Blocks for a few reads.

        Args:
            settings: What it is given beside, our hooks among it.
            continuation: Says which settings the program reads by itself.
        """
        files = continuation.settings_files()
        sources = continuation.command.arguments.values("--setting-sources")
        own = theirs(zip(SOURCES[-len(files) :], files, strict=True), sources, settings)
        made = with_status_line(settings, own, self._words)
        hooks: dict[str, Any] = settings["hooks"]
        told = {"hooks": [{"type": "command", "command": once(self._notice), "timeout": LIMIT}]}
        return {**made, "hooks": {**hooks, STARTED: [*hooks[STARTED], told]}}

    def tell(self, notice: str) -> None:
        """Have the life that begins next say something when it is up. Blocks for one write of a small file."""
        self._write(self._notice, json.dumps({"systemMessage": redacted_text(notice)}))

    def close(self) -> None:
        """Nothing is shown any more. May be called again."""
        for file in (self._words, self._notice):
            with suppress(OSError):
                file.unlink()

    def _write(self, file: Path, text: str) -> bool:
        try:
            write_atomic(file, f"{text}\n".encode() if text else b"", durable=False)
        except StateWriteFailed as error:
            if not self._unwritten:
                self._failed(str(error))
            self._unwritten = True
            return False
        self._unwritten = False
        return True


def once(file: Path) -> str:
    """The hook that prints what is in a file, and nothing from then on: a conversation is begun by ``/clear`` and ``/resume``, too."""
    name = shlex.quote(os.fspath(file))
    return f"IFS= read -r said 2>/dev/null <{name} && : >{name} && printf '%s\\n' \"$said\"; :"


def pressed_within(terminal: int, seconds: float, wall: float) -> bool:
    """Whether a key was pressed at a terminal, and read, within so many seconds before a time, and at most `COARSE` before that.

    What the terminal itself says, as of the mouse and of its focus, counts as keys: nothing tells it apart.
    """
    try:
        return wall - os.fstat(terminal).st_atime < seconds + COARSE if os.isatty(terminal) else False
    except OSError:
        return False


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(time.time() + seconds))
