"""A process that allocates on command, for the tests of the memory readers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.host.cgroup import files
from supervisor.host.cgroup.layout import read_layout

from ..support import eventually_sync

MIB = 1024 * 1024

PROGRAM = r"""
import ctypes, mmap, os, signal, sys, threading
signal.alarm(60)
held, gates = [], []

def touch(mib, flags):
    block = mmap.mmap(-1, mib << 20, flags=flags)
    rewrite(block)
    held.append(block)

def rewrite(block):
    for offset in range(0, len(block), 4096):
        block[offset] = 1

def fork(mib, *, session=False, middle=False, rewriting=False):
    gate, ready = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        if middle and os.fork():
            os._exit(0)
        signal.alarm(60)
        if session:
            os.setsid()
        for end in [*gates, gate[1], ready[0], 0, 1]:
            os.close(end)
        if rewriting:
            for block in held:
                rewrite(block)
        if mib:
            touch(mib, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        os.write(ready[1], str(os.getpid()).encode())
        os.close(ready[1])
        os.read(gate[0], 1)
        os._exit(0)
    os.close(gate[0])
    os.close(ready[1])
    gates.append(gate[1])
    if middle:
        os.waitpid(pid, 0)
    told = int(os.read(ready[0], 32))
    os.close(ready[0])
    return told

def serve():
    for line in iter(sys.stdin.readline, ""):
        word, *numbers = line.split()
        mib = int(numbers[0]) if numbers else 0  # or a pid
        answer = os.getpid()
        if word == "touch":
            touch(mib, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        elif word == "share":
            touch(mib, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        elif word == "release":
            held.clear()
        elif word == "fork":
            answer = fork(mib)
        elif word == "rewrite":
            answer = fork(0, rewriting=True)
        elif word == "session":
            answer = fork(mib, session=True)
        elif word == "orphan":
            answer = fork(mib, session=True, middle=True)
        elif word == "nest":
            gate, ready = os.pipe(), os.pipe()
            if os.fork() == 0:
                signal.alarm(60)
                if os.fork() == 0:
                    signal.alarm(60)
                    os.close(gate[1])
                    os.write(ready[1], str(os.getpid()).encode())
                    os.read(gate[0], 1)
                    os._exit(0)
                signal.pause()
            os.close(gate[0])
            os.close(ready[1])
            gates.append(gate[1])
            answer = int(os.read(ready[0], 32))
        elif word == "zombie":
            answer = os.fork()
            if answer == 0:
                os._exit(0)
            os.waitid(os.P_PID, answer, os.WEXITED | os.WNOWAIT)
        elif word == "reap":
            os.waitpid(mib, 0)
        elif word == "end":
            os.close(gates.pop())
            os.waitid(os.P_PID, mib, os.WEXITED)
        elif word == "thread":
            told, stay = [], threading.Event()
            def forking():
                told.append(fork(mib))
                stay.wait(60)
            threading.Thread(target=forking, daemon=True).start()
            while not told:
                pass
            answer = told[0]
        elif word == "tmpfs":
            file = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR)
            os.ftruncate(file, mib << 20)
            block = mmap.mmap(file, mib << 20)
            rewrite(block)
            held.append(block)
        elif word == "drop":
            file = os.open(os.environ["BIG_FILE"], os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
        elif word == "file":
            with open(os.environ["BIG_FILE"], "rb") as file:
                while file.read(1 << 20):
                    pass
        elif word == "map":
            with open(os.environ["BIG_FILE"], "rb") as file:
                block = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            sum(block[::4096])
            held.append(block)
        elif word == "move":
            with open(os.path.join(numbers[1], "cgroup.procs"), "w") as procs:
                procs.write(numbers[0])
        elif word == "exec":
            os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"]])
        print(answer, flush=True)

if "LEADERLESS" in os.environ:
    def whole():
        print(os.getpid(), flush=True)
        serve()
        os._exit(0)
    threading.Thread(target=whole).start()
    ctypes.CDLL(None).pthread_exit(None)
print(os.getpid(), flush=True)
serve()
"""


class Allocator:
    """The process, told what to do line by line; every command returns when it is done."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        self._answer()

    def tell(self, command: str) -> int:
        """Give a command; the answer is the pid that it is about."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Kill it and reap it; its children see that and end."""
        self.process.kill()
        self.process.wait(10)

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def allocator(cgroup: Path | None = None, **environment: str) -> Iterator[Allocator]:
    """Start one, in a cgroup if one is named, and see to it that it is gone in the end."""
    join = [] if cgroup is None else ["sh", "-c", f'echo 0 > {cgroup}/cgroup.procs; exec "$@"', "sh"]
    with subprocess.Popen(
        [*join, sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PROGRAM": PROGRAM, **environment},
    ) as process:
        try:
            yield Allocator(process)
        finally:
            process.kill()


def memory_cgroup() -> Path:
    """Our own cgroup of version 1's memory controller, or skip the test where we have none to make others in."""
    if sys.platform == "linux":
        texts = (Path(f"/proc/self/{name}").read_text() for name in ("mountinfo", "cgroup"))
        for hierarchy in read_layout(*texts):
            if "memory" in hierarchy.controllers and hierarchy.writable and os.access(hierarchy.directory, os.W_OK):
                return Path(hierarchy.directory)
    pytest.skip("no memory controller of version 1 here")


@contextlib.contextmanager
def counting() -> Iterator[Path]:
    """A cgroup that counts memory; it is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="counted-", dir=memory_cgroup()))
    try:
        yield directory
    finally:
        eventually_sync(lambda: files.remove(str(directory)), what=f"{directory} is empty")


@contextlib.contextmanager
def counted_allocator(**environment: str) -> Iterator[Allocator]:
    """Start one whose memory is counted from its first page on."""
    with counting() as directory, allocator(directory, **environment) as process:
        yield process


def counting_cgroup(pid: int) -> str | None:
    """The cgroup of `counting` in which a process is; None when it is in none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "memory" and "/counted-" in path:
                return str(memory_cgroup() / path.rpartition("/")[2])
    return None
