"""What an application adds to what can be asked of every tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from ...core.value import Value
from .method import ControlMethod


@attrs.frozen(repr=False, eq=False)
class StatusColumn(Value):
    """A column of ``status`` beside those of every tree.

    Attributes:
        key: Of the data that `ControlExtension.about` gives.
        title: Its heading.
        unit: ``"bytes"`` or ``"seconds"`` for a number of these, empty for a text.
    """

    key: str
    title: str
    unit: str = ""


class ControlExtension:
    """An application's part of the control; this one adds nothing. Override what there is more to say about."""

    columns: ClassVar[tuple[StatusColumn, ...]] = ()
    """What ``status`` shows of each child beside state and uptime."""

    def methods(self) -> Mapping[str, ControlMethod]:
        """More methods, or others in place of those of every tree."""
        return {}

    def names(self) -> Mapping[str, tuple[str, ...]]:
        """What people call children by, with their paths."""
        return {}

    def facts(self) -> Mapping[str, Any]:
        """What ``status`` says of the whole run, as JSON data."""
        return {}

    def about(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        """What ``status`` says of one child, as JSON data; ``next`` is what happens next, for a person."""
        return {}

    async def idle(self) -> None:
        """Wait until stopping the run interrupts nobody.

        **Cancellation:** at any time, without effect.
        """

    async def restart(self, path: tuple[str, ...], reason: str) -> bool:
        """Restart a child in the application's own way, which may wait until that interrupts nobody: `about` says so as ``restart_waits``.

        Returns:
            False when it has none for this child: its supervisor is asked then.

        Raises:
            ControlRefused: It may not be restarted now.
            CallError: As of `SupervisorRef.cycle_child`.

        **Cancellation:** leaves the wait; what was asked for still happens.
        """
        return False

    async def restart_now(self, path: tuple[str, ...], reason: str) -> bool:
        """The same without waiting for anybody. See `restart`; this one does what that does.

        Raises:
            ControlRefused: It may not be restarted now.
            CallError: As of `SupervisorRef.cycle_child`.

        **Cancellation:** as of `restart`.
        """
        return await self.restart(path, reason)
