"""The real Claude Code on two real terminals, one under the guardian and one without: a person sees and does the same on both."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from ..claude_code import Api, answer_questions, claude_code, remove_tool_files, scripted_api, surroundings
from ..terminals import PATIENCE, PROMPT, Sight
from .claude_run import CALM
from .guarded import Tables
from .test_claude_terminal import MARK
from .test_terminal_programs import Guarded, at_terminal

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="terminals as Linux has them"), pytest.mark.deadline(4 * PATIENCE)]
both = pytest.mark.parametrize(("build", "backend"), [("native", "trio"), ("node", "asyncio")])
PASTE, PASTED = "\x1b[200~", "\x1b[201~"
LONG = [f"pasted line {number} of many" for number in range(1, 401)]
_CHATTER = (
    r"^✻ \S+ for .*$",  # a word by chance, and a time
    r"Failed to install Anthropic marketplace.*$",
    r"\? for shortcuts",  # which any status line takes the place of
    r"^outer\$ (guard|plain) .*$",
    r"[◐◓◑◒] \w+ · /effort",
    r"· ← for agents",
    r"Tip: .*$",
)


@contextlib.contextmanager
def sitting(folder: Path, backend: str, patch: pytest.MonkeyPatch, tables: Tables = CALM) -> Iterator[tuple[Guarded, Api]]:
    """Sit at a terminal with ``guard`` and ``plain`` for commands, in a place of its own for Claude Code, with an API of its own."""
    folder.mkdir(exist_ok=True)
    with scripted_api(folder) as api:
        own = surroundings(folder, api.url)
        for name in (name for name, value in own.items() if value is None and name != "SCREENS"):
            patch.delenv(name, raising=False)
        answer_questions(folder)
        plain = folder / "plain"
        plain.write_text('#!/bin/sh\nexec "$@"\n')
        plain.chmod(0o755)
        with at_terminal(folder, backend, tables, **{name: value for name, value in own.items() if value is not None}) as at:
            yield at, api
    remove_tool_files(folder)


def begun(at: Guarded, command: str, build: str, *words: str) -> None:
    """Start the program and wait until it takes keys."""
    at.sight.type(" ".join(["clear;", command, str(claude_code(build)), *words]) + "\n")
    at.sight.until(lambda: takes_keys(at.sight), "the program's prompt")


def takes_keys(sight: Sight) -> bool:
    """Whether the program has drawn its prompt and takes keys."""
    return MARK in sight.text and 2004 in sight.screen.private_modes and not sight.cooked


@attrs.frozen
class Pair:
    """Two terminals, of which one has the guardian."""

    ours: Guarded
    plain: Guarded

    @property
    def sights(self) -> tuple[Sight, Sight]:
        """Both."""
        return self.ours.sight, self.plain.sight

    def press(self, keys: str) -> None:
        """Press keys at both."""
        for sight in self.sights:
            sight.type(keys)

    def agree(self, *shown: str, name: str = "", since: str = "", holds: Callable[[Sight], object] = lambda sight: True) -> None:
        """Wait until both show these texts, and the same screens, from the line on that holds a text."""

        def same() -> bool:
            ours, plain = (seen(sight, since) for sight in self.sights)
            # a status line has a row of its own also when it is empty, so that there is one less for what was said
            longer, shorter = (plain, ours) if len(plain) >= len(ours) else (ours, plain)
            rest = iter(longer)
            alike = len(longer) - len(shorter) <= 2 and all(line in rest for line in shorter)
            return alike and all(text in "\n".join(ours) for text in shown) and all(map(holds, self.sights))

        try:
            self.ours.sight.until(lambda: (self.plain.sight.look(), same())[1], f"both show {shown}")
        except BaseException:
            print(self.plain.sight.framed())
            raise
        if name:
            self.ours.sight.keep(f"{name}-ours")
            self.plain.sight.keep(f"{name}-plain")


def seen(sight: Sight, since: str = "") -> list[str]:
    """The lines of a screen, from the one on that holds a text, without what is there by chance, and without blank ones.

    An empty status line is a blank one.
    """
    text = sight.text.replace("\N{NO-BREAK SPACE}", " ").replace(f"/{sight.folder.name}", "/HERE")
    for pattern in _CHATTER:
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    return lines[next((at for at, line in enumerate(lines) if since in line), 0) :]


def drawn_cursor(sight: Sight) -> int | None:
    """Where in the line of the prompt the program has drawn its cursor."""
    row = max((y for y, line in enumerate(sight.look()) if line.startswith(MARK)), default=0)
    return next((x for x, cell in sight.screen.buffer[row].items() if cell.reverse), None)


@both
def test_it_is_on_a_terminal_as_without_the_guardian(build: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, pastes, the mouse, the window's size, Ctrl-Z and fg, an interrupt, Ctrl-C twice: side by side the screens are the same."""
    with (
        sitting(tmp_path / "ours", backend, monkeypatch) as (ours, api),
        sitting(tmp_path / "bare", backend, monkeypatch) as (bare, plain_api),
    ):
        pair = Pair(ours, bare)
        allowed = (*(("--permission-mode", "acceptEdits") if build == "native" else ()), "--allowedTools", "Bash")
        begun(ours, "guard", build, *allowed)
        begun(bare, "plain", build, *allowed)
        pair.agree(MARK, name=f"{build}-1-prompt")
        pair.press("helo")
        pair.agree(f"{MARK} helo")
        pair.press("\x1b[D")
        pair.agree(holds=lambda sight: drawn_cursor(sight) == 5)
        pair.press("l")
        pair.agree(f"{MARK} hello")
        pair.press("\x05")
        pair.agree(holds=lambda sight: drawn_cursor(sight) == 7)
        pair.press(" yox")
        pair.agree(f"{MARK} hello yox")
        pair.press("\x7f")
        pair.agree(f"{MARK} hello yo", holds=lambda sight: "yox" not in sight.text)
        pair.press("u")
        pair.agree(f"{MARK} hello you", name=f"{build}-2-keys")
        pair.press("\r")
        pair.agree("ok: hello you", name=f"{build}-3-answer")
        for sight in pair.sights:
            sight.resize(80, 24)
        pair.agree("ok: hello you", name=f"{build}-4-small", since="hello you", holds=lambda sight: sight.screen.cursor.y < 24)
        pair.press(f"{PASTE}first line\nsecond line{PASTED}")
        pair.agree("first line", "second line", name=f"{build}-4-paste", since="hello you")
        pair.press("\r")
        pair.agree("ok: first line", name=f"{build}-5-pasted", since="hello you")
        text = "\n".join(LONG)
        pair.press(f"{PASTE}{text}{PASTED}")
        pair.agree("Pasted text", name=f"{build}-6-long-paste", since="hello you")
        pair.press("\r")
        pair.agree(LONG[-1], name=f"{build}-7-long-pasted")
        whole = json.dumps(text).strip('"').encode()
        for one in (api, plain_api):
            ours.sight.until(lambda one=one: whole in one.log.read_bytes(), "all of it is said")  # type: ignore[misc]
        if build == "native":
            for sight in pair.sights:  # how far is a matter of how fast
                sight.type("\x1b[<64;10;5M" * 5)
                sight.shows("Jump to bottom")
            pair.press("\x1b[<65;10;5M" * 50)
            pair.agree(name=f"{build}-8-wheel", holds=lambda sight: "Jump to bottom" not in sight.text)
        pair.press("\x1a")
        for sight in pair.sights:
            sight.until(lambda sight=sight: sight.here == PROMPT, "the shell's prompt")  # type: ignore[misc]
            assert sight.front == sight.shell.pid and "suspended" in sight.text
            sight.keep(f"{build}-9-stopped-{sight.folder.name}")
            sight.type("clear; fg\n")
        pair.agree(MARK, name=f"{build}-10-fg", since=LONG[-1], holds=takes_keys)
        pair.press('FAKE: [{"tool": "Bash", "input": {"command": "tail -f /dev/null"}}]')
        pair.agree("tail -f", since="FAKE")
        pair.press("\r")
        for sight in pair.sights:
            sight.shows("Running")
        pair.press("\x03" if build == "native" else "\x1b")  # of which 2.0.77 takes the latter alone
        pair.agree("Interrupted", name=f"{build}-11-interrupted", since="FAKE")
        pair.press("\x03")
        for sight in pair.sights:
            sight.shows("again to exit")
        pair.press("\x03")
        for sight in pair.sights:
            sight.until(lambda sight=sight: sight.here == PROMPT, "the shell's prompt")  # type: ignore[misc]
            sight.keep(f"{build}-12-end-{sight.folder.name}")
