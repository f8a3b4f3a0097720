"""What the keys of ``[restart]`` and ``[monitoring]`` do: each says when something happens, or how often, and none has its default here."""

from __future__ import annotations

from itertools import pairwise

import pytest

from supervisor import ChildExited, Size, SupervisorGaveUp
from workers.config import MonitoringConfig, RestartPolicy
from workers.event import (
    STOPPED,
    CaptureFailed,
    MemoryFloorChanged,
    MemoryLevelChanged,
    MemoryWarning,
    RestartCompleted,
    RestartFailed,
    RestartInitiated,
    RestartRefused,
)

from .scripted_guardian import MIB, Watched

pytestmark = pytest.mark.anyio

FLAT = {"normal": 50, "warning": 150, "critical": 250, "emergency": 350}
OFTEN = MonitoringConfig(1.0, 1.0, 1.0, 1.0, prediction_horizon=0.0)


def gaps(times: list[float]) -> list[float]:
    """The time between each and the next, in whole seconds."""
    return [round(later - earlier) for earlier, later in pairwise(times)]


@pytest.mark.parametrize(("level", "seconds"), [("normal", 40), ("warning", 20), ("critical", 10), ("emergency", 4)])
async def test_the_interval_of_each_level(level: str, seconds: int) -> None:
    """What does not grow is looked at once in the interval of its level."""
    watched = Watched(lambda at: FLAT[level], MonitoringConfig(40.0, 20.0, 10.0, 4.0), dry_run=True)
    await watched.run(400.0)
    assert set(gaps(watched.sampled)[2:]) == {seconds}


async def test_so_many_samples_at_critical() -> None:
    """The restart comes with the sample of that number, and not before."""
    watched = Watched(lambda at: 250 if at < 100 else 50, MonitoringConfig(4.0, 4.0, 4.0, 4.0, critical_samples=7, prediction_horizon=0.0))
    await watched.run(60.0)
    (initiated, *_) = watched.times(RestartInitiated)
    assert sum(at <= watched.sampled[0] + initiated for at in watched.sampled) >= 7
    assert watched.of(RestartInitiated)[0].reason.endswith("over 7 samples")


async def test_a_turn_has_its_grace() -> None:
    """In the middle of a turn a restart that is due waits as long as is configured."""
    monitoring = MonitoringConfig(1.0, 1.0, 1.0, 1.0, critical_samples=1, critical_grace=77.0, prediction_horizon=0.0)
    watched = Watched(lambda at: 250, monitoring, busy=True)
    await watched.run(100.0)
    (critical, *_), (initiated, *_) = watched.times(MemoryLevelChanged), watched.times(RestartInitiated)
    assert initiated - critical == pytest.approx(77.0, abs=0.01)


@pytest.mark.parametrize(("amount", "patience"), [(250, 17), (350, 6)], ids=["critical", "emergency"])
async def test_a_capture_has_its_time(amount: int, patience: int) -> None:
    """One that never ends is given up after it, which is said, and the restart goes on; in an emergency it has less."""
    monitoring = MonitoringConfig(
        1.0, 1.0, 1.0, 1.0, critical_samples=1, capture_timeout=17.0, emergency_capture_timeout=6.0, prediction_horizon=0.0
    )
    watched = Watched(lambda at: amount if len(watched.born) == 1 else 50, monitoring, deaf=True)
    await watched.run(60.0)
    (initiated,), (failed,) = watched.times(RestartInitiated), watched.times(CaptureFailed)
    assert failed - initiated == pytest.approx(patience)
    assert watched.of(CaptureFailed)[0].cause == f"it took longer than {patience} s"
    assert watched.lives[1] == pytest.approx(failed) and watched.of(RestartCompleted)


async def test_a_capture_ahead_has_its_time_too() -> None:
    """One that was begun at warning and never ends has failed after it, which is said once."""
    watched = Watched(lambda at: 150, MonitoringConfig(1.0, 1.0, 1.0, 1.0, capture_timeout=13.0, prediction_horizon=0.0), deaf=True)
    await watched.run(60.0)
    (warned,), (failed,) = watched.times(MemoryWarning), watched.times(CaptureFailed)
    assert failed - warned == pytest.approx(13.0)
    assert watched.of(CaptureFailed)[0].reason == "memory is at 150.0 MiB, warning"


async def test_who_cannot_be_seen_is_restarted_after_a_time() -> None:
    """Since when it could not be read counts; with 0 it is never restarted for that."""
    blind, patient = (Watched(lambda at: None, MonitoringConfig(blind_restart_after=after)) for after in (90.0, 0.0))
    for watched in (blind, patient):
        await watched.run(150.0)
    assert blind.times(RestartInitiated)[0] == pytest.approx(90.5) and not patient.of(RestartInitiated)


@pytest.mark.parametrize("reserve", [5, 3], ids=["below", "above"])
async def test_the_host_keeps_its_reserve(reserve: int) -> None:
    """What is in an emergency and may not be restarted is stopped when the host has less than its reserve, and not sooner."""
    monitoring = MonitoringConfig(1.0, 1.0, 1.0, 1.0, host_reserve=Size(amount_bytes=reserve * MIB), prediction_horizon=0.0)
    policy = RestartPolicy(max_attempts=1, initial_cooldown=0.0, max_cooldown=0.0, ineffective_window=0.0, stability_period=0.0)
    watched = Watched(lambda at: 50 if at < 20 else 350, monitoring, policy, host_available=4 * MIB)
    await watched.run(100.0)
    said = [event for event in watched.of(RestartRefused) if event.wanted == STOPPED]
    ended = [at for at in watched.times(ChildExited, "leaf") if at < 99.0]
    assert len(watched.of(RestartInitiated)) == 1
    assert (len(said), len(ended)) == ((1, 2) if reserve == 5 else (0, 1))


# ------------------------------------------------------------ [restart]


async def test_the_pause_between_restarts_grows_to_its_bound() -> None:
    """The first is at once; the next waits for the first cooldown, each so many times longer, and none longer than the longest."""
    policy = RestartPolicy(100, 1e6, initial_cooldown=10.0, cooldown_multiplier=3.0, max_cooldown=60.0, circuit_failures=100)
    watched = Watched(lambda at: 50, policy=policy, lifetime=1.0)
    await watched.run(250.0)
    assert gaps(watched.lives) == [1, 10, 30, 60, 60, 60]


@pytest.mark.parametrize(("lifetime", "gap"), [(26.0, 26), (24.0, 32)], ids=["long", "short"])
async def test_a_life_counts_as_stable_after_its_period(lifetime: float, gap: int) -> None:
    """A life that was up for as long ends the streak of those that were not: no pause is longer than the first."""
    policy = RestartPolicy(
        100, 1e6, initial_cooldown=8.0, cooldown_multiplier=2.0, max_cooldown=32.0, circuit_failures=100, stability_period=25.0
    )
    watched = Watched(lambda at: 50, policy=policy, lifetime=lifetime)
    await watched.run(300.0)
    assert gaps(watched.lives)[-1] == gap


@pytest.mark.parametrize(("window", "admitted"), [(100.0, True), (140.0, False)], ids=["past", "within"])
async def test_so_many_attempts_within_a_window(window: float, admitted: bool) -> None:
    """Two are admitted within it; the third is when the first is no longer in it, and else protection gives up."""
    policy = RestartPolicy(2, window, 0.0, 0.0, circuit_failures=100, circuit_reset=1e5)
    watched = Watched(lambda at: 50, policy=policy, lifetime=60.0)
    await watched.run(400.0)
    assert len(watched.lives) == (7 if admitted else 3)
    assert bool(watched.of(SupervisorGaveUp)) is not admitted


async def test_failures_in_a_row_open_the_circuit_for_its_time() -> None:
    """After so many no life is begun until the circuit admits its trial."""
    policy = RestartPolicy(100, 1e6, 0.0, 0.0, circuit_failures=4, circuit_reset=700.0)
    watched = Watched(lambda at: 50, policy=policy, lifetime=1.0)
    await watched.run(1000.0)
    assert gaps(watched.lives) == [1, 1, 1, 1, 701]


@pytest.mark.parametrize(("window", "fails"), [(150.0, True), (90.0, False)], ids=["within", "past"])
async def test_memory_that_is_back_within_the_window_is_a_failure(window: float, fails: bool) -> None:
    """Critical again after 120 seconds: the restart before has failed, if the window is longer than that."""
    policy = RestartPolicy(100, 1e6, 0.0, 0.0, circuit_failures=100, ineffective_window=window)
    watched = Watched(lambda at: 50 if at < 120 else 250, OFTEN, policy)
    await watched.run(300.0)
    assert len(watched.of(RestartInitiated)) == 2
    assert len(watched.of(RestartFailed)) == int(fails) and not watched.of(MemoryFloorChanged)
