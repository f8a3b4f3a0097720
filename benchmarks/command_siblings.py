"""Crash of a command to the first instruction of its replacement, alone and among many others; beside a bare loop and an Erlang port."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from functools import partial

import anyio

from supervisor import ChildSpec, Restart, Supervisor, command

from .command_restart import PAUSE, BareLoop
from .figures import Effort, Figure, Peer, Summary, at_most_times
from .otp import QUIET, Otp, otp
from .programs import Clock, clock


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    rounds = effort.pick(200, 60, 3)
    with otp() as erlang, clock() as program:
        for backend in ("trio", "asyncio"):
            alone: Peer | None = None
            for siblings in effort.pick((0, 100, 1000), (0, 100, 1000), (0, 3)):
                ours, bare, port = anyio.run(partial(kill_in_turns, program, erlang, siblings, rounds), backend=backend)
                floor = Peer("pidfd and Popen", bare)
                peers = [floor]
                target = at_most_times(2.5, floor)  # the launch helper and a cgroup of its own included
                if erlang is not None and port is not None:
                    peers.append(Peer(f"{erlang.name}, port", port))
                if alone is not None:
                    peers.insert(0, alone)
                    target = at_most_times(1.25, alone)
                else:
                    alone = Peer("no siblings", ours)
                name = f"on {backend}, {siblings:,} siblings, command in {program.language}"
                figures.append(Figure(name, "us", ours, tuple(peers), target))
    return figures


async def kill_in_turns(program: Clock, erlang: Otp | None, siblings: int, rounds: int) -> tuple[Summary, Summary, Summary | None]:
    """Kill our command, the bare loop's and the port's in turns: microseconds of each."""
    samples: dict[str, list[float]] = {"ours": [], "bare": [], "port": []}
    warm_up = max(1, rounds // 10)
    others = [ChildSpec(f"sibling-{number}", command("sleep", "600", stdin="null")) for number in range(siblings)]
    leaf = ChildSpec("leaf", command(*program.argv), restart=Restart.PERMANENT, shutdown=1.0)
    async with Supervisor("root", [*others, leaf], intensity=rounds + warm_up, period=3600.0):
        await anyio.wait_readable(program.fd)
        pid, _ = program.read()
        with ExitStack() as stack:
            bare = BareLoop(program.argv, session=False)
            stack.callback(bare.stop)
            program.began()
            there = 0
            if erlang is not None:
                erlang.ask("port", "leaf", *program.argv)
                there, _ = program.began()
            for number in range(warm_up + rounds):
                await anyio.sleep(PAUSE)
                killed = time.monotonic_ns()
                os.kill(pid, signal.SIGKILL)
                with anyio.fail_after(20):
                    await anyio.wait_readable(program.fd)
                pid, began = program.read()
                taken = {"ours": began - killed}
                await anyio.sleep(PAUSE)
                killed = time.monotonic_ns()
                bare.process.kill()
                bare.restart_when_dead()
                taken["bare"] = program.began()[1] - killed
                if erlang is not None:
                    await anyio.sleep(max(PAUSE, QUIET))
                    killed = time.monotonic_ns()
                    os.kill(there, signal.SIGKILL)
                    there, began = program.began()
                    taken["port"] = began - killed
                if number >= warm_up:
                    for name, nanoseconds in taken.items():
                        samples[name].append(nanoseconds / 1000)
            if erlang is not None:
                erlang.ask("close", "leaf")
                os.kill(there, signal.SIGKILL)
    port = Summary.of(samples["port"]) if samples["port"] else None
    return Summary.of(samples["ours"]), Summary.of(samples["bare"]), port
