"""A small program with a memory of its own kind: ``python program.py SHAPE SEED SECONDS [PACE]``.

Standard library alone; it says a line when it is up, and ends by itself. PACE 2.5 has everything it does take two and a half times as long.

What grows keeps what real programs forget to drop: records in a cache that nobody empties. What does not grow allocates as much
and gives it back. ``program.mjs`` does the same in JavaScript.
"""

from __future__ import annotations

import gc
import random
import sys
import time

KIB = 1024
MIB = 1024 * KIB


class Session:
    """A record that refers to itself, so that only the cycle collector can take it back."""

    def __init__(self, size: int) -> None:
        self.itself = self
        self.body = bytearray(random.randbytes(64) * (size // 64))


def records(size: int) -> list[dict[str, str]]:
    """Small objects of about `size` bytes together."""
    return [{"name": f"item {number}", "text": random.randbytes(256).hex()} for number in range(size // 1024)]


def line() -> None:
    """Each second some records more."""
    kept, rate = [], random.uniform(110, 190) * KIB
    while True:
        kept.append(records(int(rate * random.uniform(0.7, 1.3))))
        yield_(1.0)


def stairs() -> None:
    """A large piece of work every half minute, of which everything is kept."""
    kept = []
    while True:
        yield_(random.uniform(18, 34))
        kept.append(records(int(random.uniform(2.5, 5.5) * MIB)))


def teeth() -> None:
    """Garbage in cycles, collected every quarter of a minute, and a few records that are kept."""
    gc.disable()
    kept, rate = [], random.uniform(90, 150) * KIB
    while True:
        until = time.monotonic() + random.uniform(10, 20) * PACE
        while time.monotonic() < until:
            Session(int(random.uniform(0.4, 1.6) * MIB))
            kept.append(records(int(rate)))
            yield_(1.0)
        gc.collect()


def bursts() -> None:
    """Requests at random times, of random sizes, each of which leaves something behind."""
    kept = []
    while True:
        yield_(random.expovariate(1 / 7))
        kept.append(records(int(random.expovariate(1 / (1.0 * MIB))) + 64 * KIB))


def plateau() -> None:
    """All at the beginning; then a little work."""
    kept = [records(int(random.uniform(25, 40) * MIB))]
    while True:
        records(int(random.uniform(50, 400) * KIB))
        yield_(1.0)
    del kept


def periodic() -> None:
    """A piece of work each minute: gathered, then dropped."""
    period = random.uniform(40, 75)
    while True:
        work, began = [], time.monotonic()
        while time.monotonic() - began < period * 0.6 * PACE:
            work.append(records(int(random.uniform(0.5, 0.8) * MIB)))
            yield_(1.0)
        work.clear()
        yield_(period * 0.4)


def noisy() -> None:
    """Something else each second."""
    while True:
        work = bytearray(random.randbytes(64) * int(random.lognormvariate(2.0, 0.6) * MIB / 64))
        yield_(random.uniform(0.5, 1.5))
        del work


def warmup() -> None:
    """A cache that fills for two or three minutes, and then drops the oldest record for each new one."""
    cache: list[object] = []
    most = int(random.uniform(100, 170))
    while True:
        cache.append(records(int(random.uniform(150, 300) * KIB)))
        del cache[:-most]
        yield_(1.0)


def collected() -> None:
    """Garbage in cycles as in `teeth`, and nothing is kept."""
    gc.disable()
    while True:
        until = time.monotonic() + random.uniform(12, 40) * PACE
        while time.monotonic() < until:
            Session(int(random.uniform(0.4, 1.6) * MIB))
            yield_(1.0)
        gc.collect()


SHAPES = {shape.__name__: shape for shape in (line, stairs, teeth, bursts, plateau, periodic, noisy, warmup, collected)}
END, PACE = 0.0, 1.0


def yield_(seconds: float) -> None:
    """Rest; at the end of its time the program ends here."""
    seconds *= PACE
    if time.monotonic() + seconds >= END:
        time.sleep(max(0.0, END - time.monotonic()))
        sys.exit(0)
    time.sleep(seconds)


if __name__ == "__main__":
    random.seed(f"{sys.argv[1]} {sys.argv[2]}")
    END = time.monotonic() + min(float(sys.argv[3]), 3600.0)
    PACE = float(sys.argv[4]) if len(sys.argv) > 4 else 1.0
    shape = SHAPES[sys.argv[1]]
    print(flush=True)
    shape()
