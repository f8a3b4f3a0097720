"""Restart protection by itself: the policy that stands above every leaf of a guardian, for whoever restarts something himself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import attrs

from supervisor import (
    Admitted,
    InvalidField,
    Refused,
    RestartHistory,
    Spent,
    SupervisorFlags,
    Value,
    Wait,
    duration,
)

from .config.flags import flags_of
from .config.model import MemoryGuardianConfig, RestartPolicy

_WHERE: Final = "RestartProtection"


@attrs.frozen(repr=False, eq=False)
class Attempt(Value):
    """One restart that was recorded. `at` is monotonic seconds."""

    at: float
    success: bool
    reason: str


class RestartProtection:
    """Whether one more restart would be wise: attempts in a window, a cooldown that grows, and a circuit after failures in a row.

    The window is `attempt_window` seconds and admits `max_attempts`. Each attempt begins a cooldown, `cooldown_multiplier` times as
    long as the one before, from `initial_cooldown` to `max_cooldown`; a success ends that streak. `circuit_failures` failures in a row
    open the circuit: no restart for `circuit_reset` seconds, then one trial.

    Args:
        config: The policy, or a configuration that has it.
        history: What was spent before, as `history` says it.
        clock: Monotonic seconds.

    Raises:
        InvalidField: `config` is of the wrong kind.

    Nothing here waits or blocks; not to be shared between threads.
    """

    def __init__(
        self,
        config: RestartPolicy | MemoryGuardianConfig | None = None,
        *,
        history: RestartHistory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given: object = config
        if given is not None and not isinstance(given, RestartPolicy | MemoryGuardianConfig):
            raise InvalidField("config", given, "a RestartPolicy, a MemoryGuardianConfig, or None", where=_WHERE)
        self.policy = config.restart_policy if isinstance(config, MemoryGuardianConfig) else config or RestartPolicy()
        self.attempts: list[Attempt] = []
        self._flags = SupervisorFlags(**flags_of(self.policy))
        self._clock = clock
        self._crashes, self._spent = (Spent(), Spent()) if history is None else (history.crashes, history.cycles)
        self._at = clock()

    def can_restart(self) -> tuple[bool, str]:
        """Whether a restart is admitted now, and why or why not, in words."""
        return admitted(self._now(), self._flags)

    def record_attempt(self, success: bool, reason: str = "") -> None:
        """Count a restart that was made, and whether it helped. One that was not admitted counts all the same.

        Raises:
            InvalidField: `success` is no boolean, or `reason` no text.
        """
        for name, value, kind, expected in (("success", success, bool, "True or False"), ("reason", reason, str, "a text that says why")):
            if not isinstance(value, kind):
                raise InvalidField(name, value, expected, where=f"{_WHERE}.record_attempt")
        self._spent = self._now().attempted(self._flags, success=success)
        self.attempts = [*self.attempts[-99:], Attempt(self._at, success, reason)]

    def get_cooldown_remaining(self) -> float:
        """Seconds that are left of the present cooldown; 0.0 when there is none."""
        return self._now().cooldown

    def reset(self) -> None:
        """Forget all attempts, cooldowns and failures, and close the circuit."""
        self._crashes = self._spent = Spent()
        self.attempts = []

    def follow(self, history: RestartHistory) -> None:
        """Go on with what somebody else has spent since, as of now; the attempts that were recorded here stay listed."""
        self._crashes, self._spent, self._at = history.crashes, history.cycles, self._clock()

    @property
    def history(self) -> RestartHistory:
        """What is spent now, for one that goes on with it: another of these, or a guardian."""
        now = self._now()
        return RestartHistory(self._crashes, now)

    def get_statistics(self) -> dict[str, Any]:
        """What was attempted, and what is left.

        Returns:
            ``total_attempts``, ``successful``, ``failed`` (of the last hundred), ``attempts_in_window``, ``attempts_left``,
            ``consecutive_failures``, ``cooldown_remaining`` (seconds), ``circuit`` (closed, open or half_open).
        """
        now = self._now()
        in_window = sum(age <= self.policy.attempt_window for age in now.attempts)
        good = sum(attempt.success for attempt in self.attempts)
        circuit = "closed" if now.reopens_in is None else "open" if now.reopens_in > 0 else "half_open"
        return {
            "total_attempts": len(self.attempts),
            "successful": good,
            "failed": len(self.attempts) - good,
            "attempts_in_window": in_window,
            "attempts_left": max(0, self.policy.max_attempts - in_window),
            "consecutive_failures": now.failures,
            "cooldown_remaining": now.cooldown,
            "circuit": circuit,
        }

    def _now(self) -> Spent:
        """What is spent as of now."""
        at = self._clock()
        passed, self._at = max(0.0, at - self._at), at
        self._spent, self._crashes = self._spent.after(passed), self._crashes.after(passed)
        return self._spent


def admitted(spent: Spent, flags: SupervisorFlags) -> tuple[bool, str]:
    """Whether one more restart is admitted, and why or why not, for a person."""
    match spent.verdict(flags):
        case Admitted():
            used = sum(age <= flags.period for age in spent.attempts)
            trial = " as the one trial after repeated failures" if spent.reopens_in is not None else ""
            return True, f"a restart is admitted{trial}: {used} of {flags.intensity} were made within {duration(flags.period)}"
        case Wait(until=until):
            return False, f"the cooldown after the last restart ends in {duration(until)}"
        case Refused(reason=reason, until=until):
            again = "" if until is None else f"; the next may be in {duration(until)}"
            return False, f"{reason}{again}"
