"""The machine against the recorded behaviour of the real Erlang supervisor."""

from __future__ import annotations

import pytest

from .otp_traces import play, scenarios


@pytest.mark.parametrize("name", ["seed1", "seed2026modern"])
def test_every_recorded_scenario_gives_the_trace_that_erlang_gave(name: str) -> None:
    """Line for line, over all 1,000 recorded scenarios, the machine does what OTP 29 does."""
    compared, different = 0, []
    for scenario, expected in scenarios(name):
        actual = play(scenario)
        compared += 1
        if actual != expected:
            line = next((i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b), min(len(actual), len(expected)))
            different.append(f"{scenario['id']} line {line}: {actual[line : line + 3]} instead of {expected[line : line + 3]}")

    assert different == []
    assert compared == 500
