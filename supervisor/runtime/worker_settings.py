"""A fork takes its settings before anything of its own runs, and says which of them the kernel refused."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from ..core import wire
from ..host.launch_report import SettingFailed
from ..host.settings import Settings
from .connection import Connection

assert sys.platform == "linux", "no process is forked for us elsewhere"

from ..host.own_settings import enter, take  # noqa: E402


def take_settings(start: wire.Start, connection: Connection) -> None:
    """Take the settings of the first message. Without one that is required this process ends here."""
    data: dict[str, Any] = start.settings or {}
    settings = Settings(**{**data, "tasks": tuple(data["tasks"])})
    if start.cwd:
        with suppress(OSError):
            os.chdir(start.cwd)  # another user may not be let in
    for step, required in ((enter, settings.required), (take, True)):
        try:
            step(settings)
        except SettingFailed as error:
            connection.send(wire.Refused(error.setting, error.errno or 0))
            if required:
                os._exit(1)
