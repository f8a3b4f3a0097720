"""Command leaves with real processes, on both event loops: readiness, ends, stopping, and what they leave behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from supervisor.core.errors import InvalidField
from supervisor.core.event import OrphansSwept
from supervisor.core.exits import Exit, ExitKind
from supervisor.core.launch import ChildType, Launch
from supervisor.core.ports import Handle
from supervisor.host import identity, reaper
from supervisor.host.identity import ProcessId
from supervisor.host.procstat import read_stat
from supervisor.host.proctree import marked
from supervisor.host.waitstatus import AbnormalExit
from supervisor.leaf.command import command

from ..support import eventually, no_descriptors
from ..support_ticket import Life, LifeTicket, living
from .conftest import Enclosed
from .host_support import family, identified, other, reap, reported, running, zombies

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX processes")]


def swept(life: Life) -> set[int]:
    """The pids that were swept, over all events of a life."""
    return {pid for event in life.ticket.events if isinstance(event, OrphansSwept) for pid in event.pids}


def is_subreaper() -> bool:
    """What the kernel says of this process."""
    flag = ctypes.c_int(0)
    assert ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0) == 0
    return flag.value != 0


async def test_spawned_is_ready() -> None:
    """Under ``ready="spawn"`` a command has started once it runs; its identity is the value."""
    async with living(command("sleep", "60")) as life:
        launch: Launch = command("x")
        handle: Handle = life.handle
        assert launch.type is ChildType.WORKER and handle.pid == life.handle.pid
        assert await life.ticket.wait_ready() == life.handle.process_id == identified(life.handle.pid)


async def test_newline_acknowledges(tmp_path: Path) -> None:
    """Under ``ready="fd"`` nothing but a newline on the descriptor counts."""
    go = tmp_path / "go"
    script = f"printf early >&$NOTIFY_FD; while [ ! -e {go} ]; do sleep 0.01; done; echo >&$NOTIFY_FD; sleep 60"
    async with living(command("bash", "-c", script, ready="fd")) as life:
        await anyio.sleep(0.1)  # that nothing happens can only be seen by waiting
        assert not life.ticket.ready.is_set()
        go.touch()
        await life.ticket.wait_ready()


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="descriptors by name")
async def test_a_plain_shell_acknowledges() -> None:
    """Whatever the number: dash takes none of two digits after ``>&``."""
    spare = [os.dup(0) for _ in range(10)]
    async with living(command("sh", "-c", "test $NOTIFY_FD -gt 9 && echo > /dev/fd/$NOTIFY_FD; sleep 60", ready="fd")) as life:
        await life.ticket.wait_ready()
    for descriptor in spare:
        os.close(descriptor)


async def test_last_breath_acknowledges() -> None:
    """A command that acknowledges and ends at once has started, however late the news are read."""
    for _ in range(10):
        async with living(command("bash", "-c", "echo >&$NOTIFY_FD", ready="fd")) as life:
            assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
            assert life.ticket.ready.is_set()


async def test_end_before_the_newline_is_no_start() -> None:
    """A command that ends unacknowledged reports its end and nothing else."""
    async with living(command("sh", "-c", "exit 4", ready="fd")) as life:
        assert (await life.ticket.wait_exit()).code == 4
        assert not life.ticket.ready.is_set()


async def test_closing_the_descriptor_acknowledges_nothing() -> None:
    """An end of file is no newline, and is not waited on in a loop."""
    async with living(command("bash", "-c", "exec {NOTIFY_FD}>&-; exec sleep 60", ready="fd")) as life:
        await anyio.sleep(0.1)  # that nothing happens can only be seen by waiting
        assert not life.ticket.ready.is_set()
        life.handle.terminate()
        assert (await life.ticket.wait_exit()).signal == signal.SIGTERM


async def test_silent_command_can_be_stopped(tmp_path: Path) -> None:
    """Waiting for an acknowledgement that never comes ends with the command, also when a descendant holds the pipe."""
    async with living(command("sh", "-c", "sleep 60 & sleep 60", ready="fd")) as life:
        life.handle.terminate()
        assert (await life.ticket.wait_exit()).kind is ExitKind.SHUTDOWN


@pytest.mark.parametrize(
    ("script", "policy", "kind", "code", "number"),
    [
        ("exit 0", AbnormalExit.FAILURE, ExitKind.NORMAL, 0, None),
        ("exit 3", AbnormalExit.FAILURE, ExitKind.ABNORMAL, 3, None),
        ("exit 3", AbnormalExit.CRASH, ExitKind.SHUTDOWN, 3, None),
        ("exit 137", AbnormalExit.CRASH, ExitKind.ABNORMAL, 137, None),
        ("kill -SEGV $$", AbnormalExit.CRASH, ExitKind.ABNORMAL, None, signal.SIGSEGV),
        ("kill -TERM $$", AbnormalExit.CRASH, ExitKind.SHUTDOWN, None, signal.SIGTERM),
        ("kill -TERM $$", AbnormalExit.FAILURE, ExitKind.ABNORMAL, None, signal.SIGTERM),
        ("kill -KILL $$", AbnormalExit.CRASH, ExitKind.ABNORMAL, None, signal.SIGKILL),
    ],
)
async def test_ends_are_classified(script: str, policy: AbnormalExit, kind: ExitKind, code: int | None, number: int | None) -> None:
    """Code or signal, judged by the policy of the command."""
    async with living(command("sh", "-c", script, abnormal=policy)) as life:
        end = await life.ticket.wait_exit()
        assert (end.kind, end.code, end.signal) == (kind, code, number)


async def test_an_end_is_what_the_judge_says() -> None:
    """It hears what the policy would say; a judge that fails changes nothing but the reason."""
    heard: list[Exit] = []

    def judge(exit: Exit) -> Exit:
        heard.append(exit)
        return Exit(ExitKind.ABNORMAL, "not enough", code=exit.code)

    async with living(command("true", judge=judge)) as life:
        end = await life.ticket.wait_exit()
        assert (end.kind, end.reason, [exit.kind for exit in heard]) == (ExitKind.ABNORMAL, "not enough", [ExitKind.NORMAL])
    async with living(command("true", judge=lambda exit: exit.nothing)) as life:  # type: ignore[attr-defined]
        end = await life.ticket.wait_exit()
        assert end.kind is ExitKind.NORMAL and end.reason.startswith("exit code 0; judging it failed: AttributeError")
    with pytest.raises(InvalidField, match="judge"):
        command("true", judge=1)  # type: ignore[arg-type]


async def test_a_kill_by_somebody_else_is_not_out_of_memory() -> None:
    """The kernel's counter did not move, so it was not its out-of-memory killer; of our own kill nobody asks."""
    async with living(command("sleep", "60")) as life:
        os.kill(life.handle.pid, signal.SIGKILL)
        assert (await life.ticket.wait_exit()).out_of_memory in (False, None)
    async with living(command("sleep", "60")) as life:
        life.handle.kill()
        end = await life.ticket.wait_exit()
        assert end.kind is ExitKind.ABNORMAL and end.out_of_memory is None


async def test_core_is_told(tmp_path: Path) -> None:
    """Whether the kernel wrote a core is known where the limit allows one."""
    script = "ulimit -c unlimited 2>/dev/null; kill -SEGV $$"
    async with living(command("sh", "-c", script, cwd=tmp_path)) as life:
        assert (await life.ticket.wait_exit()).core_dumped in (True, False)


async def test_start_that_fails_raises_and_leaves_nothing() -> None:
    """No such command: the launch raises, and nothing of it remains."""
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("no-such-command", ready="fd")):
            pass
    assert caught.group_contains(FileNotFoundError, match="command not found")
    assert not reaper._trees and reaper._active is None


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        ([""], {}),
        (["a\0b"], {}),
        (["x"], {"env": {"A=B": "c"}}),
        (["x"], {"env": {"A": "\0"}}),
        (["x"], {"ready": "line"}),
        (["x"], {"terminal": "always"}),
        (["x"], {"stop_signal": 4711}),
        (["x"], {"death_signal": -1}),
        (["x"], {"kill_timeout": 0.0}),
        (["x"], {"kill_timeout": float("nan")}),
        (["x"], {"kill_timeout": "soon"}),
        (["x"], {"kill_timeout": None}),
        (["x", 5], {}),
        (["\ud800"], {}),
        (["x"], {"env": {1: "a"}}),
        (["x"], {"env": {"A": 1}}),
        (["x"], {"env": {"A": "\ud800"}}),
        (["x"], {"env": ["A=1"]}),
        (["x"], {"cwd": "a\0b"}),
        (["x"], {"cwd": ""}),
        (["x"], {"cwd": 5}),
        (["x"], {"stdin": ""}),
        (["x"], {"stdin": -1}),
        (["x"], {"stdout": True}),
        (["x"], {"stdin": "a\0b"}),
        (["x"], {"sentry": "no"}),
        (["x"], {"abnormal": "crash"}),
    ],
)
async def test_impossible_commands_are_refused_when_written(arguments: list[str], options: dict[str, object]) -> None:
    """A wrong argument is an error where it stands, not when the command is started."""
    with pytest.raises(InvalidField):
        command(*arguments, **options)  # type: ignore[arg-type]


async def test_description_has_no_arguments() -> None:
    """Arguments can be secrets: reports get their number."""
    assert "hunter2" not in str(command("x", "--password", "hunter2", env={"TOKEN": "hunter2"}).describe())


async def test_deaf_leaf_is_killed(tmp_path: Path) -> None:
    """A leaf that ignores SIGTERM lives on after being asked, and not after a kill."""
    async with living(command("bash", "-c", "trap '' TERM; echo >&$NOTIFY_FD; while :; do sleep 0.1; done", ready="fd")) as life:
        await life.ticket.wait_ready()
        life.handle.terminate()
        await anyio.sleep(0.1)  # that nothing happens can only be seen by waiting
        assert life.ticket.exit is None and running(life.handle.pid)
        life.handle.kill()
        assert (await life.ticket.wait_exit()).signal == signal.SIGKILL


async def test_stopped_leaf_can_be_asked() -> None:
    """A leaf that somebody has stopped gets its stop signal and is continued to act on it."""
    async with living(command("sleep", "60")) as life:
        os.kill(life.handle.pid, signal.SIGSTOP)
        life.handle.terminate()
        assert (await life.ticket.wait_exit()).signal == signal.SIGTERM


@pytest.mark.parametrize("how", ["terminate", "crash", "kill", "exit"])
async def test_nothing_of_the_tree_survives(tmp_path: Path, how: str, cgroup: Enclosed) -> None:
    """Descendants in sessions of their own, daemons and those deaf to SIGTERM are gone with their leaf, however it ended."""
    report = tmp_path / "report"
    action = how if how in ("crash", "exit") else "sleep"
    async with living(family(report, action, "plain", "setsid", "stubborn", "daemon", "deaf", cgroup=cgroup)) as life:
        if action == "sleep":
            await life.ticket.wait_ready()
            life.handle.terminate() if how == "terminate" else life.handle.kill()
        await life.ticket.wait_exit()
        pids = reported(report)

        assert len(pids) == 5 and not any(running(pid) for pid in pids.values())
        assert life.handle.members() == life.handle.adopted() == ()
        if how != "kill":
            assert swept(life) >= {pids["stubborn"], pids["daemon"], pids["deaf"]}
        assert zombies() == []


@pytest.mark.parametrize("how", ["terminate", "crash", "kill"])
async def test_tree_that_keeps_moving_does_not_survive(tmp_path: Path, how: str, cgroup: Enclosed) -> None:
    """A process that forks a successor and ends, again and again, is caught."""
    report = tmp_path / "report"
    async with living(family(report, "crash" if how == "crash" else "sleep", "runner", "runner", cgroup=cgroup)) as life:
        marker = life.handle.marker
        if how != "crash":
            await life.ticket.wait_ready()
            life.handle.terminate() if how == "terminate" else life.handle.kill()
        await life.ticket.wait_exit()

        assert marked(marker) == ()


async def test_descendant_without_its_marker_is_swept_when_it_was_seen(tmp_path: Path, cgroup: Enclosed) -> None:
    """A process that emptied its environment is known by its identity once a look at the tree has seen it."""
    report = tmp_path / "report"
    child = f"echo child $$ >> {report}; exec sleep 60"
    async with living(command("sh", "-c", f"env -i PATH=$PATH setsid sh -c '{child}' & sleep 60", cgroup=cgroup)) as life:
        await eventually(lambda: reported(report))
        pid = reported(report)["child"]
        await eventually(lambda: pid in [member.pid for member in life.handle.members()])
        os.kill(life.handle.pid, signal.SIGKILL)
        await life.ticket.wait_exit()

        assert pid in swept(life) and not running(pid)


@pytest.mark.parametrize("alone", [False, True])
async def test_unseen_descendant_without_its_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """A daemon that emptied its environment before anybody looked is the only leaf's when nobody else here starts sessions; else it
    could be somebody's, and so could one that was there before the leaf or is in our session.
    """
    monkeypatch.setattr(reaper, "_sole_owner", alone)
    report = tmp_path / "report"
    before = other("sleep", "60", own_session=True)
    daemon = f"echo daemon $$ >> {report}; exec sleep 60"
    script = f"env -i PATH=$PATH setsid --fork sh -c '{daemon}' < /dev/null; while [ ! -s {report} ]; do sleep 0.01; done"
    async with living(command("sh", "-c", f"{script}; sleep 60", cgroup="never")) as life:
        beside = other("sleep", "60")
        await eventually(lambda: reported(report))
        pid = reported(report)["daemon"]
        await eventually(lambda: (stat := read_stat(pid)) is not None and stat.parent == os.getpid())
        assert (pid in [process.pid for process in life.handle.adopted()]) == alone
        async with living(command("sleep", "60", cgroup="never"), path=("root", "second")):
            assert life.handle.adopted() == ()
        life.handle.terminate()
        await life.ticket.wait_exit()

        assert running(pid) != alone and (pid in swept(life)) == alone
    if not alone:
        os.kill(pid, signal.SIGKILL)
        reap(pid)
    for process in (before, beside):
        assert process.poll() is None
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["crash", "terminate", "kill"])
async def test_without_descriptors_nobody_escapes(tmp_path: Path, how: str, cgroup: Enclosed) -> None:
    """Some are kept in reserve for the sweep, also of a tree in several sessions that ignores every other signal."""
    report = tmp_path / "report"
    async with living(family(report, "sleep", "setsid", "stubborn", "daemon", cgroup=cgroup)) as life:
        await life.ticket.wait_ready()
        pids = set(reported(report).values())
        with no_descriptors():
            if how == "crash":
                os.kill(life.handle.pid, signal.SIGKILL)
            else:
                getattr(life.handle, how)()
            await life.ticket.wait_exit()
        assert not [pid for pid in pids if running(pid)]
        if how != "kill":
            assert swept(life) == pids


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("environment", ["", "MINE=1"])
async def test_a_daemon_that_replaced_its_environment_is_known_by_its_child(tmp_path: Path, environment: str) -> None:
    """Whose descendants carry the life's mark had it himself, also where several leaves could have left him behind."""
    report = tmp_path / "report"
    daemon = f"sleep 60 & echo child $! >> {report}; echo daemon $$ >> {report}; exec env -i {environment} sleep 60"
    script = f"(setsid sh -c '{daemon}' &); while [ $(grep -c . {report}) -lt 2 ]; do sleep 0.01; done; kill -9 $$"
    report.touch()
    async with living(command("sleep", "60"), path=("root", "other")), living(command("sh", "-c", script, cgroup="never")) as life:
        await life.ticket.wait_exit()

        family_of = reported(report)
        assert swept(life) == set(family_of.values())
        assert not [pid for pid in family_of.values() if running(pid)]


async def test_whoever_was_asked_may_finish(tmp_path: Path, cgroup: Enclosed) -> None:
    """The leaf is a wrapper that dies of the signal at once; its child got the signal too and has time for its work."""
    report = tmp_path / "report"
    async with living(family(report, "sleep", "saver", cgroup=cgroup)) as life:
        await life.ticket.wait_ready()
        life.handle.terminate()
        end = await life.ticket.wait_exit()

        assert end.signal == signal.SIGTERM and "saved" in reported(report)
        assert swept(life) == set()


async def test_whoever_was_asked_can_be_killed_while_finishing(tmp_path: Path, cgroup: Enclosed) -> None:
    """The kill reaches those who still work after their wrapper is dead."""
    report = tmp_path / "report"
    async with living(family(report, "sleep", "saver", cgroup=cgroup)) as life:
        await life.ticket.wait_ready()
        life.handle.terminate()
        await eventually(lambda: not running(life.handle.pid))
        assert life.ticket.exit is None
        life.handle.kill()
        await life.ticket.wait_exit()

        assert "saved" not in reported(report)


async def test_exit_statuses_of_others_are_not_stolen(tmp_path: Path, cgroup: Enclosed) -> None:
    """Other subprocesses of the program, in our session or in one of their own, are neither killed nor reaped."""
    others = [other("sh", "-c", "exit 7", own_session=own, ended=True) for own in (False, True)]
    sleeper = other("sleep", "60", own_session=True)
    async with living(family(tmp_path / "report", "sleep", "daemon", "stubborn", cgroup=cgroup)) as life:
        late = other("sh", "-c", "exit 8", own_session=True, ended=True)
        await life.ticket.wait_ready()
        reaper.collect()
        life.handle.terminate()
        await life.ticket.wait_exit()
        reaper.collect()

    assert [process.wait() for process in others] == [7, 7] and late.wait() == 8
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


async def test_orphans_that_end_by_themselves_are_reaped(tmp_path: Path, cgroup: Enclosed) -> None:
    """While the leaf runs, its daemons come to us and go; a look round leaves no zombie."""
    report = tmp_path / "report"
    async with living(family(report, "sleep", "brief", "brief", "brief", cgroup=cgroup)) as life:
        await life.ticket.wait_ready()

        def tidied() -> bool:
            reaper.collect()
            return not zombies() and len(life.handle.members()) == 1

        await eventually(tidied)


async def test_adopted_orphans_are_members(tmp_path: Path, cgroup: Enclosed) -> None:
    """A daemon left the tree but not the leaf's account."""
    report = tmp_path / "report"
    async with living(family(report, "sleep", "daemon", "plain", cgroup=cgroup)) as life:
        await life.ticket.wait_ready()
        pids = reported(report)
        await eventually(lambda: pids["daemon"] in [member.pid for member in life.handle.adopted()])

        assert {member.pid for member in life.handle.members()} == {life.handle.pid, *pids.values()}


async def test_two_leaves_do_not_sweep_each_other(tmp_path: Path, cgroup: Enclosed) -> None:
    """What one leaf left behind is swept; what the other one has turned loose lives on."""
    async with (
        living(family(tmp_path / "a", "sleep", "daemon", "stubborn", cgroup=cgroup)) as first,
        living(family(tmp_path / "b", "sleep", "daemon", "stubborn", cgroup=cgroup), ("root", "other")) as second,
    ):
        await first.ticket.wait_ready()
        await second.ticket.wait_ready()
        second.handle.terminate()
        await second.ticket.wait_exit()

        assert all(running(pid) for pid in reported(tmp_path / "a").values())
        assert swept(second) == set(reported(tmp_path / "b").values())


async def test_adoption_ends_with_the_last_leaf() -> None:
    """Orphans of the program's other subprocesses are ours to adopt only while a leaf runs."""
    async with living(command("sleep", "60")) as first:
        async with living(command("sleep", "60"), ("root", "other")) as second:
            second.handle.kill()
            await second.ticket.wait_exit()
        assert is_subreaper() is (sys.platform == "linux")
        first.handle.kill()
        await first.ticket.wait_exit()
        await eventually(lambda: not is_subreaper())


async def test_without_pidfds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroup: Enclosed) -> None:
    """On a kernel without pidfds a thread waits, and everything else is the same."""
    monkeypatch.setattr(identity, "_pidfd", False)
    report = tmp_path / "report"
    async with living(family(report, "sleep", "stubborn", "saver", cgroup=cgroup)) as life:
        await life.ticket.wait_ready()
        life.handle.terminate()
        assert (await life.ticket.wait_exit()).signal == signal.SIGTERM
        assert swept(life) == {reported(report)["stubborn"]} and "saved" in reported(report)


async def test_in_a_directory_that_was_removed(tmp_path: Path) -> None:
    """A command starts where we are, even if that is nowhere any more."""
    before, gone = os.getcwd(), tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    try:
        gone.rmdir()
        async with living(command("sleep", "60")) as life:
            assert life.handle.cwd == "" and running(life.handle.pid)
    finally:
        os.chdir(before)


async def test_without_adoption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroup: Enclosed) -> None:
    """Where orphans do not come to us, their marker gives them away."""
    monkeypatch.setattr(reaper, "_prctl", lambda *_: False)
    report = tmp_path / "report"
    async with living(family(report, "crash", "stubborn", "daemon", "plain", cgroup=cgroup)) as life:
        await life.ticket.wait_exit()
        assert not any(running(pid) for pid in reported(report).values())
        assert swept(life) == set(reported(report).values())


async def test_calls_after_the_end_do_nothing() -> None:
    """A late terminate or kill reaches nobody: the pid may be another's by now."""
    async with living(command("true")) as life:
        await life.ticket.wait_exit()
        life.handle.terminate()
        life.handle.kill()
        assert life.handle.members() == ()


async def test_cancelled_watch_gives_everything_back() -> None:
    """A leaf that is given up costs no descriptor; the leak check of the test would see one."""
    async with anyio.create_task_group() as group:
        ticket = LifeTicket(group)
        handle = command("sleep", "60").launch(ticket)
        await ticket.wait_ready()
        ticket.scopes[0].cancel()
    assert ticket.exit is None and not reaper._trees
    assert handle._spawned._popen is not None
    with handle._spawned._popen as abandoned:
        abandoned.kill()


@pytest.mark.parametrize("alone", [False, True])
async def test_session_leaders_that_the_leaf_never_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """They are reaped when a look at the tree saw them, or when nobody else here starts sessions; else they could be somebody's."""
    monkeypatch.setattr(reaper, "_sole_owner", alone)
    report = tmp_path / "report"
    async with living(family(report, "sleep", "zombie", cgroup="never")) as life:
        await life.ticket.wait_ready()
        if not alone:
            life.handle.members()
        os.kill(life.handle.pid, signal.SIGKILL)
        await life.ticket.wait_exit()
        assert zombies() == []
    async with living(family(tmp_path / "again", "crash", "zombie", cgroup="never")) as life:
        await life.ticket.wait_exit()
        left = zombies()
        assert left == ([] if alone else [reported(tmp_path / "again")["zombie"]])
    for pid in left:
        reap(pid)


async def test_hundred_lives_leave_nothing(cgroup: Enclosed) -> None:
    """No descriptor, zombie or registration is left after many lives."""
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    for generation in range(100):
        async with living(command("true", cgroup=cgroup), generation=generation + 1) as life:
            await life.ticket.wait_exit()
    assert not reaper._trees and zombies() == []
    if before:
        assert set(os.listdir("/proc/self/fd")) == before


async def test_unknown_members_can_be_remembered(tmp_path: Path) -> None:
    """A member that only a probe has seen is swept with the rest; one that is somebody else by now is not."""
    stranger = other("sleep", "60", own_session=True)
    known = identified(stranger.pid)
    async with living(command("true")) as life:
        life.handle.remember([ProcessId(known.pid, known.created + 1)])
        await life.ticket.wait_exit()
    assert stranger.poll() is None
    async with living(command("sleep", "0.2")) as life:
        life.handle.remember([known])
        await life.ticket.wait_exit()
        assert swept(life) == {stranger.pid}
    stranger.wait()
