"""Files that are rotated and our own streams, written to without ever waiting."""

from __future__ import annotations

import os
import pty
import socket
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.host.outputs import AppendedFile, OwnStream, Writer, output_pipe, waiting_bytes
from supervisor.host.own_input import OwnInput

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")


def write(writer: Writer, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[writer.write(data) :]


def contents(path: Path) -> list[bytes]:
    """What is in the renamed files, the oldest first, and in the file itself."""
    numbers = sorted((int(file.suffix[1:]) for file in path.parent.glob(f"{path.name}.*")), reverse=True)
    return [*(Path(f"{path}.{number}").read_bytes() for number in numbers), path.read_bytes()]


@given(
    st.lists(st.binary(min_size=1, max_size=30).map(lambda data: data.replace(b"a", b"\n")), min_size=1, max_size=20), st.integers(1, 40)
)
def test_rotated_files_are_what_was_written(chunks: list[bytes], most: int) -> None:
    """Together, in order; none is larger than it may be, and none is empty."""
    with tempfile.TemporaryDirectory() as folder, closing(AppendedFile(str(Path(folder, "log")), most, 1000)) as file:
        for chunk in chunks:
            write(file, chunk)
        written = contents(Path(folder, "log"))
    assert b"".join(written) == b"".join(chunks)
    assert max(map(len, written)) <= most
    assert all(written)


def test_lines_stay_whole(tmp_path: Path) -> None:
    """A chunk is divided where a line ends; a line that does not fit any more begins the next file."""
    with closing(AppendedFile(str(tmp_path / "log"), 10, 9)) as file:
        for chunk in (b"123\n456\n789\n", b"abcdef\n", b"a line that is too long\n"):
            write(file, chunk)
    assert contents(tmp_path / "log") == [b"123\n456\n", b"789\n", b"abcdef\n", b"a line tha", b"t is too l", b"ong\n"]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(0, 99))
def test_no_line_is_divided_wherever_the_chunks_are(sizes: list[int], long: int) -> None:
    """A chunk may end within a line: what follows finds room in the same file, or the line has begun the next one."""
    data = b"".join(b"%d %s\n" % (number, b"x" * (number * 7 % (long + 1))) for number in range(60))
    with tempfile.TemporaryDirectory() as folder, closing(AppendedFile(str(Path(folder, "log")), 1100, 1000)) as file:
        for size in [*sizes, len(data)]:
            write(file, data[:size])
            data = data[size:]
        written = contents(Path(folder, "log"))
    assert all(part.endswith(b"\n") for part in written) and max(map(len, written)) <= 1100


@pytest.mark.parametrize("backups", [0, 1, 3])
def test_only_so_many_backups_are_kept(tmp_path: Path, backups: int) -> None:
    """The newest ones; what is called alike and is no backup stays."""
    (tmp_path / "log.old").write_text("mine")
    with closing(AppendedFile(str(tmp_path / "log"), 2, backups)) as file:
        for number in range(8):
            write(file, b"%d\n" % number)
    (tmp_path / "log.old").unlink()
    assert contents(tmp_path / "log") == [b"%d\n" % number for number in range(7 - backups, 8)]


def test_a_rotation_that_fails_pushes_nothing_out(tmp_path: Path) -> None:
    """While it cannot be renamed, nothing is written, and trying again and again loses no backup; then it goes on."""
    log = tmp_path / "log"
    with closing(AppendedFile(str(log), 2, 2)) as file:
        for number in range(4):
            write(file, b"%d\n" % number)
        (tmp_path / "log.2").unlink()
        (tmp_path / "log.2").mkdir()
        (tmp_path / "log.2" / "in the way").touch()
        for _ in range(3):
            with pytest.raises(OSError, match=r"log\.2"):
                file.write(b"4\n")
        assert log.read_bytes() == b"3\n" and (tmp_path / "log.1").read_bytes() == b"2\n"
        (tmp_path / "log.2" / "in the way").unlink()
        (tmp_path / "log.2").rmdir()
        os.replace(tmp_path / "log.1", tmp_path / "log.2")  # as one that was interrupted between its renames
        write(file, b"4\n")
    assert contents(log) == [b"2\n", b"3\n", b"4\n"]


def test_a_file_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    """When the next rotation is due."""
    with closing(AppendedFile(str(tmp_path / "log"), 2, 2)) as file:
        write(file, b"1\n")
        (tmp_path / "log").unlink()
        write(file, b"2\n")
    assert contents(tmp_path / "log") == [b"2\n"]


def test_permissions_are_those_asked_for(tmp_path: Path) -> None:
    """For every file."""
    with closing(AppendedFile(str(tmp_path / "log"), 2, 2, 0o640)) as file:
        for _ in range(3):
            write(file, b"1\n")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def fill(stream: OwnStream, data: bytes) -> int:
    """Write until nothing is taken any more."""
    count = 0
    while True:
        try:
            count += stream.write(data)
        except BlockingIOError:
            return count


@pytest.mark.parametrize("proc", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_full_stream_of_ours_does_not_block(kind: str, proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it is full, takes more once somebody has read, and is left blocking for those who share it."""
    if not proc:

        def no_proc(path: str, flags: int) -> int:
            raise FileNotFoundError(path)

        monkeypatch.setattr("supervisor.host.outputs.os.open", no_proc)
    if kind == "socket":
        left, right = socket.socketpair()
        reader, writer = left.detach(), right.detach()
    else:
        reader, writer = os.pipe() if kind == "pipe" else pty.openpty()
    try:
        with closing(OwnStream(writer)) as stream:
            assert fill(stream, b"x" * 10_000) > 0
            assert os.get_blocking(writer)
            os.set_blocking(reader, False)
            taken = 0
            while taken < 100_000:
                try:
                    taken += len(os.read(reader, 100_000))
                except BlockingIOError:
                    break
            assert stream.write(b"y") == 1
        os.write(writer, b"z")  # still open
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("proc", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_our_input_does_not_block(kind: str, proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that nothing has come, reads what has, and its end; it is left blocking, and open, for those who share it."""
    if not proc:

        def no_proc(path: str, flags: int) -> int:
            raise FileNotFoundError(path)

        monkeypatch.setattr("supervisor.host.own_input.os.open", no_proc)
    if kind == "socket":
        left, right = socket.socketpair()
        reader, writer = left.detach(), right.detach()
    else:
        reader, writer = os.pipe()
    try:
        with closing(OwnInput(reader)) as source:
            with pytest.raises(BlockingIOError):
                source.read(10)
            os.write(writer, b"hello there")
            assert os.get_blocking(reader) and source.fd >= 0
            assert (source.read(5), source.read(10)) == (b"hello", b" there")
            os.close(writer)
            writer = -1
            assert source.read(10) == b""
            source.close()
        assert os.fstat(reader)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def test_our_input_may_be_a_file_or_nothing(tmp_path: Path) -> None:
    """They have an end, too; a closed one is an error at once."""
    (tmp_path / "file").write_bytes(b"12")
    for path, found in ((tmp_path / "file", b"12"), (Path(os.devnull), b"")):
        fd = os.open(path, os.O_RDONLY)
        try:
            with closing(OwnInput(fd)) as source:
                assert source.read(10) == found and source.read(10) == b""
        finally:
            os.close(fd)
        with pytest.raises(OSError, match="Bad file"):
            OwnInput(fd)


def test_a_file_as_our_stream_is_shared(tmp_path: Path) -> None:
    """What we write and what others write through the same opened file follow each other."""
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with closing(OwnStream(fd)) as stream:
            os.write(fd, b"1")
            write(stream, b"2")
            os.write(fd, b"3")
    finally:
        os.close(fd)
    assert path.read_bytes() == b"123"


def test_a_stream_that_is_closed_is_an_error(tmp_path: Path) -> None:
    """As any that cannot be written."""
    fd = os.dup(0)
    os.close(fd)
    with closing(OwnStream(fd)) as stream, pytest.raises(OSError, match="Bad file"):
        stream.write(b"1")


def test_what_is_in_a_pipe_is_counted() -> None:
    """Without reading it."""
    reader, writer = output_pipe(large=True)
    try:
        assert waiting_bytes(reader) == 0
        os.write(writer, b"x" * 1000)
        assert waiting_bytes(reader) == 1000
        assert os.get_blocking(writer) and not os.get_blocking(reader)
    finally:
        os.close(reader)
        os.close(writer)
