"""Task supervisors: tasks that come and go, with or without a result."""

from __future__ import annotations

import functools
import math
from typing import Any, cast

import anyio
import pytest
from anyio.abc import TaskStatus

from supervisor import (
    BRUTAL_KILL,
    ChildExited,
    ChildNotRunning,
    ChildSpec,
    ExitKind,
    InvalidField,
    MaxChildren,
    NoProc,
    Registry,
    Restart,
    StartFailed,
    Supervisor,
    TaskExited,
    TaskRun,
    TaskSupervisor,
    current_child,
    task,
    tasks,
)
from tests.play import Crash, Play, watched

pytestmark = pytest.mark.anyio


async def double(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * number


async def fail(error: BaseException) -> None:
    raise error


def act(play: Play, id: str) -> Any:
    """A function that does what the play tells it, without acknowledging anything."""

    class Silent:
        def started(self, value: object = None) -> None:
            pass

    async def run() -> str:
        status: Any = Silent()
        await play._run(id, gate=False, takes=0.0, stubborn=False, task_status=status)
        return f"result of {id}"

    return run


# ---------------------------------------------------------------- fire and forget


async def test_a_task_runs_once() -> None:
    """Temporary by default, 5 seconds to stop, with the function's name: it is forgotten when it ends, however it does."""
    play = Play()
    root = TaskSupervisor("root")
    watch = watched(root, play)
    async with root:
        info = await root.start_child(act(play, "a"), id="a")
        assert (info.id, info.path, info.state) == ("a", ("root", "a"), "running")
        spec = root.get_childspec("a")
        assert (spec.restart, spec.shutdown) == (Restart.TEMPORARY, 5.0)
        await play.saw("up a")
        play.crash("a")
        await play.until(lambda: root.count_children().specs == 0)
        assert (await root.start_child(double, 1)).id == "double"
        await play.until(lambda: "child_exited double" in watch.lines)
        assert root.count_children().specs == 0
    assert play.lives == {"a": 1}


async def test_a_task_may_be_restarted_and_stopped_otherwise() -> None:
    """`restart` and `shutdown` are those of its specification; the budget is Elixir's."""
    play = Play()
    root = TaskSupervisor("root")
    watched(root, play)
    async with root:
        await root.start_child(act(play, "a"), id="a", restart=Restart.TRANSIENT, shutdown=BRUTAL_KILL)
        assert root.get_childspec("a").shutdown is BRUTAL_KILL
        flags = root.state.flags
        assert (flags.intensity, flags.period) == (3, 5.0)
        await play.saw("up a")
        play.crash("a")
        await play.saw("up a", 2)
        play.tell("a")
        await play.until(lambda: root.count_children().specs == 0)


async def test_a_specification_is_as_good_as_a_function() -> None:
    """It is a dynamic supervisor: all of its calls are there."""
    play = Play()
    async with TaskSupervisor("root") as root:
        info = await root.start_child(play.child("a"))
        assert root.get_childspec(info.id).restart is Restart.PERMANENT
        await root.terminate_child(info.id)
        assert root.count_children().specs == 0


async def test_a_task_that_acknowledges_may_fail_to_start() -> None:
    """`start_child` waits for ``task_status`` as anywhere."""

    async def child(number: int, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
        if number < 0:
            raise ValueError(number)
        task_status.started(number)
        await anyio.sleep_forever()

    async with TaskSupervisor("root") as root:
        assert (await root.start_child(child, 7)).value == 7
        with pytest.raises(StartFailed):
            await root.start_child(child, -1)
        assert root.count_children().active == 1


# ---------------------------------------------------------------- results


async def test_a_task_has_a_result() -> None:
    """Both kinds; awaited as often as one likes, by `result` or by itself."""
    async with TaskSupervisor("root") as root:
        for run in (await root.async_(double, 4), await root.async_nolink(double, 4)):
            assert (run.id, run.path, run.generation >= 1) == (run.path[-1], ("root", run.id), True)
            assert await run.result() == 8
            assert await run == 8
            assert run.exit is not None and run.exit.kind is ExitKind.NORMAL
            assert repr(run) == f"TaskRun(root/{run.id}, normal)"
        assert await (await root.async_(functools.partial(double, 5))) == 10
        assert root.count_children().specs == 0


async def test_what_a_task_raises_is_raised_at_its_waiter() -> None:
    """The same exception, with the task's own traceback each time; the supervisor and its other tasks go on."""
    error = Crash("x")
    async with TaskSupervisor("root") as root:
        other = await root.async_nolink(anyio.sleep_forever)
        run = await root.async_nolink(fail, error)
        frames = []
        for _ in range(3):
            with pytest.raises(Crash) as caught:
                await run.result()
            assert caught.value is error
            frames.append([frame.name for frame in caught.traceback])
        assert frames[0] == frames[1] == frames[2]
        assert frames[0][-1] == "fail"
        assert other.exit is None


@pytest.mark.parametrize("how", ["terminate_child", "shutdown", "stop"])
async def test_a_task_that_was_stopped_has_no_result(how: str) -> None:
    """Its waiter is told so, with path and exit, whoever stopped it."""
    errors: list[TaskExited] = []
    play = Play()

    async def wait(run: TaskRun[str]) -> None:
        try:
            await run.result()
        except TaskExited as error:
            errors.append(error)
            play.wake()

    async with anyio.create_task_group() as group, TaskSupervisor("root") as root:
        run: TaskRun[str] = await root.async_nolink(act(play, "a"), id="a")
        group.start_soon(wait, run)
        await play.saw("up a")
        await anyio.wait_all_tasks_blocked()
        if how == "terminate_child":
            await root.terminate_child("a")
        elif how == "shutdown":
            await run.shutdown()
            await run.shutdown()
        else:
            root.stop()
        await play.until(lambda: errors)
    assert [(error.path, error.exit.kind) for error in errors] == [(("root", "a"), ExitKind.SHUTDOWN)]
    assert "root/a has no result: shutdown" in str(errors[0])


async def test_a_task_that_was_given_up_has_no_result() -> None:
    """Killed, as far as that goes; what it returns later is nobody's."""
    play = Play()

    async def deaf() -> int:
        with anyio.CancelScope(shield=True):
            await play.saw("end it")
        return 1

    async with TaskSupervisor("root") as root:
        run = await root.async_(deaf, shutdown=0.01)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await run.result()
        await anyio.wait_all_tasks_blocked()
        assert run.exit is None  # asked, and deaf
        await run.shutdown()
        play.note("end it")
        with pytest.raises(TaskExited) as caught:
            await run
        assert caught.value.exit.reason == "killed"
        assert root.abandoned == 1


async def test_an_exception_that_is_none_to_raise_is_a_cause() -> None:
    """What is meant for the event loop or the program does not leave `result` as if it were the waiter's."""
    async with TaskSupervisor("root") as root:
        run = await root.async_nolink(fail, GeneratorExitLike())
        with pytest.raises(TaskExited) as caught:
            await run
        assert isinstance(caught.value.__cause__, GeneratorExitLike)


class GeneratorExitLike(BaseException):
    """Not for `except Exception`."""


# ---------------------------------------------------------------- links


async def test_a_cancelled_waiter_stops_a_linked_task_only() -> None:
    """`async_` goes with who waits for it, `async_nolink` goes on."""
    play = Play()
    root = TaskSupervisor("root")
    watched(root, play)
    async with root:
        runs = [await root.async_(act(play, "linked"), id="linked"), await root.async_nolink(act(play, "free"), id="free")]
        for id in ("linked", "free"):
            await play.saw(f"up {id}")
        async with anyio.create_task_group() as group:
            for run in runs:
                group.start_soon(run.result)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await play.until(lambda: runs[0].exit is not None)
        assert runs[0].exit is not None and runs[0].exit.kind is ExitKind.SHUTDOWN
        assert runs[1].exit is None
        play.tell("free")
        assert await runs[1] == "result of free"


@pytest.mark.parametrize("end", ["crash", "return", "terminate"])
async def test_a_linked_task_ends_with_the_child_that_started_it(end: str) -> None:
    """However that ends, and whether it waited or not; one without a link goes on."""
    play = Play()
    runs: list[TaskRun[Any]] = []

    async def parent() -> None:
        ref = current_child().supervisor.task_supervisor("tasks")
        runs.append(await ref.async_(act(play, "linked"), id="linked"))
        runs.append(await ref.async_nolink(act(play, "free"), id="free"))
        await act(play, "parent")()

    root = Supervisor("root", [ChildSpec("tasks", tasks()), ChildSpec("parent", task(parent), restart=Restart.TEMPORARY)])
    watched(root, play)
    async with root:
        for id in ("parent", "linked", "free"):
            await play.saw(f"up {id}")
        if end == "crash":
            play.crash("parent")
        elif end == "return":
            play.tell("parent")
        else:
            await root.terminate_child("parent")
        await play.until(lambda: runs[0].exit is not None)
        await play.saw("end linked")
        assert runs[1].exit is None


async def test_a_link_is_forgotten_with_its_task() -> None:
    """A child that starts thousands of tasks keeps nothing of those that are over."""
    play = Play()
    kept: list[object] = []

    async def parent() -> None:
        ref = current_child().supervisor.task_supervisor("tasks")
        for number in range(100):
            await (await ref.async_(double, number))
        still = [await ref.async_(anyio.sleep_forever) for _ in range(2)]
        with pytest.raises(MaxChildren):
            still.append(await ref.async_(anyio.sleep_forever))
        kept.append(len(current_child()._life.monitors or ()))
        play.wake()

    async with Supervisor(
        "root", [ChildSpec("tasks", tasks(max_children=2)), ChildSpec("parent", task(parent), restart=Restart.TEMPORARY)]
    ):
        await play.until(lambda: kept)
    assert kept == [2]


async def test_a_caller_that_leaves_before_the_start_wants_nothing() -> None:
    """Cancelled while the supervisor is busy, a linked task never runs; one without a link does."""
    play = Play()
    root = TaskSupervisor("root")
    watched(root, play)
    async with root:
        async with anyio.create_task_group() as group:
            group.start_soon(root.start_child, play.child("gate", gate=True))
            await play.saw("start gate")
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as callers:
                    callers.start_soon(functools.partial(root.async_, act(play, "linked"), id="linked"))
                    callers.start_soon(functools.partial(root.async_nolink, act(play, "free"), id="free"))
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            play.open("gate")
        await play.saw("up free")
        await play.until(lambda: root.count_children().specs == 2)
    assert play.lives["linked"] == 0


async def test_a_child_that_is_over_has_no_linked_tasks() -> None:
    """A task that was given up and goes on all the same cannot start any."""
    play = Play()
    refused: list[ChildNotRunning] = []
    runs: list[TaskRun[int]] = []

    async def zombie() -> None:
        with anyio.CancelScope(shield=True):
            play.note("up")
            await play.saw("try")
            try:
                runs.append(await root.async_(double, 1))
            except ChildNotRunning as error:
                refused.append(error)
            play.note("tried")

    async with TaskSupervisor("root") as root:
        await root.start_child(zombie, shutdown=0.01)
        await play.saw("up")
        await root.terminate_child("zombie")
        play.note("try")
        await play.saw("tried")
    assert [error.id for error in refused] == ["zombie"] and runs == []


# ---------------------------------------------------------------- limits and ends


async def test_there_may_be_too_many() -> None:
    """All kinds count; one that ends makes room."""
    async with TaskSupervisor("root", max_children=2) as root:
        await root.start_child(anyio.sleep_forever)
        run = await root.async_(anyio.sleep_forever)
        for start in (root.start_child, root.async_, root.async_nolink):
            with pytest.raises(MaxChildren) as caught:
                await start(anyio.sleep_forever)
            assert caught.value.max_children == 2
        await run.shutdown()
        assert await (await root.async_(double, 1)) == 2


async def test_without_a_supervisor_there_are_no_tasks() -> None:
    """Before, after, and for whoever was waiting."""
    root = Supervisor("root", [ChildSpec("tasks", tasks())])
    ref = root.task_supervisor("tasks")
    with pytest.raises(NoProc):
        _ = await ref.async_(double, 1)
    async with root:
        assert await (await ref.async_(double, 1)) == 2
        await root.terminate_child("tasks")
        for start in (ref.start_child, ref.async_, ref.async_nolink):
            with pytest.raises(NoProc):
                await start(anyio.sleep_forever)


async def test_no_task_outlives_the_block() -> None:
    """Leaving it stops them all; their results are told afterwards too."""
    play = Play()
    async with TaskSupervisor("root") as root:
        runs = [await root.async_nolink(act(play, id), id=id) for id in "abc"]
        for id in "abc":
            await play.saw(f"up {id}")
    assert sorted(line for line in play.log if line.startswith("end")) == ["end a", "end b", "end c"]
    for run in runs:
        with pytest.raises(TaskExited):
            await run


async def test_tasks_are_children_like_others() -> None:
    """They have names in a registry, a function's name in reports, an event when they end."""
    play = Play()
    registry: Registry[str, None] = Registry()

    async def named() -> bool:
        registry.register("task")
        await play.saw("go on")
        return registry.whereis("task") is not None

    root = TaskSupervisor("root")
    watch = watched(root, play)
    async with root:
        run = await root.async_(named)
        start = root.get_childspec("named").start
        play.note("go on")
        assert await run is True
        assert start.describe()["task"].endswith("test_tasks_are_children_like_others.<locals>.named")
        assert registry.count() == 0
        await play.until(lambda: watch.of(ChildExited))
        assert [event.path for event in watch.of(ChildExited)] == [("root", "named")]


async def test_wrong_arguments_are_the_callers_fault() -> None:
    """An id or a time that cannot be: nothing starts, nothing stays."""
    async with TaskSupervisor("root") as root:
        wrong: Any = "soon"
        for start in (root.start_child, root.async_, root.async_nolink):
            with pytest.raises(InvalidField):
                await start(anyio.sleep_forever, shutdown=wrong)
            with pytest.raises(InvalidField):
                await start(anyio.sleep_forever, id="")
            with pytest.raises(TypeError, match="async function"):
                await start(cast(Any, None))
        assert root.count_children().specs == 0
        await root.start_child(anyio.sleep_forever, shutdown=math.inf)
