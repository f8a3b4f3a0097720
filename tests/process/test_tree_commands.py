"""Trees of tasks and real processes: strategies, restarts, failed starts, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from supervisor import (
    ChildExited,
    ChildSpec,
    ChildStarted,
    ExitKind,
    Restart,
    RestartIntensityExceeded,
    StartFailed,
    Strategy,
    Supervisor,
    command,
    subtree,
)
from tests.play import Play, watched
from tests.support import eventually, eventually_sync, running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")]

FDS = Path("/proc/self/fd") if sys.platform == "linux" else Path("/dev/fd")


def sleeper(id: str, *argv: str, **fields: object) -> ChildSpec:
    """Make a command that ends by itself after a minute at most."""
    return ChildSpec(id, command(*(argv or ("sleep", "60")), stdin="null", stdout="null", stderr="null"), **fields)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_children() -> bool:
    """Whether this process has any child, a zombie included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def pid_of(root: Supervisor, id: str) -> int:
    pid = root.which_child(id).pid
    assert pid is not None
    return pid


async def test_a_tree_of_processes_and_tasks() -> None:
    """Processes have pids while they run, tasks have none; after the block no process is left."""
    play = Play()
    async with Supervisor("root", [sleeper("p"), play.child("t"), ChildSpec("mid", subtree([sleeper("q")]))]) as root:
        pids = [pid_of(root, "p"), root.supervisor("mid").which_child("q").pid]
        assert root.which_child("t").pid is None and root.which_child("mid").pid is None
        assert all(pid is not None and alive(pid) for pid in pids)
    assert not any(pid is not None and alive(pid) for pid in pids)


@pytest.mark.parametrize(
    ("strategy", "changed"), [(Strategy.ONE_FOR_ONE, "b"), (Strategy.REST_FOR_ONE, "bcd"), (Strategy.ONE_FOR_ALL, "abcd")]
)
async def test_strategies_with_processes(strategy: Strategy, changed: str) -> None:
    """A process that is killed comes back as another one, with whom the strategy says, and nobody else."""
    play = Play()
    root = Supervisor("root", [sleeper("a"), sleeper("b"), play.child("c"), sleeper("d")], strategy=strategy)
    watch = watched(root, play)
    async with root:
        before = {info.id: (info.pid, info.generation) for info in root.which_children()}
        watch.take()
        os.kill(pid_of(root, "b"), signal.SIGKILL)
        await play.until(lambda: len(watch.of(ChildStarted)) == len(changed))
        after = {info.id: (info.pid, info.generation) for info in root.which_children()}
        assert "".join(id for id in "abcd" if after[id] != before[id]) == changed
        assert all(after[id][1] == 2 for id in changed)
        exited = watch.of(ChildExited)[0]
        assert (exited.path, exited.pid, exited.expected) == (("root", "b"), before["b"][0], False)
        assert (exited.exit.kind, exited.exit.signal) == (ExitKind.ABNORMAL, signal.SIGKILL)
        stopped = [event.path[-1] for event in watch.of(ChildExited)[1:]]
        assert stopped == [id for id in "dcba" if id in changed and id != "b"]
        gone = [pid for id, (pid, _) in before.items() if id in changed and pid is not None]
        assert not any(alive(pid) for pid in gone)


async def test_a_task_takes_the_processes_after_it_along() -> None:
    """Tasks and processes are children alike."""
    play = Play()
    root = Supervisor("root", [sleeper("a"), play.child("t"), sleeper("b")], strategy=Strategy.REST_FOR_ONE)
    watch = watched(root, play)
    async with root:
        a, b = pid_of(root, "a"), pid_of(root, "b")
        watch.take()
        play.crash("t")
        await play.until(lambda: len(watch.of(ChildStarted)) == 2)
        assert pid_of(root, "a") == a and pid_of(root, "b") != b
        assert not alive(b)


async def test_an_exit_code_is_what_restart_types_decide_by() -> None:
    """A transient process that exits with 0 stays down, one that does not is restarted until the budget is spent."""
    play = Play()
    specs = [sleeper(id, "sh", "-c", f"exit {code}", restart=Restart.TRANSIENT) for id, code in (("ok", 0), ("bad", 3))]
    root = Supervisor("root", specs, intensity=2)
    watch = watched(root, play)
    with pytest.raises(RestartIntensityExceeded) as caught:
        async with root:
            await play.rest()
    assert [(id, exit.code) for id, exit in caught.value.exits] == [("bad", 3)] * 3
    assert len([event for event in watch.of(ChildExited) if event.path[-1] == "ok"]) == 1


async def test_a_command_that_is_not_there_is_a_failed_start() -> None:
    """`StartFailed` bare, with the `FileNotFoundError` as its cause; what is up is stopped."""
    play = Play()
    with pytest.raises(StartFailed, match="no-such-command") as caught:
        async with Supervisor("root", [sleeper("a"), play.child("t"), sleeper("b", "no-such-command-anywhere")]):
            pytest.fail("the body ran")
    assert caught.value.path == ("root", "b")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert play.log == ["start t", "up t", "asked t", "end t"]


async def test_a_process_that_ignores_being_asked_is_killed(tmp_path: Path) -> None:
    """After its `shutdown` it is killed, with everything it started, and that is no failure of the tree."""
    play = Play()
    script = f"trap '' TERM; sleep 50 & sleep 50 & : >{tmp_path}/up; wait; wait"
    stubborn = sleeper("s", "sh", "-c", script, shutdown=0.1)
    root = Supervisor("root", [stubborn, play.child("t")])
    watch = watched(root, play)
    async with root:
        await eventually((tmp_path / "up").exists)
        pid = pid_of(root, "s")
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert not alive(pid)
    exited = watch.of(ChildExited)[-1]
    assert exited.expected and exited.exit.signal == signal.SIGKILL
    assert root.abandoned == 0


async def test_a_controlled_restart_replaces_the_process() -> None:
    """The old process is gone before the new one starts: another pid under the same path, one generation on."""
    play = Play()
    root = Supervisor("root", [sleeper("a")])
    watch = watched(root, play)
    async with root:
        before = pid_of(root, "a")
        watch.take()
        info = await root.cycle_child("a", reason="memory")
        assert info.pid not in (None, before) and info.generation == 2
        assert not alive(before)
        assert watch.lines == ["child_exited a", "child_started a", "child_restarted a"]


@pytest.mark.deadline(300)
async def test_two_hundred_starts_and_stops_leave_nothing_behind() -> None:
    """A tree with 20 command leaves, 200 times: no process, descriptor, thread or task more than before, and no zombie."""

    async def once() -> list[int]:
        async with Supervisor("root", [sleeper(f"c{number}") for number in range(20)]) as root:
            return [pid_of(root, f"c{number}") for number in range(20)]

    await once()  # what is opened once for all is open now
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    descriptors, threads, tasks = len(list(FDS.iterdir())), threading.active_count(), len(anyio.get_running_tasks())
    pids: list[int] = []
    for _ in range(200):
        pids += await once()
    await anyio.wait_all_tasks_blocked()
    gc.collect()
    assert len(list(FDS.iterdir())) == descriptors
    assert threading.active_count() <= threads
    assert len(anyio.get_running_tasks()) == tasks
    assert len(pids) == 4000
    assert not has_children()


PROGRAM = """
import os
import sys
import anyio
from supervisor import ChildSpec, Supervisor, command

async def main():
    children = [ChildSpec(f"c{number}", command("sleep", "40", stdin="null")) for number in range(int(sys.argv[2]))]
    stubborn = command("sh", "-c", "trap '' TERM; echo up; sleep 40 & wait; sleep 40 & wait", stdin="null")
    root = Supervisor("root", [ChildSpec("s", stubborn, shutdown=30.0), *children])
    # whole lines, also where Python's output is unbuffered: the stubborn child writes to the same pipe
    root.add_sink(lambda record: os.write(1, f"{record.event.name}\\n".encode()))
    print("starting", flush=True)
    try:
        async with root:
            print("body", flush=True)
            try:
                await anyio.sleep(50)
            finally:
                print("stopping", flush=True)
    except KeyboardInterrupt:
        print("bare", flush=True)
        raise

anyio.run(main, backend=sys.argv[1])
"""


def test_a_second_interrupt_hurries() -> None:
    """Where Ctrl-C is left to Python and trio: the first one stops the tree in order, the second kills what is still being stopped."""
    with running(sys.executable, "-c", PROGRAM, "trio", "0", cwd=Path(__file__).parents[2]) as program:
        eventually_sync(lambda: "up" in program.stdout and "body" in program.stdout)
        program.send(signal.SIGINT)
        eventually_sync(lambda: "stopping" in program.stdout)
        assert program.process.poll() is None
        started = time.monotonic()
        program.send(signal.SIGINT)
        finished = program.wait(10)
    assert time.monotonic() - started < 8
    assert "child_exited" in finished.stdout and "bare" in finished.stdout
    assert finished.returncode in (-signal.SIGINT, 1, 130)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.02, 0.04])
def test_an_interrupt_in_the_middle_of_a_start_strands_nobody(delay: float) -> None:
    """Wherever in the interpreter Ctrl-C strikes, every process that was started is known, stopped and reported."""
    with running(sys.executable, "-c", PROGRAM, "trio", "40", cwd=Path(__file__).parents[2]) as program:
        eventually_sync(lambda: "child_started" in program.stdout)
        time.sleep(delay)
        deadline = time.monotonic() + 20
        while program.process.poll() is None and time.monotonic() < deadline:
            program.send(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.wait(0.2)
        finished = program.wait(1)
    lines = finished.stdout.splitlines()
    # one of them may not have been up yet
    assert lines.count("child_exited") - lines.count("child_started") in (0, 1)
    assert "child_unresponsive" not in lines
    assert lines[-1] == "bare"
