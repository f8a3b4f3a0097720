"""What is done when the host is short of memory: levels, whom it hits, how often, and how soon the next look is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.policy.errors import InvalidPolicy
from workers.policy.host import Candidate, Choose, HostGuard, HostLevelChanged, HostLimits, HostSeen, choose, host_limits, period, step
from workers.policy.pressure import MemoryState

NORMAL, WARNING, CRITICAL, EMERGENCY = MemoryState
MIB = 1 << 20
TOTAL = 1000 * MIB
LIMITS = host_limits(TOTAL)


def seen(percent: float | None, stall: float | None = None) -> HostSeen:
    return HostSeen(None if percent is None else int(TOTAL * percent / 100), TOTAL, stall)


class Host:
    """A host that is looked at again and again."""

    def __init__(self, *candidates: Candidate) -> None:
        self.guard, self.candidates = HostGuard(), candidates
        self.chosen: list[tuple[float, Choose]] = []
        self.changes: list[HostLevelChanged] = []

    def look(self, now: float, percent: float | None, stall: float | None = None) -> MemoryState:
        self.guard, effects = step(self.guard, seen(percent, stall), self.candidates, LIMITS, now)
        self.changes += [effect for effect in effects if isinstance(effect, HostLevelChanged)]
        self.chosen += [(now, effect) for effect in effects if isinstance(effect, Choose)]
        return self.guard.level


def leaf(name: str, total: int = 300, grown: int = 200, *, idle: bool = True) -> Candidate:
    return Candidate(name, total * MIB, grown * MIB, idle)


def test_levels_of_available_memory() -> None:
    """20 % is told, at 15 % things stop, at 10 % it is an emergency; each is left only clearly above."""
    host = Host()
    found = [host.look(float(at), percent) for at, percent in enumerate([50, 21, 20, 16, 15, 11, 10, 9, 10.9, 12, 16, 17, 21, 23, 50])]
    assert found == [
        *(NORMAL, NORMAL, WARNING, WARNING, CRITICAL, CRITICAL, EMERGENCY, EMERGENCY, EMERGENCY),
        *(CRITICAL, CRITICAL, WARNING, WARNING, NORMAL, NORMAL),
    ]
    assert host.changes[0] == HostLevelChanged(NORMAL, WARNING, "the host has 20% of its memory left")
    assert host.changes[-1].reason == "the host has memory again"


def test_stalls_count_too() -> None:
    """Waiting for memory a tenth of the time is told at once; a fifth of it must last for ten seconds."""
    host = Host()
    assert host.look(0, 60, 0.11) is WARNING
    assert host.look(1, 60, 0.30) is WARNING
    assert host.look(10.9, 60, 0.30) is WARNING
    assert host.look(11, 60, 0.30) is CRITICAL
    assert host.changes[-1].reason == "everything on the host waited for memory 30% of the time"
    assert host.look(12, 60, 0.19) is CRITICAL  # within the band
    assert host.look(13, 60, 0.17) is WARNING
    assert host.look(14, 60, 0.08) is NORMAL


def test_a_stall_that_pauses_begins_anew() -> None:
    """Ten seconds in a row, not ten seconds in all."""
    host = Host()
    assert [host.look(at, 60, stall) for at, stall in [(0, 0.3), (9, 0.3), (9.5, 0.05), (10, 0.3), (19, 0.3)]][-1] is WARNING
    assert host.look(20, 60, 0.3) is CRITICAL


def test_blind_is_not_well() -> None:
    """What cannot be read any more leaves the level as it was."""
    host = Host()
    host.look(0, 9)
    assert host.look(1, None) is EMERGENCY
    assert Host().look(0, None) is NORMAL


def test_the_largest_growth_between_turns_goes() -> None:
    """Not the largest leaf: what it held from its beginning a restart does not give back."""
    host = Host(leaf("heavy", 500, 20), leaf("leaks", 300, 250), leaf("busy", 400, 390, idle=False))
    host.look(0, 14)
    assert [(at, effect.name) for at, effect in host.chosen] == [(0, "leaks")]
    assert host.chosen[0][1].reason == "the host has 14% of its memory left, and of 300.0 MiB this has grown by 250.0 MiB"


def test_a_busy_leaf_is_chosen_only_in_an_emergency_and_only_if_there_is_no_other() -> None:
    """Its restart is due then, and comes when its turn ends, or at the latest after the grace of a critical leaf."""
    assert choose([leaf("busy", idle=False)], CRITICAL, TOTAL) is None
    assert choose([leaf("busy", idle=False)], EMERGENCY, TOTAL) == leaf("busy", idle=False)
    assert choose([leaf("busy", 900, 800, idle=False), leaf("idle")], EMERGENCY, TOTAL) == leaf("idle")


def test_next_to_nothing_is_not_worth_a_restart() -> None:
    """Below a hundredth of the host's memory, in an emergency a thousandth: somebody else has what is missing."""
    assert choose([leaf("small", 300, 9)], CRITICAL, TOTAL) is None
    assert choose([leaf("small", 300, 9)], EMERGENCY, TOTAL) == leaf("small", 300, 9)
    assert choose([leaf("flat", 300, 0)], EMERGENCY, TOTAL) is None
    assert choose([], EMERGENCY, TOTAL) is None


def test_never_twice_within_fifteen_seconds() -> None:
    """What a restart gives back is seen only after it; what stays short for longer hits the next one."""
    host = Host(leaf("a"), leaf("b"))
    for at in (0, 1, 5, 14.9, 15, 20, 29.9, 30.1):
        host.look(at, 8)
    assert [at for at, _ in host.chosen] == [0, 15, 30.1]


def test_a_warning_restarts_nothing() -> None:
    """It is only told."""
    host = Host(leaf("a"))
    host.look(0, 17)
    assert host.guard.level is WARNING and not host.guard.is_short and not host.chosen


def test_the_next_look_is_as_soon_as_the_memory_falls() -> None:
    """Normal while nothing falls; then the time in which the next level is reached, between 0.1 and 3 s once it is short."""
    host = Host()
    host.look(0, 50)
    assert period(host.guard, LIMITS, 30.0, 0) == 30.0
    host.look(10, 40)  # 1 % a second: 20 % is reached in 20 s
    assert period(host.guard, LIMITS, 30.0, 10) == pytest.approx(20.0)
    host.look(20, 19)
    assert period(host.guard, LIMITS, 30.0, 20) == pytest.approx((19 - 15) / 2.1)
    host.look(20.1, 15.1)
    assert period(host.guard, LIMITS, 30.0, 20.1) == 0.1
    host.look(30, 19)
    assert period(host.guard, LIMITS, 30.0, 30 + 61) == 3.0  # the fast fall is long ago
    assert period(host.guard, LIMITS, 1.0, 30 + 61) == 1.0


def test_off_is_off() -> None:
    """A level of 0 bytes is never reached, not even by a host that has nothing left."""
    limits = HostLimits(0, 0, 0)
    guard, effects = step(HostGuard(), HostSeen(0, TOTAL), [leaf("a")], limits, 0.0)
    assert guard.level is NORMAL and not effects


@pytest.mark.parametrize(
    "wrong",
    [
        {"warning_bytes": 1, "critical_bytes": 2, "emergency_bytes": 0},
        {"warning_bytes": 3, "critical_bytes": 2, "emergency_bytes": -1},
        {"warning_stall": 0.3, "critical_stall": 0.2},
        {"pause": -1.0},
        {"fastest": 5.0},
    ],
)
def test_limits_are_checked(wrong: dict[str, float]) -> None:
    """What cannot be is refused."""
    with pytest.raises(InvalidPolicy):
        HostLimits(**{"warning_bytes": 3, "critical_bytes": 2, "emergency_bytes": 1, **wrong})  # type: ignore[arg-type]


looks = st.lists(
    st.tuples(st.floats(0.05, 20.0), st.one_of(st.none(), st.floats(0, 100)), st.one_of(st.none(), st.floats(0, 1))), max_size=40
)
crowd = st.lists(st.builds(leaf, st.sampled_from("abcd"), st.integers(0, 900), st.integers(0, 300), idle=st.booleans()), max_size=4)


@given(looks, crowd)
def test_whatever_happens(sequence: list[tuple[float, float | None, float | None]], candidates: list[Candidate]) -> None:
    """A choice is a candidate that has grown, and never comes twice within the pause; the level says what is available; the next look comes
    in time.
    """
    host, now = Host(*candidates), 0.0
    for pause, percent, stall in sequence:
        now += pause
        level = host.look(now, percent, stall)
        if percent is not None:
            available = int(TOTAL * percent / 100)
            worst = next((one for one in (EMERGENCY, CRITICAL, WARNING) if available <= LIMITS.enter_bytes(one)), NORMAL)
            assert level.reaches(worst)
        wait = period(host.guard, LIMITS, 30.0, now)
        assert 0.1 <= wait <= (30.0 if level is NORMAL else 3.0)
    for before, after in pairwise(at for at, _ in host.chosen):
        assert after - before >= LIMITS.pause
    for _, effect in host.chosen:
        assert any(one.name == effect.name and one.grown_bytes > 0 for one in candidates)
    for one, other in pairwise(host.changes):
        assert one.new is other.old


@given(st.floats(9.0, 11.0), st.lists(st.floats(-0.9, 0.9), min_size=2, max_size=40))
def test_levels_do_not_flap(middle: float, trembles: list[float]) -> None:
    """What trembles by less than the band changes the level at most once in each direction of the drift, which is none here."""
    host = Host()
    for at, tremble in enumerate(trembles):
        host.look(float(at), middle + tremble / 10)
    assert len(host.changes) <= 2
