"""One look at the host by itself, judged as the guardian judges it."""

from __future__ import annotations

from typing import Final

import anyio
import attrs

from supervisor import InvalidField, Value

from ..config import HealthConfig, MemoryGuardianConfig, config_of, described
from ..policy import verdict as judging
from ..policy.health import Health
from .host_looks import limits_of, places_of
from .looks import Looks
from .metrics import HealthMetrics

PATIENCE: Final = 5.0
"""Seconds that a look may take; what has not answered by then is unknown."""


@attrs.frozen(repr=False, eq=False)
class HealthReport(Value):
    """One look, and what it comes to.

    Attributes:
        metrics: What was seen.
        health: The verdict.
        reasons: Why it is not healthy, in words, the worst first; empty when it is.
    """

    metrics: HealthMetrics
    health: Health
    reasons: tuple[str, ...]


class HealthMonitor:
    """Looks at the host when it is asked to; nothing runs in between, and nothing is connected to.

    What is merely bad must be so in two looks in a row before it counts, and well in two before it no longer does. Processor time is
    known from the second look on, as the share since the one before.

    Args:
        config: The limits, as ``[health]`` has them, or a whole configuration; None is the default.

    Raises:
        InvalidField: `config` is neither.
        UsageError: All faults of a whole configuration.
    """

    def __init__(self, config: MemoryGuardianConfig | HealthConfig | None = None) -> None:
        if isinstance(config, HealthConfig):
            config = MemoryGuardianConfig(health=config)
        elif config is not None and not isinstance(config, MemoryGuardianConfig):
            raise InvalidField("config", config, "a HealthConfig, a MemoryGuardianConfig, or None", where="HealthMonitor")
        run = described(config_of(config, "HealthMonitor"))
        state_dir = run.state_dir if run.config.persist_state else None
        self._looks = Looks(places_of(state_dir, [agent.command.working_directory for agent in run.agents]), patience=PATIENCE)
        self._limits = limits_of(run.config.health)
        self._verdict = judging.Verdict()

    async def check(self) -> HealthReport:
        """Look once.

        Raises:
            TimeoutError: Not even the kernel has answered within five seconds. A disk that does not answer is only unknown.

        **Cancellation:** leaves at once; a thread that waits for a disk ends when that answers.
        """
        metrics = await self._looks.everything(anyio.current_time(), ())
        if metrics is None:
            raise TimeoutError(f"nothing was seen of the host within {PATIENCE:g} s")
        self._verdict, _ = judging.step(self._verdict, metrics.readings(), self._limits)
        return HealthReport(metrics, self._verdict.health, self._verdict.reasons)
