"""Whether a life has come to resume its conversation, told by how it ends when it has not."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor import Entity, Exit, Handle

_CRASHES: Final = frozenset(
    {134, 139, *(-number for name in ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL") if (number := getattr(signal, name, None)) is not None)}
)
"""By which the program ends that has no memory for a conversation, or cannot bear it; a SIGKILL may be anybody's."""

_REFUSAL: Final = 1
"""The exit code of one that says that it cannot resume it, on standard error or in the first line of its output."""


@attrs.define(repr=False, eq=False)
class Resuming(Entity):
    """A life that is to resume a conversation, and has not said yet that it has.

    Attributes:
        session_id: The conversation.
        is_heard: Whether it would say so: by the hook that runs when it has, in all builds and modes.
        transcript: Where it would write.
        handle: The life.
    """

    session_id: str
    is_heard: bool
    transcript: Path | None
    handle: Handle | None = None
    _before: tuple[int, int] | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._before = self._seen()

    def is_refused(self, exit: Exit) -> bool:
        """Whether it has ended because it cannot resume it, and not because it was asked to. Blocks for one look at a file."""
        handle: Any = self.handle
        if getattr(handle, "is_stopping", False):
            return False
        code = exit.code if exit.code is not None else -(exit.signal or 0)
        if not (code == _REFUSAL or code in _CRASHES or exit.out_of_memory):
            return False
        # one that would not say so has at least written nothing
        return self.is_heard or self._seen() == self._before

    def _seen(self) -> tuple[int, int] | None:
        try:
            found = None if self.transcript is None else os.stat(self.transcript)
        except OSError:
            return None
        return None if found is None else (found.st_size, found.st_mtime_ns)
