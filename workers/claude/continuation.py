"""Which conversation a leaf is in, and with which words each of its lives gets into it. Outlives the lives.

The first life gets an id of our own where the user asks for none; each later one resumes it. Two processes that resume one conversation
at the same time would both write to it, and the program does nothing against that: whoever is in one holds its lock.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import attrs

from supervisor import Value

from ..event_conversation import How
from ..state.sessions import SUFFIX, config_directory, latest_transcript, project_directories, transcript_of
from .arguments import PROMPT, Arguments
from .on_disk import OnDisk, is_id, on_disk
from .recognition import ClaudeCommand, recognised

GO_ON: Final = "Continue from where you left off."
"""What a life is told that was started for one turn and goes on with a turn that was cut: without a prompt it would not start."""

_INTO: Final = ("--session-id", "--resume", "--continue", "--fork-session", "--from-pr")
"""The options that say which conversation it is."""

_BACK: Final = ("--resume-session-at", "--rewind-files", "--reply-on-resume")
"""Those that say with which moment of one it begins: a later life would go back there again, and lose what was said since."""

_PREFILLED: Final = ("--prefill", "--prefill-b64")
"""Those with a prompt that is not said yet."""


_OFF: Final = ("CLAUDE_CODE_SAFE_MODE", "CLAUDE_CODE_SIMPLE")
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


class Held(Protocol):
    """A lock that is held."""

    def release(self) -> None:
        """Give it back."""


@attrs.frozen(repr=False, eq=False)
class Life(Value):
    """One life, before it is started.

    Attributes:
        argv: Its command.
        how: How it gets into its conversation.
        session_id: Which; None where only the program will know.
        is_anew: Whether it is told what the command was started for: its prompt, wherever that comes from.
        is_told: Whether it is told to go on.
    """

    argv: tuple[str, ...]
    how: How
    session_id: str | None
    is_anew: bool = True
    is_told: bool = False


class InUse(OSError):
    """A conversation that the user asks for, and that somebody else is in."""


class Continuation:
    """The conversation of one leaf.

    Args:
        command: The command as it is configured.
        environ: Its environment.
        directory: Where it is started, absolute.
        lock: Takes the lock of a conversation by its id; None when somebody has it.
        resume: The conversation that the first life goes on with although the command does not say so.
        new_id: Makes ids.

    Attributes:
        session_id: Which it is; None while only the program knows.
        transcript: Where the program says that it writes it; None while it has not.
        directory: Where the command is started.
    """

    def __init__(
        self,
        command: ClaudeCommand,
        environ: Mapping[str, str],
        directory: str,
        lock: Callable[[str], Held | None],
        resume: str | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.command, self.session_id = command, resume
        self.transcript: str | None = None
        self._environ = environ
        self.directory, self._config = os.path.realpath(directory), config_directory(environ)
        self._lock, self._new_id = lock, new_id
        self._held: Held | None = None
        self._begun = resume is not None
        self._lost = False

    def follows(self, argv: tuple[str, ...]) -> bool:
        """Have the next life be one of this command; False where that is no Claude Code, and nothing has changed."""
        if argv != (*self.command.program, *self.command.arguments):
            found = recognised(argv, self._environ, self.directory)
            if found is None:
                return False
            self.command = found
        return True

    def next(self, settings: tuple[str, ...] = (), cut: bool = False, go_on: str = "", *, retold: bool = False) -> Life:
        """The next life. Blocks for a few reads of the transcript.

        Args:
            settings: What it is given as ``--settings`` in place of what the user gives; empty leaves that.
            cut: Whether the life before ended in the middle of a turn.
            go_on: What it is told to go on with a turn that was cut; empty to wait for the user.
            retold: Whether it is told what was said in another conversation, which it takes the place of.

        Raises:
            InUse: Somebody else is in the conversation that the command asks for.
        """
        arguments = self.command.arguments
        if settings:
            arguments = arguments.without("--settings")
        first, self._begun = not self._begun, True
        how, into = self._first(arguments) if first and not self._lost else self._later(arguments)
        if how is not How.AS_GIVEN:
            arguments = arguments.without(*_INTO, *_BACK)
        if how is How.RESUMED:
            # the program goes back to the tree that the conversation is in, and would make another one where it has no name
            arguments = arguments.without("--worktree")
        prompt: tuple[str, ...] = ()
        goes_on = retold or how in (How.RESUMED, How.FORKED) or (how is How.AS_GIVEN and not first and arguments.is_kept)
        if goes_on:
            # it was said already, and is in the conversation
            arguments = arguments.without(PROMPT, *_PREFILLED)
            if arguments.is_one_turn:
                prompt = (go_on or GO_ON,)
            elif cut and go_on and not arguments.streams:
                prompt = (go_on,)
        # ours come first, and take one value each: an option of the user's that takes all the words it can get is not followed by them
        words = (*self.command.program, *into, *(("--settings", *settings) if settings else ()), *map(_no_option, prompt), *arguments)
        return Life(words, how, self.session_id, not goes_on, bool(prompt))

    def learned(self, session_id: str, transcript: str | None = None) -> bool:
        """Take in what the program says of its conversation; whether that is another one than it was."""
        self.transcript = transcript or self.transcript
        if session_id == self.session_id:
            return False
        self._leave()
        self.session_id, self.transcript = session_id, transcript
        self._held = self._lock(session_id)
        return True

    def coming(self) -> str | None:
        """The conversation that the next life is to go on with, as far as that is known; None for none."""
        arguments = self.command.arguments
        if not arguments.is_kept:
            return None
        if self._begun:
            return self.session_id
        named = arguments.values("--resume")
        return named[0] if named and is_id(named[0]) and not arguments.has("--fork-session") and not arguments.has("--continue") else None

    def enter(self, session_id: str) -> bool:
        """Take the lock of the conversation that the next life goes on with; whether it is ours."""
        self.session_id = session_id
        return self._take()

    def give_up(self, session_id: str) -> None:
        """Have the next life begin a new conversation."""
        if session_id == self.session_id:
            self._lost = True

    def path(self) -> Path | None:
        """The transcript; None where there is none. Blocks."""
        return None if self.session_id is None else self.path_of(self.session_id)

    def path_of(self, session_id: str) -> Path | None:
        """The transcript of a conversation; None where there is none. Blocks."""
        if self.transcript is not None and session_id == self.session_id and os.path.isfile(self.transcript):
            return Path(self.transcript)
        return None if self._config is None else transcript_of(self._config, session_id, self.directory)

    def place_of(self, session_id: str) -> Path | None:
        """Where the transcript of a conversation would be that has none; None where that is not known. Blocks."""
        if self._config is None:
            return None
        projects = self._config / "projects"
        if self.transcript is not None and session_id == self.session_id:
            told = Path(self.transcript)
            # what a hook has said could be anybody's word: nothing is written but where a transcript of that name belongs
            if told.name == f"{session_id}{SUFFIX}" and os.path.dirname(os.path.realpath(told.parent)) == os.path.realpath(projects):
                return told
        names = project_directories(self.directory)
        return projects / next((name for name in names if (projects / name).is_dir()), names[-1]) / f"{session_id}{SUFFIX}"

    def settings_files(self) -> tuple[Path, ...]:
        """The settings of the user and the project that the program reads by itself, without what the command leaves out."""
        project = Path(self.directory, ".claude")
        places = {"project": project / "settings.json", "local": project / "settings.local.json"}
        if self._config is not None:
            places = {"user": self._config / "settings.json", **places}
        wanted = self.command.arguments.values("--setting-sources")
        named = wanted[-1].split(",") if wanted else places
        return tuple(place for source, place in places.items() if source in map(str.strip, named))

    @property
    def hooks_off(self) -> str:
        """Why its command runs no hooks of settings, in words; empty where it does. Builds on plain Node know no such variable."""
        if not self.command.arguments.runs_hooks:
            return "its command turns hooks off"
        found = next((name for name in _OFF if self._environ.get(name, "").strip().lower() in _TRUE), None)
        return "" if found is None or self.command.is_plain_node else f"{found} in its environment turns hooks off"

    @property
    def config(self) -> Path | None:
        """The program's own directory."""
        return self._config

    def close(self) -> None:
        """Nobody goes on with it any more. May be called again."""
        self._leave()

    def _first(self, arguments: Arguments) -> tuple[How, tuple[str, ...]]:
        if not arguments.is_kept:
            return How.AS_GIVEN, ()
        if not any(map(arguments.has, _INTO)):
            return self._new()
        named = arguments.values("--session-id") or arguments.values("--resume")
        copies = arguments.has("--fork-session") and not arguments.has("--session-id")
        if named and is_id(named[0]) and not copies and not arguments.has("--continue"):
            self.session_id = named[0]
            if not self._take():
                raise InUse(errno.EBUSY, f"the conversation {named[0]} is in use by another guardian; add --fork-session for a copy of it")
        elif arguments.has("--continue") and not copies and (last := self._last()) is not None:
            # which one it is the program will say; nobody else begins to write to it until then
            self._held = self._lock(last)
            if self._held is None:
                advice = "add --fork-session for a copy of it, or say which one with --resume"
                raise InUse(errno.EBUSY, f"the last conversation here, {last}, is in use by another guardian; {advice}")
        return How.AS_GIVEN, ()

    def _last(self) -> str | None:
        """The conversation of this directory that was written last."""
        found = None if self._config is None else latest_transcript(self._config, self.directory)
        return None if found is None else found.stem

    def _later(self, arguments: Arguments) -> tuple[How, tuple[str, ...]]:
        if self.session_id is None or not arguments.is_kept:
            return How.AS_GIVEN, ()
        if self._lost:
            return self._new()
        there = on_disk(self.path())
        if there is OnDisk.TALK:
            into = ("--resume", self.session_id)
            if self._take():
                return How.RESUMED, into
            self.session_id = None  # the program gives the copy an id, and says so when it is up
            return How.FORKED, (*into, "--fork-session")
        if there is OnDisk.NOTHING and self._take():
            return How.NEW, ("--session-id", self.session_id)
        return self._new()

    def _new(self) -> tuple[How, tuple[str, ...]]:
        self._leave()
        self._lost = False
        self.session_id, self.transcript = self._new_id(), None
        self._take()
        return How.NEW, ("--session-id", self.session_id)

    def _take(self) -> bool:
        if self._held is None and self.session_id is not None:
            self._held = self._lock(self.session_id)
        return self._held is not None

    def _leave(self) -> None:
        if self._held is not None:
            self._held.release()
        self._held = None


def _no_option(prompt: str) -> str:
    return f" {prompt}" if prompt.startswith("-") else prompt
