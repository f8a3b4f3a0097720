"""A supervisor that is going to be killed: its leaves are families, see family.py.

    host_of_trees.py BACKEND REPORT [NAME=VALUE ...]

It writes a JSON object with its ``sentry`` and its ``leaf`` once all leaves are up, and goes on until it is killed or its standard input
ends. Options:

    kinds       the descendants of a leaf, with commas
    leaves      how many leaves; the reports of all but the first have a number appended
    sentry      ``compiled``, ``sh``, or ``off``; ``off`` for the last leaf only with ``sentry_last=off``
    death       the parent-death signal's number
    user        whom the leaf runs as; it is a shell then, with a child in its session and one in a session of its own
    group       the number of the group that it runs as
    nice        how nice it is
    launch      how it is launched: ``helper`` or ``setpriv``; what this host has by default
    hierarchy   in which kind of cgroup: ``v2`` or ``freezer``; what this host has by default
    state       a state directory: the run is recorded there, as a guardian's is
    act         ``idle``; ``start``: the leaf never says that it is up; ``stop``: it is asked to end, and does not; ``restart``: it
                crashes again and again; ``fork``: a fork of this program lives on; ``terminal``: the leaf is screen.py on the terminal;
                ``last_look``: the leaf crashes, and leaves a process that was never seen and has left its cgroup; this program is killed
                when it is about to sweep that
    reaped      PID:TICKS of a root that was taken away then; its table has it in a session of its own
    forged      a process that did not create itself when the table says so
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio

from supervisor import BRUTAL_KILL, ChildSpec, Limits, ProcessId, Restart, Supervisor, cgroup_directories, command, identify, run_token
from supervisor.host import launching, reaper, sentry, sentry_choice
from supervisor.host.cgroup import offer
from supervisor.host.sentry_table import LINE
from workers.state.runs import claim

HERE = Path(__file__).resolve().parent


def spec(report: str, options: dict[str, str], number: int) -> ChildSpec:
    last = number == int(options["leaves"]) - 1
    act = options["act"]
    how: dict[str, Any] = {
        "death_signal": int(options["death"]),
        "sentry": "off" not in (options["sentry"], options["sentry_last"] if last else ""),
    }
    words = [sys.executable, str(HERE / "family.py"), report + (str(number) if number else ""), "sleep", *options["kinds"].split(",")]
    wanted: dict[str, Any] = {name: options[name] for name in ("user", "group", "nice") if options[name]}
    if wanted:
        wanted |= {name: int(wanted[name]) for name in ("group", "nice") if name in wanted}
        how |= {"terminal": "never", "stdin": "null", "limits": Limits(**wanted)}
        return ChildSpec("leaf", command("sh", "-c", "sleep 60 & setsid sleep 60 & wait", **how), restart=Restart.TEMPORARY)
    if act == "terminal":
        return ChildSpec("leaf", command(sys.executable, str(HERE / "screen.py"), **how))
    if act == "last_look":
        outside = f"{os.path.dirname(cgroup_directories()[0])}/cgroup.procs"
        moved = f"echo 0 > {outside}; echo moved $$ >> {report}; exec setsid sleep 60"
        words = ["sh", "-c", f"sh -c '{moved}' & while [ ! -s {report} ]; do sleep 0.01; done; kill -9 $$"]
        return ChildSpec("leaf", command(*words, terminal="never", stdin="null", **how), restart=Restart.TEMPORARY)
    if act == "start":
        words = ["env", "-u", "NOTIFY_FD", *words]
    if act == "stop":
        words = ["sh", "-c", 'trap "" TERM; "$@"; exit', "sh", *words]
    if act == "restart":
        words[3] = "crash"
    return ChildSpec(
        f"leaf{number}",
        command(*words, ready="spawn" if act == "restart" else "fd", terminal="never", stdin="null", **how),
        restart=Restart.PERMANENT,
        shutdown=60.0 if act == "stop" else BRUTAL_KILL,
        start_timeout=60.0,
    )


async def main(report: str, options: dict[str, str]) -> None:
    if options["launch"]:
        launching._chosen = launching.Mechanism(options["launch"])
        if options["launch"] == "setpriv":
            launching._without_helper()
    if options["hierarchy"]:
        offer._offer = (os.getpid(), offer.look(options["hierarchy"]))
    if options["act"] == "last_look":
        reaper.attending = die  # type: ignore[assignment]
    if options["sentry"] in ("compiled", "sh"):
        sentry_choice._chosen = (sentry_choice.Kind(options["sentry"]), "as the test wants it")
    with ExitStack() as stack:
        if options["state"]:
            stack.enter_context(claim(options["state"], "project", "run")).record(markers=(run_token(),))
        specs = [spec(report, options, number) for number in range(int(options["leaves"]))]
        async with Supervisor("root", specs, intensity=100_000, period=1.0) as root:
            if options["forged"]:
                stranger = identify(int(options["forged"]))
                assert stranger is not None
                sentry.watch_over("forged").runs(ProcessId(stranger.pid, stranger.created - 1), own_session=True)
            if options["reaped"]:
                pid, ticks = map(int, options["reaped"].split(":"))
                post = sentry.watch_over("forged")
                post.runs(ProcessId(pid, 1), own_session=True)
                post.root_reaped(ticks)
            if options["act"] == "fork":
                fork()
            process = sentry._sentry.process if sentry._sentry is not None else None
            leaf = next(child.pid for child in root.which_children() if child.id in ("leaf0", "leaf"))
            print(json.dumps({"sentry": None if process is None else process.pid, "leaf": leaf}), file=sys.stderr, flush=True)
            if options["act"] == "stop":
                await root.terminate_child("leaf0")
            await anyio.to_thread.run_sync(wait, options["act"] == "terminal", abandon_on_cancel=True)


def die(tree: object) -> None:
    """Say what the table holds, and be killed."""
    assert sentry._sentry is not None
    print(os.pread(sentry._sentry.table.fd, LINE, LINE).decode(), file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def fork() -> None:
    """Leave a copy of this program, with all its descriptors."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)


def wait(on_terminal: bool) -> None:
    """Until the end of standard input, which on a terminal is the leaf's."""
    if on_terminal:
        time.sleep(60)
    sys.stdin.read()


DEFAULTS = {
    "kinds": "plain", "leaves": "1", "sentry": "compiled", "sentry_last": "", "death": "0", "state": "", "act": "idle", "forged": "",
    "reaped": "", "user": "", "group": "", "nice": "", "launch": "", "hierarchy": "",
}  # fmt: skip

if __name__ == "__main__":
    anyio.run(main, sys.argv[2], {**DEFAULTS, **dict(word.split("=", 1) for word in sys.argv[3:])}, backend=sys.argv[1])
