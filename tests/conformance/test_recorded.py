"""The library against the recorded behaviour of the real Erlang supervisor; and what the recordings and the generator are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

from .oracle.gen import generate, written
from .otp import BACKENDS, CHILDREN, traces
from .words import RECORDED, difference, recorded

SEEDS = {"seed1": (1, False), "seed2026modern": (2026, True)}


@pytest.mark.deadline(240)
@pytest.mark.parametrize("children", CHILDREN)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_scenario_gives_the_trace_that_erlang_gave(name: str, backend: str, children: str) -> None:
    """Line for line, real supervisors over real tasks, or scripted children, do what OTP 29 does."""
    pairs = list(recorded(name))
    played = traces((scenario for scenario, _ in pairs), backend=backend, children=children)
    different = [difference(scenario, actual, expected) for actual, (scenario, expected) in zip(played, pairs, strict=True)]

    assert [text for text in different if text is not None] == []
    assert len(pairs) == 500


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_scenarios_are_those_of_their_seed(name: str) -> None:
    """The generator still makes them, byte for byte: a seed that somebody writes down stays good."""
    seed, modern = SEEDS[name]
    fresh = generate(seed, range(500), modern=modern)

    assert [json.loads(written(scenario)) for scenario in fresh] == [scenario for scenario, _ in recorded(name)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_adapter_reads_and_writes_json_lines(backend: str, tmp_path: Path) -> None:
    """As a program it takes a file of scenarios and leaves a file of traces, as the oracle does."""
    pairs = [pair for pair, _ in zip(recorded("seed1"), range(3), strict=False)]
    scenarios, answers = tmp_path / "scenarios.jsonl", tmp_path / "traces.jsonl"
    scenarios.write_text("".join(f"{written(scenario)}\n" for scenario, _ in pairs))

    command = [sys.executable, "-m", "tests.conformance.otp", str(scenarios), str(answers), "--backend", backend]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in answers.read_text().splitlines()] == [
        {"id": scenario["id"], "otp": "29", "trace": trace} for scenario, trace in pairs
    ]


def test_a_difference_is_told_with_its_operation() -> None:
    """Who reads it sees the scenario, the operation that was under way, and both traces from there on."""
    scenario, expected = next(recorded("seed1"))
    actual = [*expected]
    line = next(i for i, event in enumerate(expected) if event[:2] == ["result", 2])
    actual[line] = ["result", 2, "error", "not_alive"]

    told = difference(scenario, actual, expected)

    assert difference(scenario, expected, expected) is None
    assert told is not None
    assert f"{scenario['id']} line {line}, within operation 2: {json.dumps(scenario['ops'][1])}" in told
    assert f"Erlang: {json.dumps(expected[line])[:-1]}" in told.replace("[[", "[")
    assert '"not_alive"' in told.splitlines()[2]
