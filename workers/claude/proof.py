"""Whether our hooks run in a life.

The program drops all settings that it is given, and our hooks with them, when it does not like one of them. It says so nowhere. So hooks
prove themselves: a life that is up, and in which none has run, runs none. `looked_for` is pure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from supervisor import Value, evolve

from .turn import STARTING

GRACE: Final = 3.0
"""Seconds that a hook may take after its life is seen to be up."""

NOT_RUN: Final = "the program has not run our hooks; it may have rejected --settings"


@attrs.frozen(repr=False, eq=False)
class Proof(Value):
    """What is known of the hooks of a life that was given them. Times are monotonic.

    Attributes:
        began: When it began.
        is_heard: Whether one of them was heard.
        up_at: When the life was first seen to be up without; None when it was not.
        is_missing: Whether they are known not to run.
    """

    began: float = 0.0
    is_heard: bool = False
    up_at: float | None = None
    is_missing: bool = False


def looked_for(proof: Proof, is_up: bool, now: float) -> Proof:
    """Take what was seen at `now`: whether the life is up. One that says nothing for long counts as up."""
    if proof.is_heard:
        return proof
    is_up = is_up or now - proof.began >= STARTING
    up_at = now if is_up and proof.up_at is None else proof.up_at
    return evolve(proof, up_at=up_at, is_missing=proof.is_missing or (up_at is not None and now - up_at >= GRACE))


def has_written(transcript: Path | None, since: float) -> bool:
    """Whether something was written to a transcript since some time, in seconds since the epoch. Blocks for one call."""
    try:
        return transcript is not None and transcript.stat().st_mtime >= since
    except OSError:
        return False
