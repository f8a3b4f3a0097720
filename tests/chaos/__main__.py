"""``python -m tests.chaos``: exit code 1, and the seed, when something is broken."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from functools import partial
from random import Random

import anyio

from supervisor import SupervisorError
from supervisor.host.reaper import own_all_sessions

from .faults import PATIENCE, Faults
from .growth import Growth
from .invariants import Invariants


def main() -> int:
    """Run until the time is over or something breaks."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Random faults to random trees of real processes.")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long, in all (default: 600)")
    parser.add_argument("--each", type=float, default=20.0, help="how long each tree lives (default: 20)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="plays the same choices again (timing stays its own)")
    parser.add_argument("--backend", choices=["trio", "asyncio"], help="by default both, in turns")
    options = parser.parse_args()
    own_all_sessions()
    began, number = time.monotonic(), 0
    while time.monotonic() - began < options.seconds:
        seed, backend = options.seed + number, options.backend or ("trio", "asyncio")[number % 2]
        each = min(options.each, max(1.0, options.seconds - (time.monotonic() - began)))
        print(f"{time.monotonic() - began:6.1f} s  --seed {seed} --backend {backend}: ", end="", flush=True)
        try:
            print(anyio.run(partial(one_tree, seed, each), backend=backend), flush=True)
        except BaseException:
            print("BROKEN", flush=True)
            traceback.print_exc()
            return 1
        number += 1
    return 0


async def one_tree(seed: int, seconds: float) -> str:
    """One tree, from its growth to its end; what happened in it.

    Raises:
        Broken: An invariant did not hold.
        TimeoutError: A call was not answered, or the tree did not end.
    """
    random = Random(seed)
    growth = Growth(random)
    root, children = growth.root()
    invariants = Invariants(root)
    with anyio.fail_after(seconds + 2 * PATIENCE):
        async with root, anyio.create_task_group() as tasks:
            faults = Faults(root, growth, random, tasks)
            for spec in children:
                try:
                    await root.start_child(spec)
                except SupervisorError:
                    continue
                invariants.look()
            until = anyio.current_time() + seconds
            look = 0.0
            while anyio.current_time() < until:
                await faults.strike()
                await anyio.sleep(random.expovariate(1 / 0.02))
                if anyio.current_time() >= look:
                    invariants.look()
                    look = anyio.current_time() + 0.1
            if random.random() < 0.5:
                tasks.cancel_scope.cancel()  # else what was called is still answered
    invariants.after()
    return f"{sum(faults.done.values())} faults and calls, {invariants.starts} starts, {invariants.exits} ends, {invariants.looks} looks"


if __name__ == "__main__":
    sys.exit(main())
