"""A leaf that plays a script: one for each of its lives, divided by ``/``; the last one is played again and again.

    actor.py REPORT WORD... [/ WORD...]...

Every process that comes about is written to the file REPORT as ``LIFE ROLE PID``. No process lives longer than `LIMIT` seconds. Words:

    grow:MIB           come to hold so much private memory in all
    child:MIB          a child in the leaf's process group that holds so much
    stray[:MIB]        a process in a session of its own that ignores SIGTERM, started by a child that is gone
    daemon             the same with an empty environment
    deaf               ignore SIGTERM, SIGINT and SIGHUP from here on
    stubborn           at SIGTERM write to REPORT as ``asked``, and go on
    answer:CODE        end with CODE at SIGTERM
    listen:NAME        at that signal write to REPORT what $MEMORY_GUARDIAN_MODE_FILE says, as the role
    tremble:LOW:HIGH:TIMES   swing between two sizes in MiB, each held for 50 ms
    ready              write a newline to $NOTIFY_FD
    await:FILE         go on once FILE exists
    line               read a line and say ``read LINE``; the end of the input says ``read end``
    say:TEXT           write a line to standard output
    exit:CODE  signal:NAME   end
    stay               do nothing any more
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
import time

LIMIT = 60
MIB = 1024 * 1024
REPORT = sys.argv[1]
blocks: list[mmap.mmap] = []


def main() -> None:
    bounded()
    scripts: list[list[str]] = [[]]
    for word in sys.argv[2:]:
        if word == "/":
            scripts.append([])
        else:
            scripts[-1].append(word)
    number = lives() + 1
    note(number, "leaf")
    for word in scripts[min(number, len(scripts)) - 1]:
        play(number, *word.split(":"))


def play(number: int, verb: str, *given: str) -> None:
    match verb:
        case "grow":
            hold(float(given[0]))
        case "child":
            beget(number, "child", float(given[0]))
        case "stray" | "daemon":
            beget(number, verb, float(given[0]) if given else 0.0)
        case "deaf":
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(signum, signal.SIG_IGN)
        case "stubborn":
            signal.signal(signal.SIGTERM, lambda signum, frame: note(number, "asked"))
        case "answer":
            code = int(given[0])
            signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(code))
        case "listen":
            signal.signal(getattr(signal, f"SIG{given[0]}"), lambda signum, frame: note(number, mode()))
        case "tremble":
            for _ in range(int(given[2])):
                for size in given[:2]:
                    hold(float(size))
                    time.sleep(0.05)
        case "ready":
            os.write(int(os.environ["NOTIFY_FD"]), b"\n")
        case "await":
            while not os.path.exists(given[0]):
                time.sleep(0.005)
        case "line":
            say(f"read {sys.stdin.readline().strip() or 'end'}")
        case "say":
            say(given[0])
        case "exit":
            os._exit(int(given[0]))
        case "signal":
            # no core file: it would lie about
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signum = getattr(signal, f"SIG{given[0]}")
            if signum != signal.SIGKILL:
                signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        case "stay":
            while True:
                time.sleep(0.05)  # not pause(): a signal that comes just before it would be handled after it
        case _:
            say(f"no such word: {verb}")
            os._exit(64)


def bounded() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LIMIT)


def beget(number: int, role: str, mib: float) -> None:
    """Start a process, and come back once it holds its memory."""
    reader, writer = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(reader)
        if role in ("stray", "daemon"):
            if os.fork():
                os._exit(0)
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        bounded()
        hold(mib)
        note(number, role)
        if role == "daemon":
            os.execvpe("sleep", ["sleep", str(LIMIT)], {})  # which closes the pipe
        os.write(writer, b"\n")
        os.close(writer)
        time.sleep(LIMIT)
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    if role in ("stray", "daemon"):
        os.waitpid(first, 0)


def hold(mib: float) -> None:
    """Hold so much private memory in all, as the kernel counts it."""
    while (missing := mib * MIB - private()) <= -mmap.PAGESIZE and blocks:
        excess = int(-missing) // mmap.PAGESIZE * mmap.PAGESIZE
        if excess < len(blocks[-1]):
            blocks[-1].resize(len(blocks[-1]) - excess)  # a whole one would be less than is to be held, for a moment
        else:
            blocks.pop().close()
    while missing >= mmap.PAGESIZE:
        size = min(4 * MIB, int(missing) // mmap.PAGESIZE * mmap.PAGESIZE)
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for offset in range(0, size, mmap.PAGESIZE):
            block[offset] = 1  # a page that was never written takes no memory
        blocks.append(block)
        missing -= size


def private() -> int:
    with open("/proc/self/statm") as file:
        resident, shared = file.read().split()[1:3]
    return (int(resident) - int(shared)) * mmap.PAGESIZE


def mode() -> str:
    with open(os.environ["MEMORY_GUARDIAN_MODE_FILE"]) as file:
        return file.read().strip()


def lives() -> int:
    """How many lives there were before this one."""
    try:
        with open(REPORT) as file:
            return sum(line.split()[1] == "leaf" for line in file)
    except FileNotFoundError:
        return 0


def note(number: int, role: str) -> None:
    descriptor = os.open(REPORT, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{number} {role} {os.getpid()}\n".encode())
    os.close(descriptor)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main()
