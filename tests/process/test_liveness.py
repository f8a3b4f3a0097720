"""What real commands report while they live: silence that is too long, their status, their main process; on both event loops."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor import ChildExited, ChildSpec, ChildStatus, ExitKind, NotificationIgnored, Restart, Supervisor, command, render
from supervisor.core.errors import InvalidField
from supervisor.host import reaper
from supervisor.host.identity import identify, is_alive
from supervisor.leaf import liveness, watchdog
from supervisor.leaf.command import Command

from ..support import eventually, eventually_sync
from ..support_ticket import living
from .host_support import PYTHON, identified, zombies
from .test_readiness import NOTIFIER, events, notifier

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="sd_notify needs Linux")]


def pid_in(file: Path) -> int:
    return int(file.read_text())


# ---------------------------------------------------------------- the watchdog


async def test_who_is_heard_lives_and_who_is_silent_is_killed(tmp_path: Path) -> None:
    """Pings keep a command alive; without them it is aborted, its end is abnormal and says so."""
    async with living(notifier("ping:0.02", ready="spawn", watchdog=0.5)) as heard:
        async with living(notifier("hang", watchdog=0.5)) as silent:
            exit = await silent.ticket.wait_exit()
        assert (exit.kind, exit.reason, exit.signal) == (ExitKind.ABNORMAL, "watchdog: no message within 0.5 s", signal.SIGABRT)
        assert heard.ticket.exit is None


async def test_silence_counts_from_when_it_is_up(tmp_path: Path) -> None:
    """A start has its own time; once it is acknowledged, by whatever means, the watchdog watches."""
    go = tmp_path / "go"
    async with living(notifier("send:WATCHDOG=1", f"await:{go}", "send:READY=1", "hang", ready="notify", watchdog=0.2)) as life:
        await anyio.sleep(0.5)  # that it is not killed can only be seen by waiting
        assert life.ticket.exit is None
        go.touch()
        assert (await life.ticket.wait_exit()).reason == "watchdog: no message within 0.2 s"
        assert life.ticket.ready.is_set()
    script = "echo > /dev/fd/$NOTIFY_FD; exec sleep 60"
    async with living(command("bash", "-c", script, ready="fd", watchdog=0.2)) as life:
        assert (await life.ticket.wait_exit()).reason == "watchdog: no message within 0.2 s"


async def test_who_does_not_abort_is_killed_with_all_of_its_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between the SIGABRT and the kill is bounded; a process that is stopped gets the signal as well."""
    monkeypatch.setattr(watchdog, "ABORT_TIME", 0.3)
    pid = tmp_path / "pid"
    async with living(notifier("ignore:abrt", f"fork:{pid}", "hang", watchdog=0.3)) as life:
        exit = await life.ticket.wait_exit()
        assert (exit.reason, exit.signal) == ("watchdog: no message within 0.3 s", signal.SIGKILL)
        assert identify(pid_in(pid)) is None
    async with living(notifier("hang", watchdog=0.3)) as life:
        os.kill(life.handle.pid, signal.SIGSTOP)
        assert (await life.ticket.wait_exit()).signal == signal.SIGABRT


async def test_a_command_can_bite_itself() -> None:
    """``WATCHDOG=trigger`` is as good as silence, whether there is a watchdog or not."""
    async with living(notifier("send:READY=1|WATCHDOG=trigger", "hang", ready="notify")) as life:
        exit = await life.ticket.wait_exit()
        assert (exit.kind, exit.reason) == (ExitKind.ABNORMAL, "watchdog: triggered by the command itself")


async def test_a_command_can_change_its_period() -> None:
    """``WATCHDOG_USEC``: shorter, longer, or 0 for none."""
    async with living(notifier("send:READY=1|WATCHDOG_USEC=100000", "hang", ready="notify", watchdog=60)) as life:
        assert (await life.ticket.wait_exit()).reason == "watchdog: no message within 0.1 s"
    async with living(notifier("send:READY=1|WATCHDOG_USEC=0|STATUS=off", "hang", ready="notify", watchdog=0.2)) as life:
        await eventually(lambda: life.handle.status == "off")
        await anyio.sleep(0.5)  # that it is not killed can only be seen by waiting
        assert life.ticket.exit is None


async def test_who_was_asked_to_end_is_not_watched(tmp_path: Path) -> None:
    """A stop has its own time."""
    script = f"trap 'sleep 0.8; exit 0' TERM; touch {tmp_path}/trapped; while :; do sleep 0.01; done"
    async with living(command("bash", "-c", script, stdin="null", watchdog=0.5)) as life:
        await eventually((tmp_path / "trapped").exists)
        life.handle.terminate()
        assert (await life.ticket.wait_exit()).code == 0


async def test_a_silent_command_is_restarted_as_a_crash() -> None:
    """To its supervisor it is an abnormal end with that reason: a transient child comes back."""
    spec = ChildSpec("mute", notifier("hang", watchdog=0.2), restart=Restart.TRANSIENT)
    async with Supervisor("root", [spec], intensity=1, period=60.0) as root, root.subscribe() as stream:
        async for record in stream:
            if isinstance(record.event, ChildExited):
                assert record.event.exit.reason == "watchdog: no message within 0.2 s" and not record.event.expected
                break
        await eventually(lambda: root.which_child("mute").restarts == 1)


async def test_what_a_command_said_while_we_were_busy_is_heard_first() -> None:
    """The same of ``WATCHDOG=1``."""
    async with living(notifier("ping:0.3", watchdog=2.0)) as life:
        companions: Any = life.handle._companions
        dog = companions[0]._watchdog
        await eventually(lambda: dog.deadline < math.inf)
        time.sleep(dog.deadline - anyio.current_time() + 0.1)  # noqa: ASYNC251
        await anyio.sleep(0.1)  # that it is not killed can only be seen by waiting
        assert life.handle._verdict is None


@pytest.mark.parametrize("period", [0, -1, float("inf"), float("nan"), True, "3"])
async def test_a_period_is_a_time(period: Any) -> None:
    """Refused when it is written."""
    with pytest.raises(InvalidField, match="watchdog"):
        command("x", watchdog=period)


# ---------------------------------------------------------------- status and floods


async def test_what_a_command_says_is_shown() -> None:
    """In events, in the tree, and in the table for people; control characters never reach a terminal."""
    words = ("send:READY=1|STATUS=at \x1b[31mwork", "hang")
    spec = ChildSpec("talker", notifier(*words, ready="notify"))
    async with Supervisor("root", [spec]) as root:
        info = root.tree()
        assert info.supervisor is not None
        assert info.supervisor.children[0].status == info.as_data()["children"][0]["status"] == "at \x1b[31mwork"
        assert "says: at" in render(root) and "\x1b" not in render(root)


async def test_stopping_is_information() -> None:
    """An end after ``STOPPING=1`` is judged like any other."""
    async with living(notifier("send:READY=1", "send:STOPPING=1|STATUS=bye", "exit:3", ready="notify")) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.ABNORMAL
        last = events(life, ChildStatus)[-1]
        assert (last.status, last.stopping) == ("bye", True)


async def test_a_flood_does_not_drown_us() -> None:
    """The loop goes on, other commands are heard, and of a flood of words only some become events."""
    async with living(notifier("flood:READY=1\nSTATUS=", ready="notify")) as flood:
        await flood.ticket.wait_ready()
        began = anyio.current_time()
        async with living(notifier("send:READY=1", "ping:0.01", ready="notify", watchdog=5)) as calm:
            await calm.ticket.wait_ready()
            for _ in range(50):
                await anyio.sleep(0.002)
            assert calm.ticket.exit is None
        took = anyio.current_time() - began
        assert len(events(flood, ChildStatus)) <= 100 * took + 10


# ---------------------------------------------------------------- the main process


async def test_the_end_of_the_main_process_is_the_commands(tmp_path: Path) -> None:
    """A launcher that names its daemon and ends: the command lives until the daemon does, and has its exit code."""
    pid, go = tmp_path / "pid", tmp_path / "go"
    words = (f"fork:{pid}", "parent-exits", "send:MAINPID={pid}|READY=1", f"await:{go}", "exit:7")
    async with living(notifier(*words, ready="notify")) as life:
        await life.ticket.wait_ready()
        await eventually(lambda: not is_alive(life.handle.process_id))
        await anyio.sleep(0.1)  # that it is not over can only be seen by waiting
        assert life.ticket.exit is None and pid_in(pid) in [process.pid for process in life.handle.members()]
        go.touch()
        exit = await life.ticket.wait_exit()
        assert (exit.kind, exit.code) == (ExitKind.ABNORMAL, 7)


async def test_a_main_process_alone_can_be_asked_and_killed(tmp_path: Path) -> None:
    """The stop signal reaches it in its own session, and so does the watchdog's."""
    words = (f"fork:{tmp_path / 'a'}", "parent-exits", "send:MAINPID={pid}|READY=1", "hang")
    async with living(notifier(*words, ready="notify")) as life:
        await life.ticket.wait_ready()
        await eventually(lambda: not is_alive(life.handle.process_id))
        life.handle.terminate()
        exit = await life.ticket.wait_exit()
        assert (exit.kind, exit.signal) == (ExitKind.SHUTDOWN, signal.SIGTERM)
    words = (f"fork:{tmp_path / 'b'}", "parent-exits", "send:MAINPID={pid}|READY=1", "hang")
    async with living(notifier(*words, ready="notify", watchdog=0.3)) as life:
        assert (await life.ticket.wait_exit()).reason == "watchdog: no message within 0.3 s"
        assert identify(pid_in(tmp_path / "b")) is None


async def test_a_launcher_that_outlives_its_main_process_is_ended(tmp_path: Path) -> None:
    """It has a moment; then the command has failed."""
    go = tmp_path / "go"
    words = (f"fork:{tmp_path / 'pid'}", "send:MAINPID={pid}|READY=1", f"await:{go}", "exit:7")
    async with living(notifier(*words, ready="notify")) as life:
        await life.ticket.wait_ready()  # who is dead when it is named is nobody's main process
        go.touch()
        exit = await life.ticket.wait_exit(10.0)
        assert exit.kind is ExitKind.ABNORMAL and exit.reason.startswith(f"its main process {pid_in(tmp_path / 'pid')} ended")


def launcher(*lines: str) -> Command:
    """A shell script in which `notifier` stands for the program of that name."""
    program = f'notifier() {{ {PYTHON} -S -I {NOTIFIER} "$@"; }}'
    return command("sh", "-c", "\n".join((program, *lines)), ready="notify", stdin="null")


async def test_a_launcher_may_end_by_itself_with_a_code_of_its_own(tmp_path: Path) -> None:
    """It has that moment to see how its main process ended."""
    go = tmp_path / "go"
    async with living(launcher(f"notifier 'send:MAINPID={{pid}}|READY=1' await:{go} exit:7", "sleep 0.3", "exit 5")) as life:
        await life.ticket.wait_ready()
        go.touch()
        assert (await life.ticket.wait_exit()).code == 5


async def test_a_launcher_that_was_asked_to_end_has_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the stop, though its main process has ended."""
    monkeypatch.setattr(liveness, "_LAUNCHER_TIME", 0.05)
    trapped = tmp_path / "trapped"
    script = ("trap 'sleep 0.5; exit 0' TERM", "notifier 'send:MAINPID={pid}|READY=1' hang &", f"touch {trapped}", "while :; do wait; done")
    async with living(launcher(*script)) as life:
        await life.ticket.wait_ready()
        await eventually(trapped.exists)
        life.handle.terminate()
        exit = await life.ticket.wait_exit()
        assert (exit.kind, exit.code) == (ExitKind.NORMAL, 0)


async def test_the_first_process_can_be_the_main_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it names itself, the end of whom it had named is nothing to us."""
    monkeypatch.setattr(liveness, "_LAUNCHER_TIME", 0.05)
    first, named, go = tmp_path / "first", tmp_path / "named", tmp_path / "go"
    script = (
        f"notifier 'send:MAINPID={{pid}}|STATUS=child' await:{named} exit:5 &",
        f"exec {PYTHON} -S -I {NOTIFIER} await:{first} 'send:MAINPID={{pid}}|READY=1' await:{go} exit:7",
    )
    async with living(launcher(*script)) as life:
        await eventually(lambda: life.handle.status == "child")
        first.touch()
        await life.ticket.wait_ready()
        named.touch()
        await anyio.sleep(0.5)  # that it is not over can only be seen by waiting
        assert life.ticket.exit is None
        go.touch()
        assert (await life.ticket.wait_exit()).code == 7


async def test_how_a_main_process_ended_is_asked_before_it_is_reaped(tmp_path: Path) -> None:
    """Somebody else's look for dead orphans takes nothing away, nor does the end of its launcher, noticed at the same moment."""
    pid = tmp_path / "pid"
    words = (f"fork:{pid}", "parent-exits", "send:MAINPID={pid}|READY=1", "hang")
    async with living(notifier(*words, ready="notify")) as life:
        await life.ticket.wait_ready()
        # without a turn of the event loop in between, both ends are noticed in one
        eventually_sync(lambda: not is_alive(life.handle.process_id))
        main = identified(pid_in(pid))
        os.kill(main.pid, signal.SIGUSR1)
        eventually_sync(lambda: not is_alive(main))
        reaper.collect()
        assert (await life.ticket.wait_exit()).signal == signal.SIGUSR1
    assert zombies() == []


async def test_only_a_live_process_of_the_command_can_be_its_main_one() -> None:
    """Ours, init's and nobody's are refused, and told once; the root itself is what it was."""
    words = (f"send:MAINPID={os.getpid()}", "send:MAINPID=1", "send:MAINPID=4194303|READY=1", "send:MAINPID={pid}", "hang")
    async with living(notifier(*words, ready="notify")) as life:
        await life.ticket.wait_ready()
        assert [event.reason for event in events(life, NotificationIgnored)] == ["MAINPID: it is no live process of this command"]
        os.kill(life.handle.pid, signal.SIGKILL)
        assert (await life.ticket.wait_exit()).signal == signal.SIGKILL


async def test_a_main_process_can_hand_over(tmp_path: Path) -> None:
    """The latest one counts: the end of a former one is nothing to us."""
    one, two, go = (tmp_path / name for name in ("one", "two", "go"))
    first = (f"fork:{one}", "parent-exits", "send:MAINPID={pid}|READY=1")
    words = (*first, f"fork:{two}", "parent-exits", "send:MAINPID={pid}|STATUS=two", f"await:{go}", "exit:0")
    async with living(notifier(*words, ready="notify")) as life:
        await eventually(lambda: life.handle.status == "two")
        await eventually(two.exists)
        await anyio.sleep(0.1)  # that it is not over can only be seen by waiting
        assert life.ticket.exit is None
        go.touch()
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
