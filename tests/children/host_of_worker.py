"""A program with one worker, in the place of a supervisor that dies: prints pids, then waits to be killed.

host_of_worker.py BACKEND METHOD [busy]
host_of_worker.py BACKEND subtree
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from supervisor.host import reaper

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from supervisor import ChildSpec, command, subtree, worker
from tests.process.worker_support import child, tree


async def subtree_main() -> None:
    inner = subtree([ChildSpec("up", command("sh", "-c", "trap '' TERM; setsid sleep 60 & wait"))])
    async with tree(ChildSpec("sub", worker(inner))) as watched:
        print(watched.root.which_child("sub").pid, watched.root.supervisor("sub").which_child("up").pid, flush=True)
        await anyio.sleep(60)


async def main() -> None:
    async with tree(child("up", method=sys.argv[2])) as watched:
        pids = [await watched.root.call("child", "pid"), *reaper._servers]
        async with anyio.create_task_group() as group:
            if sys.argv[3:]:
                group.start_soon(watched.root.call, "child", "busy", 60)
                await anyio.sleep(0.05)
            print(*pids, flush=True)
            await anyio.sleep(60)


if __name__ == "__main__":
    anyio.run(subtree_main if sys.argv[2] == "subtree" else main, backend=sys.argv[1])
