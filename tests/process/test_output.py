"""What commands write, read here: lines, functions and files under load, under faults, and up to the last word before a crash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from supervisor import (
    ChildExited,
    ChildRestarted,
    ChildSpec,
    Event,
    InvalidField,
    Lines,
    OutputFailed,
    OutputLine,
    OutputResumed,
    Restart,
    RotatingFile,
    Supervisor,
    command,
)
from supervisor.core.exits import ExitKind
from supervisor.host import reaper
from supervisor.host.outputs import waiting_bytes
from supervisor.leaf import pump

from ..support import ROOT, eventually
from ..support_ticket import Life, living
from .host_support import PYTHON, other, running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")]
E = TypeVar("E", bound=Event)

FLOOD = """
import hashlib, os, sys
count = int(sys.argv[1])
data = b"".join(b"%08d %s\\n" % (number, b"x" * (number % 150)) for number in range(9000))
hash, left = hashlib.sha256(), count
while left:
    part = data[: min(left, 50_000)]
    data = data[len(part):] + part
    hash.update(part)
    left -= len(part)
    view = memoryview(part)
    while view:
        view = view[os.write(1, view):]
print(hash.hexdigest(), file=sys.stderr)
"""
"""Writes so many bytes in lines to standard output, and their hash to standard error."""


def of(life: Life, kind: type[E]) -> list[E]:
    """The events of a life that are of a kind."""
    return [event for event in life.ticket.events if isinstance(event, kind)]


def texts(life: Life, stream: str) -> list[str]:
    """The lines of a stream that were published."""
    return [event.text for event in of(life, OutputLine) if event.stream == stream]


def flood(count: int, **options: Any) -> Any:
    """A command that writes so many bytes, and their hash as a line of standard error."""
    return command(PYTHON, "-I", "-S", "-c", FLOOD, str(count), stderr=Lines(), **options)


def rotated(path: Path) -> list[Path]:
    """The files that were renamed, the newest first."""
    return sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: int(file.suffix[1:]))


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """No file that this process writes grows beyond so many bytes: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_lines_are_events_before_the_end() -> None:
    """Each line of either stream is one event of that life, and all of them come before its end is reported."""
    script = "echo one; echo two >&2; printf 'three\\r\\nfour'"
    async with living(command("sh", "-c", script, stdout=Lines(), stderr=Lines()), generation=7) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
        assert texts(life, "stdout") == ["one", "three", "four"] and texts(life, "stderr") == ["two"]
        assert {(event.path, event.generation) for event in of(life, OutputLine)} == {(("root", "leaf"), 7)}


async def test_errors_go_where_the_output_goes() -> None:
    """Under ``stderr="stdout"`` there is one stream, in the order of writing."""
    async with living(command("sh", "-c", "echo 1; echo 2 >&2; echo 3", stdout=Lines(), stderr="stdout")) as life:
        await life.ticket.wait_exit()
        assert texts(life, "stdout") == ["1", "2", "3"] and texts(life, "stderr") == []


async def test_descriptors_are_given_to_each_life() -> None:
    """They are the caller's: nothing is read, closed or changed here, and the next life gets them as well."""
    reader, writer = os.pipe()
    other_reader, other_writer = os.pipe()
    try:
        os.write(writer, b"one\ntwo\n")
        for word in ("one", "two"):
            script = "read -r word; echo $word; echo $word >&2"
            async with living(command("bash", "-c", script, stdin=reader, stdout=other_writer, stderr=other_writer)) as life:
                assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
                assert os.read(other_reader, 100) == f"{word}\n{word}\n".encode() and not of(life, OutputLine)
    finally:
        for fd in (reader, writer, other_reader, other_writer):
            os.close(fd)


@pytest.mark.parametrize("kind", ["file", "null"])
async def test_errors_go_where_an_output_goes_that_is_not_read(tmp_path: Path, kind: str) -> None:
    """Also to a file that the command itself appends to, or nowhere."""
    path = tmp_path / "file"
    async with living(
        command("sh", "-c", "echo 1; echo 2 >&2; echo 3", stdout=path if kind == "file" else "null", stderr="stdout")
    ) as life:
        await life.ticket.wait_exit()
        assert not path.exists() if kind == "null" else path.read_text() == "1\n2\n3\n"


async def test_errors_go_to_an_inherited_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Both are our standard output then."""
    async with living(command("sh", "-c", "echo 1; echo 2 >&2", stderr="stdout")) as life:
        await life.ticket.wait_exit()
    assert capfd.readouterr() == ("1\n2\n", "")


@pytest.mark.parametrize("end", ["exit 3", "kill -SEGV $$", "kill -KILL $$"])
async def test_the_last_words_are_kept(end: str) -> None:
    """What is written right before a crash, ended or not, is an event, and the crash comes with the last lines of both streams."""
    script = f"seq 100; printf 'last words'; echo so long >&2; {end}"
    for _ in range(5):
        async with living(command("sh", "-c", script, stdout=Lines(), stderr=lambda chunk: None)) as life:
            exit = await life.ticket.wait_exit()
            assert texts(life, "stdout") == [*map(str, range(1, 101)), "last words"]
            assert exit.output == (*map(str, range(82, 101)), "last words", "so long")
            assert exit.as_data()["output"] == list(exit.output)


async def test_only_failures_come_with_last_lines() -> None:
    """An end in order does not, unless it came before the command was up; `tail` says how many, and 0 is none."""
    for script, options, kept in [
        ("seq 9", {}, ()),
        ("seq 9", {"ready": "fd"}, tuple("123456789")),
        ("seq 9; exit 1", {"tail": 2}, ("8", "9")),
        ("seq 9; exit 1", {"tail": 0}, ()),
    ]:
        async with living(command("sh", "-c", script, stdout=Lines(), **options)) as life:  # type: ignore[arg-type]
            assert (await life.ticket.wait_exit()).output == kept


async def test_the_last_lines_are_bounded() -> None:
    """A flood of one endless line leaves no more than `tail` lines may have."""
    async with living(command("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 1", stdout=Lines(limit=100))) as life:
        exit = await life.ticket.wait_exit()
        assert exit.output == ("x" * 8000,)
        assert of(life, OutputLine) == [OutputLine(("root", "leaf"), "stdout", "x" * 100, truncated=True, generation=1)]


async def test_a_function_gets_every_byte() -> None:
    """Binary garbage included, in order."""
    hash = hashlib.sha256()
    async with living(flood(3_000_000, stdout=hash.update)) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
        assert texts(life, "stderr") == [hash.hexdigest()]
    received = bytearray()
    async with living(command("head", "-c", "1000000", "/dev/urandom", stdout=received.extend)) as life:
        await life.ticket.wait_exit()
        assert len(received) == 1_000_000


async def test_garbage_becomes_lines() -> None:
    """Random bytes are lines of bounded length, whatever is in them."""
    async with living(command("head", "-c", "1000000", "/dev/urandom", stdout=Lines(limit=50))) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
        lines = of(life, OutputLine)
        assert len(lines) > 100 and any(line.truncated for line in lines)
        assert max(len(line.text) for line in lines) <= 50


@pytest.mark.parametrize("by_line", [False, True])
async def test_a_function_that_raises_is_told_of_once(by_line: bool) -> None:
    """The command goes on and is drained, the function is left alone, and the last lines are still kept."""
    calls: list[object] = []

    def picky(said: object) -> None:
        calls.append(said)
        raise ValueError("not that")

    script = "seq 100000; echo on >&2; seq 100000; exit 1"
    async with living(command("sh", "-c", script, stdout=Lines(picky) if by_line else picky, stderr=Lines())) as life:
        exit = await life.ticket.wait_exit()
        assert len(calls) == 1 and texts(life, "stderr") == ["on"] and exit.output[-2:] == ("100000", "on")
        (failed,) = of(life, OutputFailed)
        assert failed.reason == "ValueError: not that" and failed.target.endswith("picky") and failed.errno is None


async def test_a_function_gets_lines() -> None:
    """The same values that would have been published, and nothing is published."""
    lines: list[OutputLine] = []
    async with living(command("seq", "3", stdout=Lines(lines.append))) as life:
        await life.ticket.wait_exit()
        assert [line.text for line in lines] == ["1", "2", "3"] and life.ticket.events == []


async def test_rotation_under_load_loses_nothing(tmp_path: Path) -> None:
    """All files together are what was written; none is larger than it may be, all end with a line, and only the owner may read them."""
    path = tmp_path / "log"
    async with living(flood(20_000_000, stdout=RotatingFile(path, 300_000, 200))) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
        files = [path, *rotated(path)]
        assert 66 < len(files) < 80 and max(file.stat().st_size for file in files) <= 300_000
        assert all(file.read_bytes().endswith(b"\n") for file in files[1:])
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert texts(life, "stderr") == [hashlib.sha256(b"".join(file.read_bytes() for file in reversed(files))).hexdigest()]
    assert life.ticket.events == of(life, OutputLine)


async def test_the_next_life_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """It appends, and rotates by what is there."""
    for _ in range(3):
        async with living(command("printf", "12345\\n678", stdout=RotatingFile(tmp_path / "log", 20, 2))) as life:
            await life.ticket.wait_exit()
    assert (tmp_path / "log.1").read_text() == "12345\n67812345\n678"
    assert (tmp_path / "log").read_text() == "12345\n678"


async def test_both_streams_of_one_command_may_share_a_file(tmp_path: Path) -> None:
    """It has one writer then, so rotating it loses nothing."""
    file = RotatingFile(tmp_path / "log", 1000, 99)
    async with living(command("sh", "-c", "for i in $(seq 300); do echo out $i; echo err $i >&2; done", stdout=file, stderr=file)) as life:
        await life.ticket.wait_exit()
    lines = [line for path in (tmp_path / "log", *rotated(tmp_path / "log")) for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name} {number}" for name in ("out", "err") for number in range(1, 301))


async def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    """What does not fit is lost and told of once, with the error and the number of bytes; the command ends as it would have."""
    path = tmp_path / "log"
    with small_files(10_000):
        async with living(command("sh", "-c", "seq 100000; exit 1", stdout=RotatingFile(path, 1_000_000))) as life:
            exit = await life.ticket.wait_exit()
    assert exit.code == 1 and exit.output[-1] == "100000" and path.stat().st_size == 10_000
    first, last = of(life, OutputFailed)
    assert (first.target, first.errno, first.reason, first.stream) == (str(path), errno.EFBIG, "File too large", "stdout")
    assert 0 < first.lost_bytes < last.lost_bytes == 588_895 - 10_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
async def test_a_device_that_is_full(tmp_path: Path) -> None:
    """Like a disk; that it is no regular file does not matter."""
    async with living(command("sh", "-c", "echo hello; exit 1", stdout=Path("/dev/full"), tail=3)) as life:
        assert (await life.ticket.wait_exit()).output == ("hello",)
        assert [(event.errno, event.lost_bytes) for event in of(life, OutputFailed)] == [(errno.ENOSPC, 6)]


async def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command starts and runs; once the directory is there its output goes there, and the event says what was lost."""
    monkeypatch.setattr(pump, "RETRY", 0.05)
    path, script = tmp_path / "later" / "log", "while :; do echo tick; sleep 0.01; done"
    async with living(command("sh", "-c", script, stdout=RotatingFile(path))) as life:
        await eventually(lambda: of(life, OutputFailed))
        path.parent.mkdir()
        await eventually(lambda: of(life, OutputResumed))
        await eventually(lambda: path.stat().st_size > 20)
        (failed,), (resumed,) = of(life, OutputFailed), of(life, OutputResumed)
        assert failed.errno == errno.ENOENT and resumed.target == str(path)
        assert resumed.lost_bytes >= failed.lost_bytes > 0 and resumed.lost_bytes % 5 == 0
        assert set(path.read_text().splitlines()) == {"tick"}


async def test_a_fifo_without_a_reader_does_not_block(tmp_path: Path) -> None:
    """A log that nobody reads is a log that cannot be opened."""
    os.mkfifo(tmp_path / "fifo")
    async with living(command("echo", "hello", stdout=RotatingFile(tmp_path / "fifo"))) as life:
        assert (await life.ticket.wait_exit()).kind is ExitKind.NORMAL
        assert [event.errno for event in of(life, OutputFailed)] == [errno.ENXIO]


@pytest.mark.parametrize("talks", [False, True])
async def test_a_stranger_that_holds_the_pipe_delays_nothing(talks: bool) -> None:
    """The end of a command does not wait for the end of its pipe, nor for silence on it; what was in it is read."""
    async with living(command("sh", "-c", "echo hello; exec sleep 60", stdout=Lines())) as life:
        await eventually(lambda: texts(life, "stdout"))
        held = os.open(f"/proc/{life.handle.pid}/fd/1", os.O_WRONLY)
        stranger = other("sh", "-c", f"exec {'yes' if talks else 'sleep 60'} >/dev/fd/{held}", pass_fds=(held,))
        try:
            await eventually(lambda: len(texts(life, "stdout")) > 1000 or not talks)
            os.kill(life.handle.pid, signal.SIGKILL)
            assert (await life.ticket.wait_exit()).signal == signal.SIGKILL
            assert running(stranger.pid) or talks
        finally:
            os.close(held)
            stranger.kill()
            stranger.wait()


async def test_a_descendant_that_holds_the_pipe_delays_nothing() -> None:
    """It is swept, and what it wrote is kept."""
    async with living(command("sh", "-c", "(echo child; exec setsid sleep 60) & sleep 0.2; echo parent; exit 3", stdout=Lines())) as life:
        assert (await life.ticket.wait_exit()).code == 3
        assert texts(life, "stdout") == ["child", "parent"]


@pytest.mark.parametrize("target", ["lines", "file", "function", "null"])
async def test_a_flood_can_be_stopped(tmp_path: Path, target: str) -> None:
    """A command that writes without end is asked to end, and ends."""
    chunks: list[int] = []
    stdout: dict[str, Any] = {
        "lines": Lines(lambda line: None),
        "file": RotatingFile(tmp_path / "log", 1_000_000, 1),
        "function": lambda chunk: chunks.append(len(chunk)),
        "null": "null",
    }
    async with living(command("yes", stdout=stdout[target], tail=3)) as life:
        await anyio.sleep(0.1)  # in the middle of it
        life.handle.terminate()
        exit = await life.ticket.wait_exit()
        assert exit.signal == signal.SIGTERM and exit.is_clean


async def test_who_was_asked_to_end_may_have_much_to_say(tmp_path: Path) -> None:
    """The wrapper is dead at once; the output of the child that still works is read on, so that it can finish."""
    saved, script = tmp_path / "saved", "trap 'head -c 1000000 /dev/zero; echo done > $0; exit' TERM; echo up; while :; do sleep 0.02; done"
    received = bytearray()
    async with living(command("sh", "-c", 'bash -c "$1" "$0" & wait', str(saved), script, stdout=received.extend)) as life:
        await eventually(lambda: received)
        life.handle.terminate()
        await life.ticket.wait_exit()
        assert saved.read_text() == "done\n" and len(received) == 1_000_000 + len("up\n")


async def test_a_stream_may_end_before_the_command() -> None:
    """Its last line is published then, and nothing waits on it in a loop."""
    async with living(command("sh", "-c", "printf bye; exec >&- 2>&-; exec sleep 60", stdout=Lines(), stderr=Lines())) as life:
        await eventually(lambda: texts(life, "stdout") == ["bye"])
        life.handle.terminate()
        await life.ticket.wait_exit()
        assert texts(life, "stdout") == ["bye"]


async def test_a_crash_among_floods_is_restarted(tmp_path: Path) -> None:
    """Twenty children write as fast as they can, in every way; another one that is killed is up again, each time, and nothing grows."""
    kinds: list[Any] = [Lines(lambda line: None), RotatingFile, lambda chunk: None, Lines()]
    floods = [
        ChildSpec(f"flood-{number}", command("yes", stdout=kind(tmp_path / f"{number}", 500_000, 1) if kind is RotatingFile else kind))
        for number, kind in enumerate(kinds * 5)
    ]
    leaf = ChildSpec("leaf", command("sleep", "60"), restart=Restart.PERMANENT)
    events: list[Event] = []
    async with Supervisor("root", [*floods, leaf], intensity=10, period=60.0) as root:
        root.add_sink(lambda record: events.append(record.event) if not isinstance(record.event, OutputLine) else None)
        for number in range(1, 6):
            pid = root.which_child("leaf").pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: len([event for event in events if isinstance(event, ChildRestarted)]) == number)  # noqa: B023
        assert [event.path for event in events if isinstance(event, ChildExited)] == [("root", "leaf")] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_a_flood_does_not_grow() -> None:
    """Hundreds of megabytes leave the memory of this process as it is."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    counted = 0

    def count(chunk: bytes) -> None:
        nonlocal counted
        counted += len(chunk)

    async with living(command("head", "-c", "20000000", "/dev/zero", stdout=count)) as life:
        await life.ticket.wait_exit()
    before = resident()
    async with living(command("head", "-c", "300000000", "/dev/zero", stdout=count, stderr=Lines())) as life:
        await life.ticket.wait_exit()
    assert counted == 320_000_000 and resident() - before < 16_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_what_is_inherited_is_inherited() -> None:
    """Without a wish of this kind the command has our very descriptors, and nothing here reads them."""
    async with living(command("sleep", "60")) as life:
        for fd in (1, 2):
            assert os.path.samestat(os.stat(f"/proc/{life.handle.pid}/fd/{fd}"), os.fstat(fd))
        assert life.handle._output is None
        os.kill(life.handle.pid, signal.SIGKILL)
        assert (await life.ticket.wait_exit()).output == ()


async def test_a_start_that_fails_leaves_no_pipe() -> None:
    """The launch raises, and the check of this suite finds no descriptor."""
    with pytest.raises(ExceptionGroup) as caught:
        async with living(command("no-such-command", stdout=Lines(), stderr=Lines())):
            pass
    assert caught.group_contains(FileNotFoundError) and not reaper._trees


PASSING_ON = """
import sys, anyio
from supervisor import ChildExited, ChildSpec, Restart, Supervisor, command

async def main():
    leaf = command(sys.executable, "-I", "-S", "-c", sys.argv[2], "2000000", tail=2)
    async with Supervisor("root", [ChildSpec("leaf", leaf, restart=Restart.TEMPORARY)]) as root:
        async with root.subscribe() as events, anyio.create_task_group() as group:
            async def beat():
                while True:
                    await anyio.sleep(0.02)
                    print("beat", file=sys.stderr, flush=True)
            group.start_soon(beat)
            async for record in events:
                if isinstance(record.event, ChildExited):
                    print(len(record.event.exit.output), record.event.exit.code, file=sys.stderr, flush=True)
                    group.cancel_scope.cancel()

anyio.run(main, backend=sys.argv[1])
"""
"""Passes on what its leaf writes, and shows on standard error that it lives."""


def passing_on(words: list[str], stderr: Path) -> subprocess.Popen[bytes]:
    """Start it, with a pipe as its standard output."""
    with stderr.open("wb") as file:
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=file, env={**os.environ, "PYTHONPATH": str(ROOT)})


async def test_what_is_passed_on_waits_for_its_reader(anyio_backend: str, tmp_path: Path) -> None:
    """With `tail` an inherited stream is read here and goes to ours. While nobody reads that, the command waits and we do not, and no byte
    is lost.
    """
    said = tmp_path / "stderr"
    words = [PYTHON, "-c", PASSING_ON, anyio_backend, f"{FLOOD}\nsys.exit(4)"]
    program = passing_on(words, said)
    try:
        assert program.stdout is not None
        reader = program.stdout.fileno()
        await eventually(lambda: waiting_bytes(reader) > 40_000)
        beats = said.read_text().count("beat")
        await eventually(lambda: said.read_text().count("beat") > beats + 10)
        data = bytearray()
        while chunk := os.read(reader, 10_000):
            data += chunk
        assert program.wait() == 0
        assert len(data) == 2_000_000
        lines = [line for line in said.read_text().splitlines() if line != "beat"]
        assert lines == [hashlib.sha256(data).hexdigest(), "3 4"]
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: command("x", stdout=-3), "stdout"),
        (lambda: command("x", stdout=""), "stdout"),
        (lambda: command("x", stderr=anyio.sleep), "stderr"),  # type: ignore[arg-type]
        (lambda: command("x", stderr=None), "stderr"),  # type: ignore[arg-type]
        (lambda: command("x", stdout=Lines), "stdout"),  # type: ignore[arg-type]
        (lambda: command("x", tail=-1), "tail"),
        (lambda: command("x", tail=1001), "tail"),
        (lambda: command("x", tail=True), "tail"),
        (lambda: Lines(limit=0), "limit"),
        (lambda: Lines(3), "sink"),  # type: ignore[arg-type]
        (lambda: Lines(anyio.sleep), "sink"),  # type: ignore[arg-type]
        (lambda: RotatingFile(""), "path"),
        (lambda: RotatingFile("a\0b"), "path"),
        (lambda: RotatingFile(b"a"), "path"),  # type: ignore[arg-type]
        (lambda: RotatingFile("a", 0), "max_bytes"),
        (lambda: RotatingFile("a", 1.5), "max_bytes"),  # type: ignore[arg-type]
        (lambda: RotatingFile("a", 1, -1), "backups"),
        (lambda: RotatingFile("a", 1, 1, 0o1777), "mode"),
    ],
)
async def test_impossible_targets_are_refused_when_written(make: Any, field: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidField) as caught:
        make()
    assert caught.value.field == field
