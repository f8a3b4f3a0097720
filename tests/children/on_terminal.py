"""A program that runs one leaf on its terminal and reports what it sees, a JSON object a line.

    on_terminal.py REPORT BACKEND COMMAND [ARG ...]

The leaf is up as $READY says. As the leader of a session without a terminal it makes its standard input its controlling terminal first.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import termios

import anyio

from supervisor.leaf.command import command
from tests.support_ticket import living


def note(report: str, **facts: object) -> None:
    with open(report, "a") as file:
        file.write(json.dumps(facts) + "\n")


async def main() -> None:
    report, argv = sys.argv[1], sys.argv[3:]
    if os.getsid(0) == os.getpid():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    before = termios.tcgetattr(0)
    async with living(command(*argv, ready=os.environ.get("READY", "spawn"))) as life:
        await life.ticket.wait_ready()
        note(
            report,
            pid=os.getpid(),
            group=os.getpgrp(),
            leaf=life.handle.pid,
            leaf_group=os.getpgid(life.handle.pid),
            leaf_session=os.getsid(life.handle.pid),
            interactive=life.handle.interactive,
            front=os.tcgetpgrp(0),
        )
        end = await life.ticket.wait_exit(60)
    note(
        report,
        exit=end.as_data(),
        same_modes=termios.tcgetattr(0) == before,
        echo=bool(termios.tcgetattr(0)[3] & termios.ECHO),
        in_front=os.tcgetpgrp(0) == os.getpgrp(),
    )


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[2])
