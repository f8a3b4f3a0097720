"""The machine against the recorded behaviour of the real Erlang supervisor."""

from __future__ import annotations

import pytest

from tests.conformance.words import RECORDED, difference, recorded

from .otp_traces import play


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_scenario_gives_the_trace_that_erlang_gave(name: str) -> None:
    """Line for line, over all 1,000 recorded scenarios, the machine does what OTP 29 does."""
    pairs = list(recorded(name))
    different = [difference(scenario, play(scenario), expected) for scenario, expected in pairs]

    assert [line for line in different if line is not None] == []
    assert len(pairs) == 500
