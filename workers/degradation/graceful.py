"""The degradation ladder for a program: of a guardian's leaf, or of whatever the program itself turns off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor import InvalidField

from ..ledger import ModeRequest
from ..policy import ladder as rungs
from ..policy.ladder import Activity, Cause, DegradationMode, Ladder

if TYPE_CHECKING:
    from ..api import MemoryGuardian


class GracefulDegradation:
    """Asks for modes, and says which one is in effect.

    Args:
        guardian: Whose leaf; its mode is the highest that anything asks for: memory, health, failures, and this. None: a ladder of its own,
            which nothing but this asks.

    Raises:
        InvalidField: `guardian` is something else.
    """

    def __init__(self, guardian: MemoryGuardian | None = None) -> None:
        if guardian is not None and not hasattr(type(guardian), "monitoring"):  # the class itself is above this room
            raise InvalidField("guardian", guardian, "a MemoryGuardian, or None", where="GracefulDegradation")
        self._guardian = guardian
        self._own = Ladder()

    @property
    def mode(self) -> DegradationMode:
        """The mode in effect.

        Raises:
            RuntimeError: The guardian monitors nothing.
        """
        return self._own.mode if self._guardian is None else self._guardian.monitoring.leaf.mode

    def permits(self, activity: Activity) -> bool:
        """Whether the mode in effect leaves this on.

        Raises:
            RuntimeError: The guardian monitors nothing.
        """
        return rungs.permits(self.mode, activity)

    def apply_degradation(self, mode: DegradationMode, reason: str = "on request") -> None:
        """Ask for a mode from now on, in place of what was asked for here before; normal asks for nothing any more.

        Of a guardian's leaf the mode changes a moment later, with the event `DegradationChanged`, and the leaf hears of it as it is
        configured; a guardian that does not watch, because ``enabled`` is off, changes nothing.

        Args:
            mode: The mode, or its value as a text.
            reason: Why, in words, for the events.

        Raises:
            InvalidField: There is no such mode.
            RuntimeError: The guardian monitors nothing.
        """
        try:
            mode = DegradationMode(mode)
        except ValueError:
            known = ", ".join(one.value for one in DegradationMode)
            raise InvalidField("mode", mode, f"one of {known}", where="apply_degradation") from None
        wanted = None if mode is DegradationMode.NORMAL else mode
        if self._guardian is not None:
            now = self._guardian.monitoring
            now.known.modes.put(ModeRequest(now.leaf, Cause.REQUEST, wanted, reason, at_once=True))
        elif wanted is None:
            self._own, _ = rungs.forget(self._own, Cause.REQUEST)
        else:
            self._own, _ = rungs.degrade(self._own, wanted, Cause.REQUEST)
