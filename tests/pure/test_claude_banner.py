"""What a person at Claude Code is shown, as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.claude.banner import LONGEST, line, notice
from workers.event_conversation import How
from workers.policy import decide
from workers.policy.ladder import DegradationMode
from workers.policy.pressure import Thresholds

MIB = 1 << 20
LIMITS = Thresholds(10 * MIB, 20 * MIB, 40 * MIB)
BUSY = decide.IdleChanged(False)


def guard_of(*events: decide.Event, dry_run: bool = False) -> decide.Guard:
    """A guard that has heard of these, one a second."""
    guard = decide.watch(decide.Policy(critical_samples=2, prediction_horizon=0.0, dry_run=dry_run), LIMITS)
    for now, event in enumerate((decide.LeafStarted(1), *events), start=1):
        guard, _ = decide.step(guard, event, float(now))
    return guard


def of(total: int) -> decide.Sampled:
    """A sample."""
    return decide.Sampled(total * MIB, 1)


def shown(guard: decide.Guard, **more: object) -> str:
    """The line a moment later, with seconds for times."""
    return line(guard, 10.0, lambda seconds: f"+{seconds:.0f}", **more)  # type: ignore[arg-type]


def test_who_is_well_is_shown_nothing() -> None:
    """Nor is one that is down, or whose turn lasts."""
    assert shown(guard_of()) == shown(guard_of(of(5))) == shown(guard_of(of(5), BUSY)) == ""
    assert shown(guard_of(of(15), decide.LeafExited(1))) == ""


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        (guard_of(of(15)), "memory 15.0 MiB of 20.0 MiB"),
        (guard_of(of(25)), "memory 25.0 MiB of 20.0 MiB"),
        (guard_of(BUSY, of(25), of(25)), "memory 25.0 MiB of 20.0 MiB: restart at the end of this turn, by +114"),
        (guard_of(of(25), of(25)), "memory 25.0 MiB of 20.0 MiB: it is being restarted"),
        (guard_of(of(25), of(25), decide.RestartPostponed(90)), "memory 25.0 MiB of 20.0 MiB: restart at +84"),
        (guard_of(of(25), of(25), decide.RestartRefused("no")), "memory 25.0 MiB of 20.0 MiB: it may not be restarted"),
        (guard_of(of(25), of(25), dry_run=True), "memory 25.0 MiB of 20.0 MiB"),
        (guard_of(of(5), decide.Unread("why")), "its memory cannot be read"),
        (guard_of(of(5), BUSY, decide.HostShort("the host")), "memory 5.0 MiB of 20.0 MiB: restart at the end of this turn, by +114"),
    ],
)
def test_memory_and_what_is_done_about_it(guard: decide.Guard, said: str) -> None:
    """In an emergency as well as at a warning: how much of how much, and when it will be restarted."""
    assert shown(guard) == f"memory-guardian: {said}"


def test_keys_that_a_restart_waits_for() -> None:
    """The same wait by another name."""
    assert "when no more keys are pressed, by +114" in shown(guard_of(BUSY, of(25), of(25)), typed=True)


def test_modes() -> None:
    """First what is refused, last why; a warning alone is no news to a person."""
    refused = shown(guard_of(of(15)), mode=DegradationMode.READ_ONLY, reason="restarts are refused")
    assert refused == "memory-guardian: read-only; memory 15.0 MiB of 20.0 MiB; restarts are refused"
    assert shown(guard_of(), mode=DegradationMode.EMERGENCY) == "memory-guardian: no new prompts"
    assert shown(guard_of(), mode=DegradationMode.WARNING, reason="health") == ""


@given(st.text(), st.sampled_from(How), st.booleans(), st.booleans())
def test_a_notice_is_one_line(why: str, how: How, cut: bool, goes_on: bool) -> None:
    """Whatever it quotes; and it says what was cut, and who goes on with that."""
    said = notice(why, how, cut=cut, goes_on=goes_on)
    assert said.isprintable() and len(said) < 2 * LONGEST
    assert ("was cut" in said) is cut and ("say what to go on with" in said) is (cut and not goes_on)


@given(st.text())
def test_a_line_is_one_line(reason: str) -> None:
    """Whatever it quotes."""
    said = shown(guard_of(), mode=DegradationMode.READ_ONLY, reason=reason)
    assert said.isprintable() and len(said) <= LONGEST
