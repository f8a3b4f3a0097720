"""A supervisor in a process of its own: its calls, its rows and its events are those of one that is here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import attrs
import pytest

from supervisor import (
    ChildExited,
    ChildInfo,
    ChildNotFound,
    ChildSpec,
    ChildStarted,
    ChildStatus,
    ChildType,
    Exit,
    ExitKind,
    ForeignEvent,
    ForeignValue,
    InvalidField,
    MaxChildren,
    NoProc,
    Restart,
    SimpleOneForOne,
    StartFailed,
    SupervisorRef,
    WorkerFailed,
    command,
    dynamic,
    partitions,
    subtree,
    task,
    worker,
)
from supervisor.host.procstat import read_stat
from tests.children import working
from tests.process.host_support import CHILDREN, PYTHON, running
from tests.process.worker_support import METHODS, Watched, methods, tree
from tests.support import ROOT, eventually, eventually_sync
from tests.support import running as program

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")]

PLACES = ["here", *METHODS]
places = pytest.mark.parametrize("place", PLACES)
UP = ChildSpec("up", task(working.up))


@asynccontextmanager
async def below(inner: Any, place: str = "auto", **fields: Any) -> AsyncIterator[tuple[Watched, SupervisorRef]]:
    """A tree with this supervisor below its root: here, or in a process that begins in this way."""
    start = inner if place == "here" else worker(inner, start_method=place)  # type: ignore[arg-type]
    async with tree(ChildSpec("sub", start, **fields), intensity=5, period=60.0) as watched:
        yield watched, watched.root.supervisor("sub")


def seen(event: Any) -> tuple[Any, ...]:
    """An event without what differs from run to run."""
    exit = getattr(event, "exit", None)
    return (event.name, event.path, event.generation, exit and (exit.kind, exit.reason), getattr(event, "purpose", None))


def row(info: ChildInfo) -> tuple[Any, ...]:
    """A row without what differs from run to run."""
    return (info.id, info.path, info.type, info.state, info.pid is None, info.generation, info.restarts, info.exit and info.exit.reason)


async def story(sub: SupervisorRef) -> list[Any]:
    """Every call of a supervisor, and what is answered."""
    told: list[Any] = [[row(info) for info in sub.which_children()], sub.count_children()]
    told.append(row(await sub.start_child(ChildSpec("late", task(working.up, "hello")))))
    told.append((await sub.start_child(ChildSpec("said", task(working.up, {"a": (1, 2)})))).value)
    told.append(row(await sub.cycle_child("b", reason="a test")))
    await sub.terminate_child("late")
    told.append(row(sub.which_child("late")))
    told.append(row(await sub.restart_child("late")))
    await sub.terminate_child("late")
    await sub.delete_child("late")
    for wrong in (
        lambda: sub.start_child(ChildSpec("a", task(working.up))),
        lambda: sub.start_child(ChildSpec("bad", task(working.raises_early, "no"), start_timeout=20.0)),
        lambda: sub.start_child(ChildSpec("mute", task(working.silent))),
        lambda: sub.restart_child("a"),
        lambda: sub.delete_child("a"),
        lambda: sub.terminate_child("late"),
        lambda: sub.cycle_child("late"),
        lambda: sub.start_child("no specification"),  # type: ignore[arg-type]
        lambda: sub.reconfigure([], intensity=-1),
    ):
        try:
            told.append(await wrong())
        except Exception as error:
            cause = error.__cause__
            told.append((type(error), str(error), cause.type if isinstance(cause, WorkerFailed) else type(cause).__name__))
    told.append(row(await sub.start_child(ChildSpec("ignored", task(working.declines)))))
    await sub.reconfigure([ChildSpec("new", task(working.up))], intensity=7)
    told.append((sub.state.flags.intensity, [row(info) for info in sub.which_children()], sub.count_children()))
    told.append((sub.cycles_left(), str(sub.cycle_verdict("a")), sub.get_childspec("b").restart, sub.get_childspec("b").start.describe()))
    sub.judge("b", 2, success=True)
    spent = sub.history()
    told.append((spent.cycles.streak, len(spent.cycles.attempts), spent.crashes))
    await sub.reset_budgets()
    told.append((sub.history(), sub.cycles_left(), await sub.call("said", "add", 2, 3)))
    for unknown in (sub.which_child, sub.get_childspec, sub.cycle_verdict):
        with pytest.raises(ChildNotFound):
            unknown("nobody")
    return told


async def test_it_is_used_as_one_that_is_here() -> None:
    """Every call has the same answer, every wrong one the same error, and the tree the same events in the same order, wherever it runs."""
    stories, events, trees = [], [], []
    for place in PLACES:
        inner = subtree([ChildSpec("a", task(working.up)), ChildSpec("b", command("sleep", "60"))], intensity=5, period=60.0)
        async with below(inner, place) as (watched, sub):
            stories.append(await story(sub))
            trees.append([(info.id, info.state, info.supervisor and info.supervisor.cycles_left) for info in nodes(watched.root.tree())])
        events.append([seen(event) for event in watched.all])
        assert not any(running(event.pid) for event in watched.events(ChildStarted) if event.pid is not None)
    assert stories[0] == stories[1] == stories[2]
    assert events[0] == events[1] == events[2]
    assert trees[0] == trees[1] == trees[2]


def nodes(info: Any) -> list[Any]:
    children = info.supervisor.children if info.supervisor is not None else ()
    return [info, *(node for child in children for node in nodes(child))]


@places
async def test_what_a_command_there_says_is_shown(place: str) -> None:
    """As long as the life that said it; the row of the next one begins anew."""
    talker = command(PYTHON, "-S", "-I", str(CHILDREN / "notifier.py"), "send:READY=1|STATUS=at work", "hang", ready="notify", stdin="null")

    async with below(subtree([ChildSpec("talks", talker)]), place) as (watched, sub):

        def status() -> str | None:
            [info] = [info for info in nodes(watched.root.tree()) if info.id == "talks"]
            return info.status  # type: ignore[no-any-return]

        await eventually(lambda: status() == "at work")
        await sub.terminate_child("talks")
        assert status() is None
        await sub.restart_child("talks")
        await eventually(lambda: status() == "at work")
        assert [event.generation for event in watched.events(ChildStatus)] == [1, 2]


@methods
async def test_it_is_another_process_and_its_children_are_there(method: str) -> None:
    """The supervisor's row has the pid of its process; tasks run in that process, and commands are its children."""
    inner = subtree([UP, ChildSpec("sleeps", command("sleep", "60"))])
    async with below(inner, method) as (watched, sub):
        info = watched.root.which_child("sub")
        assert (info.type, await sub.call("up", "pid")) == (ChildType.SUPERVISOR, info.pid)
        sleeps = sub.which_child("sleeps").pid
        stat = read_stat(sleeps or 0)
        assert stat is not None and stat.parent == info.pid


@places
async def test_an_event_comes_after_what_it_tells_of(place: str) -> None:
    """Whoever hears of a restart finds the new life in the table."""
    async with below(subtree([ChildSpec("up", command("sleep", "60"))], intensity=5), place) as (watched, sub):
        found: list[ChildInfo] = []
        watched.root.add_sink(lambda record: found.append(sub.which_child("up")) if record.event.name == "child_started" else None)
        before = sub.which_child("up")
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        await eventually(lambda: len(found) == 1)
        assert (found[0].generation, found[0].state, found[0].pid == before.pid) == (2, "running", False)


@places
async def test_a_give_up_climbs(place: str) -> None:
    """A supervisor that gives up ends with a shutdown, and the one above starts it again, in a new process."""
    inner = subtree([ChildSpec("up", command("sleep", "60"))], intensity=0)
    async with below(inner, place) as (watched, sub):
        before = watched.root.which_child("sub").pid
        pid = sub.which_child("up").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: any(seen(event)[:3] == ("child_restarted", ("root", "sub"), 2) for event in watched.all))
        assert sub.which_child("up").generation == 1
        [gave_up] = [event for event in watched.all if event.name == "supervisor_gave_up"]
        assert gave_up.path == ("root", "sub")
        [end] = [event for event in watched.events(ChildExited) if event.path == ("root", "sub")]
        assert end.exit.kind is ExitKind.SHUTDOWN
        assert place == "here" or watched.root.which_child("sub").pid != before


@methods
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_nothing_below_outlives_its_process(method: str, number: int) -> None:
    """Killed or stopped and then killed, the process takes its commands and what they have started along; the next one starts anew."""
    script = "setsid sleep 60 & sleep 60"
    inner = subtree([ChildSpec("up", command("sh", "-c", script, stdin="null")), ChildSpec("far", worker("tests.children.working:up"))])
    async with below(inner, method) as (watched, sub):
        await eventually(lambda: len(processes_below(watched)) >= 4)
        pids = processes_below(watched)
        pid = watched.root.which_child("sub").pid
        assert pid is not None and pid in pids
        os.kill(pid, number)
        if number == signal.SIGSTOP:
            watched.root.handle("sub").kill()  # type: ignore[union-attr]
        await eventually(lambda: watched.root.which_child("sub").generation == 2 and watched.root.which_child("sub").state == "running")
        assert not any(map(running, pids))
        assert [info.state for info in sub.which_children()] == ["running", "running"]


def processes_below(watched: Watched) -> list[int]:
    handle: Any = watched.root.handle("sub")
    return [] if handle is None else [member.pid for member in handle.members()]


@methods
@pytest.mark.parametrize("function", ["declines", "explodes", "nonsense"])
async def test_init(method: str, function: str) -> None:
    """A function that names the children is called there, at each start; it may decline, and what it raises is a failed start."""
    async with tree() as watched:
        spec = ChildSpec("sub", worker(subtree(getattr(working, f"init_{function}")), start_method=method))  # type: ignore[arg-type]
        if function == "declines":
            assert (await watched.root.start_child(spec)).state == "undefined"
            return
        with pytest.raises(StartFailed) as caught:
            await watched.root.start_child(spec)
        assert isinstance(caught.value.__cause__, WorkerFailed if function == "explodes" else Exception)
        assert ("the sun" if function == "explodes" else "ChildSpec") in str(caught.value)


async def test_children_that_are_asked_for_there() -> None:
    """The function runs in the other process, and its children too."""
    async with below(subtree(working.init_children)) as (watched, sub):
        info = watched.root.which_child("sub")
        assert await sub.call(f"child of {info.pid}", "pid") == info.pid


@places
async def test_a_failed_start_rolls_back(place: str) -> None:
    """A child that fails to start ends its supervisor and whoever was up before it."""
    inner = subtree([UP, ChildSpec("bad", task(working.raises_early, "the text"))])
    async with tree() as watched:
        start: Any = inner if place == "here" else worker(inner, start_method=place)  # type: ignore[arg-type]
        with pytest.raises(StartFailed, match="the text"):
            await watched.root.start_child(ChildSpec("sub", start))
        ends = [seen(event)[1:4] for event in watched.all if event.name == "child_exited" and event.path[-1] == "up"]
        assert ends == [(("root", "sub", "up"), 1, (ExitKind.SHUTDOWN, "shutdown"))]


@places
async def test_dynamic_and_partitions(place: str) -> None:
    """The other kinds of supervisors can be placed in a process as well."""
    async with below(dynamic(max_children=2), place) as (_, sub):
        first = await sub.start_child(UP)
        second = await sub.start_child(UP)
        assert first.id != second.id
        with pytest.raises(MaxChildren):
            await sub.start_child(UP)
        with pytest.raises(SimpleOneForOne):
            await sub.delete_child("up")
    async with below(partitions(UP, 3), place) as (watched, sub):
        assert [info.id for info in sub.which_children()] == ["2", "1", "0"]
        lookup = watched.root.partition_supervisor("sub")
        if place == "here":
            assert lookup.count_children().specs == 3
        else:
            with pytest.raises(NoProc, match="another process"):
                await lookup.resize(2)


@places
async def test_calls_cross_in_both_directions(place: str) -> None:
    """A child there calls one of its siblings and one that is here, and is called from here."""
    inner = subtree([ChildSpec("a", task(working.up)), ChildSpec("b", task(working.up)), ChildSpec("in", subtree([UP]))])
    async with below(inner, place) as (watched, sub):
        await watched.root.start_child(ChildSpec("top", task(working.up)))
        assert await sub.call("a", "call", ("root", "sub", "b"), "add", 1, 2) == 3
        assert await sub.call("a", "call", ("root", "sub", "in", "up"), "add", 1, 3) == 4
        assert await sub.call("a", "call", ("root", "top"), "pid") == os.getpid()
        assert await sub.supervisor("in").call("up", "who") == (("root", "sub", "in", "up"), 1)
        for path in (("root", "nobody"), ("root", "sub", "nobody")):
            with pytest.raises((ChildNotFound, WorkerFailed), match="no such child"):
                await sub.call("a", "call", path, "add", 1, 2)


@places
async def test_its_children_know_their_supervisor(place: str) -> None:
    """`current_child` is the same there, and its supervisor can be asked from there."""
    async with below(subtree([ChildSpec("asks", task(working.asks_its_supervisor))], intensity=5), place) as (watched, _):
        await eventually(lambda: bool(watched.events(working.Said)))
        assert [event.word for event in watched.events(working.Said)] == [[("root", "sub", "asks"), 1, ("root", "sub"), ["asks"]]]


@methods
async def test_nested_processes(method: str) -> None:
    """A supervisor in a process of its own below one in a process of its own is reached as any other."""
    innermost = worker(subtree([UP]), start_method=method)  # type: ignore[arg-type]
    async with below(subtree([ChildSpec("deep", innermost)]), method) as (watched, sub):
        deep = sub.supervisor("deep")
        pids = {os.getpid(), watched.root.which_child("sub").pid, await deep.call("up", "pid")}
        assert len(pids) == 3
        await deep.cycle_child("up")
        assert deep.which_child("up").generation == 2
        assert [info.id for info in nodes(watched.root.tree())] == ["root", "sub", "deep", "up"]
        deep.stop(Exit(ExitKind.ABNORMAL, "a test"))
        await eventually(lambda: sub.which_child("deep").generation == 2 and sub.which_child("deep").state == "running")
        assert sub.which_child("deep").exit == Exit(ExitKind.ABNORMAL, "a test")


@methods
async def test_a_child_that_cannot_be_cancelled_does_not_keep_the_process(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported and given up there, and then its process is killed."""
    monkeypatch.setattr("supervisor.leaf.link.LINGER", 0.2)
    stubborn = attrs.evolve(task(working.stubborn), kill_timeout=0.05)
    async with below(subtree([ChildSpec("stubborn", stubborn, shutdown=0.05)]), method) as (watched, _):
        pid = watched.root.which_child("sub").pid
    assert [event.path for event in watched.all if event.name == "child_unresponsive"] == [("root", "sub", "stubborn")]
    assert pid is not None and not running(pid)


@methods
async def test_what_cannot_cross(method: str) -> None:
    """A value, an error and an event that cannot leave the process arrive as what can be said of them."""
    async with below(subtree([ChildSpec("a", task(working.up))], intensity=5), method) as (watched, sub):
        assert (await sub.start_child(ChildSpec("odd", task(working.up_with_an_object)))).value == ForeignValue("builtins:object", {})
        with pytest.raises(TypeError, match="cannot leave its process"):
            await sub.start_child(ChildSpec("lambda", task(lambda: anyio.sleep(1))))
        runs = watched.root.task_supervisor("sub")
        with pytest.raises(TypeError, match="cannot leave its process"):
            await (await runs.async_nolink(anyio.sleep, 1))
        with pytest.raises(NoProc, match="another process"):
            sub.child("a")
        assert sub.handle("a") is None
        await sub.call("a", "say", "x" * 400_000)
        await sub.call("a", "say", ["a list"])
        await eventually(lambda: len(watched.events(working.Said)) == 2)
        await sub.call("a", "say_odd")
        await eventually(lambda: bool(watched.events(ForeignEvent)))
        [odd] = watched.events(ForeignEvent)
        assert (odd.name, odd.path) == ("said", ("root", "sub", "a"))
        await sub.start_child(ChildSpec("loud", task(working.raises_long, 2_000_000), restart=Restart.TRANSIENT))
        await eventually(lambda: "supervisor_gave_up" in [event.name for event in watched.all])
        end = next(event for event in watched.all if (event.name, event.path[-1]) == ("child_exited", "loud"))
        assert end.as_data()["exit"]["reason"].endswith("yyy")
        await eventually(lambda: watched.root.which_child("sub").generation == 2)


@methods
async def test_what_cannot_be_asked(method: str) -> None:
    """An exit that cannot leave this process is refused at once."""
    async with below(subtree([UP]), method) as (_, sub):
        with pytest.raises(TypeError, match="cannot leave its process"):
            sub.stop(Exit.shutdown(object()))
        assert sub.which_child("up").generation == 1


@pytest.mark.parametrize(
    "start",
    [
        command("sleep", "60"),
        worker("tests.children.working:up"),
        subtree([ChildSpec("a", task(lambda: anyio.sleep(1)))]),
        subtree(lambda: [UP]),
        42,
    ],
)
def test_what_cannot_be_placed(start: Any) -> None:
    """Anything but a task or a supervisor, and what is defined where another process cannot find it, is refused before anything starts."""
    with pytest.raises(InvalidField, match="function"):
        worker(start)


def test_what_is_placed_brings_its_own_arguments() -> None:
    """Arguments beside a launch would have nobody to take them."""
    with pytest.raises(InvalidField, match="args"):
        worker(task(working.up), 1)


@methods
async def test_a_task_can_be_placed(method: str) -> None:
    """A task's launch is the same worker as its name."""
    async with tree(ChildSpec("up", worker(task(working.up, [7]), start_method=method))) as watched:  # type: ignore[arg-type]
        info = await watched.root.cycle_child("up")
        assert (info.value, info.type) == ([7], ChildType.WORKER)
        assert await watched.root.call("up", "pid") == info.pid != os.getpid()


LIES: list[dict[str, Any]] = [
    {"path": ["root"]},
    {"path": ["root", "sub", "unknown"]},
    {"fields": {"lifecycle": 7}},
    {"fields": {"crash": [[], 7, 0, 0.0, None, {}]}},
    {"fields": {"nonsense": 1}},
    {"fields": {"retries": {"!": "tuple", "v": [{"!": "tuple", "v": [1.0, "nobody"]}]}}},
    {"rows": [["up", {"generation": "one"}]]},
    {"rows": [["up", {"spec": None}]]},
    {"rows": [["new", {}]]},
    {"rows": [7]},
]


@pytest.mark.parametrize("lie", LIES)
async def test_lies_about_its_state_end_it(lie: dict[str, Any]) -> None:
    """What is no change of a supervisor there ends the process, and leaves what is known here as it was."""
    async with below(subtree([UP])) as (watched, sub):
        message = {"m": "mirrored", "path": ["root", "sub"], "ahead": 0.0, "rows": [], "fields": {}, **lie}
        with suppress(NoProc):  # it is ended before it has answered
            await sub.call("up", "write_message", message)
        await eventually(lambda: watched.root.which_child("sub").generation == 2)
        ends = [event.exit.reason for event in watched.events(ChildExited) if event.path == ("root", "sub")]
        assert len(ends) == 1 and ends[0].startswith("protocol error")


async def test_an_ordinary_worker_has_no_supervisors() -> None:
    """A worker that says it has some has lost its way."""
    async with tree(ChildSpec("up", worker("tests.children.working:up"))) as watched:
        message = {"m": "mirrored", "path": ["root", "up"], "ahead": 0.0, "rows": [], "fields": {}, "fresh": True}
        with suppress(NoProc):
            await watched.root.call("up", "write_message", message)
        await eventually(lambda: watched.root.which_child("up").generation == 2)
        [end] = [event.exit.reason for event in watched.events(ChildExited)]
        assert end == "protocol error: Mirrored out of turn"


async def test_many_children() -> None:
    """A thousand children there are a thousand rows here, although they do not fit into one message."""
    inner = dynamic()
    async with below(inner) as (_, sub):
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(sub.start_child, ChildSpec(f"child {number} {'x' * 1000}", task(anyio.sleep_forever)))
        assert sub.count_children().active == 1000
    specs = [ChildSpec(f"{number}", task(anyio.sleep_forever)) for number in range(1000)]
    async with below(subtree(specs)) as (_, sub):
        assert [info.id for info in sub.which_children()] == [spec.id for spec in reversed(specs)]


async def test_calls_end_with_the_process() -> None:
    """Whoever waits for an answer hears that nobody is there any more, and so does who asks then."""
    async with below(subtree([UP])) as (watched, sub):
        pid = watched.root.which_child("sub").pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        errors: list[Exception] = []

        async def ask() -> None:
            try:
                await sub.cycle_child("up")
            except NoProc as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.lowlevel.checkpoint()
            os.kill(pid, signal.SIGKILL)
        assert len(errors) == 1
        await watched.root.terminate_child("sub")
        with pytest.raises(NoProc):
            sub.which_children()
        with pytest.raises(NoProc):
            await sub.cycle_child("up")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nothing_outlives_the_supervisor_above(backend: str) -> None:
    """When the process above is killed, the one with the supervisor ends, with its commands, also where there is no sentry."""
    script = ROOT / "tests" / "children" / "host_of_worker.py"
    with program(sys.executable, script, backend, "subtree", "none", env={"PYTHONPATH": str(ROOT)}) as host:
        eventually_sync(lambda: host.stdout.endswith("\n"), 30)
        pids = [int(word) for word in host.stdout.split()]
        assert len(pids) == 2
        host.process.kill()
        eventually_sync(lambda: not any(map(running, pids)), what="the end of all")


async def test_what_nobody_could_follow_ends_it() -> None:
    """An id that fits into no message ends the supervisor with that reason, instead of leaving its table here wrong."""
    async with below(subtree([UP], intensity=5)) as (watched, sub):
        await sub.call("up", "start_sibling", 2_000_000)
        await eventually(lambda: watched.root.which_child("sub").generation == 2)
        [end] = [event.exit for event in watched.events(ChildExited) if event.path == ("root", "sub")]
        assert "FrameTooLarge" in end.reason
