"""``[mpm]``: what Claude MPM beside us is told."""

from __future__ import annotations

import re
from typing import Final

import attrs

from supervisor import ConfigSection, config_key, text

AUTO: Final = "auto"
OFF: Final = "off"
MONITOR_URL: Final = re.compile(r"http://(?P<host>[^\s/:@\[\]?#]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!-~]*)?")
_EXPECTED: Final = "auto, off or a URL such as http://127.0.0.1:8765"


def _monitor(value: str) -> str | None:
    if value in (AUTO, OFF):
        return None
    found = MONITOR_URL.fullmatch(value)
    if found is not None and 0 < int(found["port"] or 1) < 65536:
        return None
    return f"expected {_EXPECTED}, got {value[:60]!r}"


@attrs.frozen(repr=False, eq=False)
class MpmConfig(ConfigSection):
    """``[mpm]``: where Claude MPM's monitor is that events are posted to."""

    monitor: str = config_key(text(check=_monitor, expected=_EXPECTED), AUTO)
