"""A conversation in lines of stream-json over the lives of a program: `step(dialogue, news, now) -> (dialogue, effects)`. Pure.

Prompts go in one at a time, the next one when the one before has its result. The program reads whatever it can get and answers what it
has read with fewer results than prompts; what it has read and not answered goes with it when it is killed. Everything else that is said to
it (control requests, answers to questions of its own) goes in at once, before prompts that wait, as it would take effect by itself.

Each line of the caller's goes whole to exactly one life, prompts in their order and the rest in its order, but for these: a prompt
that was declared idempotent and whose turn was cut is said again; what sets a session up (`STANDING`) is said again to each later life,
which would not know it; an answer to a question of a life that is over is for nobody.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from supervisor import Value, evolve

from .dialogue_news import (
    Began,
    Closed,
    Cut,
    Deafened,
    Deliver,
    Dropped,
    Effect,
    Ended,
    Ending,
    Held,
    Kind,
    Line,
    News,
    Said,
    Shut,
    Tick,
    Torn,
    Write,
    Wrote,
    as_object,
    failure,
    refusal,
)

BEGINNING: Final = 30.0
"""Seconds within which a prompt begins a turn; one that does not is taken for one that gets no result, and the next one goes in."""

COMING_UP: Final = 300.0
"""The same for the first one of a life, which has a conversation to read before."""

STRAY: Final = 60.0
"""Seconds of silence after which a turn that no prompt has begun is taken for over."""

ANSWERING: Final = 5.0
"""Seconds for which an unanswered control request makes the session busy: 2.0 does not answer those that it does not know."""

REPEATS: Final = 5
"""How often a prompt that may be said again is, at most."""

STANDING: Final = ("initialize", "set_model", "set_max_thinking_tokens", "set_permission_mode")
"""The control requests that last as long as the session, in the order in which they are said again."""

_TELLING: Final = (b'"result"', b'"control_re', b'"control_cancel', b'"init"', b'"background_tasks_changed"')
"""One of these is in each line of the program that says something of its turns; a quotation mark within a text is escaped."""


@attrs.frozen(repr=False, eq=False)
class Turn(Value):
    """A prompt that was said and has no result.

    Attributes:
        line: The prompt.
        by: When it is taken for one that gets no result, if its turn has not begun by then.
        begun: Whether that has.
    """

    line: Line
    by: float
    begun: bool = False


@attrs.frozen(repr=False, eq=False)
class Dialogue(Value):
    """What is known of the conversation.

    Attributes:
        closes: Whether the caller is told of what was cut in lines, too: an error for each result and each response that will not come.
        generation: The present life; None while there is none.
        is_open: Whether it may be written to.
        is_up: Whether it has begun a turn.
        is_shut: Whether it was told that nothing more comes.
        waiting: Prompts that wait.
        first: What goes in before them once there is a life.
        turns: The prompts that the present life has not answered.
        stray_since: Since when nothing was heard of a turn that no prompt has begun; None when there is none.
        tasks: Whether tasks go on in the background.
        asked: The caller's requests without a response, with the times from which they do not count as turns.
        questions: The program's own, unanswered.
        standing: What sets the session up, in the order of `STANDING`.
        swallowed: Requests whose next response the caller has already.
        is_held: Whether a restart is due.
        is_closed: Whether the caller has said everything.
        is_deaf: Whether nobody reads what is written.
        session_id: The conversation, as the program has said it; None before.
        next_tick: When a `Tick` is needed; None: not at all.
    """

    closes: bool = False
    generation: int | None = None
    is_open: bool = False
    is_up: bool = False
    is_shut: bool = False
    waiting: tuple[Line, ...] = ()
    first: tuple[Line, ...] = ()
    turns: tuple[Turn, ...] = ()
    stray_since: float | None = None
    tasks: bool = False
    asked: tuple[tuple[Line, float], ...] = ()
    questions: frozenset[str] = frozenset()
    standing: tuple[Line, ...] = ()
    swallowed: frozenset[str] = frozenset()
    is_held: bool = False
    is_closed: bool = False
    is_deaf: bool = False
    session_id: str | None = None
    next_tick: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the present life was told that nothing more comes, and has answered everything: a later one would have nothing to do."""
        return self.is_shut and not (self.turns or self.waiting or self.first or self.stray_since is not None)

    def is_busy(self, now: float) -> bool:
        """Whether the present life is in a turn, has tasks in the background, or was asked for something a moment ago."""
        return bool(self.turns) or self.stray_since is not None or self.tasks or any(now < until for _, until in self.asked)


def step(dialogue: Dialogue, news: News, now: float) -> tuple[Dialogue, tuple[Effect, ...]]:
    """Take one piece of news at `now`.

    Returns:
        The new state, and what is to be done, in order.
    """
    effects: list[Effect] = []
    match news:
        case Said(line):
            dialogue = _said(dialogue, line, effects)
        case Closed():
            dialogue = evolve(dialogue, is_closed=True)
        case Began(generation):
            dialogue = _began(dialogue, generation)
        case Wrote(lines):
            dialogue = _wrote(dialogue, lines, now, effects)
        case Ending():
            dialogue = evolve(dialogue, is_open=False)
        case Ended(rest, unread):
            dialogue = _ended(dialogue, rest, unread, effects)
        case Held(held):
            dialogue = evolve(dialogue, is_held=held)
        case Deafened():
            dialogue = evolve(dialogue, is_deaf=True, turns=(), stray_since=None)
        case Tick():
            pass
    dialogue = _say(_forgotten(dialogue, now), now, effects)
    return evolve(dialogue, next_tick=_next_tick(dialogue, now)), tuple(effects)


def _said(dialogue: Dialogue, line: Line, effects: list[Effect]) -> Dialogue:
    if line.kind is Kind.PROMPT:
        return evolve(dialogue, waiting=(*dialogue.waiting, line))
    if line.kind is Kind.RESPONSE:
        if line.id not in dialogue.questions:
            effects.append(Dropped((line,)))
            return dialogue
        dialogue = evolve(dialogue, questions=dialogue.questions - {line.id})
    return evolve(dialogue, first=(*dialogue.first, line))


def _began(dialogue: Dialogue, generation: int) -> Dialogue:
    anew = [line for line in dialogue.standing if line.id not in {other.id for other in dialogue.first}]
    return evolve(
        dialogue,
        generation=generation,
        is_open=True,
        is_shut=False,
        first=(*(evolve(line, replayed=True) for line in anew), *dialogue.first),
    )


def _wrote(dialogue: Dialogue, lines: tuple[bytes, ...], now: float, effects: list[Effect]) -> Dialogue:
    if dialogue.stray_since is not None:
        dialogue = evolve(dialogue, stray_since=now)
    passed: list[bytes] = []
    for line in lines:
        said = as_object(line) if any(word in line for word in _TELLING) else None
        if said is not None:
            response = said.get("response")
            id = response.get("request_id") if said.get("type") == "control_response" and isinstance(response, dict) else None
            if id is not None and id in dialogue.swallowed:
                dialogue = evolve(dialogue, swallowed=dialogue.swallowed - {id})
                continue
            dialogue = _told(dialogue, said, now)
        passed.append(line)
    if passed:
        effects.append(Deliver(tuple(passed)))
    return dialogue


def _told(dialogue: Dialogue, said: dict[str, Any], now: float) -> Dialogue:
    """The program says something of its turns."""
    match said:
        case {"type": "result", "origin": {"kind": str(kind)}} if kind != "human":
            # the end of a task in the background, say; a prompt that was said meanwhile has its turn yet
            turns = tuple(evolve(turn, begun=False, by=now + BEGINNING) for turn in dialogue.turns)
            dialogue = evolve(dialogue, turns=turns, stray_since=None)
        case {"type": "result"}:
            dialogue = evolve(dialogue, turns=dialogue.turns[1:], stray_since=None)
        case {"type": "system", "subtype": "init"}:
            dialogue = evolve(dialogue, is_up=True)
            if dialogue.turns:
                first, *rest = dialogue.turns
                dialogue = evolve(dialogue, turns=(evolve(first, begun=True), *rest))
            elif not dialogue.is_deaf:
                dialogue = evolve(dialogue, stray_since=now)
        case {"type": "system", "subtype": "background_tasks_changed", "tasks": list(tasks)}:
            dialogue = evolve(dialogue, tasks=bool(tasks))
        case {"type": "control_request", "request_id": str(id)}:
            dialogue = evolve(dialogue, questions=dialogue.questions | {id})
        case {"type": "control_cancel_request", "request_id": str(id)}:
            dialogue = evolve(dialogue, questions=dialogue.questions - {id})
        case {"type": "control_response", "response": {"request_id": str(id), **response}}:
            dialogue = _responded(dialogue, id, response.get("subtype") == "error")
    session_id = said.get("session_id")
    return evolve(dialogue, session_id=session_id) if isinstance(session_id, str) and session_id != dialogue.session_id else dialogue


def _responded(dialogue: Dialogue, id: str, failed: bool) -> Dialogue:
    line = next((line for line, _ in dialogue.asked if line.id == id), None)
    dialogue = evolve(dialogue, asked=tuple(one for one in dialogue.asked if one[0].id != id))
    if line is None or line.subtype not in STANDING or failed:
        return dialogue
    # the latest of each kind is what is in force
    others = [other for other in dialogue.standing if other.subtype != line.subtype]
    return evolve(dialogue, standing=tuple(sorted([*others, line], key=lambda one: STANDING.index(one.subtype))))


def _ended(dialogue: Dialogue, rest: bytes, unread: tuple[Line, ...], effects: list[Effect]) -> Dialogue:
    if rest:
        # a program that fails may say so without the end of a line
        if not rest.lstrip().startswith(b"{") or as_object(rest) is not None:
            dialogue = _wrote(dialogue, (rest,), 0.0, effects)
        else:
            effects.append(Torn(len(rest)))
    again = tuple(line for line in unread if line.kind is Kind.PROMPT)
    kept = tuple(line for line in unread if line.kind in (Kind.REQUEST, Kind.OTHER) and not line.replayed)
    lost = tuple(line for line in unread if line.kind is Kind.RESPONSE)
    lost += tuple(line for line in dialogue.first if line.kind is Kind.RESPONSE)
    cut = tuple(turn.line for turn in dialogue.turns if not any(turn.line is line for line in again))
    resent = tuple(line for line in cut if line.idempotent)
    unanswered = tuple(line for line, _ in dialogue.asked if line not in kept)
    if lost:
        effects.append(Dropped(lost))
    if cut:
        effects.append(Cut(cut, resent))
    if dialogue.closes and not dialogue.is_deaf:
        errors = [failure(dialogue.session_id) for line in cut if not line.idempotent]
        errors += [refusal(line.id) for line in unanswered]
        if errors:
            effects.append(Deliver(tuple(errors)))
    first = tuple(line for line in dialogue.first if line.kind is not Kind.RESPONSE and not line.replayed)
    return evolve(
        dialogue,
        generation=None,
        is_open=False,
        is_up=False,
        is_shut=False,
        waiting=(*map(_repeated, resent), *again, *dialogue.waiting),
        first=(*kept, *first),
        turns=(),
        stray_since=None,
        tasks=False,
        asked=(),
        questions=frozenset(),
        swallowed=frozenset(),
    )


def _repeated(line: Line) -> Line:
    """A prompt that is said again; one that has ended so many lives may be what ends them, and the next time it is an error."""
    return evolve(line, repeats=line.repeats + 1, idempotent=line.repeats + 1 < REPEATS)


def _forgotten(dialogue: Dialogue, now: float) -> Dialogue:
    """Turns that are not believed in any more."""
    if any(not turn.begun and now >= turn.by for turn in dialogue.turns):
        dialogue = evolve(dialogue, turns=tuple(turn for turn in dialogue.turns if turn.begun or now < turn.by))
    if dialogue.stray_since is not None and now >= dialogue.stray_since + STRAY:
        dialogue = evolve(dialogue, stray_since=None)
    return dialogue


def _say(dialogue: Dialogue, now: float, effects: list[Effect]) -> Dialogue:
    """Say what can be said now."""
    if not dialogue.is_open or dialogue.is_shut:
        return dialogue
    lines, dialogue = dialogue.first, evolve(dialogue, first=()) if dialogue.first else dialogue
    if lines:
        requests = [line for line in lines if line.kind is Kind.REQUEST]
        asked = tuple((line, now + ANSWERING) for line in requests if not line.replayed)
        swallowed = dialogue.swallowed | {line.id for line in requests if line.replayed}
        dialogue = evolve(dialogue, asked=(*dialogue.asked, *asked), swallowed=swallowed)
    if dialogue.waiting and not dialogue.is_held:
        if dialogue.is_deaf:
            lines, dialogue = (*lines, *dialogue.waiting), evolve(dialogue, waiting=())
        elif not dialogue.turns and dialogue.stray_since is None:
            line, *rest = dialogue.waiting
            by = now + (BEGINNING if dialogue.is_up else COMING_UP)
            lines, dialogue = (*lines, line), evolve(dialogue, waiting=tuple(rest), turns=(Turn(line, by),))
    if lines:
        effects.append(Write(lines))
    if dialogue.is_closed and not dialogue.waiting:
        effects.append(Shut())
        dialogue = evolve(dialogue, is_shut=True)
    return dialogue


def _next_tick(dialogue: Dialogue, now: float) -> float | None:
    times = [turn.by for turn in dialogue.turns if not turn.begun]
    times += [until for _, until in dialogue.asked if until > now]
    if dialogue.stray_since is not None:
        times.append(dialogue.stray_since + STRAY)
    return min(times, default=None)
