"""Hooks and desktop notifications: run within their time, leave nothing behind, and hold nobody up."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs
import pytest

from supervisor import ChildStarted, Event, EventsLost, Record
from workers.config import HooksConfig
from workers.event import DegradationChanged, HealthChanged, HostMemoryChanged, NotificationFailed, ToolEnded
from workers.notification.channel import QUEUE, Channel, serving
from workers.notification.desktop import command_for, desktop, is_worth
from workers.notification.hook import hook
from workers.notification.program import run_program
from workers.policy.ladder import DegradationMode
from workers.policy.pressure import MemoryState
from workers.policy.verdict import Health

from ..leaks import read_process
from ..support import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="a shell")]


def record(seq: int, event: Event | None = None) -> Record:
    return Record("run", seq, float(seq), 0.0, event or ChildStarted(("guardian", "agents", "a", "leaf"), generation=seq))


def runs(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.state != "Z"


async def never() -> None:
    await anyio.sleep_forever()


async def test_a_program_that_ends_well() -> None:
    """It says nothing, whatever it has written."""
    assert await run_program(["sh", "-c", "echo out; echo err >&2"], 20) is None


async def test_a_program_reads_what_it_is_given(tmp_path: Path) -> None:
    """Its standard input is the file, from its beginning to its end."""
    (tmp_path / "in").write_text("one line\n")
    assert await run_program(["sh", "-c", f"cat > {tmp_path}/out"], 20, stdin=tmp_path / "in") is None
    assert (tmp_path / "out").read_text() == "one line\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["sh", "-c", "echo first >&2; echo it broke >&2; exit 3"], "exit code 3: it broke"),
        (["sh", "-c", "kill -SEGV $$"], "killed by SIGSEGV"),
        (["/no/such/program"], "'/no/such/program' cannot be started: no such command"),
        ([os.devnull], f"'{os.devnull}' cannot be started: is not executable"),
    ],
)
async def test_what_went_wrong(argv: list[str], said: str) -> None:
    """In words, with the last thing it said."""
    assert (await run_program(argv, 20) or "").startswith(said)


async def test_too_long_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    """Also what ignores SIGTERM, in a session of its own."""
    script = (
        f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/stray; sleep 60' & trap '' TERM; echo $$ > {tmp_path}/root; sleep 60; sleep 60"
    )
    said = await run_program(["sh", "-c", script], 0.5)
    assert said == "it took longer than 0.5 s and was ended"
    for name in ("root", "stray"):
        assert not runs(int((tmp_path / name).read_text()))


async def test_who_takes_too_long_is_asked_first(tmp_path: Path) -> None:
    """It has a second to put things in order."""
    script = f"trap 'echo asked > {tmp_path}/asked; exit 0' TERM; sleep 60 & wait"
    assert await run_program(["sh", "-c", script], 0.3) == "it took longer than 0.3 s and was ended"
    assert (tmp_path / "asked").read_text() == "asked\n"


async def test_who_is_left_behind_is_killed_and_told(tmp_path: Path) -> None:
    """A hook that leaves a daemon behind each time would fill the machine."""
    said = await run_program(["sh", "-c", f"(setsid sleep 60 & echo $! > {tmp_path}/pid)"], 20)
    assert said is not None and "left" in said
    assert not runs(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_one_is_killed(tmp_path: Path) -> None:
    """Nothing of it lives when the call is left."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_program, ["sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 60"], 50)
            await eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
            scope.cancel()
    assert not runs(int((tmp_path / "pid").read_text()))


@attrs.define
class Told:
    """A channel whose programs are a function, and what became of it."""

    answer: Callable[[Record], Awaitable[str | None]] | None = None
    records: list[Record] = attrs.field(factory=list)
    emitted: list[Event] = attrs.field(factory=list)

    def channel(self, concurrency: int = 1) -> Channel:
        return Channel("hook", self.tell, self.emitted.append, concurrency=concurrency)

    async def tell(self, record: Record) -> str | None:
        self.records.append(record)
        return await self.answer(record) if self.answer is not None else None

    @property
    def numbers(self) -> list[int]:
        return [one.seq for one in self.records]


async def test_records_are_told_in_order_and_to_the_last() -> None:
    """What is offered right before the end is told, too."""
    told = Told()
    channel = told.channel()
    async with serving([channel], never):
        for seq in range(1, 20):
            channel.offer(record(seq))
    assert told.numbers == list(range(1, 20))


async def test_a_full_queue_loses_and_says_which() -> None:
    """The next one that finds room comes after an `events_lost` with the gap; nobody waits, nothing grows."""
    gate = anyio.Event()

    async def wait(_: Record) -> None:
        await gate.wait()

    told = Told(wait)
    channel = told.channel()
    async with serving([channel], never):
        channel.offer(record(1))
        await eventually(lambda: told.records)
        for seq in range(2, QUEUE + 12):
            channel.offer(record(seq))
        assert channel.lost == 10
        gate.set()
        await channel.drained()
        channel.offer(record(QUEUE + 12))
    lost, last = told.records[-2:]
    assert lost.event == EventsLost(("guardian",), first=QUEUE + 2, last=QUEUE + 11) and lost.seq == QUEUE + 11
    assert last.seq == QUEUE + 12 and told.numbers[:-2] == list(range(1, QUEUE + 2))


async def test_the_queue_is_never_longer_than_its_bound() -> None:
    """Where one place is free after a loss, that is too little for what has to be said: the loss, and the next one."""
    turns = anyio.Semaphore(0)

    async def wait(_: Record) -> None:
        await turns.acquire()

    told = Told(wait)
    channel = told.channel()
    async with serving([channel], never, 0.0):
        channel.offer(record(1))
        await eventually(lambda: told.records)
        for seq in range(2, QUEUE + 3):
            channel.offer(record(seq))
        assert channel.lost == 1
        turns.release()
        await eventually(lambda: len(told.records) == 2)
        channel.offer(record(QUEUE + 3))
        assert channel.lost == 2
        turns.release()
        await eventually(lambda: len(told.records) == 3)
        channel.offer(record(QUEUE + 4))
        assert channel.lost == 2


async def test_so_many_at_once_and_no_more() -> None:
    """With a concurrency of three, three run at a time."""
    running, most = 0, 0

    async def busy(_: Record) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.02)
        running -= 1

    told = Told(busy)
    channel = told.channel(concurrency=3)
    async with serving([channel], never):
        for seq in range(1, 13):
            channel.offer(record(seq))
    assert most == 3 and sorted(told.numbers) == list(range(1, 13))


async def test_failures_are_told_once_and_again_after_it_has_worked() -> None:
    """And never to the channel that fails, which would fail of it again."""
    answers = iter(["broken", "broken", None, "broken again"])

    async def answer(_: Record) -> str | None:
        return next(answers)

    told = Told(answer)
    channel = told.channel()
    async with serving([channel], never):
        for seq in range(1, 5):
            channel.offer(record(seq))
        channel.offer(record(5, NotificationFailed(("guardian",), "hook", "broken")))
        await channel.drained()
    assert [event.as_data()["reason"] for event in told.emitted] == ["broken", "broken again"]
    assert told.numbers == [1, 2, 3, 4]


async def test_what_fails_after_the_end_is_no_event() -> None:
    """The last event of a run is that it is over; what goes wrong after that is for the summary."""

    async def answer(_: Record) -> str | None:
        return "too late"

    told = Told(answer)
    channel = told.channel()
    channel.lost = 3
    async with serving([channel], never):
        channel.offer(record(1))
    assert told.numbers == [1] and told.emitted == [] and channel.said == "3 events lost; too late"


async def test_the_end_waits_for_the_last_ones_and_not_for_ever() -> None:
    """What still runs when the patience is over is given up; who hurries does not wait at all."""
    told = Told(lambda _: anyio.sleep_forever())
    for hurried, patience in ((never, 0.2), (anyio.lowlevel.checkpoint, 30.0)):
        channel = told.channel()
        with anyio.fail_after(10):
            async with serving([channel], hurried, patience):
                channel.offer(record(1))


async def test_what_the_block_raises_leaves_bare() -> None:
    """No task group wraps it."""
    with pytest.raises(ZeroDivisionError, match="as it is"):
        async with serving([Told().channel()], never):
            raise ZeroDivisionError("as it is")


async def test_a_hook_gets_each_event_as_one_line(tmp_path: Path) -> None:
    """The shape of the event stream on its standard input; the file that carries it is private and gone afterwards."""
    config = HooksConfig(on_event=("sh", "-c", f"stat -L -c %a /dev/stdin >> {tmp_path}/modes; cat >> {tmp_path}/lines"))
    place = tmp_path / "private"
    place.mkdir(0o700)
    emitted: list[Event] = []
    channel = hook(config, place, emitted.append)
    async with serving([channel], never, 30.0):
        channel.offer(record(1))
        channel.offer(record(2))
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [(line["seq"], line["event"], line["path"], line["v"]) for line in lines] == [
        (seq, "child_started", ["guardian", "agents", "a", "leaf"], 1) for seq in (1, 2)
    ]
    assert set((tmp_path / "modes").read_text().split()) == {"600"}
    assert list(place.iterdir()) == [] and emitted == []


async def test_a_hook_whose_directory_is_gone_is_told(tmp_path: Path) -> None:
    """The failure is an event, and the run goes on."""
    emitted: list[Event] = []
    channel = hook(HooksConfig(on_event=("true",)), tmp_path / "gone", emitted.append)
    async with serving([channel], never, 30.0):
        channel.offer(record(1))
        await channel.drained()
    (failed,) = emitted
    assert failed.as_data()["channel"] == "hook" and "cannot write" in failed.as_data()["reason"]


def notifier(folder: Path) -> dict[str, str]:
    """A desktop whose notify-send writes down what it was given."""
    folder.mkdir(exist_ok=True)
    program = folder / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/said\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": str(folder), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}


async def test_the_desktop_is_told_of_what_matters(tmp_path: Path) -> None:
    """A mode that a person has to know of, as text and never as an option or as markup; nothing else."""
    environ = notifier(tmp_path / "bin")
    emitted: list[Event] = []
    channel = desktop(environ, emitted.append, lambda event: ("--title", "<b>a & b</b>"))
    assert channel is not None
    async with serving([channel], never, 30.0):
        channel.offer(record(1))
        channel.offer(record(2, DegradationChanged(("guardian",), DegradationMode.NORMAL, DegradationMode.EMERGENCY, "why")))
    said = (tmp_path / "bin" / "said").read_text().splitlines()
    assert said == ["--app-name=memory-guardian", "--urgency=critical", "--", "--title", "&lt;b&gt;a &amp; b&lt;/b&gt;"]
    assert emitted == []


async def test_where_there_is_no_desktop_nobody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No session, no program, or one that only a relative entry of PATH finds: no channel. (What is found is found absolutely.)"""
    monkeypatch.chdir(tmp_path)
    environ = notifier(tmp_path / "bin")
    assert command_for(environ) is not None
    assert command_for({"PATH": environ["PATH"]}) is None
    assert command_for({**environ, "PATH": "/nowhere"}) is None
    assert command_for({**environ, "PATH": "bin"}) is None
    assert command_for({**environ, "XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": ""}) is None
    (tmp_path / "bus").touch()
    assert command_for({**environ, "XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": ""}) is not None
    assert command_for(environ, "win32") is None


async def test_macos_gets_arguments_and_no_script(tmp_path: Path) -> None:
    """What an agent is called can never become a part of the program."""
    program = tmp_path / "osascript"
    program.touch(0o755)
    notify = command_for({"PATH": str(tmp_path)}, "darwin")
    assert notify is not None
    argv = notify('"; do shell script "x', "text", False)
    assert argv[0] == str(program) and argv[-2:] == ('"; do shell script "x', "text")
    assert all('do shell script "x' not in word for word in argv[:-2])


async def test_what_is_worth_a_notification() -> None:
    """Changes from or to a mode that restricts, an unhealthy host, and a host that gets short."""
    normal, warning, read_only, _ = DegradationMode
    path = ("guardian",)
    assert not is_worth(DegradationChanged(path, normal, warning))
    assert is_worth(DegradationChanged(path, warning, read_only)) and is_worth(DegradationChanged(path, read_only, normal))
    assert is_worth(HealthChanged(path, Health.UNHEALTHY, Health.HEALTHY)) and not is_worth(HealthChanged(path, new=Health.DEGRADED))
    assert is_worth(HostMemoryChanged(path, MemoryState.NORMAL, MemoryState.CRITICAL))
    assert not is_worth(HostMemoryChanged(path, MemoryState.EMERGENCY, MemoryState.CRITICAL))
    assert is_worth(ToolEnded(path)) and not is_worth(ChildStarted(path))
