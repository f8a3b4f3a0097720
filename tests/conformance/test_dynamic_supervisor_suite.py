"""Cases of Elixir's own ``dynamic_supervisor_test.exs``, under their names. Children are addressed by id here, there by pid."""

from __future__ import annotations

import math

import anyio
import pytest

from supervisor import (
    BRUTAL_KILL,
    ChildNotFound,
    ChildSpec,
    DynamicSupervisor,
    Exit,
    ExitKind,
    MaxChildren,
    Restart,
    RestartIntensityExceeded,
    StartFailed,
)
from supervisor.core.spec import Shutdown
from supervisor.testing import AT_ONCE, NEVER, Decline, Fail, Ok, Scripted, Start, Stop

from .casting import counts, states

pytestmark = pytest.mark.anyio

SIGNAL = Exit.shutdown("signal")
OOPS = Exit.shutdown("oops")
WHATEVER = Exit(ExitKind.ABNORMAL, "whatever")
MANY = 100_000


def once(then: Start) -> Scripted:
    """A child that starts, and whose restarts do something else."""
    return Scripted({1: Ok()}, default=then)


# ---------------------------------------------------------------- start_child/2


async def test_with_different_returns() -> None:
    """The answer tells what it acknowledged with, that it declined, or why it failed."""
    async with DynamicSupervisor("sup") as sup:
        assert (await sup.start_child(ChildSpec("ok3", Scripted([Ok("extra")])))).value == "extra"
        assert (await sup.start_child(ChildSpec("ok2", Scripted()))).state == "running"
        assert (await sup.start_child(ChildSpec("ignore", Scripted([Decline()])))).state == "undefined"
        with pytest.raises(StartFailed, match="found"):
            await sup.start_child(ChildSpec("error", Scripted([Fail(OSError("found"))])))
        assert states(sup) == [("ok2", "running"), ("ok3", "running")]


async def test_with_max_children() -> None:
    """No more than that."""
    async with DynamicSupervisor("none", max_children=0) as sup:
        with pytest.raises(MaxChildren):
            await sup.start_child(ChildSpec("a", Scripted()))
    async with DynamicSupervisor("two", max_children=2) as sup:
        await sup.start_child(ChildSpec("a", Scripted()))
        await sup.start_child(ChildSpec("b", Scripted()))
        with pytest.raises(MaxChildren):
            await sup.start_child(ChildSpec("c", Scripted()))
        await sup.terminate_child("a")
        await sup.start_child(ChildSpec("c", Scripted()))
        assert counts(sup) == [2, 2, 0, 2]


@pytest.mark.parametrize(
    ("restart", "exit", "kept"),
    [
        (Restart.TEMPORARY, Exit.shutdown(), 0),
        (Restart.TEMPORARY, WHATEVER, 0),
        (Restart.TRANSIENT, Exit.normal(), 0),
        (Restart.TRANSIENT, Exit.shutdown(), 0),
        (Restart.TRANSIENT, SIGNAL, 0),
        (Restart.TRANSIENT, WHATEVER, 1),
        (Restart.PERMANENT, Exit.normal(), 1),
        (Restart.PERMANENT, Exit.shutdown(), 1),
        (Restart.PERMANENT, SIGNAL, 1),
        (Restart.PERMANENT, WHATEVER, 1),
    ],
)
async def test_restart_types(restart: Restart, exit: Exit, kept: int) -> None:
    """Whatever the reason a temporary child is not restarted and a permanent one is; a transient one unless it was normal or shutdown."""
    child = Scripted()
    async with DynamicSupervisor("sup") as sup:
        await sup.start_child(ChildSpec("a", child, restart=restart))
        child.end(exit)
        assert counts(sup) == [kept, kept, 0, kept]
        assert child.starts == 1 + kept


async def test_child_is_restarted_with_different_values() -> None:
    """A restart may acknowledge with another value; one that declines drops the child; one that fails leaves it restarting."""
    async with DynamicSupervisor("sup", intensity=MANY) as sup:
        for id, then, counted in [
            ("ok2", Ok(), [1, 1, 0, 1]),
            ("ok3", Ok("extra"), [2, 2, 0, 2]),
            ("ignore", Decline(), [2, 2, 0, 2]),
            ("error", Fail(), [3, 2, 0, 3]),
            ("unknown", Fail(TypeError()), [4, 2, 0, 4]),
        ]:
            child = once(then)
            await sup.start_child(ChildSpec(id, child))
            child.end(Exit.shutdown())
            assert counts(sup) == counted
        assert states(sup) == [("unknown", "restarting"), ("error", "restarting"), ("ok3", "running"), ("ok2", "running")]


async def test_restarting_on_init_children_counted_in_max_children() -> None:
    """A child whose restart fails has its place."""
    child = once(Fail())
    async with DynamicSupervisor("sup", max_children=1, intensity=MANY) as sup:
        await sup.start_child(ChildSpec("a", child))
        child.end(Exit.shutdown())
        assert counts(sup) == [1, 0, 0, 1]
        with pytest.raises(MaxChildren):
            await sup.start_child(ChildSpec("b", once(Ok())))


async def test_restarting_on_exit_children_counted_in_max_children() -> None:
    """A child that was restarted has its place."""
    child = Scripted()
    async with DynamicSupervisor("sup", max_children=1, intensity=MANY) as sup:
        await sup.start_child(ChildSpec("a", child))
        child.end(Exit.shutdown())
        assert counts(sup) == [1, 1, 0, 1]
        with pytest.raises(MaxChildren):
            await sup.start_child(ChildSpec("b", Scripted()))


async def test_child_is_restarted_when_trying_again() -> None:
    """A restart that fails is tried again, as long as the intensity allows."""
    child = Scripted({2: Fail()})
    async with DynamicSupervisor("sup", intensity=2) as sup:
        await sup.start_child(ChildSpec("a", child))
        child.end(Exit.shutdown())
        await child.running(3)
        assert counts(sup) == [1, 1, 0, 1]


@pytest.mark.parametrize("intensity", [1, 10])
async def test_child_triggers_maximum_intensity_when_trying_again(intensity: int) -> None:
    """A child that never comes up again ends the supervisor, with `shutdown`, after as many attempts as the intensity allows."""
    child = once(Fail())
    sup = DynamicSupervisor("sup", intensity=intensity)

    async def one_end() -> None:
        async with sup:
            await sup.start_child(ChildSpec("a", child))
            child.end(Exit.shutdown())
            await anyio.sleep(1)

    with pytest.raises(RestartIntensityExceeded):
        await one_end()
    assert child.starts == 1 + intensity
    assert sup.exit is not None
    assert sup.exit.kind is ExitKind.SHUTDOWN


# ---------------------------------------------------------------- terminate/2

KILLED = Exit.killed()


@pytest.mark.parametrize(
    ("children", "took"),
    [
        pytest.param([(BRUTAL_KILL, AT_ONCE, KILLED)] * 3, 0, id="brutal kill"),
        pytest.param([(math.inf, Stop(100), Exit.shutdown())] * 3, 100, id="infinity shutdown"),
        pytest.param([(math.inf, Stop(exit=OOPS), OOPS)] * 3, 0, id="infinity shutdown and abnormal reason"),
        pytest.param([(1.0, Stop(0.9), Exit.shutdown())] * 3, 0.9, id="integer shutdown"),
        pytest.param([(1.0, Stop(exit=OOPS), OOPS)] * 3, 0, id="integer shutdown and abnormal reason"),
        pytest.param(
            [(0.001, AT_ONCE, Exit.shutdown()), (0.001, NEVER, KILLED), (0.001, AT_ONCE, Exit.shutdown())],
            0.001,
            id="expired integer shutdown",
        ),
        pytest.param([(math.inf, Stop(exit=Exit.normal()), Exit.normal())] * 3, 0, id="permanent restart and normal reason"),
        pytest.param([(math.inf, Stop(2), Exit.shutdown()), (BRUTAL_KILL, NEVER, KILLED), (1.0, NEVER, KILLED)], 2, id="mixed children"),
    ],
)
async def test_terminates_children_with(children: list[tuple[float | Shutdown, Stop, Exit]], took: float) -> None:
    """All children are stopped at the same time, each as its `shutdown` says; how they take it is no concern of the supervisor's."""
    scripted = [Scripted(stop=stop) for _, stop, _ in children]
    sup = DynamicSupervisor("sup")
    async with sup:
        for child, (shutdown, _, _) in zip(scripted, children, strict=True):
            await sup.start_child(ChildSpec("a", child, shutdown=shutdown))
        begin = anyio.current_time()
    assert anyio.current_time() - begin == pytest.approx(took)
    assert [dict(child.exits) for child in scripted] == [{1: exit} for _, _, exit in children]
    assert sup.exit == Exit.shutdown()


# ---------------------------------------------------------------- terminate_child/2


@pytest.mark.parametrize(("shutdown", "exit"), [(BRUTAL_KILL, KILLED), (1.0, Exit.shutdown())])
async def test_terminates_child_with(shutdown: float | Shutdown, exit: Exit) -> None:
    """It is stopped as its `shutdown` says, and then unknown."""
    child = Scripted()
    async with DynamicSupervisor("sup") as sup:
        await sup.start_child(ChildSpec("a", child, shutdown=shutdown))
        await sup.terminate_child("a")
        assert dict(child.exits) == {1: exit}
        with pytest.raises(ChildNotFound):
            await sup.terminate_child("a")
        assert counts(sup) == [0, 0, 0, 0]


async def test_terminates_restarting_child() -> None:
    """Terminating a child in its retry loop ends the loop."""
    child = once(Fail())
    async with DynamicSupervisor("sup", intensity=MANY) as sup:
        await sup.start_child(ChildSpec("a", child))
        child.end(Exit.shutdown())
        assert states(sup) == [("a", "restarting")]
        await sup.terminate_child("a")
        so_far = child.starts
        with pytest.raises(ChildNotFound):
            await sup.terminate_child("a")
        assert counts(sup) == [0, 0, 0, 0]
        await anyio.sleep(1)
    assert child.starts == so_far
