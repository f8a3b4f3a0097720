"""Functions that tests run in workers of limited means. Importing this is the first thing that a worker does for itself."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from supervisor import serve
from supervisor.core import wire
from supervisor.runtime.tree import CURRENT

assert sys.platform == "linux"

MIB = 1 << 20


def state() -> dict[str, Any]:
    """What this process may use, and who it is."""
    mask = os.umask(0o077)
    os.umask(mask)
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "umask": mask,
        "users": os.getresuid(),
        "groups": os.getresgid(),
        "others": os.getgroups(),
        "capabilities": int(status["CapEff"], 16),
        "no_new_privileges": int(status["NoNewPrivs"]),
        "death_signal": number.value,
        "owner": os.stat("/proc/self/environ").st_uid,
        "cgroups": Path("/proc/self/cgroup").read_text(),
    }


BORN = state()


async def up(*, task_status: TaskStatus[Any]) -> None:
    """Be up until stopped, with word of what was in force from the beginning."""
    serve("state", state)
    serve("take", take)
    serve("fork", fork)
    serve("have_it_taken", have_it_taken)
    task_status.started(BORN)
    await anyio.sleep_forever()


def take(size: int) -> None:
    """Take so many bytes, page by page, and no more; the end comes in any case."""
    signal.alarm(20)
    bytearray(b"\x01") * size


def have_it_taken() -> int:
    """Have a child take 256 MiB; how it ended."""
    program = "import signal; signal.alarm(20); bytearray(b'\\x01') * (256 << 20)"
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


def fork(times: int) -> tuple[int, int]:
    """Fork so often and no more; how often that went well, and was refused. Each child ends by itself, or when this is over."""
    children = []
    refused = 0
    for _ in range(min(times, 40)):
        try:
            pid = os.fork()
        except BlockingIOError:
            refused += 1
            continue
        if pid == 0:
            signal.alarm(20)
            signal.pause()
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(children), refused


async def leaves_a_mark(path: str, *, task_status: TaskStatus[None]) -> None:
    """Show that it runs."""
    Path(path).touch()  # noqa: ASYNC240
    task_status.started()


async def liar(*, task_status: TaskStatus[None]) -> None:
    """Claim that the kernel did not let it into its cgroup."""
    life: Any = CURRENT.get()
    life.process.connection.send(wire.Refused("cgroup", 13))
    task_status.started()
    await anyio.sleep_forever()
