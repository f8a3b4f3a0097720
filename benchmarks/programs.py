"""The small programs that the benchmarks start. Each ends by itself: after a minute, or when its standard input ends."""

from __future__ import annotations

import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

import attrs

CLOCK_C: Final = r"""
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long record[2] = {getpid(), now.tv_sec * 1000000000LL + now.tv_nsec};
    int fd = count > 1 ? open(words[1], O_WRONLY) : -1;
    if (write(fd, record, sizeof record) != sizeof record) return 1;
    close(fd);
    alarm(count > 2 ? 600 : 60);
    for (;;) pause();
}
"""
CLOCK_PYTHON: Final = """
import time
now = time.monotonic_ns()
import os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, os.getpid().to_bytes(8, sys.byteorder) + now.to_bytes(8, sys.byteorder))
os.close(fd)
signal.alarm(600 if sys.argv[2:] else 60)
signal.pause()
"""
FAMILY: Final = """
import subprocess, sys, threading
depth, threads = int(sys.argv[1]), int(sys.argv[2])
over = threading.Event()
for _ in range(threads - 1):
    threading.Thread(target=over.wait, args=(300,), daemon=True).start()
below = {2: [1, 0, 0], 1: [0], 0: []}[depth]
children = [subprocess.Popen([*sys.orig_argv[:-2], str(it), str(threads)], stdout=subprocess.PIPE) for it in below]
for child in children:
    child.stdout.readline()
print("up", flush=True)
sys.stdin.read()
over.set()
for child in children:
    child.wait()
"""
KILLER: Final = """
import os, signal, sys, time
os.write(1, bytes(8))
while order := sys.stdin.buffer.readline():
    pid, pause = order.split()
    time.sleep(float(pause))
    now = time.monotonic_ns()
    os.kill(int(pid), signal.SIGKILL)
    os.write(1, now.to_bytes(8, sys.byteorder))
"""
_RECORD: Final = struct.Struct("qq")


@attrs.define
class Clock:
    """A program whose first act is to note the time, and the FIFO on which it says so.

    Attributes:
        argv: How to start it; it stays until it is killed, a minute at most.
        patient: The same for ten minutes at most.
        language: ``"C"``, or ``"Python"`` where there is no compiler.
        fd: Readable when a life has begun.
    """

    argv: tuple[str, ...]
    language: str
    fd: int

    @property
    def patient(self) -> tuple[str, ...]:
        return (*self.argv, "patient")

    def began(self, timeout: float = 20.0) -> tuple[int, int]:
        """Wait for the next life: its pid, and when its first instruction ran, in nanoseconds of ``time.monotonic_ns``.

        Raises:
            TimeoutError: None began.
        """
        if not select.select([self.fd], [], [], timeout)[0]:
            raise TimeoutError(f"{self.argv[0]} did not start within {timeout:g} s")
        return self.read()

    def read(self) -> tuple[int, int]:
        """As `began`, where it is known that one has begun."""
        pid, at = _RECORD.unpack(os.read(self.fd, _RECORD.size))
        return pid, at


@contextmanager
def clock() -> Iterator[Clock]:
    """Make the program."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        fifo = str(Path(folder, "fifo"))
        os.mkfifo(fifo)
        argv: tuple[str, ...] = (sys.executable, "-I", "-S", "-c", CLOCK_PYTHON, fifo)
        language = "Python"
        compiler = shutil.which("cc")
        if compiler is not None:
            source, program = Path(folder, "clock.c"), Path(folder, "clock")
            source.write_text(CLOCK_C)
            for flags in (["-static"], []):
                if subprocess.run([compiler, "-O2", *flags, "-o", program, source], capture_output=True, check=False).returncode == 0:
                    argv, language = (str(program), fifo), "C"
                    break
        # open for writing as well: it never ends, and opening it waits for nobody
        fd = os.open(fifo, os.O_RDWR | os.O_CLOEXEC)
        try:
            yield Clock(argv, language, fd)
        finally:
            os.close(fd)


@attrs.define
class Killer:
    """A process that kills others: whoever waits for their end is already waiting when it comes, as for a crash."""

    _orders: IO[bytes]
    _times: IO[bytes]

    def kill(self, pid: int, pause: float) -> None:
        """Kill after so many seconds; returns at once."""
        self._orders.write(b"%d %f\n" % (pid, pause))
        self._orders.flush()

    def killed(self) -> int:
        """When it did, in nanoseconds of ``time.monotonic_ns``; once for each `kill`."""
        return int.from_bytes(self._times.read(8), sys.byteorder)


@contextmanager
def killer() -> Iterator[Killer]:
    """Start one."""
    words = [sys.executable, "-I", "-S", "-c", KILLER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        made = Killer(process.stdin, process.stdout)
        made.killed()
        yield made


@contextmanager
def family(threads: int) -> Iterator[int]:
    """A tree of five processes, three levels, each with this many threads; yields the pid of its root.

    node has seven threads; a tree of an agent and its tools looks like this one.
    """
    words = [sys.executable, "-I", "-S", "-c", FAMILY, "2", str(threads)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as root:
        assert root.stdin is not None
        assert root.stdout is not None
        try:
            root.stdout.readline()
            yield root.pid
        finally:
            root.stdin.close()


@contextmanager
def bystanders(count: int) -> Iterator[None]:
    """So many more idle processes on the host. They wait for the end of a pipe whose only writer is this process."""
    reader, writer = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        try:
            for _ in range(count):
                stack.enter_context(subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.DEVNULL))
            yield
        finally:
            os.close(writer)
