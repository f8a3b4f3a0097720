"""The sentry: its memory, what it adds to the start of a command, and how soon nothing is left of a supervisor that is killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio

from supervisor import BRUTAL_KILL, ChildSpec, Restart, Supervisor, command
from supervisor.host import sentry, sentry_choice

from .figures import Effort, Figure, Peer, Summary, at_most
from .launcher_memory import KINDS, weight
from .programs import Clock, clock

TREES = 10
HOST = """
import json, os, sys
import anyio
from supervisor import ChildSpec, Supervisor, command
from supervisor.host import sentry, sentry_choice

TREE = "trap '' TERM; setsid sleep 600 & sleep 600 & echo $! $$ >&3; wait"

async def main(kind, trees, fd):
    if kind != "none":
        sentry_choice._chosen = (sentry_choice.Kind(kind), "to be measured")
    words = ("sh", "-c", f"exec 3> /proc/{os.getpid()}/fd/{fd}; {TREE}")
    specs = [ChildSpec(f"tree{n}", command(*words, terminal="never", stdin="null", sentry=kind != "none")) for n in range(trees)]
    async with Supervisor("root", specs):
        await anyio.sleep(600)

anyio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), backend="trio")
"""


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    kinds = [kind for kind in (sentry_choice.Kind.COMPILED, sentry_choice.Kind.SHELL) if available(kind)]
    with subprocess.Popen(["sleep", "600"]) as idle, clock() as program:
        try:
            for kind in kinds:
                figures += anyio.run(partial(memory, kind, idle, effort.pick(3, 2, 1)), backend="trio")
            for backend in ("trio", "asyncio"):
                figures += anyio.run(partial(starts, program, backend, effort.pick(300, 100, 3)), backend=backend)
        finally:
            idle.kill()
    for kind in kinds:
        figures.append(ends(kind, effort.pick(20, 8, 1)))
    return figures


def available(kind: sentry_choice.Kind) -> bool:
    """Whether this host has a sentry of that kind."""
    return kind is not sentry_choice.Kind.COMPILED or sentry_choice.choice()[0] is kind


async def memory(kind: sentry_choice.Kind, idle: subprocess.Popen[bytes], rounds: int) -> list[Figure]:
    """MiB of the sentry and of the smallest program that waits."""
    sentry_choice._chosen = (kind, "to be measured")
    ours: list[dict[str, float]] = []
    for _ in range(rounds):
        async with Supervisor("root", [ChildSpec("leaf", command("sleep", "600"), shutdown=BRUTAL_KILL)]):
            watching = sentry._sentry
            assert watching is not None and watching.process is not None
            await anyio.sleep(0.5)
            ours.append(weight(watching.process))
    beside = weight(idle)
    name = "compiled" if kind is sentry_choice.Kind.COMPILED else "of the shell"
    return [
        Figure(f"{label}, {name}", "MiB", Summary.of([one[label] for one in ours]), (Peer("sleep", Summary.of([beside[label]])),))
        for label in KINDS
    ]


async def starts(program: Clock, backend: str, rounds: int) -> list[Figure]:
    """Microseconds from the call to the first instruction of a command: watched, not watched, and the first one, in turns."""
    sentry_choice._chosen = None
    taken: dict[str, list[float]] = {"watched": [], "not watched": [], "first": []}

    async def start(root: Supervisor, name: str, watched: bool) -> None:
        began = time.monotonic_ns()
        spec = ChildSpec("next", command(*program.argv, sentry=watched), restart=Restart.TEMPORARY, shutdown=BRUTAL_KILL)
        await root.start_child(spec)
        await anyio.wait_readable(program.fd)
        _, at = program.read()
        taken[name].append((at - began) / 1000)
        await root.terminate_child("next")

    async with Supervisor("root") as root:
        for number in range(rounds + max(1, rounds // 10)):
            await start(root, "first", True)
            other = ChildSpec("other", command("sleep", "600"), restart=Restart.TEMPORARY, shutdown=BRUTAL_KILL)
            await root.start_child(other)
            for name in ("watched", "not watched") if number % 2 else ("not watched", "watched"):
                await start(root, name, name == "watched")
            await root.terminate_child("other")
    kept = {name: Summary.of(samples[-rounds:]) for name, samples in taken.items()}
    without = Peer("without a sentry", kept["not watched"])
    return [
        Figure(f"start of a command on {backend}", "us", kept["watched"], (without,)),
        Figure(f"start of the first one on {backend}", "us", kept["first"], (without,)),
    ]


def ends(kind: sentry_choice.Kind, rounds: int) -> Figure:
    """Milliseconds from SIGKILL of a supervisor to the end of the last process of its trees."""
    taken = [end(kind.value) for _ in range(rounds)]
    name = "compiled" if kind is sentry_choice.Kind.COMPILED else "the shell"
    return Figure(f"SIGKILL to the end of {TREES} trees, {name}", "ms", Summary.of(taken), (), at_most(1000, "ms"))


def end(kind: str) -> float:
    """One such end."""
    reader, writer = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        path = Path(__file__).resolve().parent.parent
        words = [sys.executable, "-c", HOST, kind, str(TREES), str(writer)]
        host = stack.enter_context(subprocess.Popen(words, pass_fds=(writer,), env={**os.environ, "PYTHONPATH": str(path)}))
        stack.callback(host.kill)
        os.close(writer)
        text = b""
        while text.count(b"\n") < TREES:
            more = os.read(reader, 4096)
            if not more:
                raise RuntimeError("the supervisor has not started its commands")
            text += more
        members = [int(word) for word in text.split()]
        waiting = select.poll()
        left = {}
        for pid in members:
            fd = os.pidfd_open(pid)
            stack.callback(os.close, fd)
            left[fd] = pid
            waiting.register(fd, select.POLLIN)
        killed = time.monotonic()
        os.kill(host.pid, signal.SIGKILL)
        while left:
            ready = waiting.poll(20_000)
            if not ready:
                raise TimeoutError(json.dumps(list(left.values())))
            for fd, _ in ready:
                waiting.unregister(fd)
                del left[fd]
        return (time.monotonic() - killed) * 1000
