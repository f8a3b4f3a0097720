"""Which children a restart takes along, and in which order they stop and start. Source: `restart/3` of OTP's ``supervisor.erl``."""

from __future__ import annotations

from collections.abc import Sequence

from .spec import Strategy


def affected(strategy: Strategy, ids: Sequence[str], failed: str) -> Sequence[str]:
    """The slice of `ids` (in start order) that restarts when `failed` does, itself included, in start order.

    Stop order is the reverse of what is returned, start order is what is returned.

    Raises:
        ValueError: `failed` is not among `ids`.
    """
    match strategy:
        case Strategy.ONE_FOR_ONE | Strategy.SIMPLE_ONE_FOR_ONE:
            return (failed,)
        case Strategy.ONE_FOR_ALL:
            return ids
        case Strategy.REST_FOR_ONE:
            return ids[ids.index(failed) :]
