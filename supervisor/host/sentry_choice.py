"""Which sentry a host gets. Apart from the sentry itself, so that the question costs no event loop."""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import Final, NamedTuple

_HERE: Final = os.path.dirname(os.path.abspath(__file__))
COMPILED: Final = os.path.join(_HERE, "_sentry")
SCRIPT: Final = os.path.join(_HERE, "_sentry.sh")
SHELL: Final = "/bin/sh"


class Kind(Enum):
    """What a sentry can be, best first."""

    COMPILED = "compiled"
    SHELL = "sh"
    NONE = "none"


class SentryInUse(NamedTuple):
    """Which sentry watches over the commands of this process, for reports.

    Attributes:
        kind: ``compiled``, ``sh`` or ``none``.
        reason: Why that one, as a sentence.
    """

    kind: str
    reason: str


def sentry_in_use() -> SentryInUse:
    """Which sentry this host gets, and why; chosen once, at the first use. Nothing is started."""
    kind, reason = choice()
    return SentryInUse(kind.value, reason)


_chosen: tuple[Kind, str] | None = None


def choice() -> tuple[Kind, str]:
    """The kind, and why that one."""
    global _chosen
    if _chosen is None:
        _chosen = _best()
    return _chosen


def _best() -> tuple[Kind, str]:
    if sys.platform != "linux":
        return Kind.NONE, "a sentry reads /proc as Linux has it"
    if not os.access("/proc/self/stat", os.R_OK):
        return Kind.NONE, "/proc is not mounted"
    if os.access(COMPILED, os.X_OK):
        return Kind.COMPILED, "it was compiled with this installation"
    return _shell("none was compiled with this installation, which takes a C compiler")


def _shell(why: str) -> tuple[Kind, str]:
    if os.access(SHELL, os.X_OK) and os.access(SCRIPT, os.R_OK):
        return Kind.SHELL, why
    return Kind.NONE, f"{why}, and there is no {SHELL}"


def give_up_compiled(error: OSError) -> None:
    """The compiled one cannot be executed: a shell takes its place from now on."""
    global _chosen
    _chosen = _shell(f"the compiled one cannot be executed here: {error.strerror}")
