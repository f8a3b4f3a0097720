"""A program with one worker, in the place of a supervisor that dies: prints pids, then waits to be killed.

host_of_worker.py BACKEND METHOD SENTRY [busy | family]
host_of_worker.py BACKEND METHOD SENTRY hidden REPORT
host_of_worker.py BACKEND subtree SENTRY

SENTRY is ``compiled``, ``sh`` or ``none``; with ``family`` the worker has started two processes, one of them in a session of its own.
With ``hidden`` it has a cgroup, and has started a daemon that only that can tell to be its own, and that writes its pid to a file.
With ``subtree`` it is a supervisor with a command, which has a sentry too unless there is to be none.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from supervisor.host import reaper, sentry_choice

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from supervisor import ChildSpec, command, subtree, worker
from tests.process.worker_support import child, tree


async def subtree_main() -> None:
    words = ("sh", "-c", "trap '' TERM; setsid sleep 60 & wait")
    inner = subtree([ChildSpec("up", command(*words, sentry=sys.argv[3] != "none"))])
    async with tree(ChildSpec("sub", worker(inner))) as watched:
        print(watched.root.which_child("sub").pid, watched.root.supervisor("sub").which_child("up").pid, flush=True)
        await anyio.sleep(60)


async def hidden_main() -> None:
    launch = worker("tests.children.working:hider", sys.argv[5], start_method=sys.argv[2], cgroup="always")  # type: ignore[arg-type]
    async with tree(ChildSpec("child", launch)) as watched:
        print(watched.root.which_child("child").pid, *reaper._servers, *reaper._sentries, flush=True)
        await anyio.sleep(60)


async def main() -> None:
    act = "".join(sys.argv[4:])
    async with tree(child("up", method=sys.argv[2])) as watched:
        pids = [await watched.root.call("child", "pid"), *reaper._servers, *reaper._sentries]
        if act == "family":
            pids += [await watched.root.call("child", way) for way in ("spawn", "fork")]
        async with anyio.create_task_group() as group:
            if act == "busy":
                group.start_soon(watched.root.call, "child", "busy", 60)
                await anyio.sleep(0.05)
            print(*pids, flush=True)
            await anyio.sleep(60)


if __name__ == "__main__":
    sentry_choice._chosen = (sentry_choice.Kind(sys.argv[3]), "as the test wants it")
    play = subtree_main if sys.argv[2] == "subtree" else hidden_main if sys.argv[4:5] == ["hidden"] else main
    anyio.run(play, backend=sys.argv[1])
