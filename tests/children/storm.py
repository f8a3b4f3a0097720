"""A process that forks faster than anybody can look, in sessions of their own and deaf to SIGTERM; bounded in number and in time.

storm.py REPORT: at most FORKS processes ever, each of which ends within LIMIT seconds by its own alarm.
"""

from __future__ import annotations

import os
import signal
import sys
import time

FORKS = 150
LIMIT = 15


def main() -> None:
    signal.alarm(LIMIT)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"." * FORKS)
    os.close(writer)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(sys.argv[1], "a") as file:
        file.write(f"storm {os.getpid()}\n")
    while True:
        time.sleep(0.002)
        if not may_fork(reader):
            signal.pause()
        if os.fork() == 0:
            signal.alarm(LIMIT)  # a fork has none
            os.setsid()


def may_fork(reader: int) -> bool:
    """Take one of the forks that are left for all of them together."""
    try:
        return os.read(reader, 1) == b"."
    except BlockingIOError:
        return False


if __name__ == "__main__":
    main()
