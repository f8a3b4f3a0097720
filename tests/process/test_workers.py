"""Workers in processes of their own: the same function, the same meaning, and everything that crosses the border."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from supervisor import (
    CallTimeout,
    ChildExited,
    ChildNotFound,
    ChildSpec,
    ChildType,
    ExitKind,
    ForeignEvent,
    InvalidField,
    Launch,
    NoProc,
    NotServed,
    Restart,
    StartFailed,
    Supervisor,
    WorkerFailed,
    serve,
    task,
    worker,
    worker_start_method,
)
from supervisor.core.wire import FrameTooLarge
from supervisor.host import fork_server, marker, reaper
from supervisor.host.procstat import read_environment
from tests.children import working
from tests.process.host_support import running
from tests.process.worker_support import child, exits, methods, tree
from tests.support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the fork server needs Linux")]


@methods
async def test_the_acknowledged_value_crosses(method: str) -> None:
    """What the function says to `started` is the answer of the call that started it; its process is the child's."""
    async with tree() as watched:
        info = await watched.root.start_child(child("up", {"n": [1, None]}, method=method))
        assert info.value == {"n": [1, None]}
        assert info.type is ChildType.WORKER
        assert info.pid == await watched.root.call("child", "pid") != os.getpid()


@methods
async def test_the_event_loop_is_the_trees(method: str) -> None:
    """A worker runs on the backend that its tree runs on, unless told otherwise."""
    other = "asyncio" if working.library() == "trio" else "trio"
    async with tree(child("up", method=method)) as watched:
        assert await watched.root.call("child", "loop") == working.library()
        spec = ChildSpec("other", worker("tests.children.working:up", start_method=method, backend=other))  # type: ignore[arg-type]
        await watched.root.start_child(spec)
        assert await watched.root.call("other", "loop") == other


@methods
async def test_it_is_a_child_of_ours_and_leads_a_session(method: str) -> None:
    """However it was started: its parent is the supervisor, so its exit status and its death signal are."""
    async with tree(child("up", method=method)) as watched:
        said = await watched.root.call("child", "surroundings")
        pid = await watched.root.call("child", "pid")
        assert (said["parent"], said["session"]) == (os.getpid(), pid)


@methods
async def test_it_inherits_what_is_here_now(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, working directory and module path are those of the moment, not those of the fork server's start."""
    async with tree(child("up", method=method)) as watched:
        monkeypatch.setenv("A_VARIABLE", "later\udcff")
        monkeypatch.setenv("NOTIFY_SOCKET", "/run/manager")  # which told us alone
        monkeypatch.syspath_prepend(str(tmp_path))
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            await watched.root.start_child(child("up", id="later", method=method))
        said = await watched.root.call("later", "surroundings")
        assert (said["cwd"], said["variable"], said["manager"]) == (str(tmp_path), "later\udcff", None)
        assert said["path"] == list(fork_server.module_path())


@methods
async def test_its_life_is_marked_for_all_to_see(method: str) -> None:
    """The kernel shows the marker of this life in the environment of the process, a fork's too."""
    async with tree(child("up", method=method)) as watched:
        handle = watched.root.handle("child")
        assert handle is not None and handle.pid is not None
        await watched.root.call("child", "pid")
        value = marker.value_in(read_environment(handle.pid))
        assert value.rpartition(":")[0].endswith(":root/child")


@methods
@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
async def test_an_exception_ends_it_with_its_traceback(method: str, restart: Restart) -> None:
    """The exit says what a task's would say, and carries the type, the text and the traceback."""
    async with tree() as watched:
        await watched.root.start_child(child("raises", "lost", method=method))
        (exit,) = await eventually(lambda: exits(watched))
    assert (exit.kind, exit.reason) == (ExitKind.ABNORMAL, "LookupError: lost")
    assert isinstance(exit.exception, WorkerFailed)
    assert (exit.exception.type, exit.exception.text) == ("LookupError", "lost")
    assert "in raises\n" in exit.exception.trace
    assert "in raises\n" in exit.exception.__notes__[0]


@methods
async def test_returning_is_a_normal_end(method: str) -> None:
    """As of a task."""
    async with tree(child("returns", method=method)) as watched:
        (exit,) = await eventually(lambda: exits(watched))
        assert exit.kind is ExitKind.NORMAL


@methods
async def test_it_may_decline_its_start(method: str) -> None:
    """OTP's ignore; no process is left of it."""
    async with tree() as watched:
        info = await watched.root.start_child(child("declines", method=method, restart=Restart.PERMANENT))
        assert (info.state, info.pid) == ("undefined", None)
        assert exits(watched) == []


@methods
@pytest.mark.parametrize(
    ("function", "args", "said"), [("silent", (), "RuntimeError"), ("raises", ("early",), ""), ("absent", (), "AttributeError")]
)
async def test_a_start_that_fails_says_why(method: str, function: str, args: tuple[str, ...], said: str) -> None:
    """No acknowledgement, or no such function: the start has failed, with what was raised there as its cause."""
    async with tree() as watched:
        if function == "raises":  # it acknowledges by being called, as a task
            await watched.root.start_child(child(function, *args, method=method))
            return
        with pytest.raises(StartFailed, match=said) as failed:
            await watched.root.start_child(child(function, *args, method=method))
        assert isinstance(failed.value.__cause__, WorkerFailed)


@methods
async def test_stopping_cancels_the_function(method: str) -> None:
    """Asked to end, it unwinds like a task: a shutdown, and no kill."""
    async with tree(child("up", method=method)) as watched:
        await watched.root.terminate_child("child")
        (event,) = watched.events(ChildExited)
        assert (event.exit.kind, event.killed, event.expected) == (ExitKind.SHUTDOWN, False, True)


@methods
async def test_who_does_not_unwind_is_killed(method: str) -> None:
    """After `shutdown` seconds, whatever it does."""
    async with tree(child("stubborn", method=method, shutdown=0.1)) as watched:
        await watched.root.terminate_child("child")
        (event,) = watched.events(ChildExited)
        assert (event.exit.signal, event.killed) == (signal.SIGKILL, True)


@methods
async def test_who_never_came_up_can_be_stopped(method: str) -> None:
    """A function that neither acknowledges nor listens is killed at its start timeout."""
    async with tree() as watched:
        with pytest.raises(StartFailed):
            await watched.root.start_child(child("hangs", method=method, start_timeout=1.0, shutdown=0.05))


@methods
@pytest.mark.parametrize(("code", "kind"), [(3, ExitKind.ABNORMAL), (0, ExitKind.NORMAL)])
async def test_an_end_without_a_word_is_that_of_a_command(method: str, code: int, kind: ExitKind) -> None:
    """os._exit, a signal: classified by the kernel's word alone."""
    async with tree(child("up", method=method)) as watched:
        with pytest.raises(NoProc):
            await watched.root.call("child", "exit", code)
        (exit,) = await eventually(lambda: exits(watched))
        assert (exit.kind, exit.code) == (kind, code)


@methods
async def test_a_signal_is_told(method: str) -> None:
    """Killed from outside, it is restarted like any child."""
    async with tree(child("up", method=method, restart=Restart.PERMANENT)) as watched:
        pid = await watched.root.call("child", "pid")
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: watched.root.which_child("child").generation == 2 and watched.root.which_child("child").state == "running")
        assert [exit.signal for exit in exits(watched)] == [signal.SIGKILL]
        assert await watched.root.call("child", "who") == (("root", "child"), 2)


# ---------------------------------------------------------------- calls


@methods
async def test_calls_are_answered(method: str) -> None:
    """By plain and by async functions, with everything that can cross; many at a time."""
    async with tree(child("up", method=method)) as watched:
        assert await watched.root.call("child", "add", (1, b"x"), ({2},)) == (1, b"x", {2})
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(check_double, watched.root, number)


async def check_double(root: Supervisor, number: int) -> None:
    assert await root.call("child", "double", number) == 2 * number


@methods
async def test_what_a_function_raises_is_raised_here(method: str) -> None:
    """As `WorkerFailed`; the worker lives on, also when its answer cannot cross."""
    async with tree(child("up", method=method)) as watched:
        with pytest.raises(WorkerFailed, match="LookupError: nothing here"):
            await watched.root.call("child", "fail", "nothing here")
        with pytest.raises(NotServed):
            await watched.root.call("child", "absent")
        with pytest.raises(WorkerFailed, match="cannot leave its process"):
            await watched.root.call("child", "opaque")
        with pytest.raises(TypeError, match="cannot leave its process"):
            await watched.root.call("child", "add", object(), 1)
        with pytest.raises(FrameTooLarge):
            await watched.root.call("child", "add", "x" * 2_000_000, "")
        assert await watched.root.call("child", "add", 1, 2) == 3
        assert exits(watched) == []


@methods
async def test_a_call_has_its_time(method: str) -> None:
    """Then `CallTimeout`; a late answer disturbs nobody."""
    async with tree(child("up", method=method)) as watched:
        with pytest.raises(CallTimeout) as late:
            await watched.root.call("child", "sleep", 0.2, timeout=0.01)
        assert (late.value.name, late.value.timeout) == ("sleep", 0.01)
        assert isinstance(late.value, TimeoutError)
        await watched.root.call("child", "sleep", 0.3)
        assert await watched.root.call("child", "add", 1, 2) == 3


async def test_calls_of_nobody_are_refused() -> None:
    """No such child, none that runs, no seconds."""
    async with tree(child("up")) as watched:
        with pytest.raises(ChildNotFound):
            await watched.root.call("other", "add")
        with pytest.raises(InvalidField, match="timeout"):
            await watched.root.call("child", "add", timeout=-1)
        await watched.root.start_child(child("up", id="down", restart=Restart.TRANSIENT))
        await watched.root.terminate_child("down")
        with pytest.raises(NoProc):
            await watched.root.call("down", "add")


@methods
async def test_a_worker_calls_others_by_path(method: str) -> None:
    """A task of the tree, another worker, itself; errors come back as they are."""

    async def local(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        serve("greet", lambda name: f"hello {name}")
        task_status.started()
        await anyio.sleep_forever()

    async with tree(ChildSpec("task", task(local)), child("up", id="a", method=method), child("up", id="b", method=method)) as watched:
        root = watched.root
        assert await root.call("a", "call", ("root", "task"), "greet", "a") == "hello a"
        assert await root.call("a", "call", ("root", "b"), "add", 1, 2) == 3
        assert await root.call("a", "call", ("root", "a"), "add", 1, 2) == 3
        with pytest.raises(ChildNotFound):
            await root.call("a", "call", ("root", "c"), "add", 1, 2)
        with pytest.raises(NotServed):
            await root.call("a", "call", ("root", "task"), "absent")


async def test_a_task_serves_calls_as_well() -> None:
    """The same function, with `task`: what it serves is called in place, as the child that serves it."""
    async with tree(ChildSpec("child", task(working.up, 1))) as watched:
        assert await watched.root.call("child", "who") == (("root", "child"), 1)
        assert await watched.root.call("child", "double", 4) == 8
        with pytest.raises(LookupError, match="here"):
            await watched.root.call("child", "fail", "here")
        with pytest.raises(CallTimeout):
            await watched.root.call("child", "sleep", 60, timeout=0.01)
        with pytest.raises(NotServed):
            await watched.root.call("child", "absent")


# ---------------------------------------------------------------- events and records


@methods
async def test_events_arrive_unchanged(method: str) -> None:
    """Of a class that is known here: that very class, with all its values, before the answer that followed them."""
    async with tree(child("up", method=method)) as watched:
        await watched.root.call("child", "say", {"of": (1, None)})
        (event,) = watched.events(working.Said)
        assert event == working.Said(("root", "child"), generation=1, word={"of": (1, None)})


async def test_events_of_a_class_that_is_not_loaded_keep_their_name_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event stream shows the same; nothing is imported for it."""
    async with tree(child("up")) as watched:
        with monkeypatch.context() as patch:
            patch.delattr(working, "Said")
            await watched.root.call("child", "say", (1, 2))
        (event,) = watched.events(ForeignEvent)
        assert (event.name, event.path, event.generation, event.as_data()) == ("said", ("root", "child"), 1, {"word": [1, 2]})


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign, assignment]
    logging.root.addHandler(handler)
    yield found
    logging.root.removeHandler(handler)


@methods
async def test_records_are_logged_here(method: str, records: list[logging.LogRecord]) -> None:
    """With the name, level, message and traceback that they had, and the path of the child; they make no loggers."""
    async with tree(child("up", method=method)) as watched:
        await watched.root.call("child", "log", "tests.a.worker", "well", False)
        await watched.root.call("child", "log", "tests.a.worker", "ill", True)
    mine = [record for record in records if record.name == "tests.a.worker"]
    assert [(record.getMessage(), record.levelname, record.processName, record.child) for record in mine] == [  # type: ignore[attr-defined]
        ("well!", "WARNING", "root/child", "root/child"),
        ("ill!", "ERROR", "root/child", "root/child"),
    ]
    assert "ZeroDivisionError" in logging.Formatter().format(mine[1])
    assert "tests.a.worker" not in logging.root.manager.loggerDict


# ---------------------------------------------------------------- the specification


@pytest.mark.parametrize("function", ["", "module", "module:", ":f", "a b:f", "module:f()", 3, "__main__:f"])
def test_a_function_is_named(function: object) -> None:
    """As module:function, in a module that another process can import."""
    with pytest.raises(InvalidField, match="function"):
        worker(function)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backend", "curio"),
        ("start_method", "spawn"),
        ("kill_timeout", 0),
        ("kill_timeout", "x"),
        ("kwargs", {"x": object()}),
        ("kwargs", 5),
        ("kwargs", {1: 2}),
    ],
)
def test_options_are_checked(field: str, value: object) -> None:
    """With the field's name."""
    with pytest.raises(InvalidField, match=field):
        worker("m:f", **{field: value})  # type: ignore[arg-type]
    with pytest.raises(InvalidField, match="args"):
        worker("m:f", object())


def test_it_is_described_without_its_arguments() -> None:
    """Which can hold secrets."""
    launch: Launch = worker("m:f", "secret", kwargs={"x": "secret"})
    assert launch.describe() == {"worker": "m:f", "start_method": "auto", "cgroup": "auto", "limits": {}}
    assert worker_start_method() == "fork_server"


async def test_nothing_is_left() -> None:
    """After the block the fork server is gone as well, and orphans are nobody's business any more."""
    async with tree(child("up")) as watched:
        await watched.root.call("child", "pid")
        helpers = set(reaper._servers)
        assert len(helpers) == 1 and all(map(running, helpers))
    assert reaper._active is None
    assert not any(map(running, helpers))
