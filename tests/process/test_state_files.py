"""Atomic writing and private directories, on real file systems that are full, read-only, foreign or interrupted."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT
from workers.state.files import StateWriteFailed, private_directory, write_atomic

ROOTED = hasattr(os, "geteuid") and os.geteuid() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if not (ROOTED and sys.platform == "linux"):
        pytest.skip("only root can mount a small tmpfs")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_file_is_written_whole_and_private(tmp_path: Path) -> None:
    """The content is there, readable by its owner alone whatever the umask, and no temporary file is left."""
    before = os.umask(0o277)
    try:
        write_atomic(tmp_path / "a", b"one")
        write_atomic(tmp_path / "b", b"two", mode=0o640, durable=False)
    finally:
        os.umask(before)
    assert ((tmp_path / "a").read_bytes(), mode(tmp_path / "a")) == (b"one", 0o600)
    assert ((tmp_path / "b").read_bytes(), mode(tmp_path / "b")) == (b"two", 0o640)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_an_old_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    """Who has the old file open keeps the old content; a wider mode of the old file does not stay; a link is not followed."""
    path = tmp_path / "state"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with path.open("rb") as held:
        write_atomic(path, b"new")
        assert held.read() == b"old"
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)
    (tmp_path / "link").symlink_to(path)
    write_atomic(tmp_path / "link", b"beside")
    assert path.read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


def test_a_large_file_is_written_whole(tmp_path: Path) -> None:
    """More than one write call may take is written all the same."""
    data = os.urandom(1024) * 4096
    write_atomic(tmp_path / "large", data)
    assert (tmp_path / "large").read_bytes() == data


def test_a_full_disk_leaves_the_old_file_and_nothing_else(small_disk: Path) -> None:
    """Disk full: a typed error with path, cause and remedy; the old file is untouched, the half-written one removed; small ones go on."""
    path = small_disk / "state"
    write_atomic(path, b"old")
    with pytest.raises(StateWriteFailed, match="disk is full") as caught:
        write_atomic(path, bytes(200_000))
    assert caught.value.path == path
    assert isinstance(caught.value.cause, OSError)
    assert (path.read_bytes(), os.listdir(small_disk)) == (b"old", ["state"])
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_read_only_file_system_is_told(small_disk: Path) -> None:
    """Read-only: a typed error that says so, the old file stays."""
    write_atomic(small_disk / "state", b"old")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StateWriteFailed, match="read-only"):
        write_atomic(small_disk / "state", b"new")
    with pytest.raises(StateWriteFailed, match="read-only"):
        private_directory(small_disk / "a" / "b", small_disk)
    assert (small_disk / "state").read_bytes() == b"old"


@pytest.mark.skipif(not ROOTED, reason="only root can become somebody else")
def test_a_directory_of_somebody_else_is_told(tmp_path: Path) -> None:
    """Permission denied: a typed error that says so, and nothing is left lying about."""
    place = tmp_path / "theirs"
    place.mkdir(mode=0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(StateWriteFailed, match="permission denied"):
            write_atomic(place / "state", b"new")
        with pytest.raises(StateWriteFailed, match="permission denied"):
            private_directory(place / "a", place)
    finally:
        os.seteuid(0)
    assert os.listdir(place) == []


@pytest.mark.skipif(not ROOTED, reason="only root can give a directory away")
def test_a_private_directory_that_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    """In a shared place somebody else may have made the directory first: it is not used."""
    (tmp_path / "p").mkdir()
    os.chown(tmp_path / "p", 65534, 65534)
    with pytest.raises(StateWriteFailed, match="not permitted"):
        private_directory(tmp_path / "p" / "runs", tmp_path)


def test_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    """A state directory that is a file, or lies below one, or whose part is a link, is refused with its remedy."""
    (tmp_path / "file").write_bytes(b"")
    for within in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateWriteFailed):
            private_directory(within / "p", within)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StateWriteFailed, match="is a file"):
        private_directory(tmp_path / "link", tmp_path)
    with pytest.raises(StateWriteFailed):
        write_atomic(tmp_path / "missing" / "state", b"")


def test_private_directories_are_made_and_kept_private(tmp_path: Path) -> None:
    """What is made is for the owner alone; one that was open is closed; the state directory itself keeps the mode its owner gave it."""
    base = tmp_path / "base"
    made = private_directory(base / "project" / "runs", base)
    assert made == base / "project" / "runs"
    assert [mode(path) for path in (base, base / "project", made)] == [0o700] * 3
    base.chmod(0o755)
    (base / "project").chmod(0o777)
    private_directory(made, base)
    assert [mode(path) for path in (base, base / "project", made)] == [0o755, 0o700, 0o700]


def test_the_error_crosses_a_process_border() -> None:
    """The typed error can be pickled with its values."""
    error = pickle.loads(pickle.dumps(StateWriteFailed(Path("/x"), OSError(28, "No space left on device"))))
    assert (error.path, error.cause.errno, str(error)) == (
        Path("/x"),
        28,
        f"cannot write /x: {'the disk is full; free some space or choose another state directory'}",
    )


DIES = """
import os, signal, sys
from pathlib import Path
from workers.state.files import write_atomic

name, count = sys.argv[2], int(sys.argv[3])
real = getattr(os, name)
calls = 0

def dying(*args, **kwargs):
    global calls
    calls += 1
    if calls == count:
        if name == "write":
            real(args[0], bytes(args[1])[: len(args[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)

setattr(os, name, dying)
write_atomic(Path(sys.argv[1]), b"new" * 100_000)
print("done")
"""


@pytest.mark.parametrize(
    ("name", "count"),
    [("open", 1), ("fchmod", 1), ("write", 1), ("fsync", 1), ("close", 1), ("replace", 1), ("open", 2), ("fsync", 2), ("close", 2)],
)
def test_a_kill_at_any_call_leaves_the_old_or_the_new_file_whole(tmp_path: Path, name: str, count: int) -> None:
    """SIGKILL at each system call of a write: the file is the old one or the new one, never a part and never missing."""
    path = tmp_path / "state"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", DIES, path, name, str(count)], cwd=ROOT, capture_output=True, timeout=30)
    assert killed.returncode == -signal.SIGKILL, killed
    before = name in ("fchmod", "write", "replace") or count == 1
    assert path.read_bytes() == (b"old" if before else b"new" * 100_000)
