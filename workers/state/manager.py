"""Captured states as a class, for programs in Python: a face of the same capture, store, retention and restore that the guardian has."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import anyio.to_thread
import attrs

from supervisor import InvalidField, identify

from ..config import EncryptionConfig, MemoryGuardianConfig
from ..config.host import absolute, default_state_dir
from ..config.model import illegal_name
from .files import project_key
from .following import Conversations
from .restore import Restoration, RestoreRefused, restoration, title_sequence
from .retention import Pruned, Retention, prune
from .selection import LATEST, chosen
from .store import StateStore

if TYPE_CHECKING:
    from .following import Followed
    from .index import StateEntry
    from .looking import Seen
    from .model import CompleteState
    from .subject import Subject

T = TypeVar("T")

_WHERE: Final = "StateManager"
_log: Final = logging.getLogger("memory_guardian")


class StateManager:
    """Captures, reads, restores and removes states of one project: the directory that is the current one when it is made.

    Used alone it captures the program that calls it. Given to a `MemoryGuardian`, that keeps the states of its command in the same place.
    Its calls neither block the event loop nor need a block, and several may be under way at once.

    Args:
        state_dir: Where states are kept; None is the place that the launcher has, too.
        encryption: With which key they are encrypted; None encrypts nothing.

    Attributes:
        state_dir: As given, absolute.
        project: The project's directory, resolved.

    Raises:
        InvalidField: An argument is of the wrong kind.
    """

    def __init__(self, state_dir: str | os.PathLike[str] | None = None, *, encryption: EncryptionConfig | None = None) -> None:
        given: object = state_dir
        if given is not None and not (isinstance(given, str | os.PathLike) and isinstance(os.fspath(given), str) and os.fspath(given)):
            raise InvalidField("state_dir", state_dir, "a path, or None", where=_WHERE)
        kind: object = encryption
        if kind is not None and not isinstance(kind, EncryptionConfig):
            raise InvalidField("encryption", encryption, "an EncryptionConfig, or None", where=_WHERE)
        self.state_dir = Path(absolute(default_state_dir() if state_dir is None else os.fspath(state_dir)))
        self.encryption = encryption or EncryptionConfig()
        self.project = os.path.realpath(os.curdir)
        self._key = project_key(self.project)
        self._store: StateStore | None = None
        self._conversations = Conversations()

    async def capture_state(self, reason: str = "manual") -> CompleteState:
        """Capture the calling program and its project, and the conversation of the project where there is one that is no guess.

        That is the one that this program was started from, or else the only one of the directory. A conversation that cannot be read
        costs that part alone, with a warning in the log.

        Args:
            reason: Why, for people.

        Returns:
            The state as it was read again after it was written, without its secrets.

        Raises:
            InvalidField: `reason` is no text, or empty.
            StateWriteFailed: It could not be written; earlier states are untouched.
            StateInvalid: It holds what cannot be written.
            StateUnreadable: It was damaged or removed before it was read again.
            KeyUnavailable: The key of the encryption cannot be had.

        **Cancellation:** leaves at once; the state is on disk as a whole or not at all.
        """
        from .capture import capture

        said: object = reason
        if not isinstance(said, str) or not said.strip():
            raise InvalidField("reason", reason, "a text that says why", where="capture_state")
        store, subject = await _apart(self._opened), await _apart(self._subject)

        def follow(seen: Seen) -> Followed:
            followed = self._conversations.follow(store, self._key, subject, seen, math.inf)
            for fault in followed.faults:
                _log.warning("the %s is not captured as a whole: %s", fault.part, fault.cause)
            return followed

        captured = await capture(subject, reason, follow=follow)
        return await _apart(lambda: store.load(store.save(self.project, captured)))

    async def load_state(self, state_id: str | None = None) -> CompleteState:
        """Read a state; nothing is applied.

        Args:
            state_id: Its id, the beginning or the end of one; None is the newest of this project that can be used.

        Raises:
            NoSuchState: There is none, or it could be several.
            StateUnreadable: It is damaged, of a later format, encrypted with another key, or others could have changed it.
            KeyUnavailable: The key of the encryption cannot be had.
            OSError: The directory cannot be read.

        **Cancellation:** leaves at once.
        """
        return await _apart(lambda: self._opened().load(self._found(state_id).path))

    async def restore_state(self, state_id: str | None = None) -> Restoration:
        """Take over what a state gives back: working directory, the agent's own variables, and the title of the terminal.

        All or nothing, and of this process as a whole. Variables that are set stay. Where output goes to no terminal, none is named.

        Args:
            state_id: As for `load_state`.

        Returns:
            What was restored, with the conversation to go on with (`Restoration.conversation`), or to begin anew from (`first_context`).

        Raises:
            RestoreRefused: It cannot be restored here; nothing was changed.
            NoSuchState, StateUnreadable, KeyUnavailable, OSError: As for `load_state`.

        **Cancellation:** before anything is applied.
        """
        ready = await _apart(partial(self._ready, state_id))
        before = os.getcwd()
        try:
            os.chdir(ready.working_directory)
        except OSError as error:
            raise RestoreRefused(ready.state_id, f"{ready.working_directory}: {error.strerror}") from error
        if os.getcwd() != ready.working_directory:
            # exchanged since it was looked at
            os.chdir(before)
            raise RestoreRefused(ready.state_id, f"{ready.working_directory} leads elsewhere by a link")
        for name, value in ready.environment.items():
            os.environ.setdefault(name, value)
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            sys.__stdout__.write(title_sequence(ready.title).decode())
            sys.__stdout__.flush()
        return ready

    async def cleanup_old_states(self, max_age_days: float = 7) -> Pruned:
        """Remove the states of this project that are older; never the last good one of an agent.

        Args:
            max_age_days: Days (> 0).

        Returns:
            What was removed (`removed`), is left (`kept`), and could not be removed (`failed`).

        Raises:
            InvalidField: `max_age_days` is no number above 0.
            KeyUnavailable: The key of the encryption cannot be had.
            OSError: The directory cannot be read.

        **Cancellation:** leaves at once; what is under way goes on.
        """
        days: object = max_age_days
        if isinstance(days, bool) or not isinstance(days, int | float) or not (0 < days < math.inf):
            raise InvalidField("max_age_days", max_age_days, "a number of days above 0", where="cleanup_old_states")
        retention = Retention(max_age_days * 86400.0, None, None)
        return await _apart(lambda: prune(self._opened(), self._key, retention))

    # ------------------------------------------------------------ inside; all of it blocks

    def _opened(self) -> StateStore:
        from .seal import seal_of

        if self._store is None:
            self._store = StateStore(self.state_dir, seal_of(self.encryption))
        return self._store

    def _found(self, state_id: str | None) -> StateEntry:
        return chosen(self._opened(), self._key, LATEST if state_id is None else state_id)

    def _ready(self, state_id: str | None) -> Restoration:
        store, entry = self._opened(), self._found(state_id)
        wrong = store.untrusted(entry.key)
        if wrong:
            raise RestoreRefused(entry.state_id, wrong)
        return restoration(store.load(entry.path), entry.key)

    def _subject(self) -> Subject:
        from .subject import Subject

        pid = os.getpid()
        name = os.path.basename(sys.argv[0]) if sys.argv else ""
        agent = "python" if illegal_name(name) or name.startswith("-") else name
        subject = Subject(agent, tuple(sys.orig_argv), self.project, process=identify(pid), environment=dict(os.environ))
        path = self._transcript()
        return subject if path is None else attrs.evolve(subject, session=path.stem, transcript=str(path))

    def _transcript(self) -> Path | None:
        """The transcript of the session that this program runs within, or else the only one of the project."""
        from .sessions import config_directory, transcript_of, transcript_since

        config, session = config_directory(os.environ), os.environ.get("CLAUDE_CODE_SESSION_ID")
        if config is None:
            return None
        named = transcript_of(config, session, self.project) if session else None
        return named or transcript_since(config, self.project, 0.0)


def keeping(state_manager: object, config: MemoryGuardianConfig, where: str) -> MemoryGuardianConfig:
    """The configuration of a guardian that keeps its states where a `StateManager` does.

    Raises:
        InvalidField: It is none, or would not encrypt what the configuration encrypts.
    """
    if not isinstance(state_manager, StateManager):
        raise InvalidField("state_manager", state_manager, "a StateManager, or None", where=where)
    key = state_manager.encryption.key
    if config.encryption.key not in ("", key):
        # neither the key nor its place is anybody's to choose between
        raise InvalidField("state_manager", state_manager, "one with the encryption of the configuration", where=where)
    return attrs.evolve(config, state_dir=str(state_manager.state_dir), encryption=state_manager.encryption)


async def _apart(call: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
