"""A tree that gives up in a process of a pool; prints the error that arrives."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import anyio

from supervisor import ChildSpec, RestartIntensityExceeded, Supervisor, task


async def fail() -> None:
    """Be a child that does."""
    raise ValueError("always")


async def tree() -> None:
    """Run until the restarts are spent."""
    async with Supervisor("root", [ChildSpec("a", task(fail))]):
        await anyio.sleep_forever()


def job() -> None:
    """Run in the pool."""
    anyio.run(tree)


if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(job).exception()
    assert isinstance(error, RestartIntensityExceeded), repr(error)
    print(error)
    print([(id, repr(exit.exception)) for id, exit in error.exits])
