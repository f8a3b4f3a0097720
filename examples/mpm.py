#!/usr/bin/env python3
"""A small multi-agent program: a planner, workers and a reviewer, each a session of Claude Code, under one guardian.

The planner makes tasks, the workers take them from a queue, the reviewer looks at each answer. Every task is said as idempotent: when a
worker dies in the middle of one, its next life, in the same conversation, is told it again. At the end each task has one answer, or the
program says which has none and ends with 1.

    python examples/mpm.py --scripted --sessions 5 --tasks 12            a scripted API in place of a model: no key, no network
    python examples/mpm.py --scripted --sessions 5 --tasks 12 --chaos    the same while sessions are killed and leak
    python examples/mpm.py --sessions 4 --tasks 4                        with your own Claude Code, its login and its costs

With `--chaos` a session is killed (SIGKILL) every now and then, and each worker has an MCP server that keeps some memory with every
task, at most `--most-mib`, until the guardian ends it between two turns, or restarts the session. It needs `claude` on the path, or
`--claude PATH`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from supervisor import Record, Size
from workers import (
    ClaudeSession,
    ClaudeSessions,
    MemoryGuardianConfig,
    MemoryThresholds,
    MonitoringConfig,
    RestartPolicy,
)

MIB = 1 << 20
API = Path(__file__).resolve().parent.parent / "tests" / "fake_anthropic.py"
TOOL = "mcp__leak__work"


@attrs.define
class Task:
    """A task, and what became of it.

    Attributes:
        number: From 1.
        question: What a worker is told.
        worker: Who answered.
        answers: Its answers; a task that is not lost has one.
        repeated: How often its turn was cut and said again.
        verdicts: What the reviewer said.
        seconds: From when a worker took it to its answer.
    """

    number: int
    question: str
    worker: str = ""
    answers: list[str] = attrs.field(factory=list)
    repeated: int = 0
    verdicts: list[str] = attrs.field(factory=list)
    seconds: float = 0.0


@attrs.define
class Team:
    """Everybody, and what has happened."""

    options: argparse.Namespace
    random: random.Random
    tasks: list[Task] = attrs.field(factory=list)
    sessions: dict[str, ClaudeSession] = attrs.field(factory=dict)
    killed: dict[str, int] = attrs.field(factory=dict)
    grown: dict[str, int] = attrs.field(factory=dict)
    relieved: dict[str, int] = attrs.field(factory=dict)
    peaks: dict[str, int] = attrs.field(factory=dict)
    total_peak: int = 0

    def prompt(self, text: str, *steps: Mapping[str, Any]) -> str:
        """What is said; for the scripted API with what it is to answer."""
        return f"{text}\nFAKE: {json.dumps(steps)}" if self.options.scripted else text

    def observe(self, record: Record) -> None:
        """Count what the guardian does because of memory: it ends a tool that leaks, or restarts the session that grows."""
        counts = {"restart_initiated": self.grown, "tool_ended": self.relieved}.get(record.event.name)
        if counts is not None:
            counts[record.event.path[-1]] = counts.get(record.event.path[-1], 0) + 1

    # ------------------------------------------------------------ who does what

    async def plan(self, planner: ClaudeSession, tasks: MemoryObjectSendStream[Task]) -> None:
        """Have the planner make the tasks, and put them into the queue."""
        count = self.options.tasks
        lines = "\n".join(f"How many letters has the number {number}, written as a word?" for number in range(1, count + 1))
        asked = f"You plan. Answer with exactly {count} lines and nothing else, each a small question that can be answered in one line."
        with tasks:
            result = await planner.ask(self.prompt(asked, {"text": lines}), idempotent=True)
            questions = [line.strip() for line in (result.text or "").splitlines() if line.strip()][:count]
            if not questions:
                raise SystemExit(f"the planner made no tasks: {result.text or result.subtype}")
            for number, question in enumerate(questions, start=1):
                self.tasks.append(Task(number, question))
                await tasks.send(self.tasks[-1])

    async def work(self, worker: ClaudeSession, tasks: MemoryObjectReceiveStream[Task], done: MemoryObjectSendStream[Task]) -> None:
        """Take tasks until there are none."""
        with done:
            async for task in tasks:
                began = time.monotonic()
                tool = [{"tool": TOOL, "input": {"task": task.number}}] if self.options.chaos else []
                answer = {"text": f"answer {task.number}", "delay": self.options.delay}
                turn = await worker.send(self.prompt(f"Task {task.number}: {task.question}", *tool, answer), idempotent=True)
                result = await turn.result()
                task.worker, task.repeated, task.seconds = worker.name, turn.repeated, time.monotonic() - began
                task.answers.append(result.text or result.subtype)
                await done.send(task)

    async def review(self, reviewer: ClaudeSession, done: MemoryObjectReceiveStream[Task]) -> None:
        """Look at answers until there are none."""
        async for task in done:
            asked = f"Is this a sound answer? Question: {task.question} Answer: {task.answers[-1]}. Say approved or rejected."
            result = await reviewer.ask(self.prompt(asked, {"text": "approved"}), idempotent=True)
            task.verdicts.append(result.text or result.subtype)

    async def disturb(self) -> None:
        """Kill some session, and again; only processes that this program has started."""
        for _ in range(self.options.kills):
            await anyio.sleep(self.random.uniform(0.5, 1.5) * self.options.every)
            name, session = self.random.choice(sorted(self.sessions.items()))
            if (pid := session.pid) is not None:
                os.kill(pid, signal.SIGKILL)
                self.killed[name] = self.killed.get(name, 0) + 1

    async def watch(self, sessions: ClaudeSessions) -> None:
        """Take note of how much memory they need."""
        while True:
            known = {name: one["memory_bytes"] or 0 for name, one in sessions.get_statistics().items()}
            self.total_peak = max(self.total_peak, sum(known.values()))
            for name, size in known.items():
                self.peaks[name] = max(self.peaks.get(name, 0), size)
            await anyio.sleep(0.5)

    # ------------------------------------------------------------ all together

    async def run(self, folder: Path, env: Mapping[str, str | None]) -> None:
        """Do all tasks."""
        options = self.options
        config = MemoryGuardianConfig(
            state_dir=str(folder / "state"),
            # an emergency would not wait for the end of a turn
            thresholds=MemoryThresholds(
                critical=Size(amount_bytes=options.critical_mib * MIB), emergency=Size(amount_bytes=10 * options.critical_mib * MIB)
            ),
            # for all sessions together: what is killed on purpose, and what leaks all the time, is not to use it up
            restart_policy=RestartPolicy(
                max_attempts=10 * (options.tasks + options.kills),
                initial_cooldown=0,
                max_cooldown=0,
                circuit_failures=1000,
                ineffective_window=0,
            ),
            monitoring=MonitoringConfig(normal_interval=2, warning_interval=0.5, critical_interval=0.5, critical_samples=2),
        )
        sessions = ClaudeSessions(config)
        sessions.add_sink(self.observe)
        argv = [options.claude, *(options.leaky if options.chaos else ())]
        names = ["planner", "reviewer", *(f"worker-{number}" for number in range(1, options.sessions - 1))]
        async with sessions, AsyncExitStack() as stack:
            for name in names:
                words = argv if name.startswith("worker") else [options.claude]
                opened = sessions.session(words, name=name, cwd=folder, env=env)
                self.sessions[name] = await stack.enter_async_context(opened)
            put, taken = anyio.create_memory_object_stream[Task](options.sessions)
            finished, reviewed = anyio.create_memory_object_stream[Task](options.sessions)
            async with anyio.create_task_group() as beside:
                beside.start_soon(self.watch, sessions)
                if options.chaos:
                    beside.start_soon(self.disturb)
                async with anyio.create_task_group() as everybody:
                    everybody.start_soon(self.plan, self.sessions["planner"], put)
                    with taken, finished:
                        for name in names[2:]:
                            everybody.start_soon(self.work, self.sessions[name], taken.clone(), finished.clone())
                    everybody.start_soon(self.review, self.sessions["reviewer"], reviewed)
                beside.cancel_scope.cancel()
            reviewed.close()

    def report(self, seconds: float) -> dict[str, Any]:
        """What has happened, as data."""
        return {
            "seconds": round(seconds, 1),
            "tasks": [attrs.asdict(task) for task in self.tasks],
            "sessions": {
                name: {
                    "tasks": sum(task.worker == name for task in self.tasks),
                    "lives": session.generation,
                    "killed": self.killed.get(name, 0),
                    "restarted": self.grown.get(name, 0),
                    "tools_ended": self.relieved.get(name, 0),
                    "peak_mib": round(self.peaks.get(name, 0) / MIB),
                }
                for name, session in self.sessions.items()
            },
            "total_peak_mib": round(self.total_peak / MIB),
            "lost": [task.number for task in self.tasks if len(task.answers) != 1 or len(task.verdicts) != 1],
        }


def show(report: Mapping[str, Any]) -> None:
    """Print what a person wants to know."""
    print("task  worker      seconds  said again  answer")
    for task in report["tasks"]:
        answer = " | ".join(task["answers"]) or "none"
        print(f"{task['number']:>4}  {task['worker']:<10}  {task['seconds']:>7.1f}  {task['repeated'] or '':>10}  {answer[:60]}")
    print("\nsession     tasks  lives  killed  for memory: restarted  tools ended  peak")
    for name, one in report["sessions"].items():
        counts = f"{one['tasks']:>5}  {one['lives']:>5}  {one['killed'] or '':>6}"
        memory = f"{one['restarted'] or '':>21}  {one['tools_ended'] or '':>11}"
        print(f"{name:<10}  {counts}  {memory}  {one['peak_mib']} MiB")
    told = len(report["tasks"]) - len(report["lost"])
    lost = f"; not exactly once: {report['lost']}" if report["lost"] else ", each exactly once"
    print(f"\n{told} of {len(report['tasks'])} tasks answered and reviewed{lost}")
    print(f"{report['seconds']} s; {report['total_peak_mib']} MiB at most, all sessions together")


@contextmanager
def scripted(folder: Path) -> Iterator[dict[str, str | None]]:
    """Run the scripted API, and make surroundings in which Claude Code reaches nothing else."""
    port = folder / "port"
    words = [sys.executable, str(API), "--port-file", str(port), "--lifetime", "900"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as api:
        try:
            for _ in range(1000):
                if port.exists() and (number := port.read_text()):
                    break
                time.sleep(0.01)
            else:
                raise SystemExit("the scripted API does not start")
            for name in ("home", "tmp", "config"):
                (folder / name).mkdir()
            strange = ("ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_", "NODE_")
            yield {
                **{name: None for name in os.environ if name.startswith(strange)},
                "HOME": str(folder / "home"),
                "TMPDIR": str(folder / "tmp"),
                "CLAUDE_CONFIG_DIR": str(folder / "config"),
                "ANTHROPIC_API_KEY": "-".join(("made", "up", "for", "the", "scripted", "api")),
                "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{number}",
                "DISABLE_AUTOUPDATER": "1",
                "DISABLE_TELEMETRY": "1",
                "DISABLE_ERROR_REPORTING": "1",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "ENABLE_TOOL_SEARCH": "false",  # or the tool would have to be searched for first
            }
        finally:
            api.terminate()


def serve_leaking(step: int, most: int) -> None:
    """Be an MCP server with one tool, which keeps so many MiB with each call; ends with its input, and after a quarter of an hour."""
    signal.alarm(900)
    held: list[bytes] = []
    tool = {
        "name": "work",
        "description": "Do the work of a task.",
        "inputSchema": {"type": "object", "properties": {"task": {"type": "integer"}}},
    }
    for line in sys.stdin:
        asked = json.loads(line)
        match asked.get("method"):
            case "initialize":
                version = asked["params"]["protocolVersion"]
                result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "leak", "version": "1"}}
            case "tools/list":
                result = {"tools": [tool]}
            case "tools/call":
                if len(held) * step < most:
                    held.append(random.randbytes(step * MIB))
                result = {"content": [{"type": "text", "text": f"done; {len(held) * step} MiB kept"}]}
            case _:
                result = {}
        if "id" in asked:
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)


def main() -> int:
    """Run a team; 0 when no task was lost."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--sessions", type=int, default=4, metavar="N", help="planner and reviewer included, at least 3")
    parser.add_argument("--tasks", type=int, default=8, metavar="M")
    parser.add_argument("--chaos", action="store_true", help="kill sessions, and have the workers leak; with --scripted")
    parser.add_argument("--scripted", action="store_true", help="a scripted API in place of a model")
    parser.add_argument("--claude", default="claude", metavar="PATH", help="Claude Code; default: the one on the path")
    parser.add_argument("--backend", choices=("trio", "asyncio"), default="trio")
    parser.add_argument("--kills", type=int, metavar="N", help="how many, with --chaos; default: one for every three tasks")
    parser.add_argument("--every", type=float, default=3.0, metavar="SECONDS", help="between two of them, about")
    parser.add_argument("--delay", type=float, default=0.5, metavar="SECONDS", help="that the scripted API takes for an answer")
    parser.add_argument("--critical-mib", type=int, default=360, metavar="MIB", help="where the guardian restarts a session")
    parser.add_argument("--most-mib", type=int, default=400, metavar="MIB", help="that a worker leaks at most, with --chaos")
    parser.add_argument("--step-mib", type=int, default=40, metavar="MIB", help="that it leaks with each task")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what has happened as JSON")
    parser.add_argument("--leaking-server", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.leaking_server:
        serve_leaking(options.step_mib, options.most_mib)
        return 0
    if options.sessions < 3 or options.tasks < 1:
        parser.error("a team has a planner, a reviewer and a worker, and something to do")
    if options.chaos and not options.scripted:
        parser.error("--chaos would cost money: it needs --scripted")
    found = shutil.which(options.claude)
    if found is None:
        parser.error(f"there is no {options.claude!r}; --claude says where Claude Code is")
    options.claude = os.path.abspath(found)
    if options.scripted and not API.exists():
        parser.error(f"the scripted API is not here: {API}")
    options.kills = 0 if not options.chaos else options.tasks // 3 if options.kills is None else options.kills
    server = [os.path.abspath(__file__), "--leaking-server", "--step-mib", str(options.step_mib), "--most-mib", str(options.most_mib)]
    servers = {"mcpServers": {"leak": {"command": sys.executable, "args": server}}}
    options.leaky = ["--strict-mcp-config", "--mcp-config", json.dumps(servers), "--allowedTools", TOOL]
    team = Team(options, random.Random(options.seed))
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpm-")))
        env = stack.enter_context(scripted(folder)) if options.scripted else {}
        anyio.run(team.run, folder, env, backend=options.backend)
    report = team.report(time.monotonic() - began)
    show(report)
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=1))
    return 1 if report["lost"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
