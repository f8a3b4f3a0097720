"""What a process finds in its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

Environment = dict[str, str] | dict[bytes, bytes]


def child_environment(env: Mapping[str, str | None] | None) -> dict[str, str]:
    """Our environment with additions and removals."""
    environment = dict(os.environ)
    for name, value in (env or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def started_with(env: Mapping[str, str | None] | None, own: Mapping[str, str]) -> Environment:
    """The same with the variables `own`, for `subprocess.Popen`; on Windows as texts."""
    if env or sys.platform == "win32":
        return {**child_environment(env), **own}
    # as bytes it is copied, and taken by Popen, in half the time
    return {**os.environb, **{os.fsencode(name): os.fsencode(value) for name, value in own.items()}}
