"""What a captured state gives back: checked against this host as it is now, and applied by whoever starts the command.

A state file is data from an earlier moment, not an authority: the working directory must still be what was captured, and of the
environment only the agent's own variables are taken, none that was a secret and none that named a process that is gone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from supervisor import Value

from .files import project_key
from .model import CompleteState
from .summary import DEFAULT_BUDGET, summary

PREFIX: Final = "CLAUDE_"
LONGEST_TITLE: Final = 120
"""Characters of a terminal's title."""

_NAME: Final = re.compile(r"CLAUDE_[A-Z0-9_]{1,120}", re.ASCII)
_LONGEST_VALUE: Final = 32 * 1024
_SESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_MARK: Final = re.compile(r"\[redacted: ?[a-z0-9-]+\]")  # version 1 wrote no space
_OF_A_LIFE: Final = frozenset(
    {"CLAUDE_PID", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_PROJECT_DIR"}
)
"""What the agent tells its own children: it is true of one life of one agent, and false of the next."""


class RestoreRefused(Exception):
    """A state that cannot be restored here.

    Attributes:
        state_id: Which one.
        reason: Why, for a person, with the remedy where there is one.
    """

    def __init__(self, state_id: str, reason: str) -> None:
        self.state_id, self.reason = state_id, reason
        super().__init__(f"{state_id} is not restored: {reason}")

    def __reduce__(self) -> tuple[type[RestoreRefused], tuple[str, str]]:
        return type(self), (self.state_id, self.reason)


@attrs.frozen(repr=False, eq=False)
class Conversation(Value):
    """What an agent needs to go on with a conversation.

    Attributes:
        session_id: Its id: letters, digits, dashes and underlines, so that it is never an option nor a path.
        transcript_path: Where its transcript was; None where that is not known.
        mark: Up to where the transcript was journalled; None where it was not.
        captured: All of it, as the state has it.
    """

    session_id: str
    transcript_path: str | None = None
    mark: Mapping[str, Any] | None = None
    captured: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(repr=False, eq=False)
class Restoration(Value):
    """What is to be restored of a state, checked; nothing has been applied.

    Attributes:
        state_id: Of which state.
        agent: Whose it was.
        argv: The command as it was started, secrets replaced by marks.
        working_directory: Where it worked: absolute, a directory, and within the captured project.
        environment: The agent's own variables.
        withheld: Names of such variables that are not restored, because their values are not in the state or mean nothing any more.
        title: What the terminal is to be called.
        conversation: What to go on with; None where none was understood.
    """

    state_id: str
    agent: str
    argv: tuple[str, ...]
    working_directory: str
    environment: Mapping[str, str]
    withheld: tuple[str, ...]
    title: str
    conversation: Conversation | None

    @property
    def has_whole_command(self) -> bool:
        """Whether the command can be started again from the state alone: nothing in it was a secret."""
        return bool(self.argv) and not any(_MARK.search(word) for word in self.argv)

    def first_context(self, budget_bytes: int = DEFAULT_BUDGET) -> str | None:
        """What a session is given as its first context when the captured one cannot be resumed: a summary, in Markdown.

        By us, see `summary.summary`; `summarizer.summary_of` asks the user's own command.

        Args:
            budget_bytes: Bytes of UTF-8 that it has at most.

        Returns:
            None where no conversation was captured, or none that is understood.
        """
        from .conversation import understood

        talk = None if self.conversation is None else understood(self.conversation.captured)
        return None if talk is None else summary(talk.digest, budget_bytes)


def restoration(state: CompleteState, key: str | None = None) -> Restoration:
    """What a state gives back on this host, as it is now. Nothing is applied. Blocks for a few calls of the file system.

    Args:
        state: The state.
        key: The key of the project that it was kept under; None does not compare.

    Raises:
        RestoreRefused: Its working directory is gone, is not what it was, or is not within the project; or the state is kept under
            another project than its own.
    """
    state_id = state.metadata.state_id
    project = _directory(state_id, "the project", state.project.working_directory)
    if key is not None and project_key(project) != key:
        raise RestoreRefused(state_id, f"it is kept under {key}, and that is not the key of its project {project}")
    directory = project
    if state.process.cwd is not None and state.process.cwd != project:
        directory = _directory(state_id, "the working directory", state.process.cwd)
        if not _is_within(directory, project):
            # where the process happened to be is no reason to run the agent outside of what was captured
            raise RestoreRefused(state_id, f"the working directory {directory} is not within the captured project {project}")
    environment, withheld = _environment(state.process.environment)
    return Restoration(
        state_id,
        state.metadata.agent,
        state.process.argv,
        directory,
        environment,
        withheld,
        terminal_title(f"{state.metadata.agent} - {os.path.basename(project) or project}"),
        conversation_of(state),
    )


def is_session(name: str) -> bool:
    """Whether a text can be the id of a conversation: never an option, never a path."""
    return _SESSION.fullmatch(name) is not None


def conversation_of(state: CompleteState) -> Conversation | None:
    """What is known of the conversation in a state; None where there is none, or where its names are no names.

    The path is the one that was captured: who writes there checks it first, see `transcript_target`.
    """
    told = state.conversation or {}
    session_id, path = told.get("session_id"), told.get("transcript")
    if not isinstance(session_id, str) or not is_session(session_id):
        return None
    usable = isinstance(path, str) and os.path.isabs(path) and "\0" not in path
    return Conversation(session_id, path if usable else None, state.journal, told)


def transcript_target(state: CompleteState, roots: tuple[str, ...]) -> str:
    """Where the transcript of a state is put back: exactly where it was, and never out of the agent's own directory.

    Args:
        state: The state.
        roots: The directories below which an agent keeps its transcripts.

    Raises:
        RestoreRefused: The state names no transcript, or its path leads out of all roots, by its parts or by a link, or somebody
            else could change what lies there.
    """
    state_id, told = state.metadata.state_id, conversation_of(state)
    if told is None or told.transcript_path is None:
        raise RestoreRefused(state_id, "no transcript was captured")
    path = told.transcript_path
    if os.path.normpath(path) != path or not path.endswith(f"/{told.session_id}.jsonl"):
        raise RestoreRefused(state_id, f"{path!r} is no transcript of the conversation {told.session_id}")
    folder = os.path.dirname(path)
    for root in roots:
        top = os.path.realpath(root)
        # the root itself may be behind a link of the user's; nothing below it may be
        if not _is_within(folder, os.path.normpath(root)):
            continue
        real = os.path.normpath(os.path.join(top, os.path.relpath(folder, root)))
        if os.path.realpath(real) != real:
            raise RestoreRefused(state_id, f"{folder} leads elsewhere by a link")
        wrong = _foreign(real, top)
        if wrong:
            raise RestoreRefused(state_id, wrong)
        if os.path.islink(os.path.join(real, os.path.basename(path))):
            raise RestoreRefused(state_id, f"{path} is a link, which is not followed")
        return os.path.join(real, os.path.basename(path))
    raise RestoreRefused(state_id, f"{path} is not below {' or '.join(roots)}")


def transcript_roots(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Below which directories the agent keeps transcripts, by its environment: its own of `CLAUDE_CONFIG_DIR`, else the one in the home."""
    configured = environ.get("CLAUDE_CONFIG_DIR", "")
    if os.path.isabs(configured):
        return (os.path.join(os.path.normpath(configured), "projects"),)
    return (os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".claude", "projects"),)


def terminal_title(text: str) -> str:
    """A text that can be a terminal's title: printable, and not long."""
    return "".join(char if char.isprintable() else " " for char in text)[:LONGEST_TITLE].strip()


def title_sequence(title: str) -> bytes:
    """What sets a terminal's title (OSC 0)."""
    return f"\x1b]0;{terminal_title(title)}\x07".encode(errors="replace")


def _environment(captured: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    taken: dict[str, str] = {}
    withheld: list[str] = []
    for name, value in sorted(captured.items()):
        if not _NAME.fullmatch(name):
            continue
        if name in _OF_A_LIFE or _MARK.search(value) or "\0" in value or len(value) > _LONGEST_VALUE:
            withheld.append(name)
        else:
            taken[name] = value
    return taken, tuple(withheld)


def _directory(state_id: str, what: str, path: str) -> str:
    """A captured directory, when it is still the directory that it was: captured paths are resolved, so a link in one is new."""
    if not os.path.isabs(path) or "\0" in path or os.path.normpath(path) != path:
        raise RestoreRefused(state_id, f"{what} is no plain absolute path: {path[:200]!r}")
    if not os.path.lexists(path):
        raise RestoreRefused(
            state_id, f"{what} {path} is not there any more; put it back, or start the command elsewhere without the state"
        )
    resolved = os.path.realpath(path)
    if resolved != path:
        raise RestoreRefused(state_id, f"{what} {path} leads to {resolved} now; it was no link when it was captured")
    if not os.path.isdir(path):
        raise RestoreRefused(state_id, f"{what} {path} is no directory")
    if not os.access(path, os.R_OK | os.X_OK):
        raise RestoreRefused(state_id, f"{what} {path} cannot be entered by this user")
    return path


def _is_within(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def _foreign(directory: str, top: str) -> str | None:
    """What keeps a directory and those above it, up to the top, from being this user's alone to change, or None."""
    if not hasattr(os, "geteuid"):
        return None
    while True:
        try:
            found = os.lstat(directory)
        except FileNotFoundError:
            found = None  # it would be made, for this user alone
        if found is None:
            pass
        elif found.st_uid != os.geteuid():
            return f"{directory} belongs to somebody else (user {found.st_uid})"
        elif found.st_mode & 0o022:
            return f"others can change {directory}; use chmod go-w"
        if directory == top or os.path.dirname(directory) == directory:
            return None
        directory = os.path.dirname(directory)
