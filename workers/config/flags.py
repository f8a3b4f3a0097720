"""What a restart policy means to the supervisor that carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor import Backoff, Breaker, GiveUp

if TYPE_CHECKING:
    from .model import RestartPolicy


def flags_of(policy: RestartPolicy) -> dict[str, Any]:
    """The flags of a supervisor that protects its child by this policy."""
    return {
        "intensity": policy.max_attempts,
        "period": policy.attempt_window,
        "backoff": Backoff(policy.initial_cooldown, policy.cooldown_multiplier, policy.max_cooldown),
        "breaker": Breaker(policy.circuit_failures, policy.circuit_reset),
        "on_give_up": GiveUp.HOLD,
        "stability": policy.stability_period,
    }
