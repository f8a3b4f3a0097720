"""Memory as a formula: twelve families of traces, half of which grow for ever. Each trace has its own sizes, speeds and sampling."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

from .traces import Trace

MIB: Final = 1 << 20
Series = Callable[[float], float]


def simulated(count: int, seed: int = 1) -> list[Trace]:
    """`count` traces of each family."""
    return [trace(family, number, seed) for family in (*GROWING, *STEADY) for number in range(count)]


def trace(family: str, number: int, seed: int = 1) -> Trace:
    """One trace: 20 to 40 minutes, sampled every 1 to 15 seconds and not quite regularly."""
    rng = random.Random(f"{family} {number} {seed}")
    base, pause, end = rng.uniform(50, 400) * MIB, rng.choice([1, 2, 5, 10, 15]), rng.uniform(1200, 2400)
    series = {**GROWING, **STEADY}[family](rng)
    at, samples = 0.0, []
    while at < end:
        at += pause * rng.uniform(0.9, 1.15)
        samples.append((at, max(0, int(base + series(at)))))
    return Trace(f"simulated/{family} {number}", family, family in GROWING, tuple(samples))


def _rate(rng: random.Random) -> float:
    return rng.uniform(0.1, 1.0) * MIB


def line(rng: random.Random) -> Series:
    """So much a second."""
    rate = _rate(rng)
    return lambda at: rate * at


def noisy_line(rng: random.Random) -> Series:
    """The same under noise of what twenty seconds add."""
    rate = _rate(rng)
    return lambda at: rate * at + rng.gauss(0, rate * 20)


def accelerating(rng: random.Random) -> Series:
    """Faster and faster."""
    rate = _rate(rng)
    return lambda at: rate * at * at / 1200


def leaking_teeth(rng: random.Random) -> Series:
    """A garbage collector's saw tooth on a rising floor."""
    rate, garbage = _rate(rng), teeth(rng)
    return lambda at: rate * at + garbage(at) / 2


def stairs(rng: random.Random) -> Series:
    """A step of the same height every 15 to 60 seconds."""
    rate, length = _rate(rng), rng.uniform(15, 60)
    return lambda at: rate * length * (at // length)


def random_stairs(rng: random.Random) -> Series:
    """Steps of random heights at random times, 10 to 60 seconds apart on average."""
    rate, gap = _rate(rng), rng.uniform(10, 60)
    height, after = 0.0, rng.expovariate(1 / gap)

    def series(at: float) -> float:
        nonlocal height, after
        while after < at:
            height += rate * gap * rng.uniform(0.3, 1.7)
            after += rng.expovariate(1 / gap)
        return height

    return series


def plateau(rng: random.Random) -> Series:
    """A constant, and noise."""
    height, noise = rng.uniform(100, 400) * MIB, rng.choice([0.5, 3]) * MIB
    return lambda at: height + rng.gauss(0, noise)


def wander(rng: random.Random) -> Series:
    """A random walk that is drawn back."""
    height, off, before = rng.uniform(100, 400) * MIB, 0.0, 0.0

    def series(at: float) -> float:
        nonlocal off, before
        kept = math.exp((before - at) / 120)
        before, off = at, off * kept + rng.gauss(0, 10 * MIB) * math.sqrt(1 - kept * kept)
        return height + off

    return series


def waves(rng: random.Random) -> Series:
    """Up and down in two to eight minutes."""
    height, deep, period = rng.uniform(100, 400) * MIB, rng.uniform(10, 60) * MIB, rng.uniform(100, 450)
    return lambda at: height + deep * math.sin(2 * math.pi * at / period) + rng.gauss(0, MIB)


def teeth(rng: random.Random) -> Series:
    """A garbage collector's saw tooth of 15 to 120 seconds."""
    period, deep, collected, length = rng.uniform(20, 90), rng.uniform(20, 120) * MIB, 0.0, 60.0

    def series(at: float) -> float:
        nonlocal collected, length
        if at - collected > length:
            collected, length = at, period * rng.uniform(0.7, 1.3)
        return deep * (at - collected) / period

    return series


def warm_up(rng: random.Random) -> Series:
    """Filled within one to five minutes, by a line or slower and slower; then flat."""
    height, seconds, straight = rng.uniform(100, 400) * MIB, rng.uniform(60, 300), rng.random() < 0.5
    if straight:
        return lambda at: height * min(1.0, at / seconds) + rng.gauss(0, MIB)
    return lambda at: height * (1 - math.exp(-3 * at / seconds)) + rng.gauss(0, MIB)


def one_step(rng: random.Random) -> Series:
    """Once another amount more, and spikes before and after."""
    height, when = rng.uniform(20, 80) * MIB, rng.uniform(200, 1000)
    return lambda at: (height if at > when else 0.0) + (rng.expovariate(1 / (50 * MIB)) if rng.random() < 0.05 else 0.0)


GROWING: Final[dict[str, Callable[[random.Random], Series]]] = {
    it.__name__: it for it in (line, noisy_line, accelerating, leaking_teeth, stairs, random_stairs)
}
STEADY: Final[dict[str, Callable[[random.Random], Series]]] = {it.__name__: it for it in (plateau, wander, waves, teeth, warm_up, one_step)}
