"""The event of a control that cannot be had, with its words: most runs never need it."""

from __future__ import annotations

from typing import ClassVar

import attrs

from ...core.event import Event
from ..render import Line, Tone, Words


def _told(event: ControlUnavailable) -> Line:
    return Line(f"control: {event.reason}", Tone.WARNING)


@attrs.frozen(repr=False, eq=False)
class ControlUnavailable(Event):
    """Nobody can ask about this run through its control socket, or somebody could not; the run goes on."""

    name: ClassVar[str] = "control_unavailable"
    words: ClassVar[Words] = staticmethod(_told)
    reason: str = ""
