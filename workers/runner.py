"""One command under the guardian, from its start to its exit code."""

from __future__ import annotations

import attrs

from .api import MemoryGuardian
from .config import MemoryGuardianConfig, config_of


class MemoryAwareRunner:
    """Runs commands under a guardian, one by one or several at once.

    Args:
        config: As of `MemoryGuardian`; None is the default.

    Raises:
        InvalidField: `config` is no configuration.
    """

    def __init__(self, config: MemoryGuardianConfig | None = None) -> None:
        self.config = config_of(config, "MemoryAwareRunner")

    async def run(self, *argv: str) -> int:
        """Run a command to its end, over the restarts that the guardian makes in between.

        Args:
            argv: The command and its arguments; none runs the configuration's command.

        Returns:
            The exit code, as of `MemoryGuardian.wait`.

        Raises:
            UsageError: All faults, or the command cannot be started.

        **Cancellation:** the command is stopped in order, within its times.
        """
        command = attrs.evolve(self.config.command, argv=argv) if argv else self.config.command
        async with MemoryGuardian(attrs.evolve(self.config, command=command)) as guardian:
            await guardian.start_monitoring()
            code = await guardian.wait()
        assert code is not None  # the guardian is its parent
        return code
