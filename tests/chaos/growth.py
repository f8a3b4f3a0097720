"""Random supervisors and leaves, of real processes of every kind."""

from __future__ import annotations

import signal
from itertools import count
from random import Random
from typing import Any

from supervisor import BRUTAL_KILL, ChildSpec, Restart, Strategy, Supervisor, command, dynamic, subtree

MANY = 1_000_000
"""An intensity that is never reached: this supervisor does not give up."""

SCRIPTS = {
    "idle": "exec sleep 300",
    "family": "sleep 300 & sleep 300 & wait",
    "stubborn": "trap '' TERM; while :; do sleep 0.05; done",
    "session": "setsid sleep 300 & setsid sh -c 'trap \"\" TERM; sleep 300 & sleep 300' & wait",
    "daemon": "(setsid sh -c 'sleep 300 & exec env -i sleep 300' &) ; exec sleep 300",
    "short": "sleep 0.0{digit}; exit {code}",
    "orphaner": "sleep 300 & setsid sleep 300 & sleep 0.0{digit}; kill -9 $$",
    "forking": "while :; do /bin/true & sleep 0.02; done",
    "noisy": "head -c 200000 /dev/zero; exec sleep 300",
}
READY = {
    "soon": "sleep 0.0{digit}; echo > /dev/fd/$NOTIFY_FD; exec sleep 300",
    "never": "exec sleep 300",
    "dies first": "sleep 0.0{digit}; exit 3",
}


class Growth:
    """Makes specifications; every id is used once.

    Args:
        random: Where all choices come from.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers = count(1)

    def root(self) -> tuple[Supervisor, list[ChildSpec]]:
        """A root that does not give up, and what is to be started under it: a child that does not come up would else be its end."""
        strategy = self._random.choice([Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE])
        children = [self.supervisor(2) for _ in range(3)] + [self.leaf() for _ in range(2)]
        return Supervisor("root", [], strategy=strategy, intensity=MANY), children

    def supervisor(self, depth: int) -> ChildSpec:
        """A supervisor with leaves and supervisors below it; some give up easily."""
        random = self._random
        gives_up = random.random() < 0.3
        flags: Any = {"intensity": 2 if gives_up else MANY, "period": 2.0}
        id = f"s{next(self._numbers)}"
        restart = random.choice(list(Restart))
        if random.random() < 0.2:
            return ChildSpec(id, dynamic(**flags), restart=restart, shutdown=5.0)
        below = [self.leaf() for _ in range(random.randint(1, 4))]
        if depth > 1:
            below += [self.supervisor(depth - 1) for _ in range(random.randint(0, 2))]
        random.shuffle(below)
        strategy = random.choice([Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
        return ChildSpec(id, subtree(below, strategy=strategy, **flags), restart=restart, shutdown=5.0)

    def leaf(self) -> ChildSpec:
        """A command of any kind, also one that cannot start."""
        random = self._random
        id = f"c{next(self._numbers)}"
        restart = random.choice(list(Restart))
        shutdown: Any = random.choice([0.05, 0.3, 2.0, BRUTAL_KILL])
        fill = {"digit": random.randint(1, 9), "code": random.choice([0, 1, 7])}
        if random.random() < 0.05:
            return ChildSpec(id, command("no-such-program-here", stdin="null"), restart=restart)
        if random.random() < 0.2:
            script = random.choice(list(READY.values())).format(**fill)
            start = command("sh", "-c", script, ready="fd", stdin="null", stdout="null", stderr="null")
            return ChildSpec(id, start, restart=restart, shutdown=shutdown, start_timeout=random.choice([0.1, 0.5]))
        script = random.choice(list(SCRIPTS.values())).replace("{digit}", str(fill["digit"])).replace("{code}", str(fill["code"]))
        stop = random.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
        start = command("sh", "-c", script, stop_signal=stop, stdin="null", stdout="null", stderr="null")
        return ChildSpec(id, start, restart=restart, shutdown=shutdown)
