"""Benchmarks: what each promise costs, beside a floor or a peer that is measured in the same run.

    python -m benchmarks [--quick] [--json FILE] [NAME ...]

figures.py      a figure, what it is compared with, its target; statistics
report.py       the table, JSON, and what is to be known of the machine
programs.py     the small programs that the benchmarks start
idle_worker.py  what workers run
tasks.py        bare task groups, and many tasks in turns
otp.py          Erlang's own supervisor, where there is Erlang
launcher.py     the launcher from outside
alone.py        one benchmark in a process of its own
traces/         recorded memory of real programs, and the programs
claude.py       the real Claude Code, where it is installed, and a scripted API for it
transcripts.py  made-up conversations, as Claude Code writes them
simulated.py    memory as a formula: twelve families of it
planted.py      made-up secrets of every claimed format, and texts to plant them in
SUITE           the benchmarks themselves, one module each, with ``measure(effort)``
"""

from __future__ import annotations

from typing import Final

SUITE: Final = {
    "memory_check": "one memory check of a tree of five processes",
    "guardian_check": "one look of the whole guardian at each of many leaves",
    "overshoot": "how far a growing program is past a threshold when the guardian knows",
    "emergency": "a program that races past emergency: to its state on disk, to its replacement",
    "command_restart": "SIGKILL of a command to the first instruction of its replacement",
    "command_siblings": "crash of a command to its replacement, alone and among many",
    "command_children": "many commands as children: start, stop, memory, idle CPU, one big tree",
    "worker_start": "a worker in a process of its own: start until it has acknowledged",
    "worker_limits": "a forked worker with limits, and in a cgroup: start until it has acknowledged",
    "task_children": "tasks as children: start, stop, memory",
    "dynamic_children": "tasks as children of a dynamic supervisor: start one by one, stop",
    "task_restart": "crash of a task to its next life",
    "launcher_start": "start of the launcher to the first instruction of the command",
    "launcher_memory": "memory of the idle launcher",
    "launcher_cpu": "CPU of the idle launcher, one sample a second",
    "prediction": "how well memory is foreseen: error, share foreseen a minute ahead, false alarms, cost",
    "redaction": "planted secrets that are found, what is taken for one, and how fast",
    "machine_step": "one step of the supervisor's machine",
    "event_bus": "one event to all who listen",
    "state_store": "captured states on disk: save, restore, list, prune",
    "output": "1 MB of what a command writes, by where it goes",
    "conversation": "what a capture pays for a conversation: last messages, digest, summary",
    "capture": "a whole capture of a leaf with a conversation, its restore, and whose memory it takes",
    "journal": "the journal of a transcript: first append, append of what is new, memory",
    "claude_restart": "a controlled restart of Claude Code: decision to the next reply, and to the prompt",
    "claude_hooks": "what hooks cost a tool call of Claude Code",
    "claude_sessions": "memory of a guardian with 1, 10 and 50 sessions of Claude Code",
    "sentry": "who ends what a killed supervisor leaves: memory, start of a command, end of all",
}
"""Module and what it measures, in the order in which they run."""
