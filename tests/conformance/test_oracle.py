"""The library against the real Erlang supervisor, over scenarios that nobody has seen before."""

from __future__ import annotations

import os
import random

import pytest

from .fresh import differences
from .oracle import run_oracle

COUNT, PART = 2000, 250


@pytest.mark.deadline(300)
@pytest.mark.parametrize("start", range(0, COUNT, PART))
def test_fresh_scenarios_give_the_traces_that_erlang_gives(start: int) -> None:
    """2,000 scenarios of a new seed, in parts: Erlang and both event loops agree line for line, with tasks and with scripted children.

    CI says its seed at the beginning (`ORACLE_SEED`); another run takes one of its own and tells it here.
    """
    release = run_oracle.release()
    if release is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no erl: tools/install-optional.sh erlang should have installed it")
        pytest.skip("no erl here: `make oracle` installs it")
    seed = os.environ.get("ORACLE_SEED") or str(random.randrange(1_000_000_000))
    told = differences(seed, range(start, start + PART), release)

    assert told == [], f"{len(told)} differences; again: make oracle SEED={seed} COUNT={start + PART}"
