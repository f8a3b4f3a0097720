# ruff: noqa: PT012 (what leaves a block is the claim, and the block is the test)
"""Windows, cooldowns and circuits: when a restart is admitted, and when it happens."""

from __future__ import annotations

import math

import anyio
import pytest

from supervisor import (
    Admitted,
    Backoff,
    Breaker,
    ChildExited,
    ChildRestarted,
    ChildSpec,
    ChildStartFailed,
    GiveUp,
    InvalidField,
    Refused,
    RestartDeferred,
    RestartHistory,
    RestartIntensityExceeded,
    RestartPostponed,
    RestartRefused,
    Spent,
    StartFailed,
    Strategy,
    Supervisor,
    SupervisorGaveUp,
    Wait,
    subtree,
)
from tests.play import Crash, Play, Watch, watched

pytestmark = pytest.mark.anyio


def since(start: float) -> float:
    return round(anyio.current_time() - start, 6)


def times(watch: Watch, name: str) -> list[float]:
    return [round(record.monotonic, 6) for record in watch.records if record.event.name == name]


async def test_restarts_that_are_far_enough_apart_go_on_for_ever() -> None:
    """The window slides: `intensity` restarts in any `period` never give up."""
    play = Play(patience=10_000.0)
    async with Supervisor("root", [play.child("a")], intensity=2, period=10.0) as root:
        for number in range(2, 42):
            play.crash("a")
            await play.saw("up a", number)
            await anyio.sleep(5.01)
        assert root.which_child("a").restarts == 40


async def test_the_window_counts_what_is_in_it() -> None:
    """One restart more than `intensity` within `period`, both ends included, gives up."""
    play = Play(patience=10_000.0)
    with pytest.raises(RestartIntensityExceeded):
        async with Supervisor("root", [play.child("a")], intensity=2, period=10.0):
            for number in range(2, 4):
                play.crash("a")
                await play.saw("up a", number)
                await anyio.sleep(5)
            play.crash("a")
            await play.rest()


async def test_backoff_waits_between_restarts() -> None:
    """The first restart is immediate; after it each waits twice as long, up to the cap, and says so. Waiting is no attempt."""
    play = Play(patience=10_000.0)
    backoff = Backoff(initial=1.0, multiplier=2.0, maximum=5.0)
    root = Supervisor("root", [play.child("a")], intensity=100, period=1000.0, backoff=backoff)
    watch = watched(root, play)
    async with root:
        for number in range(2, 8):
            play.crash("a")
            await play.saw("up a", number)
        await anyio.sleep(0.001)
    assert times(watch, "child_restarted") == [0, 1, 3, 7, 12, 17]
    assert [event.remaining for event in watch.of(RestartDeferred)] == [1, 2, 4, 5, 5]
    assert [event.attempt for event in watch.of(ChildRestarted)] == [1, 2, 3, 4, 5, 6]


async def test_a_life_that_lasted_resets_the_backoff() -> None:
    """After `stability` seconds of running, and the cooldown that is under way, the next restart is immediate again."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")], intensity=100, period=1000.0, backoff=Backoff(10.0, 2.0, 1000.0), stability=30.0)
    watch = watched(root, play)
    async with root:
        for number in range(2, 5):
            play.crash("a")
            await play.saw("up a", number)
        await anyio.sleep(41)
        play.crash("a")
        await play.saw("up a", 5)
        play.crash("a")
        await play.saw("up a", 6)
    assert times(watch, "child_restarted") == [0, 10, 30, 71, 81]


async def test_a_restart_that_waits_can_be_left_at_once() -> None:
    """Leaving the block does not wait for a cooldown."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")], intensity=100, backoff=Backoff(1000.0, 1.0, 1000.0))
    watched(root, play)
    async with root:
        start = anyio.current_time()
        play.crash("a")
        await play.saw("up a", 2)
        play.crash("a")
        await play.until(lambda: root.which_child("a").state == "restarting")
    assert since(start) == 0


async def test_two_children_wait_for_their_restarts_side_by_side() -> None:
    """Who waits does not hold up the others: each comes up when its time has come."""
    play = Play(patience=10_000.0)
    mid = ChildSpec("mid", subtree([play.child("b")], intensity=100, period=1000.0, backoff=Backoff(7.0, 1.0, 7.0)))
    root = Supervisor("root", [play.child("a"), mid], intensity=100, period=1000.0, backoff=Backoff(5.0, 1.0, 5.0))
    watch = watched(root, play)
    async with root:
        for id in "ab":
            play.crash(id)
            await play.saw(f"up {id}", 2)
            play.crash(id)
        await play.saw("up a", 3)
        await play.saw("up b", 3)
    assert times(watch, "child_restarted") == [0, 0, 5, 7]


async def test_a_failed_start_is_tried_again_after_the_cooldown() -> None:
    """A restart that fails waits like any other."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")], intensity=100, period=1000.0, backoff=Backoff(1.0, 2.0, 60.0))
    watch = watched(root, play)
    async with root:
        play.refuse("a", Crash("1"), Crash("2"))
        play.crash("a")
        await play.saw("up a", 2)
    assert times(watch, "child_start_failed") == [0, 1]
    assert times(watch, "child_restarted") == [3]
    assert len(watch.of(ChildStartFailed)) == 2


async def test_a_supervisor_that_holds_stays_up_and_tries_again_once() -> None:
    """Given up, it says when it will try again; time leads to one trial; if that fails the circuit is open for as long again."""
    play = Play(patience=10_000.0)
    flags = {"intensity": 1, "period": 10.0, "breaker": Breaker(failures=3, reset=100.0), "on_give_up": GiveUp.HOLD}
    root = Supervisor("root", [play.child("a"), play.child("b")], **flags)  # type: ignore[arg-type]
    watch = watched(root, play)
    async with root:
        play.crash("a")
        await play.saw("up a", 2)
        play.crash("a")
        await play.until(lambda: watch.of(SupervisorGaveUp))
        assert root.exit is None
        assert root.which_child("a").state == "restarting" and root.which_child("b").state == "running"
        gave_up = watch.of(SupervisorGaveUp)
        assert [(event.child, event.hold, event.retry_in) for event in gave_up] == [("a", True, 100)]
        await anyio.sleep(99.9)
        assert play.lives["a"] == 2
        await play.saw("up a", 3)
        play.crash("a")
        await play.until(lambda: len(watch.of(SupervisorGaveUp)) == 2)
        await play.until(lambda: root.which_child("a").state == "restarting")
        await anyio.sleep(99.9)
        assert play.lives["a"] == 3
        await play.saw("up a", 4)
        await anyio.sleep(40)
        play.crash("a")
        await play.saw("up a", 5)
    assert times(watch, "supervisor_gave_up") == [0, 100]
    assert times(watch, "child_restarted") == [0, 100, 200, 240]
    assert play.lives["b"] == 1


async def test_what_holds_does_not_escalate() -> None:
    """The supervisor above does not notice that a branch has given up."""
    play = Play(patience=10_000.0)
    mid = ChildSpec("mid", subtree([play.child("b")], intensity=0, breaker=Breaker(1, 50.0), on_give_up=GiveUp.HOLD))
    root = Supervisor("root", [play.child("a"), mid], intensity=0)
    watch = watched(root, play)
    async with root:
        play.crash("b")
        await anyio.sleep(49)
        assert root.which_child("mid").state == "running"
        assert root.supervisor("mid").which_child("b").state == "restarting"
        await play.saw("up b", 2)
    assert times(watch, "child_restarted") == [50]


async def test_a_reset_lets_a_held_child_start() -> None:
    """`reset_budgets` forgets that the supervisor gave up, so the child does not wait for the circuit."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")], intensity=0, breaker=Breaker(1, 1000.0), on_give_up=GiveUp.HOLD)
    watched(root, play)
    async with root:
        play.crash("a")
        await play.until(lambda: root.which_child("a").state == "restarting")
        start = anyio.current_time()
        await root.terminate_child("a")
        await root.reset_budgets()
        assert (await root.restart_child("a")).state == "running"
        assert since(start) == 0


async def test_a_controlled_restart_inside_a_cooldown_is_postponed() -> None:
    """The request is answered with what remains; asking is no attempt, and the child is left alone."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")], intensity=100, period=1000.0, backoff=Backoff(30.0, 2.0, 300.0), stability=1000.0)
    watch = watched(root, play)
    async with root:
        await root.cycle_child("a")
        await anyio.sleep(10)
        for _ in range(3):
            with pytest.raises(RestartPostponed) as caught:
                await root.cycle_child("a", reason="memory")
            assert caught.value.remaining == 20
        verdict = root.cycle_verdict("a")
        assert isinstance(verdict, Wait) and round(verdict.until - anyio.current_time(), 6) == 20
        assert play.lives["a"] == 2
        assert {(event.reason, event.controlled, event.remaining) for event in watch.of(RestartDeferred)} == {("memory", True, 20)}
        await anyio.sleep(20)
        assert isinstance(root.cycle_verdict("a"), Admitted)
        assert (await root.cycle_child("a")).generation == 3
        await anyio.sleep(59)
        with pytest.raises(RestartPostponed):
            await root.cycle_child("a")
        await anyio.sleep(1)
        assert (await root.cycle_child("a")).generation == 4


async def test_a_refused_controlled_restart_says_when_to_ask_again() -> None:
    """The budget of the window comes back with time."""
    play = Play(patience=10_000.0)
    async with Supervisor("root", [play.child("a")], intensity=2, period=100.0) as root:
        await root.cycle_child("a")
        await anyio.sleep(30)
        await root.cycle_child("a")
        with pytest.raises(RestartRefused) as caught:
            await root.cycle_child("a")
        assert caught.value.retry_in is not None and math.isclose(caught.value.retry_in, 70)
        verdict = root.cycle_verdict("a")
        assert isinstance(verdict, Refused)
        await anyio.sleep(caught.value.retry_in)
        assert (await root.cycle_child("a")).generation == 4


async def test_time_alone_brings_a_controlled_restart_back() -> None:
    """Judged useless often enough, controlled restarts stop; after `reset` seconds one trial is admitted, and only one."""
    play = Play(patience=10_000.0)
    flags = {"intensity": 100, "period": 10_000.0, "breaker": Breaker(failures=1, reset=60.0), "stability": 1000.0}
    async with Supervisor("root", [play.child("a")], **flags) as root:  # type: ignore[arg-type]
        info = await root.cycle_child("a")
        root.judge("a", info.generation, success=False)
        with pytest.raises(RestartRefused):
            await root.cycle_child("a")
        await anyio.sleep(60)
        info = await root.cycle_child("a")
        with pytest.raises(RestartRefused, match="trial"):
            await root.cycle_child("a")
        root.judge("a", info.generation, success=True)
        await root.cycle_child("a")


async def test_a_supervisor_that_is_restarted_goes_on_with_what_it_had_spent() -> None:
    """A function of the history is asked at every start; without one a restarted supervisor has its whole budget again."""
    play = Play(patience=10_000.0)
    flags = {"intensity": 3, "period": 1000.0, "backoff": Backoff(10.0, 2.0, 60.0), "breaker": Breaker(2, 300.0)}
    told: list[RestartHistory] = [RestartHistory()]
    specs = [
        ChildSpec("kept", subtree([play.child("a")], history=lambda: told[-1], **flags)),  # type: ignore[call-overload]
        ChildSpec("fresh", subtree([play.child("b")], **flags)),  # type: ignore[call-overload]
    ]
    async with Supervisor("root", specs, strategy=Strategy.ONE_FOR_ALL) as root:
        kept, fresh = root.supervisor("kept"), root.supervisor("fresh")
        for above, id in ((kept, "a"), (fresh, "b")):
            info = await above.cycle_child(id)
            above.judge(id, info.generation, success=False)
        await anyio.sleep(4)
        told.append(kept.history())
        assert told[-1] == fresh.history() == RestartHistory(cycles=Spent((4.0,), 1, 6.0, 1))
        await root.cycle_child("fresh")

        assert kept.cycle_verdict("a") == Wait(anyio.current_time() + 6)
        assert (kept.cycles_left(), fresh.cycles_left()) == (2, 3)
        await anyio.sleep(6)
        info = await kept.cycle_child("a")
        kept.judge("a", info.generation, success=False)
        assert isinstance(kept.cycle_verdict("a"), Refused)
        assert kept.history().cycles.reopens_in == 300.0


async def test_a_history_that_cannot_be_told_is_a_failed_start() -> None:
    """Of a child it is reported as such; at the root, which has nobody above it, the error itself leaves the block."""

    def forgotten() -> RestartHistory:
        raise LookupError("the file is gone")

    for wrong, cause in ((forgotten, LookupError), (lambda: 3, InvalidField)):
        with pytest.raises(StartFailed) as caught:
            async with Supervisor("root", [ChildSpec("sub", subtree([], history=wrong))]):  # type: ignore[arg-type]
                pass
        assert isinstance(caught.value.__cause__, cause)
        with pytest.raises(cause):
            async with Supervisor("root", [], history=wrong):  # type: ignore[arg-type]
                pass
    async with Supervisor("root", [], history=RestartHistory(crashes=Spent((1.0,)))) as root:
        assert root.history().crashes.attempts == (1.0,)


async def test_uptime_and_exit_times_are_the_loops() -> None:
    """Times are those of the event loop's clock, so virtual where that is."""
    play = Play(patience=10_000.0)
    root = Supervisor("root", [play.child("a")], intensity=1)
    watch = watched(root, play)
    async with root:
        await anyio.sleep(12.5)
        assert root.which_child("a").uptime == 12.5
        play.crash("a")
        await play.saw("up a", 2)
        assert root.which_child("a").uptime == 0
        assert watch.of(ChildExited)[0].uptime == 12.5
        assert watch.records[-1].monotonic == 12.5


async def test_many_timeouts_are_kept_apart() -> None:
    """Supervisors of one tree share a timer: each wakes at its own time, in whatever order they asked."""
    play = Play(patience=10_000.0)
    delays = [9.0, 3.0, 7.0, 1.0, 5.0]
    specs = [
        ChildSpec(f"s{delay}", subtree([play.child(f"c{delay}")], intensity=9, period=1000.0, backoff=Backoff(delay, 1.0, delay)))
        for delay in delays
    ]
    root = Supervisor("root", specs)
    watch = watched(root, play)
    async with root:
        for delay in delays:
            play.crash(f"c{delay}")
            await play.saw(f"up c{delay}", 2)
            play.crash(f"c{delay}")
        await anyio.sleep(20)
    assert times(watch, "child_restarted") == [0] * 5 + sorted(delays)
