"""A supervisor without privileges, in a cgroup that was given to it, or not: prints what it gets and what its leaf says, as JSON.

delegated.py BACKEND CGROUP...: started as root; joins the cgroups, then becomes nobody.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import termios  # noqa: F401  where the interpreter is root's own, nobody cannot import it later
from pathlib import Path

import anyio

from supervisor import OrphansSwept, cgroup_support, command
from supervisor.host.cgroup import offer
from tests.support_ticket import living

NOBODY = 65534
PR_SET_DUMPABLE = 4
SCRIPT = "%s setsid --fork sleep 60 < /dev/null > /dev/null 2>&1; cat /proc/self/cgroup"
HIDING = "env -i PATH=$PATH"


async def run(hiding: str) -> dict[str, object]:
    """One life of a command, which leaves a daemon behind; nobody can know it by its looks if it is hiding."""
    chunks: list[bytes] = []
    async with living(command("sh", "-c", SCRIPT % hiding, stdin="null", stdout=chunks.append)) as life:
        cgroup = life.handle.cgroup
        code = (await life.ticket.wait_exit()).code
    swept = sum(len(event.pids) for event in life.ticket.events if isinstance(event, OrphansSwept))
    return {"code": code, "cgroup": cgroup, "lines": b"".join(chunks).decode().splitlines(), "swept": swept}


def main() -> None:
    backend, *cgroups = sys.argv[1:]
    anyio.run(run, "", backend=backend)  # what is imported on the way may not be readable for nobody
    for cgroup in cgroups:
        Path(cgroup, "cgroup.procs").write_text("0")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc shows us to root alone, as it shows no ordinary program
    offer._offer = None
    support = cgroup_support()
    result = anyio.run(run, HIDING if support.tracking else "", backend=backend)
    print(json.dumps({"tracking": support.tracking, "reason": support.reason, "remedy": support.remedy, "kill": support.kill, **result}))


if __name__ == "__main__":
    main()
