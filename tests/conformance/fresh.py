"""Make fresh scenarios, have the real Erlang and this library play them, and say where they differ.

    make oracle [SEED=7] [COUNT=500]                 the same with Erlang installed where it is missing
    python -m tests.conformance.fresh [--seed N] [--count N] [--sleep]

A seed says everything: the same seed gives the same scenarios again, wherever Erlang is as new. Before OTP 27 some rules were
others; what is about those is generated only for an Erlang that has them.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from itertools import product

from .oracle import gen, run_oracle
from .otp import BACKENDS, CHILDREN, traces
from .words import difference

MODERN = 27
"""The release since which a dynamic supervisor forgets a restart that is declined and refuses any `auto_shutdown`."""

SHOWN = 10

PER_RUN = 500
"""Scenarios that Erlang is given at a time."""


def differences(seed: int | str, numbers: range, release: int, *, sleep: bool = False) -> list[str]:
    """Where Erlang and this library differ, on either backend, for people; none is what is expected.

    On one backend every other scenario is played by tasks and the rest by scripted children, on the other the other way round.
    """
    scenarios = list(gen.generate(seed, numbers, modern=release >= MODERN, sleep=sleep))
    expected = [answer["trace"] for answer in run_oracle.run(scenarios)]
    told = []
    for (i, backend), (j, children) in product(enumerate(BACKENDS), enumerate(CHILDREN)):
        mine = slice((i + j) % 2, None, 2)
        played = traces(scenarios[mine], backend=backend, children=children)
        for scenario, actual, wanted in zip(scenarios[mine], played, expected[mine], strict=True):
            parting = difference(scenario, actual, wanted)
            if parting is not None:
                told.append(f"{backend}, children: {children}, scenario {parting}")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.fresh", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, which is printed")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--sleep", action="store_true", help="windows of 1 s and operations that sleep; Erlang takes real time for them")
    arguments = parser.parse_args()
    seed = random.randrange(1_000_000_000) if arguments.seed is None else arguments.seed
    release = run_oracle.release()
    if release is None:
        print("there is no erl here: tools/install-optional.sh erlang", file=sys.stderr)
        return 2
    print(
        f"seed {seed}, {arguments.count} scenarios, OTP {release}{'' if release >= MODERN else ', so without what OTP 27 changed'}",
        flush=True,
    )
    began = time.perf_counter()
    told: list[str] = []
    for start in range(0, arguments.count, PER_RUN):
        numbers = range(start, min(start + PER_RUN, arguments.count))
        told += differences(seed, numbers, release, sleep=arguments.sleep)
    for text in told[:SHOWN]:
        print(text)
    if len(told) > SHOWN:
        print(f"and {len(told) - SHOWN} more")
    print(f"{len(told)} differences, {time.perf_counter() - began:.1f} s; again: make oracle SEED={seed} COUNT={arguments.count}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
