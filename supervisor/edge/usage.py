"""Faults of usage: what a person wrote that cannot be, where, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from ..core.errors import SupervisorError
from ..core.text import printable
from ..core.value import Value

LONGEST_QUOTE = 60


@attrs.frozen(repr=False, eq=False)
class Fault(Value):
    """One thing that is wrong.

    Attributes:
        place: The key's path, the option, the variable or the position; empty when it is the whole command line.
        message: What is wrong, and where it helps what to write instead.
        source: The file that `place` is a path in, if it is one.
    """

    place: str
    message: str
    source: str | None = None

    def __str__(self) -> str:
        return ": ".join(printable(part) for part in (self.source, self.place, self.message) if part)


@attrs.frozen(repr=False, eq=False)
class Clash(Fault):
    """Values that are legal one by one but not together; `among` are their fields."""

    among: tuple[str, ...] = ()


class UsageError(SupervisorError):
    """The program cannot do what it was told; `faults` are all that were found. The launcher ends with exit code 2."""

    def __init__(self, faults: Iterable[Fault | str]) -> None:
        given = [faults] if isinstance(faults, str) else faults
        self.faults: tuple[Fault, ...] = tuple(fault if isinstance(fault, Fault) else Fault("", fault) for fault in given)
        super().__init__("; ".join(str(fault) for fault in self.faults))


def raise_all(faults: Sequence[Fault]) -> None:
    """Raise what was found, if anything was.

    Raises:
        UsageError: There is at least one fault.
    """
    if faults:
        raise UsageError(faults)


def quote(value: object) -> str:
    """A value as a person may have written it, on one line and short; TOML's words for booleans."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        # repr refuses an integer of more than 4300 digits
        return repr(value) if isinstance(value, float) or value.bit_length() < 200 else "an integer of more than 60 digits"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_QUOTE else value[: LONGEST_QUOTE - 3] + "...")
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return f"a {type(value).__name__}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known word, or nothing: ``" (did you mean 'warning'?)"``."""
    import difflib

    near = difflib.get_close_matches(word[:200], list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
