"""The restart budget: intensity, backoff and circuit behind one question, "may it be restarted now?".

A supervisor keeps two budgets of one policy: one for restarts after failures, one for controlled restarts, so that crashes
cannot spend the budget that is meant for rescue. Waiting and deferring are no attempts: only `admit` counts.
"""

from __future__ import annotations

import math

import attrs

from .breaker import CLOSED, Circuit, CircuitState
from .intensity import EMPTY, Window
from .spec import SupervisorFlags


@attrs.frozen
class Admitted:
    """Yes, now."""


@attrs.frozen
class Wait:
    """Not before `until`: a cooldown is not over."""

    until: float


@attrs.frozen
class Refused:
    """No, for `reason`. At `until` the answer may be another; None when time alone does not change it."""

    reason: str
    until: float | None


Verdict = Admitted | Wait | Refused

ADMITTED = Admitted()


@attrs.frozen
class Budget:
    """What has been spent.

    Attributes:
        window: The attempts that still count against the intensity.
        streak: Attempts since the last success; it sets the next cooldown.
        ready_at: End of the present cooldown.
        circuit: The circuit's history.
        pending: The child whose last attempt has neither succeeded nor failed yet.
    """

    window: Window = EMPTY
    streak: int = 0
    ready_at: float = -math.inf
    circuit: Circuit = CLOSED
    pending: str | None = None

    def verdict(self, policy: SupervisorFlags, now: float) -> Verdict:
        """The answer at `now`; asking changes nothing."""
        match self.circuit.state(now):
            case CircuitState.OPEN:
                return Refused("the circuit is open after repeated failures", self.circuit.reopens)
            case CircuitState.HALF_OPEN:
                return Refused("the one trial of the half-open circuit is under way", None) if self.circuit.trial else ADMITTED
        window = self.window.pruned(policy.period, now)
        if not window.admits(policy.intensity):
            return Refused(f"{window.size} restarts within {policy.period:g} s, {policy.intensity} allowed", window.frees(policy.period))
        return Wait(self.ready_at) if now < self.ready_at else ADMITTED

    def admit(self, id: str, policy: SupervisorFlags, now: float, u: float = 0.5) -> tuple[Budget, Verdict]:
        """Ask for the child `id`, and count the attempt if it is admitted. `u` in [0, 1) places the cooldown within its jitter."""
        verdict = self.verdict(policy, now)
        if verdict is not ADMITTED:
            return self, verdict
        cooldown = policy.backoff.delay(self.streak, u) if policy.backoff else 0.0
        return Budget(
            window=self.window.pruned(policy.period, now).record(now),
            streak=self.streak + 1,
            ready_at=now + cooldown if cooldown else self.ready_at,
            circuit=self.circuit.attempt(now),
            pending=id,
        ), verdict

    def succeeded(self, id: str) -> Budget:
        """The attempt for `id` held: the streak is over and the circuit closed. What was spent within the window stays spent."""
        if self.pending != id:
            return self
        window = EMPTY if self.circuit.trial else self.window
        return attrs.evolve(self, streak=0, circuit=self.circuit.succeeded(), pending=None, window=window)

    def failed(self, id: str, policy: SupervisorFlags, now: float) -> Budget:
        """The attempt for `id` did not hold: one more failure for the circuit. A circuit that opens replaces the window."""
        if self.pending != id:
            return self
        circuit = self.circuit.failed(policy.breaker, now) if policy.breaker else self.circuit
        opened = circuit.state(now) is CircuitState.OPEN
        return attrs.evolve(self, circuit=circuit, pending=None, window=EMPTY if opened else self.window)

    def tripped(self, policy: SupervisorFlags, now: float) -> Budget:
        """The budget of a supervisor that gave up and holds: its circuit opens now, if it is not open already."""
        if policy.breaker is None or self.circuit.state(now) is CircuitState.OPEN:
            return self
        return attrs.evolve(self, circuit=self.circuit.trip(policy.breaker, now), window=EMPTY)

    def left(self, policy: SupervisorFlags, now: float) -> int:
        """Attempts that the window still admits at `now`."""
        return max(0, policy.intensity - self.window.pruned(policy.period, now).size)


FRESH = Budget()
