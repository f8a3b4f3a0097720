"""How a leaf hears of its mode: a file, a signal, and a directory for the files of a run that nobody else can enter."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor import ProcessId, identify
from workers.config.run import MODE_FILE
from workers.degradation.adapter import WHY, AdapterFailed, FileAdapter, LeafAdapter, handles, mode_file, notify, signal_number
from workers.policy.ladder import DegradationMode
from workers.state.files import StateWriteFailed
from workers.state.scratch import places, run_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and modes of files")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

RUN = "0123456789abcdef" * 2
LISTENER = "trap 'cat \"$FILE\"' USR1; echo ready; while :; do sleep 60 & wait $!; done"


@contextmanager
def shell(script: str, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], ProcessId]]:
    with subprocess.Popen(["sh", "-c", script], env={**os.environ, **env}, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            found = identify(process.pid)
            assert found is not None
            yield process, found
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def nobody() -> None:
    return None


@pytest.mark.anyio
async def test_the_mode_is_one_word_in_a_private_file(tmp_path: Path) -> None:
    """From before the leaf's start until the run is over; the leaf's environment says where."""
    file = mode_file(tmp_path, "claude")
    adapter: LeafAdapter = FileAdapter(file, nobody)
    assert adapter.environment == {MODE_FILE: str(file)}
    assert file.read_bytes() == b"normal\n"
    for mode in reversed(DegradationMode):
        await adapter.degrade(mode, "why")
        assert file.read_text() == f"{mode.value}\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == [file.name, f"{file.name}{WHY}"]
    adapter.close()
    adapter.close()
    assert os.listdir(tmp_path) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.anyio
async def test_a_reader_finds_a_whole_word(tmp_path: Path) -> None:
    """Whoever has the old file open reads the old word to its end: the file is replaced, not rewritten."""
    adapter = FileAdapter(tmp_path / "m", nobody)
    with (tmp_path / "m").open() as before:
        await adapter.degrade(DegradationMode.EMERGENCY, "why")
        assert before.read() == "normal\n"
    assert (tmp_path / "m").read_text() == "emergency\n"


@pytest.mark.anyio
async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """By channel and reason; at the start as what it is."""
    place = tmp_path / "place"
    place.mkdir()
    adapter = FileAdapter(place / "m", nobody)
    shutil.rmtree(place)
    with pytest.raises(AdapterFailed, match="cannot write") as failed:
        await adapter.degrade(DegradationMode.WARNING, "why")
    assert failed.value.channel == "mode_file"
    with pytest.raises(StateWriteFailed):
        FileAdapter(place / "m", nobody)


@pytest.mark.anyio
async def test_the_signal_comes_after_the_file(tmp_path: Path) -> None:
    """Who handles it reads the new mode."""
    file = tmp_path / "m"
    with shell(LISTENER, FILE=str(file)) as (process, found):
        adapter = FileAdapter(file, lambda: found, signal.SIGUSR1)
        await adapter.degrade(DegradationMode.READ_ONLY, "why")
        assert process.stdout is not None and process.stdout.readline() == b"read_only\n"


@linux_only
@pytest.mark.anyio
async def test_a_signal_that_would_kill_is_not_sent(tmp_path: Path) -> None:
    """A program without a handler would die of it; the file says the mode all the same."""
    with shell("echo ready; sleep 60; :") as (process, found):
        adapter = FileAdapter(tmp_path / "m", lambda: found, signal.SIGUSR1)
        with pytest.raises(AdapterFailed, match=f"SIGUSR1 was not sent: process {process.pid} does not handle it") as failed:
            await adapter.degrade(DegradationMode.READ_ONLY, "why")
        assert failed.value.channel == "signal"
        assert process.poll() is None
    assert (tmp_path / "m").read_text() == "read_only\n"


@linux_only
def test_handlers_are_seen() -> None:
    """Caught and ignored signals harm nobody; of a process that is gone nothing is known."""
    with shell("trap '' USR2; trap : USR1; echo ready; while :; do sleep 60 & wait $!; done") as (process, _):
        assert handles(process.pid, signal.SIGUSR1) is True
        assert handles(process.pid, signal.SIGUSR2) is True
        assert handles(process.pid, signal.SIGALRM) is False
    assert handles(2**22 + 1, signal.SIGUSR1) is None


def test_nobody_else_gets_the_signal() -> None:
    """Not a later process of the same pid, and none where the leaf has ended."""
    with shell("trap 'echo hit; exit' USR1; echo ready; while :; do sleep 60 & wait $!; done") as (process, found):
        notify(ProcessId(found.pid, found.created + 1), signal.SIGUSR1)
        notify(ProcessId(2**22 + 1, 1), signal.SIGUSR1)
        assert process.poll() is None
        notify(found, signal.SIGUSR1)
        assert process.stdout is not None and process.stdout.readline() == b"hit\n"


def test_signals_have_names() -> None:
    """An empty one is none."""
    assert signal_number("SIGUSR1") == signal.SIGUSR1 and signal_number("") is None


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), **more}


def test_the_directory_of_a_run(tmp_path: Path) -> None:
    """Private, with the runtime directory as its first place, and gone with everything in it."""
    around = environ(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir(0o700)
    made = run_directory(RUN, around)
    assert made.path.parent == tmp_path / "runtime" / "memory-guardian"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (made.path, made.path.parent)} == {0o700}
    (made.path / "x").touch()
    made.close()
    made.close()
    assert list((tmp_path / "runtime").iterdir()) == []


def test_the_next_place_is_taken_where_the_first_cannot_be(tmp_path: Path) -> None:
    """A file in the way of the runtime directory, a home that is none: the temporary directory; and nothing at all is an error."""
    (tmp_path / "runtime").touch()
    (tmp_path / "home").touch()
    (tmp_path / "tmp").mkdir()
    around = environ(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "runtime"))
    assert len(places(around)) == 3
    made = run_directory(RUN, around)
    assert made.path.parent.parent == tmp_path / "tmp"
    made.close()
    (tmp_path / "tmp").rmdir()
    (tmp_path / "tmp").touch()
    with pytest.raises(StateWriteFailed, match=r"cannot write .*memory-guardian"):
        run_directory(RUN, around)


@linux_only
def test_a_full_disk_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for a directory and an empty file, and for nothing in it: the next place is taken, and nothing stays in the first."""
    write, full = os.write, tmp_path / "runtime"
    full.mkdir(0o700)

    def written(fd: int, data: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").startswith(str(full)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(os, "write", written)
    made = run_directory(RUN, environ(tmp_path, XDG_RUNTIME_DIR=str(full)))
    assert full not in made.path.parents and list(made.path.iterdir()) == list(full.iterdir()) == []
    made.close()


@linux_only
def test_what_killed_runs_have_left_is_removed(tmp_path: Path) -> None:
    """By the next start, and only that: not a living run's, not another pid namespace's, nothing of another name."""
    around = environ(tmp_path)
    first = run_directory(RUN, around)
    base, name = first.path.parent, first.path.name
    run, pid, created, space = name.removesuffix(".run").split("-")
    others = {
        "stale": f"{run}-{pid}-{int(created) + 1}-{space}.run",
        "foreign": f"{run}-{pid}-{int(created) + 1}-{space}9.run",
        "unrelated": "somebody's",
    }
    for other in others.values():
        (base / other).mkdir()
        (base / other / "claude.mode").touch()
    second = run_directory("f" * 32, around)
    assert {path.name for path in base.iterdir()} == {name, second.path.name, others["foreign"], others["unrelated"]}
    for made in (first, second):
        made.close()
    assert {path.name for path in base.iterdir()} == {others["foreign"], others["unrelated"]}
