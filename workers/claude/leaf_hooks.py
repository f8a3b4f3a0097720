"""The hooks of one leaf: what its lives are given, whether they run, and what turns them off."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import attrs

from supervisor import Value

from ..state.files import StateWriteFailed, write_atomic
from .continuation import Continuation
from .proof import NOT_RUN, Proof
from .settings import SettingsUnreadable, loaded, managed_files, off_switch, with_hooks
from .shown import Shown
from .switches import Switches


@attrs.frozen(repr=False, eq=False)
class Means(Value):
    """By what a leaf's hooks tell.

    Attributes:
        settings: Where the settings of its lives are written, in a private directory.
        pipe: The named pipe that hooks write to.
        number: What they call the leaf.
        mode: The file with its mode, which they enforce; None where there is none.
        tools: Whether they say which tool is used.
        shown: What shows a person at its terminal how it is; None where nobody sits there.
        told: What the next life is told with its first prompt, as a hook prints it; None for nothing. Blocks.
    """

    settings: Path
    pipe: Path
    number: int
    mode: str | None = None
    tools: bool = False
    shown: Shown | None = None
    told: Callable[[], str | None] = lambda: None


class LeafHooks:
    """Gives each life of a leaf its hooks, and knows whether they run. Outlives the lives.

    Args:
        continuation: The leaf's conversation.
        means: By what they tell, or, in words, why there are none.

    Attributes:
        unheard: Why hooks do not tell of the present life; empty when they do.
        proof: Whether they are known to run in it.
    """

    def __init__(self, continuation: Continuation, means: Means | str) -> None:
        self._continuation = continuation
        self._means = None if isinstance(means, str) else means
        self._never = means if isinstance(means, str) else ""
        self.unheard, self.proof = self._never, Proof()
        self._is_given, self._off, self._switches = False, "", Switches()
        self._read: tuple[tuple[str, ...], str] | None = None

    @property
    def number(self) -> int:
        """What they call the leaf; 0 where there are none."""
        return 0 if self._means is None else self._means.number

    @property
    def is_doubted(self) -> bool:
        """Whether they were given to the present life, and none has been heard."""
        return self._is_given and not self.proof.is_heard

    @property
    def shown(self) -> Shown | None:
        """What shows a person how the leaf is, by hooks and settings; None where nobody would see it."""
        means = self._means
        return None if means is None or self._continuation.command.arguments.has("--print") else means.shown

    def equip(self, generation: int) -> tuple[str, ...]:
        """The settings that a new life is given, for its command line; empty for none. Blocks for a few reads and writes."""
        settings: tuple[str, ...] = ()
        unheard = self._continuation.hooks_off or self._never
        if not unheard:
            try:
                settings = self._written(generation)
            except (SettingsUnreadable, StateWriteFailed) as error:
                unheard = str(error)
        self.unheard, self._is_given, self._off = unheard, bool(settings), ""
        self.proof = Proof(anyio.current_time())
        return settings

    def switched(self) -> bool:
        """Look whether settings turn hooks off that the present life was started with; whether that has changed. Blocks for a few reads."""
        if not self._is_given:
            return False
        self._off = self._switches.look(self._settings_files())
        return self._concluded()

    def proved(self, proof: Proof) -> bool:
        """More is known of whether they run; whether that changes `unheard`."""
        self.proof = proof
        return self._is_given and self._concluded()

    def unenforced(self, is_up: Callable[[], bool]) -> str:
        """Why a mode is not enforced in the present life; empty where it is.

        Args:
            is_up: Whether the life is seen to be up; it is wrong on the safe side that no hook runs then, and `unheard` says so only later.
        """
        if not self.unheard and self.is_doubted and (self.proof.up_at is not None or is_up()):
            return NOT_RUN
        return self.unheard

    def close(self) -> None:
        """No life comes any more. May be called again."""
        if self._means is None:
            return
        if self._means.shown is not None:
            self._means.shown.close()
        told = self._told(self._means)
        for file in (self._means.settings, told, told.with_name(f"{told.name}.once")):
            with suppress(OSError):
                file.unlink()

    def _concluded(self) -> bool:
        before, self.unheard = self.unheard, self._off or (NOT_RUN if self.proof.is_missing else "")
        return self.unheard != before

    def _settings_files(self) -> tuple[Path, ...]:
        return (*managed_files(), *self._continuation.settings_files())

    def _written(self, generation: int) -> tuple[str, ...]:
        means, continuation = self._means, self._continuation
        assert means is not None
        if (switched := off_switch(self._settings_files())) is not None:
            raise SettingsUnreadable(switched)
        said = means.told()
        told = None if said is None else os.fspath(self._told(means))
        if said is not None:
            write_atomic(self._told(means), said.encode(), durable=False)
        life = f"{means.number} {generation}"
        settings = with_hooks(self._given(), continuation.directory, os.fspath(means.pipe), life, means.mode, told, tools=means.tools)
        if self.shown is not None:
            settings = self.shown.equipped(settings, continuation)
        write_atomic(means.settings, json.dumps(settings).encode(), durable=False)
        return (os.fspath(means.settings),)

    def _given(self) -> tuple[str, ...]:
        """What the user gave as settings, as it was read last: a wrapper of the program may have removed its file since."""
        given = self._continuation.command.settings[-1:]
        if given and given[0].strip():
            try:
                self._read = given, json.dumps(loaded(given[0], self._continuation.directory))
            except SettingsUnreadable:
                if self._read is None or self._read[0] != given:
                    raise
        return () if self._read is None or self._read[0] != given else (self._read[1],)

    @staticmethod
    def _told(means: Means) -> Path:
        return means.settings.with_suffix(f"{os.extsep}told")
