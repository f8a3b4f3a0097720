"""Crash of a command to the first instruction of its replacement, alone and among many others; beside a bare loop and an Erlang port."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from functools import partial
from typing import Final

import anyio

from supervisor import ChildSpec, Restart, Supervisor, command

from .command_restart import PAUSE, BareLoop
from .figures import Effort, Figure, Peer, Summary, at_most_times
from .otp import QUIET, Otp, otp
from .programs import Clock, Killer, clock, killer

FACTORS: Final = {"all on": 2.5, "direct": 1.5}
"""Of the bare loop's time, at most: with the launch helper and a cgroup, and for a command that needs neither."""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    rounds = effort.pick(200, 60, 3)
    with otp() as erlang, clock() as program, killer() as hand:
        for backend in ("trio", "asyncio"):
            alone: dict[str, Peer] = {}
            for siblings in effort.pick((0, 100, 1000), (0, 100, 1000), (0, 3)):
                took = anyio.run(partial(kill_in_turns, program, hand, erlang, siblings, rounds), backend=backend)
                floor = Peer("pidfd and Popen", took["bare"])
                for way, factor in FACTORS.items():
                    peers = [floor]
                    target = at_most_times(factor, floor)
                    if erlang is not None:
                        peers.append(Peer(f"{erlang.name}, port", took["port"]))
                    if way in alone:
                        peers.insert(0, alone[way])
                        target = at_most_times(1.25, alone[way])
                    else:
                        alone[way] = Peer("no siblings", took[way])
                    name = f"{way}, on {backend}, {siblings:,} siblings, in {program.language}"
                    figures.append(Figure(name, "us", took[way], tuple(peers), target))
    return figures


async def kill_in_turns(program: Clock, killer: Killer, erlang: Otp | None, siblings: int, rounds: int) -> dict[str, Summary]:
    """Kill our commands, the bare loop's and the port's in turns: microseconds of each."""
    samples: dict[str, list[float]] = {name: [] for name in (*FACTORS, "bare", "port")}
    warm_up = max(1, rounds // 10)
    others = [ChildSpec(f"sibling-{number}", command("sleep", "600", stdin="null")) for number in range(siblings)]
    launches = {"all on": command(*program.argv), "direct": command(*program.argv, death_signal=0, cgroup="never")}
    leaves = [ChildSpec(way, launch, restart=Restart.PERMANENT, shutdown=1.0) for way, launch in launches.items()]
    async with Supervisor("root", [*others, *leaves], intensity=2 * (rounds + warm_up), period=3600.0) as root:
        for _ in leaves:
            program.began()
        pids = {way: root.which_child(way).pid for way in launches}
        with ExitStack() as stack:
            bare = BareLoop(program.argv, session=False)
            stack.callback(bare.stop)
            program.began()
            there = 0
            if erlang is not None:
                erlang.ask("port", "leaf", *program.argv)
                there, _ = program.began()
            for number in range(warm_up + rounds):
                taken = {}
                for way, pid in pids.items():
                    assert pid is not None
                    killer.kill(pid, PAUSE)
                    with anyio.fail_after(20):
                        await anyio.wait_readable(program.fd)
                    pids[way], began = program.read()
                    taken[way] = began - killer.killed()
                await anyio.sleep(PAUSE)
                killer.kill(bare.process.pid, PAUSE)
                bare.restart_when_dead()
                taken["bare"] = program.began()[1] - killer.killed()
                if erlang is not None:
                    await anyio.sleep(QUIET)
                    killer.kill(there, PAUSE)
                    there, began = program.began()
                    taken["port"] = began - killer.killed()
                if number >= warm_up:
                    for name, nanoseconds in taken.items():
                        samples[name].append(nanoseconds / 1000)
            if erlang is not None:
                erlang.ask("close", "leaf")
                os.kill(there, signal.SIGKILL)
    return {name: Summary.of(values) for name, values in samples.items() if values}
