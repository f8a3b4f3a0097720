"""The workers of a scenario: living tasks and living scripted children, and what the scenario says about them."""

from __future__ import annotations

import anyio

from supervisor.testing import AT_ONCE, NEVER, Decline, Fail, Place, Start, Stop

from .words import REASONS, Json, Refused

SLOW = 0.005
"""Seconds that a slow child takes to stop."""


class Boom(Exception):
    """What a task fails with."""


class Part:
    """A living task of the scenario."""

    def __init__(self) -> None:
        self.alive = True
        self.reason = ""
        self.told, self.over = anyio.Event(), anyio.Event()

    async def end(self, reason: str) -> None:
        """Let it end, and wait for that."""
        self.reason = reason
        self.told.set()
        await self.over.wait()


class Actor:
    """A living scripted child of the scenario."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.number = place.number

    @property
    def alive(self) -> bool:
        """Whether this life is there."""
        return self.place.up and self.place.number == self.number

    async def end(self, reason: str) -> None:
        """Let it end; that is over when this returns."""
        self.place.end(REASONS[reason])


PLAN: dict[str, Start] = {"error": Fail(Refused()), "ignore": Decline()}


def stop_of(words: Json) -> Stop:
    """How a scripted worker takes its stop."""
    match words.get("stop", "at_once"):
        case "slow":
            return Stop(SLOW)
        case "never":
            return NEVER
        case ["exit", reason]:
            return Stop(exit=REASONS[reason])
    return AT_ONCE


def killers(scenario: Json) -> set[str]:
    """The paths of workers that end, at some time, as no task can."""
    ends = [(op["path"], op["reason"]) for op in scenario["ops"] if op["op"] == "crash"]
    ends += [tuple(target) for op in scenario["ops"] if op["op"] == "crash_many" for target in op["targets"]]
    return {path for path, reason in ends if reason not in ("normal", "abnormal")}
