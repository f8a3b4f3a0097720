"""The configuration as far as it is about captured states, for subcommands that run nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

from supervisor import Fault, load_config, raise_all

from .host import absolute, default_state_dir
from .model import MemoryGuardianConfig
from .run import MODE_FILE, PREFIX


def configure_states(
    file: str | None,
    environ: Mapping[str, str],
    *,
    state_dir: str | None = None,
    max_age_days: str | None = None,
    max_states: str | None = None,
    max_size: str | None = None,
) -> tuple[MemoryGuardianConfig, str]:
    """The configuration, and where states are; nothing is created.

    Args:
        file: A configuration file.
        environ: The environment.
        state_dir: The option's value; None where it was not given, as for those that follow.
        max_age_days: How long states are kept.
        max_states: How many.
        max_size: What they take together.

    Raises:
        UsageError: All faults, of all sections.
    """
    loaded = load_config(
        MemoryGuardianConfig,
        file=file,
        environ=environ,
        prefix=PREFIX,
        not_ours=(MODE_FILE,),
        options={
            ("guardian", "state_dir"): ("--state-dir", state_dir),
            ("state", "max_age_days"): ("--max-age-days", max_age_days),
            ("state", "max_states"): ("--max-states", max_states),
            ("state", "max_size"): ("--max-size", max_size),
        },
    )
    directory = absolute(loaded.config.state_dir or default_state_dir())
    faults = list(dict.fromkeys(loaded.faults))
    if os.path.lexists(directory) and not os.path.isdir(directory):
        faults.append(Fault("guardian.state_dir", f"{directory!r} is no directory"))
    raise_all(faults)
    return loaded.config, directory
