"""A program with one leaf, in the place of a supervisor that dies: prints the pid of the leaf, then waits to be killed.

host_of_leaf.py BACKEND ARGV...
"""

from __future__ import annotations

import sys

import anyio

from supervisor.leaf.command import command
from tests.support_ticket import living


async def main() -> None:
    async with living(command(*sys.argv[2:], terminal="never", stdin="null", stdout="null")) as life:
        await life.ticket.wait_ready()
        print(life.handle.pid, flush=True)
        with anyio.move_on_after(60):
            await life.ticket.over.wait()


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
