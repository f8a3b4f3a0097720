"""What turns hooks off while the program runs: looked for again and again."""

from __future__ import annotations

from pathlib import Path

from .settings import off_switch


class Switches:
    """Whether some settings files turn hooks off. A file is read when it is another than at the last look."""

    def __init__(self) -> None:
        self._seen: tuple[tuple[Path, int, int, int], ...] | None = None
        self._found = ""

    def look(self, places: tuple[Path, ...]) -> str:
        """Which one does, in words; empty where none does. Blocks for a few calls of the file system."""
        seen = tuple(filter(None, map(_mark, places)))
        if seen != self._seen:
            self._seen, self._found = seen, off_switch(places) or ""
        return self._found


def _mark(place: Path) -> tuple[Path, int, int, int] | None:
    try:
        status = place.stat()
    except OSError:
        return None
    return place, status.st_ino, status.st_size, status.st_mtime_ns
