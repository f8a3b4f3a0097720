"""Words and numbers for people, made the same way everywhere."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time for a person, in the two units that matter: ``0.4 s``, ``1 min 05 s``, ``2 h 03 min``, ``3 d 04 h``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, size, lesser, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part:02d} {lesser}"
    return f"{whole // 60} min {whole % 60:02d} s"


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count} {one if count == 1 else many}"


def printable(text: str) -> str:
    """A text without control characters, so that what others wrote cannot drive a terminal: they become escapes of their codes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
