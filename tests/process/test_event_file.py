"""The event file: whole lines, in order, whatever the disk does."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.event import ChildExited, ChildStarted, Event, OrphansSwept, Record
from supervisor.core.exits import Exit, ExitKind
from supervisor.edge.event_file import EventFile, encoded, record_data, utc
from supervisor.edge.usage import UsageError
from tests.support import read_events

PATH = ("guardian", "agents", "claude", "leaf")


def record(seq: int, event: Event | None = None) -> Record:
    return Record("5f1c", seq, 12.3456789, 1767323045.678901, event or ChildStarted(PATH, seq, generation=1))


def test_the_shape_of_the_contract() -> None:
    """A record has the fields of the contract, with the time as RFC 3339 in UTC."""
    exited = ChildExited(PATH, exit=Exit(ExitKind.ABNORMAL, "killed by SIGSEGV", signal=11), pid=7, uptime=2.5, generation=3)

    assert record_data(record(17, exited)) == {
        "v": 1,
        "run": "5f1c",
        "seq": 17,
        "time": "2026-01-02T03:04:05.678901Z",
        "monotonic": 12.345679,
        "event": "child_exited",
        "path": list(PATH),
        "generation": 3,
        "data": {
            "exit": {"kind": "abnormal", "reason": "killed by SIGSEGV", "signal": "SIGSEGV"},
            "pid": 7,
            "expected": False,
            "uptime": 2.5,
            "killed": False,
            "budget_left": None,
            "spec": None,
        },
    }


@given(st.floats(0, 4e9))
def test_times_are_read_back(seconds: float) -> None:
    """A time is exact to the microsecond."""
    import datetime

    assert abs(datetime.datetime.fromisoformat(utc(seconds)).timestamp() - seconds) < 2e-6


@attrs.frozen
class Anything(Event):
    name = "anything"
    value: Any = None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_record_is_one_line_of_strict_json(value: object) -> None:
    """Whatever an event holds, its line is one line of JSON; NaN and infinity are unknown."""
    line = encoded(record(1, Anything(PATH, value)))

    def refuse(name: str) -> object:
        raise AssertionError(name)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    json.loads(line, parse_constant=refuse)


def test_infinity_is_null() -> None:
    """A number that JSON lacks is null."""
    assert json.loads(encoded(record(1, Anything(PATH, [math.inf, 1.5]))))["data"] == {"value": [None, 1.5]}


def test_lines_are_appended_at_once(tmp_path: Path) -> None:
    """Each record is in the file when `write` returns, behind what was there; the file is the owner's alone."""
    file = tmp_path / "events"
    first = EventFile(str(file))
    assert first.write(record(1))
    assert [event["seq"] for event in read_events(file)] == [1]
    first.close()
    first.close()
    second = EventFile(str(file))
    second.write(record(1))
    second.close()

    assert [event["seq"] for event in read_events(file)] == [1, 1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not second.write(record(2))


def test_a_torn_line_of_an_earlier_run_is_ended(tmp_path: Path) -> None:
    """What a dead writer left without a newline does not swallow our first line."""
    file = tmp_path / "events"
    file.write_text('{"v": 1, "ru')
    ours = EventFile(str(file))
    ours.write(record(1))
    ours.close()

    assert file.read_bytes().split(b"\n")[0] == b'{"v": 1, "ru'
    assert json.loads(file.read_bytes().split(b"\n")[1])["seq"] == 1


class Disk:
    """A disk that takes as many bytes of each write as it is told, and then everything."""

    def __init__(self, plan: list[int | None]) -> None:
        self.plan = plan

    def write(self, fd: int, data: bytes) -> int:
        room = self.plan.pop(0) if self.plan else len(data)
        if room is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data[:room])


def test_lost_records_are_told_of(tmp_path: Path) -> None:
    """A full disk loses records; the first that gets through again is preceded by the range that is missing."""
    file = tmp_path / "events"
    sink = EventFile(str(file), write=Disk([1000, None, None]).write)
    written = [sink.write(record(seq)) for seq in range(1, 6)]
    sink.close()

    assert written == [True, False, False, True, True]
    assert [(event["seq"], event["event"]) for event in read_events(file)] == [
        (1, "child_started"),
        (3, "events_lost"),
        (4, "child_started"),
        (5, "child_started"),
    ]
    assert read_events(file)[1]["data"] == {"from": 2, "to": 3}
    assert (sink.lost, sink.failure) == (2, None)


def test_the_rest_of_a_torn_line_comes_first(tmp_path: Path) -> None:
    """A line of which only a part fitted is finished before anything else is written, and then was never lost."""
    file = tmp_path / "events"
    sink = EventFile(str(file), write=Disk([20, 5, None, 7, None]).write)
    for seq in range(1, 8):
        sink.write(record(seq))
    sink.close()
    events = read_events(file)

    assert file.read_bytes().endswith(b"\n")
    assert [(event["seq"], event["event"]) for event in events] == [
        (1, "child_started"),
        (5, "events_lost"),
        (6, "child_started"),
        (7, "child_started"),
    ]
    assert events[1]["data"] == {"from": 2, "to": 5}


@given(st.lists(st.none() | st.integers(0, 400), max_size=40), st.integers(1, 30))
def test_no_line_is_ever_torn_for_good(tmp_path_factory: pytest.TempPathFactory, plan: list[int | None], count: int) -> None:
    """Whatever the disk does, once it works every line is whole, numbers grow, and each record is there or in a told gap."""
    file = tmp_path_factory.getbasetemp() / "torn"
    file.unlink(missing_ok=True)
    disk = Disk(plan)
    sink = EventFile(str(file), write=disk.write)
    for seq in range(1, count + 1):
        sink.write(record(seq))
    disk.plan = []
    sink.write(record(count + 1))
    sink.write(record(count + 2))
    sink.close()

    seen: set[int] = set()
    last = 0
    for event in read_events(file):
        assert event["seq"] > last
        last = event["seq"]
        missing = event["data"]
        seen.update(range(missing["from"], missing["to"] + 1) if event["event"] == "events_lost" else [event["seq"]])
    assert seen == set(range(1, count + 3))


def test_an_event_that_json_cannot_say_is_lost_and_not_raised(tmp_path: Path) -> None:
    """An application's broken event costs its own line only."""

    class Broken(Event):
        def as_data(self) -> dict[str, Any]:
            raise RuntimeError("no")

    sink = EventFile(str(tmp_path / "events"))
    assert not sink.write(record(1, Broken(PATH)))
    assert sink.write(record(2))
    sink.close()

    assert [event["event"] for event in read_events(tmp_path / "events")] == ["events_lost", "child_started"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("needs mount")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_disk_that_really_is_full(small_disk: Path) -> None:
    """On a full file system nothing raises, and after space was made the stream goes on with whole lines."""
    file = small_disk / "events"
    (small_disk / "ballast").write_bytes(b"x" * 48 * 1024)
    sink = EventFile(str(file))
    seq = 0
    while sink.lost < 3:
        seq += 1
        sink.write(record(seq, OrphansSwept(PATH, tuple(range(40)))))
    assert sink.failure == "No space left on device"
    (small_disk / "ballast").unlink()
    assert sink.write(record(seq + 1))
    sink.close()

    events = read_events(file)
    assert [event["event"] for event in events[-2:]] == ["events_lost", "child_started"]
    assert events[-2]["data"]["to"] == seq
    assert events[-2]["data"]["from"] == seq - 2


def test_a_fifo_without_a_prompt_reader_never_blocks(tmp_path: Path) -> None:
    """A reader that sleeps loses events, and none of them whole in part once it reads again."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        sink = EventFile(str(fifo))
        seq = 0
        while sink.lost < 2:
            seq += 1
            sink.write(record(seq))
        content = b""
        while chunk := _read(reader):
            content += chunk
        sink.write(record(seq + 1))
        sink.close()
        content += _read(reader)
    finally:
        os.close(reader)

    events = [json.loads(line) for line in content.splitlines()]
    assert events[-1]["seq"] == seq + 1
    assert events[-2]["event"] == "events_lost"


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """Each way of not being writable is a usage error with its reason, and looking creates nothing."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()

    for path, reason in {
        tmp_path / "missing/events": "No such file or directory",
        tmp_path / "none": "Is a directory",
        tmp_path / "file/events": "Not a directory",
        tmp_path / "fifo": "No such device or address",
        "": "No such file or directory",
        "nul\0": "null",
    }.items():
        with pytest.raises(UsageError) as refused:
            EventFile(str(path))
        assert refused.value.faults[0].place == "--events"
        assert reason in str(refused.value)

    assert EventFile.fault(str(tmp_path / "new")) is None
    assert not (tmp_path / "new").exists()
    for path in (tmp_path / "missing/events", tmp_path / "none", tmp_path / "file/events", ""):
        assert EventFile.fault(str(path)) is not None


def test_the_descriptor_is_not_inherited(tmp_path: Path) -> None:
    """No command of the tree inherits the event file."""
    sink = EventFile(str(tmp_path / "events"))
    fds = subprocess.run(
        [sys.executable, "-c", "import os; print(os.listdir('/proc/self/fd'))"], capture_output=True, close_fds=False, check=True
    )
    sink.close()

    assert len(fds.stdout.split(b",")) <= 6
