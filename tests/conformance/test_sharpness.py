"""The suite notices whatever is wrong with the machine: each mutant gives a trace that Erlang did not give, or fails a ported case."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from supervisor.testing import run
from tests.pure.otp_traces import play

from . import mutants
from .mutants import MUTANTS, Mutant
from .words import RECORDED, Json, recorded


@pytest.fixture(scope="module")
def traces() -> list[tuple[Json, list[Any]]]:
    """All that was recorded."""
    return [pair for name in RECORDED for pair in recorded(name)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_suite_notices(mutant: Mutant, traces: list[tuple[Json, list[Any]]]) -> None:
    """What is broken in this way is caught by who is said to catch it."""
    with mutant.alive():
        caught = (
            any(parts(scenario, expected) for scenario, expected in traces) if mutant.judge is mutants.RECORDED else fails(mutant.judge)
        )

    assert caught, f"nobody noticed: {mutant.name}"


def test_there_are_enough_of_them() -> None:
    """More than twenty, no two alike, and nobody catches anything while the machine is whole."""
    judges = {mutant.judge for mutant in MUTANTS} - {mutants.RECORDED}

    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 20
    assert not any(fails(judge) for judge in judges)


def parts(scenario: Json, expected: list[Any]) -> bool:
    """Whether the machine's trace is another than Erlang's; a machine that breaks down has none."""
    try:
        return play(scenario) != expected
    except NameError:
        raise  # the mutant itself is wrong
    except Exception:
        return True


def fails(judge: Any) -> bool:
    """Whether a ported case fails."""
    assert inspect.iscoroutinefunction(judge)
    try:
        run(judge)
    except NameError:
        raise  # the mutant itself is wrong
    except (Exception, pytest.fail.Exception):
        return True
    return False
