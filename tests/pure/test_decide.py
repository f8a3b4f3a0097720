"""The guardian's decision about one leaf: scenarios, and a stateful test of what must hold in every order of events."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workers.policy import effects as fx
from workers.policy.decide import (
    BROKEN_PAUSE,
    RETRY_PAUSE,
    Event,
    Guard,
    IdleChanged,
    LeafExited,
    LeafStarted,
    Phase,
    Policy,
    Prepared,
    RestartAdmitted,
    RestartBroken,
    RestartDone,
    RestartPostponed,
    RestartRefused,
    Sampled,
    Tick,
    Unread,
    next_wake,
    step,
    watch,
)
from workers.policy.errors import InvalidPolicy
from workers.policy.ladder import DegradationMode
from workers.policy.pressure import LEVELS, MemoryState, Thresholds

NORMAL, WARNING, CRITICAL, EMERGENCY = LEVELS
MIB = 1024 * 1024
LIMITS = Thresholds(100 * MIB, 200 * MIB, 300 * MIB, leave_ratio=0.1)


class Leaf:
    """Feeds events to a guard, one second apart, and keeps what it asks for."""

    def __init__(self, policy: Policy | None = None, *, generation: int = 1) -> None:
        self.guard = watch(policy or Policy(critical_samples=3, critical_grace=60.0), LIMITS)
        self.now = 0.0
        self.generation = generation
        self.send(LeafStarted(generation))

    def send(self, event: Event, *, after: float = 1.0) -> list[fx.Effect]:
        self.now += after
        self.guard, effects = step(self.guard, event, self.now)
        return list(effects)

    def sample(self, *totals_mib: int, after: float = 1.0) -> list[fx.Effect]:
        return [effect for total in totals_mib for effect in self.send(Sampled(total * MIB, self.generation), after=after)]

    def restart(self) -> None:
        """From an open request to a new life."""
        self.send(RestartAdmitted(1))
        self.send(LeafExited(self.generation))
        self.generation += 1
        self.send(LeafStarted(self.generation))
        self.send(RestartDone(self.generation))


def kinds(effects: list[fx.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def test_a_life_that_begins_busy_is_not_restarted_before_it_is_idle() -> None:
    """What it is to a restart is known with its start."""
    leaf = Leaf()
    leaf.send(LeafExited(1))
    leaf.generation = 2
    leaf.send(LeafStarted(2, idle=False))
    assert kinds(leaf.sample(250, 250, 250, 250)) == ["LevelChanged", "ThresholdExceeded", "Prepare"]
    assert kinds(leaf.send(IdleChanged(idle=True))) == ["Restart"]


def test_turns_are_put_off_while_a_restart_is_due() -> None:
    """From when it is until it is done, refused or broken; not while a cooldown lasts, nor for one that a dry run only tells of."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250)
    assert not leaf.guard.is_restart_due(leaf.now)
    leaf.sample(250)
    assert leaf.guard.is_restart_due(leaf.now)
    leaf.send(IdleChanged(idle=True))
    assert leaf.guard.is_restart_due(leaf.now)
    leaf.send(RestartPostponed(30.0))
    assert not leaf.guard.is_restart_due(leaf.now) and leaf.guard.is_restart_due(leaf.now + 30)
    leaf.sample(250, after=31)
    leaf.send(RestartRefused("no"))
    assert not leaf.guard.is_restart_due(leaf.now)
    other = Leaf()
    other.sample(250, 250, 250)
    other.send(RestartAdmitted(1))
    assert other.guard.is_restart_due(other.now)
    other.restart()
    assert not other.guard.is_restart_due(other.now)
    told = Leaf(Policy(critical_samples=1, dry_run=True))
    told.sample(250)
    assert not told.guard.is_restart_due(told.now)
    gone = Leaf(Policy(critical_samples=1, critical_grace=60.0))
    gone.send(IdleChanged(idle=False))
    gone.sample(250)
    gone.send(LeafExited(1))
    assert not gone.guard.is_restart_due(gone.now)


def test_a_quiet_leaf_asks_for_nothing() -> None:
    """Below warning nothing is said or done, and no tick is needed."""
    leaf = Leaf()
    assert leaf.sample(10, 50, 99, 20) == []
    assert next_wake(leaf.guard) is None


def test_warning_prepares_once() -> None:
    """Entering warning says so and prepares once; staying there, also at other totals, does not prepare again."""
    leaf = Leaf()
    assert leaf.sample(120) == [
        fx.LevelChanged(NORMAL, WARNING, 120 * MIB),
        fx.ThresholdExceeded(WARNING, 120 * MIB, 100 * MIB),
        fx.Prepare("memory is at 120.0 MiB, warning"),
    ]
    assert leaf.sample(130, 95, 140) == []
    leaf.send(Prepared(ok=False))
    assert leaf.sample(150) == []


def test_each_excursion_prepares_again() -> None:
    """Back to normal ends the excursion: the next warning prepares again, and going down is no exceeded threshold."""
    leaf = Leaf()
    leaf.sample(120)
    assert leaf.sample(50) == [fx.LevelChanged(WARNING, NORMAL, 50 * MIB)]
    assert kinds(leaf.sample(120)) == ["LevelChanged", "ThresholdExceeded", "Prepare"]


def test_several_levels_at_once_report_the_highest_threshold() -> None:
    """A jump over warning to critical is one change and one exceeded threshold, and prepares."""
    assert Leaf().sample(250) == [
        fx.LevelChanged(NORMAL, CRITICAL, 250 * MIB),
        fx.ThresholdExceeded(CRITICAL, 250 * MIB, 200 * MIB),
        fx.Prepare("memory is at 250.0 MiB, critical"),
    ]


def test_critical_restarts_when_it_is_sustained() -> None:
    """An idle leaf is restarted at the third critical sample in a row, not before, with the reason in words."""
    leaf = Leaf()
    assert "Restart" not in kinds(leaf.sample(250, 250))
    assert leaf.sample(250) == [fx.Restart("memory is at 250.0 MiB, critical (200.0 MiB) over 3 samples", False, CRITICAL, 250 * MIB)]
    assert leaf.guard.phase is Phase.ASKED


def test_critical_must_be_consecutive() -> None:
    """A sample that left critical starts the count again; one inside the band below the threshold is still critical."""
    leaf = Leaf()
    assert "Restart" not in kinds(leaf.sample(250, 250, 150, 250, 250))
    assert kinds(leaf.sample(190)) == ["Restart"]


def test_an_unknown_sample_neither_counts_nor_breaks_the_count() -> None:
    """Unknown samples change nothing, say once that the guardian is blind and once that it sees again."""
    leaf = Leaf()
    leaf.sample(250, 250)
    assert leaf.send(Unread("gone")) == [fx.Blinded("gone")]
    assert leaf.send(Unread("gone")) == []
    assert kinds(leaf.sample(250)) == ["Sighted", "Restart"]
    assert leaf.guard.pressure.unknown == 2


def test_a_busy_leaf_is_restarted_when_its_turn_ends() -> None:
    """In the middle of a turn a due restart waits for the end of the turn."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    assert "Restart" not in kinds(leaf.sample(250, 250, 250, 250))
    assert kinds(leaf.send(IdleChanged(idle=True))) == ["Restart"]


def test_a_busy_leaf_is_restarted_at_the_latest_after_the_grace() -> None:
    """A turn that does not end delays a due restart by the grace and no longer; `next_wake` names that time."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250, 250)
    due = leaf.now
    assert next_wake(leaf.guard) == due + 60.0
    assert leaf.send(Tick(), after=59.0) == []
    assert kinds(leaf.send(Tick())) == ["Restart"]


def test_further_samples_do_not_prolong_the_grace() -> None:
    """The grace runs from when the restart became due, however many critical samples follow."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250, 250)
    assert leaf.sample(*[250] * 59) == []
    assert kinds(leaf.sample(250)) == ["Restart"]


def test_a_due_restart_is_forgotten_when_memory_falls() -> None:
    """A leaf whose memory left critical while it was busy is not restarted when its turn ends."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250, 250, 150)
    assert next_wake(leaf.guard) is None
    assert leaf.send(IdleChanged(idle=True)) == []


def test_an_emergency_restarts_now() -> None:
    """Emergency does not wait for a second sample nor for the end of a turn, and prepares nothing: the restart captures."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    assert leaf.sample(310)[2:] == [fx.Restart("memory is at 310.0 MiB, emergency (300.0 MiB)", True, EMERGENCY, 310 * MIB)]


def test_an_emergency_that_is_over_is_no_sustained_critical() -> None:
    """A postponed emergency that fell back to critical has to be sustained like any other."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartPostponed(2.0))
    assert leaf.sample(250) == [fx.LevelChanged(EMERGENCY, CRITICAL, 250 * MIB)]
    assert next_wake(leaf.guard) is None
    assert kinds(leaf.sample(250)) == ["Restart"]


def test_never_a_second_request_while_one_is_under_way() -> None:
    """From the request to the judgement of the new life no sample, tick or turn asks again."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    later = (
        leaf.sample(310, 350, 350)
        + leaf.send(Tick())
        + leaf.send(IdleChanged(idle=True))
        + leaf.send(RestartAdmitted(1))
        + leaf.sample(400)
    )
    assert kinds(later) == ["LevelChanged", "ThresholdExceeded"]
    assert next_wake(leaf.guard) is None
    leaf.send(LeafExited(1))
    leaf.send(LeafStarted(2))
    assert leaf.send(Sampled(350 * MIB, 2)) == []


def test_a_restart_that_helps_is_completed_by_the_first_sample() -> None:
    """The new life's first sample below critical completes the restart and sets the level without hysteresis."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert leaf.sample(95) == [fx.LevelChanged(CRITICAL, NORMAL, 95 * MIB), fx.Completed(95 * MIB)]
    assert leaf.guard.phase is Phase.WATCHING


def test_a_new_life_above_warning_prepares_again() -> None:
    """A new life that begins at warning completes the restart, and is prepared for like any excursion."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert kinds(leaf.sample(150)) == ["LevelChanged", "Completed", "Prepare"]


def test_a_restart_that_does_not_help_is_ineffective() -> None:
    """A new life that is at critical at once counts as a failure, and has to be sustained anew before the next request."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    effects = leaf.sample(200)
    assert kinds(effects) == ["Ineffective", "FloorChanged", "Prepare"]
    assert effects[0] == fx.Ineffective("memory is at 200.0 MiB 2.0 s after the restart, critical is 200.0 MiB", 200 * MIB)
    assert "Restart" not in kinds(leaf.sample(290))
    assert kinds(leaf.sample(290)) == ["Restart"]


def test_a_new_life_in_an_emergency_is_ineffective_and_asked_for_again() -> None:
    """The failure is told before the next request, so that protection counts it first."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert kinds(leaf.sample(310)) == ["LevelChanged", "ThresholdExceeded", "Ineffective", "FloorChanged", "Restart"]


def test_the_first_sample_judges_whatever_the_window() -> None:
    """Without any window a restart that leaves the leaf at critical has still failed."""
    leaf = Leaf(Policy(critical_samples=1, stability_period=0.0, ineffective_window=0.0))
    leaf.sample(250)
    leaf.restart()
    assert "Ineffective" in kinds(leaf.sample(250))
    leaf.sample(290)
    leaf.restart()
    assert kinds(leaf.sample(50)) == ["LevelChanged", "Completed", "Helped", "FloorChanged"]


def test_what_a_leaf_weighs_raises_its_thresholds() -> None:
    """A leaf that is critical from the start is not restarted again for that: warning and critical move above it, emergency does not."""
    leaf = Leaf()
    leaf.sample(210, 210, 210)
    leaf.restart()
    floor = leaf.sample(210)[1]
    assert floor == fx.FloorChanged(210 * MIB, Thresholds(275251200, 285 * MIB, 300 * MIB, leave_ratio=0.1))
    assert leaf.sample(210) == [fx.LevelChanged(CRITICAL, NORMAL, 210 * MIB)]
    assert leaf.sample(*[210] * 500) == []
    assert "Restart" in kinds(leaf.sample(290, 290, 290))


def test_a_lighter_life_takes_the_floor_back() -> None:
    """Once a life was below warning until it was judged, the thresholds that were asked for hold again."""
    leaf = Leaf()
    leaf.sample(210, 210, 210)
    leaf.restart()
    leaf.sample(210, 290, 290, 290)
    leaf.restart()
    assert fx.FloorChanged(None, LIMITS) in leaf.sample(50, after=31.0)
    assert leaf.guard.pressure.thresholds == LIMITS
    assert kinds(leaf.sample(*[210] * 3))[-1] == "Restart"


def test_a_restart_has_helped_when_the_life_was_light_for_long_enough() -> None:
    """It is said once, at the first sample after the stability period."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert kinds(leaf.sample(50)) == ["LevelChanged", "Completed"]
    assert leaf.sample(*[50] * 26) == []
    assert leaf.sample(50, 50, 50) == [fx.Helped()]
    assert leaf.sample(*[50] * 500) == []


def test_memory_that_is_back_at_critical_takes_the_success_back() -> None:
    """Within the window critical is a failure of the restart, also after it was called a success; it is said once."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert kinds(leaf.sample(*[50] * 40)).count("Helped") == 1
    effects = leaf.sample(220)
    assert fx.Ineffective("memory is at 220.0 MiB 42.0 s after the restart, critical is 200.0 MiB", 220 * MIB) in effects
    assert "Ineffective" not in kinds(leaf.sample(220, 50, 220))
    assert leaf.guard.pressure.thresholds == LIMITS


def test_after_the_window_critical_says_nothing_of_the_restart() -> None:
    """A leak that needs longer is what restarts are for."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    leaf.sample(50, after=100.0)
    assert "Ineffective" not in kinds(leaf.sample(250, after=300.0))


def test_a_life_that_is_never_below_warning_is_a_failure() -> None:
    """Below critical it was completed; but it frees nothing, and its weight raises the thresholds."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert "Completed" in kinds(leaf.sample(150))
    effects = leaf.sample(160, after=40.0)
    reason = "memory was never below 150.0 MiB since the restart, warning is 100.0 MiB"
    assert effects == [
        fx.Ineffective(reason, 160 * MIB),
        fx.FloorChanged(150 * MIB, Thresholds(187 * MIB + 524288, 225 * MIB, 300 * MIB, 0.1)),
    ]


def test_a_life_that_nobody_restarted_is_not_judged() -> None:
    """The first life, and one after a crash, may weigh what they like: only a restart can fail to help."""
    leaf = Leaf()
    assert not {"Helped", "Ineffective", "FloorChanged"} & set(kinds(leaf.sample(*[150] * 400)))


def test_a_sample_between_start_and_acknowledgement_is_not_the_judgement() -> None:
    """A life is judged by the first sample after the restart was reported as done."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartAdmitted(1))
    leaf.send(LeafExited(1))
    leaf.generation = 2
    leaf.send(LeafStarted(2))
    assert kinds(leaf.sample(20)) == ["LevelChanged"]
    leaf.send(RestartDone(2))
    assert kinds(leaf.sample(20)) == ["Completed"]


def test_news_of_an_older_life_is_ignored() -> None:
    """Samples, starts and ends of another generation change nothing."""
    leaf = Leaf(generation=5)
    before = leaf.guard
    for event in (Sampled(900 * MIB, 4), Sampled(900 * MIB, 6), LeafExited(4), LeafStarted(5), LeafStarted(4)):
        assert leaf.send(event) == []
        assert leaf.guard == before


def test_a_dead_leaf_is_not_judged() -> None:
    """After its end nothing a late sample or a failing reader says is taken up, and nothing is asked for."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250, 250)
    leaf.send(LeafExited(1))
    assert next_wake(leaf.guard) is None
    assert leaf.sample(900) == []
    assert leaf.send(Unread("no such process")) == []
    assert leaf.send(Tick(), after=500.0) == []


def test_a_leaf_that_crashed_and_came_back_starts_anew() -> None:
    """A crash restart resets what was counted: due restart, critical run and preparation belong to the old life."""
    leaf = Leaf()
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250, 250)
    leaf.send(LeafExited(1))
    leaf.generation = 2
    assert leaf.send(LeafStarted(2)) == []
    assert leaf.guard.idle
    assert kinds(leaf.sample(250)) == ["Prepare"]
    assert leaf.sample(250) == []
    assert kinds(leaf.sample(250)) == ["Restart"]


def test_a_refusal_degrades_to_monitoring_only() -> None:
    """A refused request is told, the mode becomes read-only, and watching goes on with no further request before its time."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    assert leaf.send(RestartRefused("2 of 2 attempts", 100.0)) == [
        fx.Refused("2 of 2 attempts", 100.0),
        fx.Degrade(DegradationMode.READ_ONLY, "2 of 2 attempts", DegradationMode.NORMAL),
    ]
    refused = leaf.now
    assert next_wake(leaf.guard) == refused + 100.0
    assert leaf.sample(*[250] * 99) == []
    assert leaf.guard.pressure.known == 102
    assert kinds(leaf.sample(250)) == ["Restart"]


def test_an_admitted_retry_ends_the_degradation() -> None:
    """When protection admits again the mode is normal before the restart happens."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartRefused("no", 5.0))
    assert kinds(leaf.send(Tick(), after=5.0)) == ["Restart"]
    assert leaf.send(RestartAdmitted(1)) == [fx.Degrade(DegradationMode.NORMAL, "a restart was admitted", DegradationMode.READ_ONLY)]


def test_normal_memory_ends_the_degradation() -> None:
    """Back at normal the mode is normal; at warning it is not yet."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartRefused("no", None))
    assert kinds(leaf.sample(150)) == ["LevelChanged"]
    assert leaf.sample(50)[1:] == [fx.Degrade(DegradationMode.NORMAL, "memory is back to normal", DegradationMode.READ_ONLY)]


def test_an_emergency_that_may_not_restart_degrades_further_and_back() -> None:
    """Refused in an emergency: emergency mode and a capture; the mode follows the level while the refusal lasts."""
    leaf = Leaf()
    leaf.sample(310)
    refusal = leaf.send(RestartRefused("open", 900.0))
    assert kinds(refusal) == ["Refused", "Degrade", "Prepare"]
    assert leaf.guard.mode is DegradationMode.EMERGENCY
    assert leaf.sample(250)[1:] == [fx.Degrade(DegradationMode.READ_ONLY, "restarts are still refused", DegradationMode.EMERGENCY)]
    assert leaf.sample(320)[2:] == [fx.Degrade(DegradationMode.EMERGENCY, "restarts are still refused", DegradationMode.READ_ONLY)]


def test_a_refusal_without_a_time_waits_for_normal_memory() -> None:
    """Without a time nothing is asked again, an emergency included, until memory was normal and rose again."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartRefused("reset needed", None))
    assert next_wake(leaf.guard) is None
    assert "Restart" not in kinds(leaf.sample(*[250] * 10, *[310] * 10, *[150] * 3, *[250] * 10))
    leaf.sample(50)
    assert "Restart" in kinds(leaf.sample(250, 250, 250))


@pytest.mark.parametrize("level_mib", [250, 310])
def test_a_cooldown_is_waited_for(level_mib: int) -> None:
    """A postponed request is repeated when the cooldown ends, not before and not in an emergency either; the mode stays."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartPostponed(10.0))
    postponed = leaf.now
    assert next_wake(leaf.guard) == postponed + 10.0
    assert "Restart" not in kinds(leaf.sample(*[level_mib] * 9))
    assert kinds(leaf.send(Tick())) == ["Restart"]
    assert leaf.guard.mode is DegradationMode.NORMAL


def test_a_cooldown_that_is_no_longer_needed_is_forgotten() -> None:
    """If memory left critical during the cooldown its end asks for nothing."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartPostponed(10.0))
    leaf.sample(50)
    assert next_wake(leaf.guard) is None
    assert leaf.send(Tick(), after=10.0) == []


@pytest.mark.parametrize("answer", [RestartRefused("no", 0.0), RestartRefused("no", -5.0), RestartPostponed(0.0), RestartPostponed(-1.0)])
def test_an_answer_without_a_pause_does_not_spin(answer: Event) -> None:
    """An answer that allows the next request at once is still followed by a short pause."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(answer)
    assert next_wake(leaf.guard) == leaf.now + RETRY_PAUSE


def test_a_broken_restart_is_told_and_pauses() -> None:
    """A failed restart is told; a leaf that is alive after it has to be critical anew, an emergency waits for the pause."""
    leaf = Leaf()
    leaf.sample(310)
    leaf.send(RestartAdmitted(1))
    assert leaf.send(RestartBroken("start failed")) == [fx.Failed("start failed"), fx.Prepare("memory is at 310.0 MiB, emergency")]
    broken = leaf.now
    assert leaf.sample(310, after=0.5) == []
    assert next_wake(leaf.guard) == broken + BROKEN_PAUSE
    assert kinds(leaf.send(Tick(), after=0.5)) == ["Restart"]
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartBroken("no process"))
    assert "Restart" not in kinds(leaf.sample(250, 250, after=5.0))
    assert kinds(leaf.sample(250)) == ["Restart"]


def test_a_new_life_that_ends_before_its_judgement_failed() -> None:
    """A restart whose new life ends before its memory was known has failed, whichever news comes first."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.restart()
    assert leaf.send(LeafExited(2)) == [fx.Failed("the new life ended before its memory was known")]
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    for event in (LeafExited(1), LeafStarted(2), LeafExited(2)):
        assert leaf.send(event) == []
    assert leaf.send(RestartDone(2)) == [fx.Failed("the new life ended at once")]
    assert not leaf.guard.is_under_way


def test_an_acknowledgement_may_come_without_news_of_the_start() -> None:
    """`RestartDone` alone introduces the new life."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(RestartDone(2))
    leaf.generation = 2
    assert kinds(leaf.sample(20)) == ["LevelChanged", "Completed"]


def test_a_restart_by_somebody_else_is_not_acted_across() -> None:
    """A restart that was admitted to another caller counts as under way and its new life is judged too."""
    leaf = Leaf()
    leaf.send(RestartAdmitted(1))
    assert "Restart" not in kinds(leaf.sample(250, 310, 310))
    leaf.send(RestartDone(2))
    leaf.generation = 2
    assert kinds(leaf.sample(20)) == ["LevelChanged", "Completed"]


@pytest.mark.parametrize("refusal", [RestartRefused("no", None), RestartRefused("no", 900.0), RestartPostponed(900.0)])
def test_an_admission_to_somebody_else_ends_the_wait(refusal: Event) -> None:
    """What protection said before it admitted a restart to another caller no longer holds the guardian back."""
    leaf = Leaf()
    leaf.sample(250, 250, 250)
    leaf.send(refusal)
    leaf.send(RestartAdmitted(1))
    leaf.send(RestartDone(2))
    leaf.generation = 2
    assert "Restart" not in kinds(leaf.sample(150, 250, 250))
    assert kinds(leaf.sample(250)) == ["Restart"]


@pytest.mark.parametrize("answer", [RestartRefused("no", 9.0), RestartPostponed(9.0), RestartBroken("x"), RestartDone(7)])
def test_an_answer_to_nothing_changes_nothing(answer: Event) -> None:
    """Without an open request an answer is ignored."""
    leaf = Leaf()
    leaf.sample(20)
    before = leaf.guard
    assert leaf.send(answer) == []
    assert leaf.guard == before


def test_a_dry_run_reports_and_never_acts() -> None:
    """A dry run says once per time above critical what it would do; it neither prepares nor restarts."""
    leaf = Leaf(Policy(critical_samples=2, dry_run=True))
    assert kinds(leaf.sample(120)) == ["LevelChanged", "ThresholdExceeded"]
    assert leaf.sample(250, 250)[2:] == [
        fx.WouldRestart("memory is at 250.0 MiB, critical (200.0 MiB) over 2 samples", False, CRITICAL, 250 * MIB)
    ]
    assert kinds(leaf.sample(250, 310, 310)) == ["LevelChanged", "ThresholdExceeded"]
    assert next_wake(leaf.guard) is None
    assert kinds(leaf.sample(50, 250, 250)) == ["LevelChanged", "LevelChanged", "ThresholdExceeded", "WouldRestart"]
    assert not leaf.guard.is_under_way


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"critical_samples": 0}, "critical_samples"),
        ({"critical_samples": True}, "critical_samples"),
        ({"critical_samples": 1.5}, "critical_samples"),
        ({"critical_grace": -1.0}, "critical_grace"),
        ({"critical_grace": math.inf}, "critical_grace"),
        ({"critical_grace": math.nan}, "critical_grace"),
        ({"prediction_horizon": -1.0}, "prediction_horizon"),
        ({"prediction_horizon": math.inf}, "prediction_horizon"),
    ],
)
def test_absurd_policies_are_refused(change: dict[str, object], field: str) -> None:
    """A policy out of range is refused with the name of the field."""
    with pytest.raises(InvalidPolicy) as caught:
        Policy(**change)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_smallest_policy_is_allowed() -> None:
    """One sample and no grace: a busy leaf is restarted at its first critical sample."""
    leaf = Leaf(Policy(critical_samples=1, critical_grace=0.0))
    leaf.send(IdleChanged(idle=False))
    assert kinds(leaf.sample(250)) == ["LevelChanged", "ThresholdExceeded", "Restart"]


class Decisions(RuleBasedStateMachine):
    """Any order of events, with a model of what the outside has promised and been promised."""

    guard: Guard

    @initialize(samples=st.integers(1, 4), grace=st.sampled_from([0.0, 5.0, 60.0]), dry=st.sampled_from([False, False, False, True]))
    def begin(self, samples: int, grace: float, dry: bool) -> None:
        # what is foreseen is test_foreseen.py's
        self.policy = Policy(samples, grace, dry, prediction_horizon=0.0)
        self.guard = watch(self.policy, LIMITS)
        self.now = 0.0
        self.generation = 0
        self.alive = False
        self.open = self.admitted = self.judging = False
        self.forbidden_until = -math.inf
        self.blocked = False
        self.idle = True
        self.level = NORMAL
        self.run = 0
        self.critical_since: float | None = None
        self.prepared = False
        self.mode = DegradationMode.NORMAL
        self.limits = LIMITS
        self.controlled = self.helped = self.failed = False

    def send(self, event: Event) -> tuple[fx.Effect, ...]:
        before = self.guard
        self.guard, effects = step(before, event, self.now)
        for effect in effects:
            match effect:
                case fx.LevelChanged(old, new):
                    assert old is self.level
                    assert new is not old
                    self.level = new
                    if new is NORMAL:
                        self.prepared = self.blocked = False
                case fx.Restart(urgent=urgent, level=level, total_bytes=total):
                    assert not self.policy.dry_run
                    assert not self.open, "a second request while one is under way"
                    assert not self.admitted
                    assert not self.judging
                    assert self.alive
                    assert level is self.level
                    assert level.reaches(CRITICAL)
                    assert total is not None and total >= self.limits.leave_bytes(CRITICAL)
                    assert urgent is (level is EMERGENCY)
                    assert self.now >= self.forbidden_until
                    assert not self.blocked
                    assert urgent or self.run >= self.policy.critical_samples
                    assert self.critical_since is not None
                    assert urgent or self.idle or self.now >= self.critical_since + self.policy.critical_grace
                    self.open = True
                case fx.WouldRestart():
                    assert self.policy.dry_run
                case fx.Prepare():
                    assert not self.prepared
                    assert not self.policy.dry_run
                    assert self.level is not NORMAL
                    self.prepared = True
                case fx.Completed(total):
                    assert self.judging
                    assert self.guard.blind if total is None else total < self.limits.critical_bytes
                    self.judging = False
                case fx.Helped():
                    assert self.controlled
                    assert not self.helped
                    assert not self.failed
                    self.helped = True
                case fx.Ineffective():
                    assert self.controlled
                    assert not self.failed, "one restart fails once"
                    self.failed, self.judging = True, False
                case fx.FloorChanged(floor, thresholds):
                    assert self.failed or floor is None
                    assert thresholds.emergency_bytes == LIMITS.emergency_bytes
                    assert thresholds.critical_bytes >= LIMITS.critical_bytes
                    assert thresholds.warning_bytes >= LIMITS.warning_bytes
                    assert (thresholds == LIMITS) is (floor is None)
                case fx.Degrade(mode=mode, old=old):
                    assert old is self.mode
                    assert mode is not old
                    self.mode = mode
        assert self.level is self.guard.level
        assert self.mode is self.guard.mode
        wake = next_wake(self.guard)
        assert wake is None or wake > self.now, "a tick that is overdue would never be sent"
        return effects

    @rule(pause=st.sampled_from([0.01, 1.0, 7.0, 100.0]))
    def time_passes(self, pause: float) -> None:
        wake = next_wake(self.guard)
        if wake is not None and wake <= self.now + pause:
            self.now = wake
            asked = any(isinstance(effect, fx.Restart | fx.WouldRestart) for effect in self.send(Tick()))
            assert asked, "a wake-up was named for nothing"
        else:
            self.now += pause
            assert not self.send(Tick())

    @precondition(lambda self: self.alive)
    @rule(total=st.sampled_from([10, 95, 120, 185, 199, 200, 250, 280, 299, 300, 400]))
    def sample(self, total: int) -> None:
        # the model of the level's own count, fed before the machine speaks
        held = None if self.guard.pressure.fresh else self.level
        limits = self.limits = self.guard.pressure.thresholds
        amount = total * MIB
        kept = held is not None and held.reaches(CRITICAL) and amount >= limits.leave_bytes(CRITICAL)
        now_critical = amount >= limits.critical_bytes or kept
        self.run = self.run + 1 if now_critical else 0
        now_emergency = total >= 300 or (held is EMERGENCY and total >= 270)
        if now_emergency or self.run >= self.policy.critical_samples:
            self.critical_since = self.now if self.critical_since is None else self.critical_since
        else:
            self.critical_since = None
        effects = self.send(Sampled(total * MIB, self.generation))
        assert self.level.reaches(CRITICAL) == now_critical
        if self.judging:
            assert self.failed
            self.judging = False
        wanted = self.critical_since is not None and (
            self.idle or now_emergency or self.now >= self.critical_since + self.policy.critical_grace
        )
        free = not (self.open or self.admitted or self.blocked or self.now < self.forbidden_until)
        if wanted and free and not self.policy.dry_run:
            raise AssertionError("nothing stands in the way and no restart was asked for")
        if self.level is not NORMAL and not (self.open or self.admitted or self.policy.dry_run):
            assert self.prepared
        if self.level is NORMAL:
            assert self.mode is DegradationMode.NORMAL
        elif self.mode is not DegradationMode.NORMAL:
            assert self.mode is (DegradationMode.EMERGENCY if self.level is EMERGENCY else DegradationMode.READ_ONLY)
        again = self.guard, effects
        if not effects:
            assert self.send(Sampled(total * MIB, self.generation - 1)) == ()
            assert self.guard == again[0]

    @rule()
    def unread(self) -> None:
        level, run = self.guard.level, self.guard.critical_run
        self.send(Unread("x"))
        assert (self.guard.level, self.guard.critical_run) == (level, run)

    @rule(idle=st.booleans())
    def turn(self, idle: bool) -> None:
        self.idle = idle
        self.send(IdleChanged(idle))

    def start_life(self) -> None:
        self.generation += 1
        self.alive = self.idle = True
        self.run, self.critical_since, self.prepared = 0, None, False
        self.controlled = self.helped = self.failed = False

    @precondition(lambda self: not self.alive and not self.admitted)
    @rule()
    def leaf_starts(self) -> None:
        self.start_life()
        assert not self.send(LeafStarted(self.generation))

    @precondition(lambda self: self.alive and not self.admitted)
    @rule()
    def leaf_dies(self) -> None:
        self.alive, self.run, self.critical_since = False, 0, None
        effects = self.send(LeafExited(self.generation))
        assert [type(effect) for effect in effects] == ([fx.Failed] if self.judging else [])
        self.judging = False

    @precondition(lambda self: self.open and not self.admitted)
    @rule(retry=st.sampled_from([None, 0.0, 1.0, 50.0, 900.0]))
    def refuse(self, retry: float | None) -> None:
        self.open = False
        if retry is None:
            self.blocked, self.forbidden_until = True, -math.inf
        else:
            self.forbidden_until = self.now + max(retry, RETRY_PAUSE)
        effects = self.send(RestartRefused("no", retry))
        assert isinstance(effects[0], fx.Refused)
        assert self.mode in (DegradationMode.READ_ONLY, DegradationMode.EMERGENCY)

    @precondition(lambda self: self.open and not self.admitted)
    @rule(remaining=st.sampled_from([0.0, 1.0, 30.0]))
    def postpone(self, remaining: float) -> None:
        self.open = False
        self.forbidden_until = self.now + max(remaining, RETRY_PAUSE)
        mode = self.mode
        self.send(RestartPostponed(remaining))
        assert self.mode is mode

    @precondition(lambda self: not self.admitted and not self.judging)
    @rule()
    def admit(self) -> None:
        self.admitted = True
        self.forbidden_until, self.blocked = -math.inf, False
        self.send(RestartAdmitted(1))
        assert self.mode is DegradationMode.NORMAL

    @precondition(lambda self: self.admitted)
    @rule(told=st.booleans())
    def done(self, told: bool) -> None:
        if self.alive:
            self.send(LeafExited(self.generation))
        self.start_life()
        if told:
            assert not self.send(LeafStarted(self.generation))
        self.open = self.admitted = False
        self.judging = self.controlled = True
        assert not self.send(RestartDone(self.generation))

    @precondition(lambda self: self.admitted or self.open)
    @rule()
    def broken(self) -> None:
        self.open = self.admitted = False
        self.run, self.critical_since = 0, None
        self.forbidden_until = self.now + BROKEN_PAUSE
        effects = self.send(RestartBroken("x"))
        assert isinstance(effects[0], fx.Failed)

    @rule()
    def prepared_in_the_end(self) -> None:
        before = self.guard
        self.send(Prepared(ok=True))
        assert self.guard == before

    @invariant()
    def phase_agrees(self) -> None:
        if hasattr(self, "guard"):
            assert self.guard.is_under_way == (self.open or self.admitted or self.judging)


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("total_mib", [10, 120, 250, 310])
def test_a_constant_input_settles(total_mib: int) -> None:
    """A constant total with refusals that name no time ends in silence: no effect is repeated for ever."""
    leaf = Leaf()
    for _ in range(10):
        for effect in leaf.sample(total_mib):
            if isinstance(effect, fx.Restart):
                leaf.send(RestartRefused("no", None))
    assert leaf.sample(*[total_mib] * 50) == []


def test_levels_survive_as_a_value() -> None:
    """A guard is a plain value: whoever interprets it can be restarted and go on with the same one."""
    leaf = Leaf()
    leaf.sample(250, 250)
    guard: Guard = leaf.guard
    assert guard.level is MemoryState.CRITICAL
    after, effects = step(guard, Sampled(250 * MIB, 1), 99.0)
    assert kinds(list(effects)) == ["Restart"]
    assert step(guard, Sampled(250 * MIB, 1), 99.0)[0] == after
