"""What a leaf that is Claude Code is equipped with before it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from ..config import ClaudeEvents, LeafRestart
from ..config.host import default_state_dir
from ..config.run import MODE_FILE
from ..event import NotificationFailed
from ..probe.parts import LeafParts
from ..state.files import StateWriteFailed, private_directory, project_key
from ..state.lock import Lock, try_lock
from ..state.runs import LOCK
from .adapter import ClaudeAdapter
from .banner import why
from .continuation import Continuation
from .conversation import Conversation
from .hook_pipe import HookPipe
from .leaf_hooks import LeafHooks, Means
from .life_input import LifeInput
from .notices import BusyChanged, Notice
from .piped import PipedPrompt, is_piped
from .recognition import ClaudeCommand, recognised
from .recovery import Recovery
from .servers import ClaudeProcesses
from .shown import Shown
from .stream import ClaudeStream

if TYPE_CHECKING:
    from ..config import GuardianRun
    from ..leaf import Leaf
    from ..ledger import Ledger
    from ..state.store import StateStore

_CONVERSATIONS: Final = "conversations"

_numbers = count(1)


class HasHooks(Protocol):
    """Who has the pipe of all agents of a run.

    Attributes:
        relays: Whether somebody passes on the run's own standard input and output.
    """

    hooks: HookPipe | None
    relays: bool


def equipped(owner: HasHooks, ledger: Ledger, leaf: Leaf, directory: Path | None) -> ClaudeAdapter | None:
    """The adapter of a leaf, around the one that it has; None when its command is no Claude Code.

    Args:
        owner: Has the pipe of the run's hooks, or gets it.
        ledger: Of the run.
        leaf: The leaf.
        directory: A private one for the files of this run; None where there is none.
    """
    agent, run = leaf.agent, ledger.run
    environ = {**os.environ, **agent.command.env}
    command = recognised(agent.command.argv, environ, agent.command.working_directory)
    if command is None or leaf.attached is not None:
        return None
    # one that was added later is another agent
    resumed = None if run.resumed is None or leaf.configured is None else run.resumed.session_id
    lock = partial(locked, (lock_directory(), lock_directory(run.state_dir), directory))
    continuation = Continuation(command, environ, agent.command.working_directory, lock, resumed)
    store = partial(_store, run) if run.config.persist_state else None
    recovery = Recovery(continuation, store, project_key(agent.command.working_directory))
    if ledger.watches:
        leaf.parts = LeafParts(ClaudeProcesses(continuation, environ))
    means = _means(owner, ledger, leaf, command, directory, recovery)
    pipe = None if isinstance(means, str) else owner.hooks
    input = _input(owner, run, leaf, command)
    ledger.reads = ledger.reads or input.other is not None
    adapter = ClaudeAdapter(
        leaf.adapter,
        Conversation(continuation, recovery, partial(_in_conversation, leaf)),
        LeafHooks(continuation, means),
        input,
        is_crash_only=agent.command.restart is LeafRestart.CRASH,
        go_on=lambda: leaf.agent.restart_policy.continue_prompt,
        parts=leaf.parts,
        listen=partial(_listen, ledger, pipe),
        why=partial(why, leaf),
    )
    if not isinstance(means, str) and means.shown is not None:
        leaf.show, leaf.is_typed = means.shown.refresh, lambda: adapter.is_typed
    leaf.is_busy = lambda: adapter.is_busy
    if input.stream is not None:
        leaf.on_due = input.stream.hold
        input.stream.on_notice = partial(_noticed, ledger, leaf, adapter, pipe, input.stream.on_notice)
    return adapter


def _means(owner: HasHooks, ledger: Ledger, leaf: Leaf, command: ClaudeCommand, directory: Path | None, recovery: Recovery) -> Means | str:
    """By what the hooks of a leaf tell; in words, why there are none."""
    if directory is None or not ledger.watches:
        return "there is nobody who would hear of them"
    if owner.hooks is None:
        try:
            owner.hooks = HookPipe(directory)
        except OSError as error:
            return f"hooks cannot tell of them: {error}"
    shown = None
    if leaf.has_terminal and not command.arguments.has("--print") and sys.platform != "win32":
        shown = Shown(leaf, directory, partial(_unshown, ledger, leaf))
    return Means(
        directory / f"{leaf.name}{os.extsep}settings",
        owner.hooks.path,
        next(_numbers),
        mode=None if leaf.adapter is None else leaf.adapter.environment.get(MODE_FILE),
        tools=ledger.run.config.hooks.claude_code is ClaudeEvents.TOOLS,
        shown=shown,
        told=recovery.told,
    )


def _input(owner: HasHooks, run: GuardianRun, leaf: Leaf, command: ClaudeCommand) -> LifeInput:
    """What the lives of a leaf read."""
    if leaf.stream is not None:
        return LifeInput(leaf.stream)
    if owner.relays and leaf.has_terminal and leaf.configured is not None and not run.detached and is_piped():
        if command.arguments.streams:
            return LifeInput(ClaudeStream(closes=True))
        if command.arguments.is_one_turn:
            return LifeInput(piped=PipedPrompt())
    return LifeInput()


def _listen(ledger: Ledger, pipe: HookPipe | None) -> None:
    from .turns import take

    for told in pipe.take() if pipe is not None and pipe.fd >= 0 else ():
        take(ledger, told)


def _noticed(
    ledger: Ledger, leaf: Leaf, adapter: ClaudeAdapter, pipe: HookPipe | None, also: Callable[[Notice], object], notice: Notice
) -> None:
    from .turns import noticed

    also(notice)
    adapter.noticed(notice)
    if isinstance(notice, BusyChanged):
        noticed(ledger, leaf, adapter, pipe, notice.busy)


def _store(run: GuardianRun, keys: bool) -> StateStore:
    """Where the states of a run are kept, and its journals.

    Raises:
        KeyUnavailable: There is no key where the configuration says.
    """
    from ..state.store import StateStore

    if not keys:
        return StateStore(run.state_dir)
    from ..state.seal import seal_of

    return StateStore(run.state_dir, seal_of(run.config.encryption))


def _in_conversation(leaf: Leaf, session_id: str | None) -> None:
    leaf.session = session_id


def _unshown(ledger: Ledger, leaf: Leaf, reason: str) -> None:
    ledger.emit(NotificationFailed(leaf.path, "status_line", reason, generation=leaf.guard.generation))


class _Unlocked:
    def release(self) -> None:
        """Nothing is held."""


def lock_directory(state_dir: str | None = None) -> Path:
    """Where the locks of conversations are: in the user's place for state, so that all who might enter one see them, or below another."""
    return Path(state_dir or default_state_dir(), _CONVERSATIONS)


def locked(directories: Iterable[Path | None], session_id: str) -> Lock | _Unlocked | None:
    """The lock of a conversation, in the first of some directories that can be written to; None when somebody else has it.

    Where no lock can be written nobody is kept out.
    """
    for directory in directories:
        with suppress(StateWriteFailed):
            if directory is not None:
                private_directory(directory, directory.parent)
                return try_lock(directory / f"{session_id}{LOCK}")
    return _Unlocked()
