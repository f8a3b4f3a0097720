"""The mark that every process of a life carries in its environment, so that what escapes the tree can be attributed to it."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from itertools import count
from typing import Final

VARIABLE: Final = "SUPERVISOR_LIFE"
"""Holds the markers of all lives that a process belongs to, outermost first: supervisors nest, and each adds its own."""

SEPARATOR: Final = ";"

SENTRY: Final = "SUPERVISOR_SENTRY"
"""In the environment of a sentry and of what it runs."""

_ENTRY: Final = VARIABLE.encode() + b"="
_SENTRY: Final = b"\0" + SENTRY.encode() + b"="
_lives = count(1)
_token: tuple[int, str] | None = None


def run_token() -> str:
    """What the markers of all lives started by this process begin with; unlike that of every other process, past ones included."""
    global _token
    pid = os.getpid()
    if _token is None or _token[0] != pid:  # a fork of ours is another process
        _token = (pid, os.urandom(8).hex())
    return _token[1]


def new_marker(path: tuple[str, ...], generation: int) -> str:
    """A marker for one life: ``<run token>:<number>:<path>:<generation>``, unique; the path is there for people."""
    return f"{run_token()}:{next(_lives)}:{_readable(path)}:{generation}"


@lru_cache
def _readable(path: tuple[str, ...]) -> str:
    return re.sub(r"[^A-Za-z0-9_./-]", "_", "/".join(path))[-120:]


def chained(marker: str, inherited: str | None) -> str:
    """The variable's value for a child of a process whose own value is `inherited`."""
    return f"{inherited}{SEPARATOR}{marker}" if inherited else marker


def carries(value: str, marker: str) -> bool:
    """Whether a value of the variable names this life, or a life of this run when `marker` is a run token."""
    return any(life == marker or life.startswith(f"{marker}:") for life in value.split(SEPARATOR))


def value_in(environment: bytes) -> str:
    """The variable's value in a raw environment block; empty without."""
    start = 0 if environment.startswith(_ENTRY) else environment.find(b"\0" + _ENTRY) + 1
    if start == 0 and not environment.startswith(_ENTRY):
        return ""
    end = environment.find(b"\0", start)
    return environment[start + len(_ENTRY) : end if end >= 0 else None].decode(errors="replace")


def is_sentrys(environment: bytes) -> bool:
    """Whether a raw environment block is that of a sentry."""
    return _SENTRY in b"\0" + environment
