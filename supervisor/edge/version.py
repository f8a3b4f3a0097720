"""Which version of which installation this is."""

from __future__ import annotations

import os


def version() -> str:
    """The distribution's version, and the place of the package: supervisord's package has the same name."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        number = installed("memory-guardian")
    except PackageNotFoundError:
        number = "from source"
    return f"memory-guardian {number} ({os.path.dirname(os.path.dirname(os.path.abspath(__file__)))})"
