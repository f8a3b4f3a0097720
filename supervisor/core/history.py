"""What a supervisor has spent of its restart budgets, in a form that outlives it: ages instead of moments, so that no clock is in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from .breaker import CLOSED, Circuit
from .budget import Admitted, Budget, Verdict
from .draft import Draft
from .errors import InvalidField, is_count, is_duration
from .fifo import Queue
from .intensity import Window
from .spec import SupervisorFlags
from .state import State
from .value import Value, evolve

_ANY: Final = ""
"""The child of an attempt where nobody tells children apart."""


def _is_age(value: object) -> bool:
    return is_duration(value) and value != math.inf


@attrs.frozen(repr=False, eq=False)
class Spent(Value):
    """What one budget has spent.

    Attributes:
        attempts: How many seconds ago each attempt was made that still counts, oldest first.
        streak: Attempts since the last success; it sets the next cooldown.
        cooldown: Seconds that are left of the present cooldown.
        failures: Failed attempts since the last success.
        reopens_in: Seconds until an open circuit becomes half-open; None while it is closed.

    Raises:
        InvalidField: A field has an illegal value.
    """

    attempts: tuple[float, ...] = ()
    streak: int = 0
    cooldown: float = 0.0
    failures: int = 0
    reopens_in: float | None = None

    def __attrs_post_init__(self) -> None:
        given: object = self.attempts
        if not isinstance(given, tuple) or not all(map(_is_age, given)):
            raise InvalidField("attempts", given, "a tuple of seconds >= 0", where="history")
        if list(self.attempts) != sorted(self.attempts, reverse=True):
            raise InvalidField("attempts", self.attempts, "the oldest first", where="history")
        for name in ("streak", "failures"):
            if not is_count(getattr(self, name)):
                raise InvalidField(name, getattr(self, name), "an integer >= 0", where="history")
        if not _is_age(self.cooldown):
            raise InvalidField("cooldown", self.cooldown, "seconds >= 0", where="history")
        if self.reopens_in is not None and not _is_age(self.reopens_in):
            raise InvalidField("reopens_in", self.reopens_in, "seconds >= 0, or None", where="history")

    def after(self, seconds: float) -> Spent:
        """The same when this time has passed."""
        return Spent(
            tuple(age + seconds for age in self.attempts),
            self.streak,
            max(0.0, self.cooldown - seconds),
            self.failures,
            None if self.reopens_in is None else max(0.0, self.reopens_in - seconds),
        )

    def verdict(self, flags: SupervisorFlags) -> Verdict:
        """Whether one more attempt would be admitted now; `until` of an answer is seconds from now."""
        return _budget(self, flags, 0.0).verdict(flags, 0.0)

    def attempted(self, flags: SupervisorFlags, *, success: bool) -> Spent:
        """With one more attempt that was made just now, admitted or not, and is judged already."""
        budget, verdict = _budget(self, flags, 0.0).admit(_ANY, 1, flags, 0.0)
        if not isinstance(verdict, Admitted):
            window, pending = budget.window.record(0.0), budget.pending.insert(_ANY, 1)
            budget = evolve(budget, window=window, streak=budget.streak + 1, pending=pending)
        return _spent(budget.succeeded(_ANY) if success else budget.failed(_ANY, flags, 0.0), flags, 0.0)


@attrs.frozen(repr=False, eq=False)
class RestartHistory(Value):
    """What a supervisor has spent at one moment; see `SupervisorRef.history`, and `subtree` for its use.

    An attempt that had not been judged at that moment counts as an attempt, and neither as a success nor as a failure.

    Attributes:
        crashes: Of restarts after failures.
        cycles: Of controlled restarts.
    """

    crashes: Spent = Spent()
    cycles: Spent = Spent()

    def after(self, seconds: float) -> RestartHistory:
        """The same when this time has passed.

        Args:
            seconds: >= 0. Whoever does not know how much it was takes the least that it can have been: too little time keeps a
                protection up, and too much would lift it.

        Raises:
            InvalidField: That is no time.
        """
        if not _is_age(seconds):
            raise InvalidField("seconds", seconds, "seconds >= 0", where="history")
        return RestartHistory(self.crashes.after(seconds), self.cycles.after(seconds))

    def as_data(self) -> dict[str, Any]:
        """As JSON data, for `of_data`."""
        return {name: attrs.asdict(spent) for name, spent in (("crashes", self.crashes), ("cycles", self.cycles))}

    @classmethod
    def of_data(cls, data: object) -> RestartHistory:
        """From what `as_data` made, perhaps by a later version: unknown fields are ignored, missing ones are empty.

        Raises:
            InvalidField: It is something else.
        """
        if not isinstance(data, Mapping):
            raise InvalidField("history", data, "what as_data says")
        parts = {}
        for name in (field.name for field in attrs.fields(cls)):
            found = data.get(name, {})
            if not isinstance(found, Mapping):
                raise InvalidField(name, found, "what as_data says", where="history")
            fields = {field.name: found[field.name] for field in attrs.fields(Spent) if field.name in found}
            if "attempts" in fields and isinstance(fields["attempts"], list):
                fields["attempts"] = tuple(fields["attempts"])
            parts[name] = Spent(**fields)
        return cls(**parts)


History = RestartHistory | Callable[[], RestartHistory]
"""What was spent before a supervisor started, or a function that says so at each start."""


def checked_history(history: object, *, where: str) -> History | None:
    """The same, if it is one.

    Raises:
        InvalidField: It is something else.
    """
    if history is not None and not isinstance(history, RestartHistory) and not callable(history):
        raise InvalidField("history", history, "a RestartHistory, or a function that returns one", where=where)
    return history


def told(history: History | None, *, where: str) -> RestartHistory | None:
    """What was spent before this start.

    Raises:
        InvalidField: The function returned something else.
        Exception: Whatever it raised.
    """
    said = history() if callable(history) else history
    if said is not None and not isinstance(said, RestartHistory):
        raise InvalidField("history", said, "a RestartHistory", where=where)
    return said


def history_of(state: State, now: float) -> RestartHistory:
    """What a supervisor has spent at `now`, time's judgement included."""
    draft = Draft(state, now)
    draft.review_all()
    return RestartHistory(_spent(draft.crash, state.flags, now), _spent(draft.cycle, state.flags, now))


def with_history(state: State, history: RestartHistory, now: float) -> State:
    """A supervisor that has not booted, with what was spent before it. No pause is longer than its own policy's longest."""
    return evolve(state, crash=_budget(history.crashes, state.flags, now), cycle=_budget(history.cycles, state.flags, now))


def _spent(budget: Budget, flags: SupervisorFlags, now: float) -> Spent:
    reopens = budget.circuit.reopens
    return Spent(
        tuple(max(0.0, now - at) for at in budget.window.pruned(flags.period, now).times),
        budget.streak,
        max(0.0, budget.ready_at - now),
        budget.circuit.failures,
        None if reopens is None else max(0.0, reopens - now),
    )


def _budget(spent: Spent, flags: SupervisorFlags, now: float) -> Budget:
    times = [now - age for age in spent.attempts if age <= flags.period]
    ready_at, circuit = -math.inf, CLOSED
    if flags.backoff is not None and spent.cooldown:
        ready_at = now + min(spent.cooldown, flags.backoff.maximum)
    if flags.breaker is not None:
        reopens = None if spent.reopens_in is None else now + min(spent.reopens_in, flags.breaker.reset)
        circuit = Circuit(spent.failures, reopens)
    return Budget(Window(Queue(times), len(times)), spent.streak, ready_at, circuit)
