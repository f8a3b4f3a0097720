"""How much memory this host, or the control group that the guardian itself is in, can still give."""

from __future__ import annotations

import sys


def available_bytes() -> int | None:
    """Bytes that can be had without swapping; None when that cannot be told."""
    if sys.platform == "linux":
        try:
            with open("/proc/meminfo", "rb", buffering=0) as file:
                data = file.read(4096)
            at = data.index(b"MemAvailable:") + 13
            return int(data[at : data.index(b"kB", at)]) * 1024
        except (OSError, ValueError):
            return None
    import psutil

    return int(psutil.virtual_memory().available)
