"""One step of the supervisor's machine, without a loop, a clock or a process."""

from __future__ import annotations

from collections.abc import Callable

from supervisor import ChildSpec, Exit, Restart, SupervisorFlags, task
from supervisor.core.machine import step
from supervisor.core.message import Acknowledged, Boot, Ended, LaunchChild
from supervisor.core.state import State, initial

from .figures import Effort, Figure, per_item


def measure(effort: Effort) -> list[Figure]:
    many = effort.pick(1000, 1000, 10)
    restarts = effort.pick(500, 500, 5)
    times = per_item(
        {"1": restarting(1, restarts), str(many): restarting(many, restarts)}, restarts * 2, effort.pick(30, 15, 1)
    )  # fmt: skip
    booting = per_item({"boot": lambda: booted(many)}, many, effort.pick(10, 5, 1))
    return [
        Figure("step of a crash and its restart, 1 child", "us", times["1"]),
        Figure(f"step of a crash and its restart, {many:,} children", "us", times[str(many)]),
        Figure(f"boot of {many:,} children, each", "us", booting["boot"]),
    ]


async def _nothing() -> None:
    """No child is ever run here."""


def booted(count: int) -> State:
    """A supervisor whose children are all up, as the interpreter would bring it there."""
    specs = tuple(ChildSpec(str(place), task(_nothing), restart=Restart.PERMANENT) for place in range(count))
    state, effects = step(initial(("root",), SupervisorFlags(intensity=10, period=0.001), specs), Boot(), 0.0)
    while launches := [effect for effect in effects if isinstance(effect, LaunchChild)]:
        for launch in launches:
            state, effects = step(state, Acknowledged(launch.id, launch.generation), 0.0)
    return state


def restarting(count: int, restarts: int) -> Callable[[], None]:
    """The last child of many crashes again and again, once a second."""
    start = booted(count)
    id = str(count - 1)
    failed = Exit.failed(RuntimeError("told to"))

    def run() -> None:
        state, now = start, 1.0
        for generation in range(1, restarts + 1):
            now += 1.0
            state, _ = step(state, Ended(id, generation, failed), now)
            state, _ = step(state, Acknowledged(id, generation + 1), now)

    run()
    return run
