"""A leaf with descendants of every kind.

    family.py REPORT ACTION [KIND ...]

Each descendant appends ``KIND PID`` to the file REPORT. Once all have, the leaf writes a newline to ``$NOTIFY_FD`` (if set) and
acts: ``sleep`` (until a signal), ``crash`` (SIGKILL to itself), ``exit`` (code 0). Kinds:

    plain      in the leaf's group
    setsid     in a session of its own
    stubborn   in a session of its own, ignoring SIGTERM
    daemon     forked twice, in a session of its own, ignoring SIGTERM
    deaf       in the leaf's group, ignoring SIGTERM
    saver      in the leaf's group; SIGTERM makes it work for half a second, append ``saved`` to REPORT, and end
    brief      forked twice, in its session leader's session, ends after a moment
    runner     in a session of its own, forks a successor and ends, again and again
    zombie     in a session of its own, dead, and never reaped by the leaf
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

LIMIT = 60.0


def main() -> None:
    report, action, kinds = sys.argv[1], sys.argv[2], sys.argv[3:]
    for kind in kinds:
        start(report, kind)
    deadline = time.monotonic() + LIMIT
    while lines(report) < len(kinds) and time.monotonic() < deadline:
        time.sleep(0.002)
    if "NOTIFY_FD" in os.environ:
        os.write(int(os.environ["NOTIFY_FD"]), b"\n")
    if action == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "sleep":
        time.sleep(LIMIT)


def lines(report: str) -> int:
    with open(report, "a+") as file:
        file.seek(0)
        return file.read().count("\n")


def start(report: str, kind: str) -> None:
    if child := os.fork():
        if kind in ("daemon", "brief", "runner"):
            os.waitpid(child, 0)
        return
    if kind not in ("plain", "deaf", "saver"):
        os.setsid()
    if kind in ("daemon", "brief") and os.fork():
        os._exit(0)
    if kind in ("stubborn", "daemon", "deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "saver":
        signal.signal(signal.SIGTERM, saver(report))
    note(report, f"{kind} {os.getpid()}")
    if kind == "zombie":
        os._exit(0)
    if kind == "runner":
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            time.sleep(0.002)
            if os.fork():
                os._exit(0)
    ends = time.monotonic() + (0.05 if kind == "brief" else LIMIT)
    while time.monotonic() < ends:
        time.sleep(0.05)  # not all at once: a signal that comes just before a sleep would be handled after it
    os._exit(0)


def saver(report: str) -> Callable[[int, FrameType | None], None]:
    def save(signum: int, frame: FrameType | None) -> None:
        time.sleep(0.5)
        note(report, "saved 0")
        os._exit(0)

    return save


def note(report: str, line: str) -> None:
    fd = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


if __name__ == "__main__":
    main()
