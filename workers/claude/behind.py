"""What goes on behind a turn that has ended, where the program does not tell of it: commands and subagents in the background of 2.0.77.

A command of a tool leads a session of its own, and MCP servers do not; a subagent writes a transcript beside the conversation's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from supervisor import ProcessId

from ..state.record import Kind, parsed
from ..state.transcript import TranscriptUnreadable, opened, reversed_lines

SUBAGENTS: Final = 50
"""How many transcripts of subagents are looked at, the ones that were written last."""

SILENT: Final = 600.0
"""Seconds after which a subagent that has written nothing is taken for one that was cut."""

_LAST: Final = 1 << 20
_SAID: Final = frozenset({Kind.PROMPT, Kind.ANSWER, Kind.RESULT, Kind.INTERRUPTION})


def tool_runs(root: ProcessId) -> bool:
    """Whether a command that a tool has started runs: a child that leads a session of its own. Blocks; Linux alone can tell.

    Args:
        root: The program.
    """
    if sys.platform != "linux":
        return False
    return any(_session(child) == child for child in _children(root.pid))


def subagent_works(transcript: Path | None, since: float, now: float) -> bool:
    """Whether a subagent of a conversation has begun since some time, and has not ended. Blocks.

    Args:
        transcript: The conversation's; None where there is none.
        since: In seconds since the epoch.
        now: The time, likewise.
    """
    if transcript is None:
        return False
    try:
        found = [(path.stat().st_mtime, path) for path in transcript.parent.glob("agent-*.jsonl")]
    except OSError:
        return False
    late = sorted(((written, path) for written, path in found if written >= max(since, now - SILENT)), reverse=True)
    belongs = f'"sessionId":"{transcript.stem}"'.encode()
    return any(_is_under_way(path, belongs) for _, path in late[:SUBAGENTS])


def _is_under_way(transcript: Path, belongs: bytes) -> bool:
    """Whether the last that was said is no answer, or one that calls a tool; False in another conversation."""
    try:
        with opened(transcript) as file:
            for line in reversed_lines(file, _LAST):
                if (record := parsed(line)).kind in _SAID:
                    return belongs in line and (record.kind in (Kind.PROMPT, Kind.RESULT) or bool(record.calls))
    except TranscriptUnreadable:
        return False
    return False


def _children(pid: int) -> Iterable[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, tasks.read_text().split())
        except OSError:
            continue


def _session(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[3])
    except (OSError, IndexError, ValueError):
        return None
