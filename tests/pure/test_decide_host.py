"""What a leaf's decision makes of a host that is short of memory: a restart is due although its own memory is well."""

from __future__ import annotations

from workers.policy import effects as fx
from workers.policy.decide import (
    HostShort,
    IdleChanged,
    LeafExited,
    Phase,
    Policy,
    RestartBroken,
    RestartPostponed,
    RestartRefused,
    Tick,
    next_wake,
)
from workers.policy.pressure import MemoryState

from .test_decide import MIB, Leaf, kinds

WHY = "the host has 9% of its memory left"


def pressed(*, idle: bool = True) -> Leaf:
    leaf = Leaf()
    leaf.sample(50)
    leaf.send(IdleChanged(idle))
    return leaf


def test_an_idle_leaf_is_restarted_at_once() -> None:
    """For the host's reason, not urgently, and without a word of its own level."""
    leaf = pressed()
    assert leaf.send(HostShort(WHY)) == [fx.Restart(WHY, False, MemoryState.NORMAL, 50 * MIB)]
    leaf.restart()
    assert leaf.guard.pressed == "" and leaf.guard.due_since is None
    assert kinds(leaf.sample(40)) == ["Completed"]
    assert leaf.sample(40, 40) == []


def test_a_busy_leaf_prepares_once_and_goes_at_the_end_of_its_turn() -> None:
    """Or at the latest after the grace of a critical leaf."""
    leaf = pressed(idle=False)
    assert leaf.send(HostShort(WHY)) == [fx.Prepare(WHY)]
    due = leaf.guard.due_since
    assert due is not None and next_wake(leaf.guard) == due + 60.0
    assert leaf.sample(50, 50, 50) == []
    assert kinds(leaf.send(IdleChanged(idle=True))) == ["Restart"]


def test_the_grace_ends() -> None:
    """A turn that does not end delays it by the grace, and no longer."""
    leaf = pressed(idle=False)
    leaf.send(HostShort(WHY))
    assert leaf.send(Tick(), after=59.0) == []
    assert kinds(leaf.send(Tick(), after=1.5)) == ["Restart"]


def test_what_the_host_needs_no_more_is_forgotten() -> None:
    """A leaf that waited for its turn to end is left alone when the host has memory again; what its own memory made due stays due."""
    leaf = pressed(idle=False)
    leaf.send(HostShort(WHY))
    assert leaf.send(HostShort()) == []
    assert leaf.send(IdleChanged(idle=True)) == [] and next_wake(leaf.guard) is None
    leaf.send(IdleChanged(idle=False))
    leaf.sample(250, 250, 250)
    leaf.send(HostShort(WHY))
    leaf.send(HostShort())
    (restart,) = leaf.send(IdleChanged(idle=True))
    assert isinstance(restart, fx.Restart) and restart.reason.startswith("memory is at 250.0 MiB")


def test_a_refusal_ends_it() -> None:
    """Whoever asked looks for another leaf; nothing is asked again for this one by itself."""
    leaf = pressed()
    leaf.send(HostShort(WHY))
    assert kinds(leaf.send(RestartRefused("2 of 2 attempts", 100.0))) == ["Refused", "Degrade"]
    assert leaf.guard.pressed == "" and leaf.guard.phase is Phase.WATCHING
    assert next_wake(leaf.guard) is None
    assert leaf.send(Tick(), after=200.0) == []


def test_a_cooldown_delays_it() -> None:
    """A controlled restart that has to wait is asked for again when it need not."""
    leaf = pressed()
    leaf.send(HostShort(WHY))
    leaf.send(RestartPostponed(20.0))
    assert leaf.sample(50, 50) == []
    assert kinds(leaf.send(Tick(), after=20.0)) == ["Restart"]


def test_a_failure_and_an_end_forget_it() -> None:
    """After either, the leaf is looked at afresh."""
    leaf = pressed()
    leaf.send(HostShort(WHY))
    assert kinds(leaf.send(RestartBroken("nothing came up"))) == ["Failed"]
    assert leaf.guard.pressed == "" and leaf.sample(50) == []
    leaf = pressed(idle=False)
    leaf.send(HostShort(WHY))
    leaf.send(LeafExited(leaf.generation))
    assert leaf.guard.pressed == "" and next_wake(leaf.guard) is None
    assert leaf.send(HostShort(WHY)) == []  # there is nobody to restart


def test_a_dry_run_says_it_once() -> None:
    """And does nothing, however long the host is short."""
    leaf = Leaf(Policy(dry_run=True))
    leaf.sample(50)
    assert leaf.send(HostShort(WHY)) == [fx.WouldRestart(WHY, False, MemoryState.NORMAL, 50 * MIB)]
    assert leaf.sample(50, 50, 50) == []


def test_nobody_is_asked_twice() -> None:
    """While a restart is under way the host's needs are no news."""
    leaf = pressed()
    leaf.send(HostShort(WHY))
    assert leaf.send(HostShort("again")) == []
    assert leaf.guard.phase is Phase.ASKED
