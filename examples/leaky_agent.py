#!/usr/bin/env python3
"""A program that behaves like a leaking agent session; ``python -m supervisor demo`` runs it under the guardian.

It shows what the guardian is for. Each turn is appended to a conversation file, and each turn leaks: most of it in a child process,
so that the root alone never becomes large. Started again, the agent resumes from the conversation where it was, in as little memory as
it began with. Its process tree is a real agent's:

    agent           takes turns, answers SIGTERM by ending with 143 after the turn's record is whole
    ├── mcp         a server in the agent's process group that leaks; ends when its input ends
    └── tool        a command in a session of its own that ignores SIGTERM and outlives the agent, unless somebody sweeps it

It bounds itself: every process ends after `--life` seconds, and the leak stops at `--most-mib`. After `--turns` turns in all, over
all its lives, it ends its tool and exits with 0.

    python examples/leaky_agent.py --conversation conversation.jsonl --turns 10
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

MIB = 1024 * 1024
ANSWERS = (
    "I read the module and its tests.",
    "The failing case is the empty list.",
    "I changed the loop and ran the tests again.",
    "Two tests still fail; I look at the fixtures.",
    "The fixture is shared between tests, so I copy it.",
    "All tests pass now; I tidy up the names.",
)


def main() -> int:
    """Take part in the process tree, in the role that the command line names."""
    parser = argparse.ArgumentParser(description="An agent session that leaks memory.", allow_abbrev=False)
    parser.add_argument("--conversation", type=Path, default=Path("conversation.jsonl"), help="the file that survives (JSON Lines)")
    parser.add_argument("--step-mib", type=int, default=24, help="memory leaked in each turn, in MiB")
    parser.add_argument("--interval", type=float, default=0.4, help="seconds a turn takes")
    parser.add_argument("--turns", type=int, default=100, help="turns in all, over all lives")
    parser.add_argument("--most-mib", type=int, default=600, help="where the leak stops")
    parser.add_argument("--life", type=float, default=180.0, help="seconds after which every process of a life has ended")
    parser.add_argument("--role", choices=("agent", "mcp", "tool"), default="agent", help=argparse.SUPPRESS)
    options = parser.parse_args()
    roles = {"agent": agent, "mcp": mcp, "tool": tool}
    return roles[options.role](options)


def agent(options: argparse.Namespace) -> int:
    """Take turns until there have been enough, or until asked to end."""
    stop = Stop()
    turns = read_conversation(options.conversation)
    life = max((turn["life"] for turn in turns), default=0) + 1
    done = turns[-1]["turn"] if turns else 0
    say(f"resumed at turn {done}" if done else "a new conversation", f"(life {life}, pid {os.getpid()})")

    leak = start("mcp", options, group=True)
    command = start("tool", options, group=False)
    ends = time.monotonic() + options.life
    memory = 0
    # Unbuffered: the record is in the kernel's hands before the turn is announced, so that a kill costs at most the turn under way.
    with options.conversation.open("ab", buffering=0) as conversation:
        while done < options.turns and time.monotonic() < ends and not stop.within(options.interval):
            done += 1
            step = max(0, min(options.step_mib, options.most_mib - memory))
            memory += ask(leak, step)
            record = {
                "turn": done,
                "life": life,
                "agent": os.getpid(),
                "mcp": leak.pid,
                "tool": command.pid,
                "text": ANSWERS[done % len(ANSWERS)],
            }
            conversation.write(json.dumps(record).encode() + b"\n")
            say(f"turn {done:3}", f"{memory:5} MiB leaked   {record['text']}")

    if stop.signum is not None:
        say(f"asked to end after turn {done}")
        return 128 + stop.signum  # the tool lives on, as the tools of real agents do
    leak.communicate()
    command.kill()
    command.wait()
    say(f"done after {done} turns and {life} {'life' if life == 1 else 'lives'}")
    return 0


def mcp(options: argparse.Namespace) -> int:
    """Answer each line, a number of MiB, after having leaked as much; end with the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the agent's to answer
    signal.alarm(max(1, int(options.life)))
    leaked: list[mmap.mmap] = []
    for line in sys.stdin:
        if size := int(line) * MIB:
            block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            for offset in range(0, size, mmap.PAGESIZE):
                block[offset] = 1  # a page that was never written takes no memory
            leaked.append(block)
        print(line.strip(), flush=True)
    return 0


def tool(options: argparse.Namespace) -> int:
    """Be busy for long, and deaf."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(max(1, int(options.life)))
    print("ready", flush=True)
    while True:
        signal.pause()


class Stop:
    """Whether the agent was asked to end; a turn under way is finished first."""

    def __init__(self) -> None:
        self.signum: int | None = None
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._asked)

    def within(self, seconds: float) -> bool:
        """Wait, but no longer than until a signal arrives."""
        ends = time.monotonic() + seconds
        while self.signum is None and (rest := ends - time.monotonic()) > 0:
            time.sleep(min(rest, 0.02))
        return self.signum is not None

    def _asked(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum


def start(role: str, options: argparse.Namespace, *, group: bool) -> subprocess.Popen[str]:
    """Start this program again in another role, and wait until it answers."""
    argv = [sys.executable, os.path.abspath(__file__), "--role", role, "--life", str(options.life)]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=not group
    )
    if group:
        ask(process, 0)
    else:
        assert process.stdout is not None
        process.stdout.readline()
    return process


def ask(server: subprocess.Popen[str], mib: int) -> int:
    """Let the server leak, and return how much it did: 0 when it is gone."""
    assert server.stdin is not None and server.stdout is not None
    try:
        server.stdin.write(f"{mib}\n")
        server.stdin.flush()
    except BrokenPipeError:
        return 0
    return int(server.stdout.readline() or 0)


def read_conversation(path: Path) -> list[dict[str, Any]]:
    """Read the turns so far; a last line that a kill tore in two is cut off, so that the next record begins a line."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)
    return [json.loads(line) for line in text[:whole].splitlines()]


def say(*words: str) -> None:
    """Print a line of the agent's own."""
    print("agent:", *words, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        sys.stdout = None  # nobody reads any more: no second error at exit
        sys.exit(0)
