"""SIGKILL of a supervised command to the first instruction of its replacement, beside a loop of pidfd and Popen."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import ExitStack
from functools import partial

import anyio

from supervisor import ChildSpec, Restart, Supervisor, command

from .figures import Effort, Figure, Peer, Summary, at_most_times
from .programs import Clock, Killer, clock, killer

PAUSE = 0.01
"""Seconds that a life has before the next kill: until then its birth still keeps the supervisor busy."""


class BareLoop:
    """The floor: what any supervisor in Python has to do at least."""

    def __init__(self, argv: tuple[str, ...], *, session: bool) -> None:
        self.argv, self.session = argv, session
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv, start_new_session=self.session)
        self.pidfd = os.pidfd_open(self.process.pid)

    def restart_when_dead(self) -> None:
        poll = select.poll()  # any number of a descriptor
        poll.register(self.pidfd, select.POLLIN)
        poll.poll()
        self.end()
        self.start()

    def end(self) -> None:
        self.process.wait()
        os.close(self.pidfd)

    def stop(self) -> None:
        self.process.kill()
        self.end()


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    with clock() as program, killer() as hand:
        for backend in ("trio", "asyncio"):
            ours, bare, in_session = anyio.run(partial(kill_in_turns, program, hand, effort.pick(300, 120, 3)), backend=backend)
            floor, near = Peer("pidfd and Popen", bare), Peer("the same, in a session of its own", in_session)
            figures.append(Figure(f"on {backend}, command in {program.language}", "us", ours, (floor, near), at_most_times(2, floor)))
    return figures


async def kill_in_turns(program: Clock, killer: Killer, rounds: int) -> tuple[Summary, Summary, Summary]:
    """Kill the supervised command and those of the bare loops in turns: microseconds of each."""
    ours: list[float] = []
    bare: list[list[float]] = [[], []]
    warm_up = max(1, rounds // 10)
    leaf = ChildSpec("leaf", command(*program.argv), restart=Restart.PERMANENT, shutdown=1.0)
    async with Supervisor("root", [leaf], intensity=rounds + warm_up, period=3600.0):
        await anyio.wait_readable(program.fd)
        pid, _ = program.read()
        with ExitStack() as stack:
            loops = []
            for session in (False, True):
                loops.append(BareLoop(program.argv, session=session))
                stack.callback(loops[-1].stop)
                program.began()
            for number in range(warm_up + rounds):
                killer.kill(pid, PAUSE)
                with anyio.fail_after(20):
                    await anyio.wait_readable(program.fd)
                pid, began = program.read()
                killed = killer.killed()
                if number >= warm_up:
                    ours.append((began - killed) / 1000)
                for loop, samples in zip(loops, bare, strict=True):
                    await anyio.sleep(PAUSE)
                    killer.kill(loop.process.pid, PAUSE)
                    loop.restart_when_dead()
                    _, began = program.began()
                    killed = killer.killed()
                    if number >= warm_up:
                        samples.append((began - killed) / 1000)
    return Summary.of(ours), Summary.of(bare[0]), Summary.of(bare[1])
