"""Settings that an organization has put on this host, above everybody's own. They are read and never written.

The places are those of 1.0.128, 2.0.77 and 2.1.332, which agree in them; what a server or the registry of Windows manages is not looked at.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .settings import SettingsUnreadable, loaded

FILES: Final = 100
"""Files beside the first one that are read."""


def _directory() -> Path:
    if sys.platform == "darwin":
        return Path("/Library/Application Support/ClaudeCode")
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMFILES", "C:\\Program Files"), "ClaudeCode")
    return Path("/etc/claude-code")


MANAGED: Final = _directory()
"""The directory of what is managed."""


def managed_settings(directory: Path = MANAGED) -> tuple[Path, ...]:
    """The files of what is managed, whether or not they are there. Blocks."""
    try:
        names = sorted(os.listdir(directory / "managed-settings.d"))
    except OSError:
        names = []
    beside = [name for name in names if name.endswith(".json") and not name.startswith(".")]
    return (directory / "managed-settings.json", *(directory / "managed-settings.d" / name for name in beside[:FILES]))


def managed_off_switch(places: Iterable[Path]) -> str | None:
    """Which of the managed files has the program run no hooks but its own, if one does. Blocks."""
    for place in places:
        try:
            settings = loaded(os.fspath(place), os.sep)
        except SettingsUnreadable:
            continue  # not there, or the program's to complain about
        for key in ("disableAllHooks", "allowManagedHooksOnly"):
            if settings.get(key) is True:
                return f"{place}, which your organization manages, says {key}"
    return None
