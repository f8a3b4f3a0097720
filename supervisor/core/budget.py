"""The restart budget: intensity, backoff and circuit behind one question, "may it be restarted now?".

A supervisor keeps two budgets of one policy: one for restarts after failures, one for controlled restarts, so that crashes
cannot spend the budget that is meant for rescue. Waiting and deferring are no attempts: only `admit` counts.
"""

from __future__ import annotations

import math
from typing import Final

import attrs
from rpds import HashTrieMap

from .breaker import CLOSED, Circuit, CircuitState
from .intensity import EMPTY, Window
from .spec import SupervisorFlags
from .value import Value, evolve


@attrs.frozen(repr=False, eq=False)
class Admitted(Value):
    """Yes, now."""


@attrs.frozen(repr=False, eq=False)
class Wait(Value):
    """Not before `until`: a cooldown is not over."""

    until: float


@attrs.frozen(repr=False, eq=False)
class Refused(Value):
    """No, for `reason`. At `until` the answer may be another; None when time alone does not change it."""

    reason: str
    until: float | None


Verdict = Admitted | Wait | Refused

ADMITTED = Admitted()
NOTHING: Final[HashTrieMap[str, int]] = HashTrieMap()


@attrs.frozen(repr=False, eq=False)
class Proven(Value):
    """An attempt that was said to have helped: the life that it began, and what is forgotten with that."""

    generation: int
    streak: int
    failures: int


UNPROVEN: Final[HashTrieMap[str, Proven]] = HashTrieMap()


@attrs.frozen(repr=False, eq=False)
class Budget(Value):
    """What has been spent.

    Attributes:
        window: The attempts that still count against the intensity.
        streak: Attempts since the last success; it sets the next cooldown.
        ready_at: End of the present cooldown.
        circuit: The circuit's history.
        pending: The attempts that have neither succeeded nor failed yet: by child, the generation of the life that the attempt
            begins. Empty where nothing depends on it.
        proven: By child, its latest attempt if somebody said that it helped, who may take that back.
    """

    window: Window = EMPTY
    streak: int = 0
    ready_at: float = -math.inf
    circuit: Circuit = CLOSED
    pending: HashTrieMap[str, int] = NOTHING
    proven: HashTrieMap[str, Proven] = UNPROVEN

    def verdict(self, policy: SupervisorFlags, now: float) -> Verdict:
        """The answer at `now`; asking changes nothing."""
        circuit = self.circuit.state(now)
        if circuit is CircuitState.OPEN:
            return Refused("the circuit of the breaker is open after repeated failures", self.circuit.reopens)
        if self.circuit.trial:
            return Refused("the one trial of the half-open breaker is under way", None)
        if circuit is CircuitState.CLOSED:
            # what counts is the window at the moment of the attempt, and that is the end of the cooldown
            window = self.window.pruned(policy.period, max(now, self.ready_at))
            if not window.admits(policy.intensity):
                spent = f"{window.size} restarts within {policy.period:g} s, {policy.intensity} allowed"
                return Refused(spent, window.frees(policy.period))
        return Wait(self.ready_at) if now < self.ready_at else ADMITTED

    def admit(self, id: str, generation: int, policy: SupervisorFlags, now: float, u: float = 0.5) -> tuple[Budget, Verdict]:
        """Ask for a life of the child `id`, and count the attempt if it is admitted; `u` in [0, 1) places the cooldown in its jitter."""
        verdict = self.verdict(policy, now)
        if verdict is not ADMITTED:
            return self, verdict
        cooldown = policy.backoff.delay(self.streak, u) if policy.backoff else 0.0
        circuit = self.circuit.attempt(now)
        pending = self.pending
        if policy.backoff or policy.breaker:
            pending = (NOTHING if circuit.trial else pending).insert(id, generation)
        return Budget(
            window=self.window.pruned(policy.period, now).record(now),
            streak=self.streak + 1,
            ready_at=now + cooldown if cooldown else self.ready_at,
            circuit=circuit,
            pending=pending,
            proven=self.proven.discard(id),
        ), verdict

    def succeeded(self, id: str) -> Budget:
        """The attempt for `id` held: the streak is over and the circuit closed. What was spent within the window stays spent."""
        if id not in self.pending:
            return self
        window = EMPTY if self.circuit.trial else self.window
        return evolve(self, streak=0, circuit=self.circuit.succeeded(), pending=self.pending.remove(id), window=window)

    def failed(self, id: str, policy: SupervisorFlags, now: float) -> Budget:
        """The attempt for `id` did not hold: one more failure for the circuit. A circuit that opens replaces the window."""
        if id not in self.pending:
            return self
        circuit = self.circuit.failed(policy.breaker, now) if policy.breaker else self.circuit
        if circuit.state(now) is CircuitState.OPEN:
            return evolve(self, circuit=circuit, pending=NOTHING, window=EMPTY)
        return evolve(self, circuit=circuit, pending=self.pending.remove(id))

    def judged(self, id: str, generation: int, policy: SupervisorFlags, now: float, *, success: bool) -> Budget:
        """Somebody who knows says whether the attempt that began this life helped; a failure also when it has counted as a success."""
        if self.pending.get(id) == generation:
            if not success:
                return self.failed(id, policy, now)
            proof = Proven(generation, self.streak, self.circuit.failures)
            return evolve(self.succeeded(id), proven=self.proven.insert(id, proof))
        known = self.proven.get(id)
        if success or known is None or known.generation != generation:
            return self
        # as if it had never succeeded: what failed before it, and what was attempted, counts again
        circuit = self.circuit
        if policy.breaker is not None and circuit.reopens is None:
            circuit = Circuit(max(circuit.failures, known.failures)).failed(policy.breaker, now)
        return evolve(self, streak=max(self.streak, known.streak), circuit=circuit, proven=self.proven.remove(id))

    def voided(self, id: str) -> Budget:
        """The attempt for `id` was cut short by somebody else: it proves nothing, and a half-open circuit has its trial back."""
        if id not in self.pending:
            return self
        return evolve(self, circuit=self.circuit.released(), pending=self.pending.remove(id))

    def tripped(self, policy: SupervisorFlags, now: float) -> Budget:
        """The budget of a supervisor that gave up and holds: its circuit opens now, if it is not open already."""
        if policy.breaker is None or self.circuit.state(now) is CircuitState.OPEN:
            return self
        return evolve(self, circuit=self.circuit.trip(policy.breaker, now), pending=NOTHING, window=EMPTY)

    def under(self, policy: SupervisorFlags) -> Budget:
        """The same history under a new policy: without a backoff there is no cooldown, without a breaker no circuit."""
        return evolve(
            self,
            ready_at=self.ready_at if policy.backoff else -math.inf,
            circuit=self.circuit if policy.breaker else CLOSED,
            pending=self.pending if policy.backoff or policy.breaker else NOTHING,
        )

    def left(self, policy: SupervisorFlags, now: float) -> int:
        """Attempts that the window still admits at `now`."""
        left = policy.intensity - self.window.pruned(policy.period, now).size
        return left if left > 0 else 0


FRESH = Budget()
