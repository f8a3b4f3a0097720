"""How many descriptors this process may have open: more than its leaves get, where it has many of them.

The usual soft limit of 1024 is there for programs that use select(2). We do not; a command may, so it gets the limit that we were given.
"""

from __future__ import annotations

import sys

_given: int | None = None


def raise_descriptor_limit(count: int) -> int | None:
    """Let this process have so many descriptors open, as far as its hard limit goes; never fewer than before.

    Args:
        count: How many.

    Returns:
        How many it may have open now; None for any number, or where nothing limits them.
    """
    global _given
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if wanted <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft  # macOS allows less than its hard limit says
    if _given is None:
        _given = soft
    return wanted


def given() -> int | None:
    """The soft limit that this process was given; None where it is the one that it has."""
    return _given
