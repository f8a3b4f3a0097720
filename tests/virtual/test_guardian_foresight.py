"""The guardian's health worker over hours: a leaf that leaks is restarted before it is critical, one that does not is left alone."""

from __future__ import annotations

import math

import pytest

from supervisor import Summary
from workers.config import MonitoringConfig
from workers.event import MemoryLevelChanged, MemoryWarning, RestartCompleted, RestartInitiated, RestartRefused
from workers.policy.pressure import MemoryState
from workers.words import summary_rows

from .scripted_guardian import MIB, Memory, Watched

pytestmark = pytest.mark.anyio


def leak(at: float) -> float:
    """Warning after 13 minutes, critical after half an hour."""
    return 20 + at / 10


async def test_a_leak_is_restarted_before_it_is_critical_again_and_again() -> None:
    """Each life ends at warning, less than the horizon before critical; events, the status line and the reason say when and how fast."""
    watched = Watched(leak)
    ledger = await watched.run(6000.0)
    initiated, completed = watched.of(RestartInitiated), watched.of(RestartCompleted)

    assert len(initiated) == len(completed) == 3
    for event in initiated:
        assert event.level is MemoryState.WARNING and not event.urgent
        assert 200 - 12 <= event.memory_mb < 200
        assert ", warning (100.0 MiB): reaches critical in about " in event.reason
        assert event.reason.endswith(" (+0.1 MiB/s)")
    assert all(event.new is not MemoryState.CRITICAL for event in watched.of(MemoryLevelChanged))
    assert any(", warning, reaches critical in about 5 min (+0.1 MiB/s)" in line for line in watched.said)
    assert ledger.leaves[0].workload.growth == pytest.approx(0.1 * MIB, rel=0.05)
    assert ledger.leaves[0].workload.starts == tuple(pytest.approx((20 + 12) * MIB, rel=0.05) for _ in range(4))


async def test_events_carry_the_forecast() -> None:
    """A leaf that is old when it enters warning says with it when it will be critical."""
    watched = Watched(leak)
    await watched.run(900.0)
    (warning,), (change,) = watched.of(MemoryWarning), watched.of(MemoryLevelChanged)

    for event in (warning, change):
        data = event.as_data()
        assert data["forecast_level"] == "critical"
        assert data["forecast_seconds"] == pytest.approx(1000, rel=0.05)
        assert data["forecast_confidence"] == pytest.approx(1.0, abs=0.02)
        assert data["growth_bytes_per_second"] == pytest.approx(0.1 * MIB, rel=0.02)
    assert "; reaches critical in about 1" in warning.message


async def test_a_dry_run_says_what_it_foresees_and_goes_on() -> None:
    """It says once that it would restart, and once more when it is critical."""
    watched = Watched(leak, dry_run=True)
    await watched.run(2500.0)
    refused = watched.of(RestartRefused)

    assert [": reaches critical in about " in event.wanted for event in refused] == [True, False]
    assert not watched.of(RestartInitiated)


async def test_without_a_horizon_critical_is_waited_for() -> None:
    """``prediction_horizon = 0`` leaves the leaf alone until it has been critical for long enough, and says nothing of what comes."""
    watched = Watched(leak, MonitoringConfig(prediction_horizon=0.0))
    ledger = await watched.run(2000.0)
    (initiated,) = watched.of(RestartInitiated)

    assert ledger.leaves[0].workload.growth == pytest.approx(0.1 * MIB, rel=0.1)
    assert initiated.level is MemoryState.CRITICAL
    assert all(event.forecast_seconds is None for event in watched.of(MemoryLevelChanged))
    assert not any("reaches" in line for line in watched.said)


async def test_thresholds_that_cannot_work_are_named_in_the_summary() -> None:
    """A leaf that needs more than critical from its first minute on; one whose thresholds fit gets no such line."""
    wrong = await Watched(lambda at: 250, dry_run=True).run(600.0)
    right = await Watched(lambda at: 50).run(600.0)
    row = dict(summary_rows(wrong, Summary())).get("thresholds")

    assert row is not None
    assert row.startswith("critical (200 MiB) is no more than a new life needs (250 MiB): a restart cannot help; suggested: warning ")
    assert "thresholds" not in dict(summary_rows(right, Summary()))
    assert wrong.suggestion(wrong.leaves[0]) is not None


@pytest.mark.parametrize(
    "memory",
    [
        lambda at: min(20 + at / 2, 190),
        lambda at: 150 + 45 * math.sin(at / 60),
        lambda at: 100 + at % 95,
        lambda at: 195 - 50 * math.exp(-at / 100),
    ],
    ids=["warm-up", "waves", "teeth", "slower-and-slower"],
)
async def test_what_does_not_leak_is_left_alone(memory: Memory) -> None:
    """Close below critical for hours: no restart, and no forecast that one would be made of."""
    watched = Watched(memory)
    await watched.run(3 * 3600.0)

    assert not watched.of(RestartInitiated)
