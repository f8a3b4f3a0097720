"""Suggested thresholds: what is kept of a workload, what follows from it, and when the configured ones are called wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.policy.pressure import LEVELS, Thresholds
from workers.policy.suggestion import OBSERVED, SAMPLES, Suggestion, shortage, suggest
from workers.policy.workload import LIVES, LONGEST_PAUSE, STARTING, Workload

_, WARNING, CRITICAL, EMERGENCY = LEVELS
MIB = 1024 * 1024
CONFIGURED = Thresholds(1000 * MIB, 2000 * MIB, 3000 * MIB)


def observed(*lives: list[tuple[float, float]], outgrown: bool = False) -> Workload:
    """Lives of (seconds, MiB) samples."""
    workload = Workload()
    for life in lives:
        workload = workload.renewed()
        for at, total in life:
            workload = workload.saw(int(total * MIB), at)
        workload = workload.outgrew() if outgrown else workload
    return workload


def steady(total: float, seconds: float = 600.0, begin: float = 0.0) -> list[tuple[float, float]]:
    return [(begin + at, total) for at in range(0, int(seconds) + 1, 10)]


def leaking(start: float, rate: float, seconds: float) -> list[tuple[float, float]]:
    return [(float(at), start + max(0.0, at - STARTING) * rate) for at in range(0, int(seconds) + 1, 10)]


def suggested(workload: Workload, configured: Thresholds = CONFIGURED, limit: int | None = None) -> Suggestion:
    found = suggest(workload, configured, limit)
    assert found is not None
    return found


def test_levels_are_weighed_by_their_time() -> None:
    """A hundred samples within ten seconds count for ten seconds, not for a hundred samples."""
    workload = observed([*steady(100, 900), *((900 + place / 10, 800.0) for place in range(1, 101))])

    assert workload.percentile(0.5) == pytest.approx(100 * MIB, rel=0.05)
    assert workload.percentile(0.98) == pytest.approx(100 * MIB, rel=0.05)
    assert workload.percentile(0.995) == pytest.approx(800 * MIB, rel=0.05)
    assert workload.seconds == pytest.approx(910)


def test_what_was_not_seen_is_not_known() -> None:
    """A pause counts for a minute at most, and the time between two lives for nothing."""
    assert observed([(0.0, 1.0), (5000.0, 1.0)]).seconds == LONGEST_PAUSE
    assert observed([(0.0, 1.0), (10.0, 1.0)], [(500.0, 1.0), (510.0, 1.0)]).seconds == 20.0


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.tuples(st.floats(min_value=0.0, max_value=600.0), st.integers(0, 1 << 45)), min_size=1, max_size=30), max_size=30)
)
def test_memory_is_bounded_and_nothing_is_lost(lives: list[list[tuple[float, int]]]) -> None:
    """However many lives and samples: a bucket for each five percent, the latest first peaks, all of the time, and percentiles in order."""
    workload, now = Workload(), 0.0
    for life in lives:
        workload = workload.renewed()
        for pause, total in life:
            now += pause
            workload = workload.saw(total, now)
    buckets = [bucket for bucket, _ in workload.histogram]

    assert buckets == sorted(set(buckets))
    assert len(buckets) <= 360
    assert len(workload.starts) <= LIVES
    assert workload.samples == sum(map(len, lives))
    marks = [workload.percentile(share) for share in (0.0, 0.25, 0.5, 0.99, 1.0)]
    assert marks == sorted(marks)
    assert all(mark <= workload.peak_bytes for mark in marks)


def test_what_a_new_life_needs_is_the_peak_of_its_first_minutes() -> None:
    """Of the worst of the latest lives; what comes later is not counted, and older lives are forgotten."""
    life = [(0.0, 50.0), (30.0, 300.0), (60.0, 100.0), (STARTING + 1, 900.0)]
    assert observed(steady(40), life, steady(80)).start_bytes == 300 * MIB
    assert observed(life, *([steady(10, 20)] * LIVES)).start_bytes == 10 * MIB
    assert Workload().start_bytes == 0


def test_too_little_is_too_little() -> None:
    """Neither few samples nor a short time suggest anything."""
    assert suggest(Workload(), CONFIGURED) is None
    assert suggest(observed([(float(at), 100.0) for at in range(int(OBSERVED))]), CONFIGURED) is None
    assert suggest(observed([(at * 60.0, 100.0) for at in range(SAMPLES - 1)]), CONFIGURED) is None
    assert suggest(observed([(at * 60.0, 100.0) for at in range(SAMPLES)]), CONFIGURED) is not None


def test_without_growth_the_peak_fits_below_warning() -> None:
    """What is needed now and then is no reason to restart."""
    found = suggested(observed([*steady(100), (610.0, 400.0), *steady(100, 600, 620.0)]))

    assert found.thresholds.warning_bytes == 500 * MIB
    assert found.thresholds == Thresholds(500 * MIB, 625 * MIB, 750 * MIB)
    assert (found.faults, found.summary()) == ((), None)
    assert any("no lasting growth" in reason for reason in found.reasons)


def test_with_growth_there_is_room_between_restarts_and_time_to_prepare() -> None:
    """A leaf that leaks 1 MiB a second gets an hour, five minutes of which are between warning and critical."""
    found = suggested(observed(leaking(200, 1.0, 2000), outgrown=True))
    marks = found.thresholds

    rate = (1880 / 2000) * MIB
    assert marks.critical_bytes == pytest.approx(200 * MIB + 3600 * rate, rel=0.01)
    assert marks.critical_bytes - marks.warning_bytes >= 300 * rate * 0.99
    assert marks.emergency_bytes - marks.critical_bytes >= 150 * rate * 0.99
    assert any("about 60 min between two restarts" in reason for reason in found.reasons)


def test_a_leak_may_use_the_host_and_no_more() -> None:
    """On a host of 2 GiB critical is 65 % of it; nothing is ever above 90 %, and the reasons say why."""
    found = suggested(observed(leaking(200, 1.0, 2000), outgrown=True), limit=2048 * MIB)
    assert found.thresholds.critical_bytes == pytest.approx(0.65 * 2048 * MIB, rel=0.01)
    tight = suggested(observed(steady(900)), limit=1024 * MIB)
    assert tight.thresholds.emergency_bytes <= 0.9 * 1024 * MIB
    assert any("this host has 1.0 GiB" in reason for reason in tight.reasons)


def test_growth_is_that_of_a_life_that_was_restarted_for_it() -> None:
    """From its first minutes to its end; one that was restarted at once has none, nor has one that ended for another reason."""
    assert observed(leaking(200, 1.0, 2000)).growth == 0.0
    assert observed(leaking(200, 1.0, 2000), outgrown=True).growth == pytest.approx(0.94 * MIB)
    assert observed(leaking(200, 9.0, 100), outgrown=True).growth == 0.0
    assert Workload().outgrew() == Workload()
    assert Workload().saw(5, 1.0, growth=7.0).saw(5, 2.0).growth == 7.0


def test_a_critical_below_what_a_new_life_needs_is_wrong() -> None:
    """A restart cannot help there, and the one line says so with what would."""
    found = suggested(observed(steady(2500)))

    assert found.faults[0] == "critical (2.0 GiB) is no more than a new life needs (2.4 GiB): a restart cannot help"
    line = found.summary()
    assert line is not None and line.startswith(found.faults[0])
    assert line.endswith("; suggested: warning 3.1 GiB, critical 3.8 GiB, emergency 4.6 GiB")


def test_restarts_that_come_too_often_are_wrong() -> None:
    """Less than ten minutes from a new life to critical."""
    found = suggested(observed(leaking(800, 4.0, 400), outgrown=True))

    assert found.faults[0].startswith("critical (2.0 GiB) leaves a new life about ")
    assert found.thresholds.critical_bytes > CONFIGURED.critical_bytes


def test_thresholds_that_are_never_reached_or_always_passed_are_wrong() -> None:
    """An emergency above all the memory there is, and a warning that is passed half of the time."""
    assert suggested(observed(steady(100)), limit=2500 * MIB).faults == ("emergency (2.9 GiB) is above all the memory there is (2.4 GiB)",)
    assert "is passed half of the time" in suggested(observed(steady(1200))).faults[0]


@given(st.integers(0, 1 << 45), st.integers(0, 1 << 45), st.floats(min_value=0.0, max_value=1e9), st.none() | st.integers(1, 1 << 45))
def test_what_is_suggested_is_in_order(start: int, peak: int, growth: float, limit: int | None) -> None:
    """Whatever was observed and however small the host: warning below critical below emergency."""
    workload = Workload()
    for at in range(20):
        workload = workload.saw(start if at < 10 else max(start, peak), at * 30.0, growth)
    marks = suggested(workload, limit=limit).thresholds

    assert 0 < marks.warning_bytes < marks.critical_bytes < marks.emergency_bytes


def test_too_little_is_said_with_what_it_takes() -> None:
    """How much there is and how much it takes, as long as nothing is suggested, and not a sample longer."""
    workload = Workload()
    assert shortage(workload) == "too little was observed yet: 0 samples over 0.0 s; it takes 10 samples over 5 min 00 s"
    for number in range(SAMPLES):
        assert shortage(workload) is not None and suggest(workload, CONFIGURED) is None
        workload = workload.saw(MIB, number * LONGEST_PAUSE)
    assert shortage(workload) is None and suggest(workload, CONFIGURED) is not None


def test_a_suggestion_is_told_in_lines_and_as_data() -> None:
    """Three thresholds beside the configured ones, then why; the data says the same in bytes and is JSON."""
    found = suggested(observed(steady(1200)))
    lines, data = found.lines(), found.as_data()

    assert lines[0].split() == ["warning", "1.5", "GiB", "(configured:", "1000", "MiB)"]
    assert [line.split()[0] for line in lines[:3]] == ["warning", "critical", "emergency"]
    assert lines[3].startswith("because half of the time it needs up to 1.2 GiB")
    assert lines[-1].startswith("as configured, warning (1000 MiB) is passed half of the time")
    assert json.loads(json.dumps(data)) == data
    assert data["suggested"]["critical_bytes"] == found.thresholds.enter_bytes(CRITICAL)
    assert data["configured"]["emergency_bytes"] == CONFIGURED.enter_bytes(EMERGENCY)
    assert data["suggested"]["warning_bytes"] == found.thresholds.enter_bytes(WARNING)
    assert data["reasons"] == list(found.reasons) and data["faults"] == list(found.faults)
