"""What is told of a stream over the lives of its program: as values to whoever has it, and as one event of what an end cut."""

from __future__ import annotations

from typing import Final

import attrs

from supervisor import Exit, Ticket, Value

from ..event_conversation import ConversationCut, How
from .dialogue_news import Cut, Dropped, Effect, Line, Torn

_SHOWN: Final = 200
"""Characters of a prompt that an event has."""

_LOOKED_AT: Final = 8192
"""Bytes of it that are looked through for secrets."""


@attrs.frozen(repr=False, eq=False)
class LifeBegan(Value):
    """A life has begun.

    Attributes:
        generation: Its number.
        how: How it gets into its conversation; None where nobody said.
        session_id: Which, as far as it is known.
    """

    generation: int
    how: How | None = None
    session_id: str | None = None


@attrs.frozen(repr=False, eq=False)
class TurnCut(Value):
    """A life ended in the middle of turns.

    Attributes:
        generation: Its number.
        lines: The prompts that it was given and that have no result.
        resent: Those of them that go to the next life.
    """

    generation: int
    lines: tuple[bytes, ...]
    resent: tuple[bytes, ...] = ()


@attrs.frozen(repr=False, eq=False)
class LinesDropped(Value):
    """Answers of the caller's to questions of a life that is over."""

    lines: tuple[bytes, ...]


@attrs.frozen(repr=False, eq=False)
class LineTorn(Value):
    """A life ended within a line of its output, of which it had written so many bytes; the caller does not get them."""

    generation: int
    size: int


@attrs.frozen(repr=False, eq=False)
class LifeOver(Value):
    """A life is over, and everything it wrote was handed on."""

    generation: int
    exit: Exit


@attrs.frozen(repr=False, eq=False)
class BusyChanged(Value):
    """Whether a turn is under way has changed."""

    busy: bool


Notice = LifeBegan | TurnCut | LinesDropped | LineTorn | LifeOver | BusyChanged


def cut_event(effects: list[Effect], ticket: Ticket) -> ConversationCut | None:
    """What the end of a life cut, for the event stream; None where it cut nothing."""
    prompts: tuple[str, ...] = ()
    resent = torn = dropped = 0
    for effect in effects:
        match effect:
            case Cut(lines, again):
                prompts, resent = tuple(shown(line) for line in lines), len(again)
            case Torn(size):
                torn = size
            case Dropped(lines):
                dropped = len(lines)
            case _:
                pass
    if not (prompts or torn or dropped):
        return None
    return ConversationCut(ticket.path, prompts, resent, torn, dropped, generation=ticket.generation)


def shown(line: Line) -> str:
    """The beginning of a prompt, for a person; a secret within it is not cut in two, for nobody would know it then."""
    from ..redactor import redacted_text  # here: most lives cut nothing

    return redacted_text(line.data[:_LOOKED_AT].decode("utf-8", "replace"))[:_SHOWN]
