"""The verdict about a host: what is too much, that it does not flap, and what it says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.policy.errors import InvalidPolicy
from workers.policy.verdict import Health, HealthChange, HealthLimits, Reading, Share, Space, Verdict, step

HEALTHY, DEGRADED, UNHEALTHY = Health
LIMITS = HealthLimits()
GIB = 1 << 30


def after(*looks: Reading, limits: HealthLimits = LIMITS) -> list[Health]:
    """The verdicts of looks at one thing."""
    verdict, found = Verdict(), []
    for look in looks:
        verdict, change = step(verdict, (look,), limits)
        assert change is None or (change.new is verdict.health and change.old is not change.new)
        found.append(verdict.health)
    return found


def cpu(*shares: float | None) -> list[Health]:
    return after(*(Share("cpu", "cpu", share) for share in shares))


def memory(*shares: float | None) -> list[Health]:
    return after(*(Share("memory", "memory", share) for share in shares))


def disk(total: int, *free: int) -> list[Health]:
    return after(*(Space("state directory", total, one) for one in free))


def test_bad_counts_twice_in_a_row() -> None:
    """One busy look is no news, two are; and one quiet look does not end it."""
    assert cpu(0.9, 0.5, 0.9, 0.5) == [HEALTHY] * 4
    assert cpu(0.9, 0.9, 0.5, 0.9, 0.5, 0.5) == [HEALTHY, DEGRADED, DEGRADED, DEGRADED, DEGRADED, HEALTHY]


def test_a_state_is_left_only_clearly_below_its_limit() -> None:
    """Between 76 and 80 % a degraded processor stays degraded, and a healthy one healthy."""
    assert cpu(0.81, 0.81, 0.78, 0.78, 0.77) == [HEALTHY, DEGRADED, DEGRADED, DEGRADED, DEGRADED]
    assert cpu(0.78, 0.79, 0.80) == [HEALTHY] * 3
    assert cpu(0.81, 0.81, 0.75, 0.75)[-1] is HEALTHY


def test_what_runs_out_is_unhealthy_at_once_and_a_busy_processor_never() -> None:
    """Memory is unhealthy at the first look beyond halfway from its limit to all of it; the processor only ever degraded."""
    assert memory(0.96) == [UNHEALTHY]
    assert memory(0.96, 0.5, 0.5) == [UNHEALTHY, UNHEALTHY, HEALTHY]
    assert cpu(1.0, 1.0, 1.0)[-1] is DEGRADED


def test_unknown_changes_nothing() -> None:
    """What could not be read keeps what was known of it, and is no look in a row."""
    assert memory(0.92, 0.92, None, None, None) == [HEALTHY, DEGRADED, DEGRADED, DEGRADED, DEGRADED]
    assert memory(0.92, None, 0.92) == [HEALTHY, HEALTHY, HEALTHY]
    assert memory(None) == [HEALTHY]
    assert after(Space("x", None, None)) == [HEALTHY]


def test_disks_are_judged_by_what_is_free() -> None:
    """Too little is 1 GiB, and a tenth of that is unhealthy; a share counts only where there is not plenty nevertheless."""
    assert disk(100 * GIB, GIB - 1, GIB - 1)[-1] is DEGRADED
    assert disk(100 * GIB, GIB // 11) == [UNHEALTHY]
    assert disk(100 * GIB, 9 * GIB, 9 * GIB)[-1] is DEGRADED
    assert disk(4000 * GIB, 100 * GIB, 100 * GIB)[-1] is HEALTHY  # 97.5 % used, and 100 GiB free
    assert disk(GIB // 4, GIB // 8, GIB // 8)[-1] is HEALTHY  # a small one that is half empty
    assert disk(GIB // 4, GIB // 50, GIB // 50)[-1] is DEGRADED


def test_reasons_are_words_the_worst_first() -> None:
    """The change carries what is wrong, with how much of it, and the limit."""
    looks = (Share("cpu", "cpu", 0.9), Share("memory", "memory", 0.97), Space("temporary directory", 50 * GIB, GIB // 2))
    verdict, change = step(Verdict(), looks, LIMITS)
    assert change == HealthChange(HEALTHY, UNHEALTHY, ("memory 97% (limit 90%)",))
    verdict, change = step(verdict, looks, LIMITS)
    assert change is None  # it is as bad as before
    assert verdict.reasons == ("memory 97% (limit 90%)", "cpu 90% (limit 80%)", "temporary directory: 512 MiB free, 99% used")


def test_a_busy_processor_passes() -> None:
    """It is a verdict, and nothing that anything has to be given up for."""
    verdict = Verdict()
    for _ in range(2):
        verdict, _ = step(verdict, (Share("cpu", "cpu", 1.0), Share("memory", "memory", 0.5)), LIMITS)
    assert verdict.health is DEGRADED and verdict.lasting.health is HEALTHY
    verdict, _ = step(verdict, (Share("cpu", "cpu", 1.0), Share("memory", "memory", 0.99)), LIMITS)
    assert verdict.lasting.health is UNHEALTHY and verdict.lasting.text == "memory 99% (limit 90%)"


def test_what_is_gone_is_forgotten() -> None:
    """A leaf that has ended is no reason any more."""
    full = Share("open files of a", "open_files", 0.99)
    verdict, _ = step(Verdict(), (full,), LIMITS)
    assert verdict.health is UNHEALTHY
    verdict, change = step(verdict, (), LIMITS)
    assert change == HealthChange(UNHEALTHY, HEALTHY, ())
    assert verdict == Verdict()


@pytest.mark.parametrize(
    ("name", "value"), [("cpu", 0.0), ("memory", 1.1), ("disk", -1.0), ("leave", 1.0), ("disk_free_bytes", -1), ("open_files", 2.0)]
)
def test_limits_are_checked(name: str, value: float) -> None:
    """A limit that cannot be is refused by name."""
    with pytest.raises(InvalidPolicy, match=name):
        HealthLimits(**{name: value})  # type: ignore[arg-type]


@given(st.lists(st.one_of(st.none(), st.floats(0.77, 0.83)), max_size=60))
def test_it_does_not_flap(shares: list[float | None]) -> None:
    """However a reading trembles around its limit, it enters at most once."""
    verdicts = cpu(*shares)
    assert sum(before is not now for before, now in pairwise([HEALTHY, *verdicts])) <= 1


@given(st.lists(st.one_of(st.none(), st.floats(0.0, 1.0)), max_size=60))
def test_a_verdict_needs_two_looks(shares: list[float | None]) -> None:
    """Whatever is read: it is degraded only after two looks beyond the limit in a row, and well only after two looks clearly below."""
    verdicts = cpu(*shares)
    for index, (before, now) in enumerate(pairwise([HEALTHY, *verdicts])):
        if before is now:
            continue
        last, previous = shares[index], shares[index - 1] if index else None
        assert last is not None and previous is not None
        if now is DEGRADED:
            assert last > 0.80 and previous > 0.80
        else:
            assert last <= 0.80 * 0.95 + 1e-9 and previous <= 0.80 * 0.95 + 1e-9
