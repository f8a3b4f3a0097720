"""Finds the transcript of a session of Claude Code, and the session of a process. Reads and lists; follows no link out of its directory.

Below the configuration directory (``$CLAUDE_CONFIG_DIR``, else ``~/.claude``) a session's transcript is
``projects/<working directory with - for / and .>/<session id>.jsonl``; its subagents write files of their own beside it. Newer
programs keep ``sessions/<pid>.json`` for each running one, and leave it behind when they are killed.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from supervisor import ProcessId, Value

from .transcript import TranscriptUnreadable, opened

SUFFIX: Final = ".jsonl"
PROJECTS: Final = 10_000
"""Entries of a directory that are looked at."""

SUBAGENTS: Final = 100
_REGISTRY_ENTRY: Final = 64 * 1024

_SESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_AGENT: Final = re.compile(r"agent-([A-Za-z0-9_-]{1,128})\.jsonl")


@attrs.frozen(repr=False, eq=False)
class Session(Value):
    """A running session; `status` is idle, busy, or what the program says itself."""

    id: str
    cwd: str | None = None
    version: str | None = None
    status: str | None = None


@attrs.frozen(repr=False, eq=False)
class Subagent(Value):
    """A subagent's own transcript, and its size in bytes."""

    id: str
    path: str
    size: int


def config_directory(environment: Mapping[str, str]) -> Path | None:
    """Where a program with this environment keeps its sessions; None where it has neither variable nor home."""
    own, home = environment.get("CLAUDE_CONFIG_DIR"), environment.get("HOME") or environment.get("USERPROFILE")
    if own:
        return Path(own)
    return Path(home, ".claude") if home else None


def project_directories(cwd: str) -> tuple[str, ...]:
    """The names that the directory of a project can have: programs have differed in which signs they replace."""
    return tuple(dict.fromkeys((re.sub(r"[/.]", "-", cwd), re.sub(r"[^A-Za-z0-9]", "-", cwd))))


def transcript_of(config: Path, session_id: str, cwd: str | None = None) -> Path | None:
    """The transcript of a session; None where there is none.

    A session that was resumed elsewhere goes on in the file of the directory that it began in, so every project is looked
    through when that of `cwd` does not have it; of several the one that was written last.

    Args:
        config: The configuration directory.
        session_id: The session; an id that could be a path has no transcript.
        cwd: Where the session works, if it is known.
    """
    if not _SESSION.fullmatch(session_id):
        return None
    names = () if cwd is None else project_directories(cwd)
    for candidates in (names, _names(config / "projects")):
        found = [_regular(config, f"projects/{name}/{session_id}{SUFFIX}") for name in candidates]
        latest = max(filter(None, found), default=None, key=_written)
        if latest is not None:
            return latest[0]
    return None


def transcript_since(config: Path, cwd: str, since: float) -> Path | None:
    """The transcript that was written in a directory since some time, for programs that tell no session.

    Args:
        config: The configuration directory.
        cwd: Where the program works.
        since: Seconds since the epoch.

    Returns:
        None where there is none, and where there are several: one of them would be a guess.
    """
    recent = [path for path, time in _in_project(config, cwd).items() if time >= since]
    return recent[0] if len(recent) == 1 else None


def latest_transcript(config: Path, cwd: str) -> Path | None:
    """The transcript of a directory that was written last; None where there is none. Subagents' are left out.

    Args:
        config: The configuration directory.
        cwd: Where the program works.
    """
    found = _in_project(config, cwd)
    return max(found, key=lambda path: found[path], default=None)


def _in_project(config: Path, cwd: str) -> dict[Path, float]:
    """The transcripts of a directory, and when each was written."""
    found: dict[Path, float] = {}
    for directory in project_directories(cwd):
        for name in _names(config / "projects" / directory):
            if name.endswith(SUFFIX) and not _AGENT.fullmatch(name) and (seen := _regular(config, f"projects/{directory}/{name}")):
                found[seen[0]] = _written(seen)
    return found


def session_of(config: Path, processes: Iterable[ProcessId]) -> Session | None:
    """The session that one of some processes, such as the tree of a leaf, is registered for; None where none is.

    An entry counts only for the very process that made it: one that a killed program left is no entry of a later pid.
    """
    for process in processes:
        seen = _regular(config, f"sessions/{process.pid}.json")
        entry = None if seen is None else _entry(seen[0])
        if entry is None or str(entry.get("procStart")) != str(process.created):
            continue
        id = entry.get("sessionId")
        if isinstance(id, str) and _SESSION.fullmatch(id):
            cwd, version, status = (value if isinstance(value := entry.get(name), str) else None for name in ("cwd", "version", "status"))
            return Session(id, cwd, version, status)
    return None


def subagents_of(transcript: Path) -> tuple[Subagent, ...]:
    """The transcripts of a session's subagents, by id, at most `SUBAGENTS`.

    They are in ``<session id>/subagents/``. Older programs put those of all sessions side by side, which tells nothing.
    """
    directory = transcript.with_suffix("") / "subagents"
    found = []
    for name in sorted(_names(directory)):
        matched = _AGENT.fullmatch(name)
        seen = _regular(transcript.parent, f"{transcript.stem}/subagents/{name}") if matched else None
        if matched is not None and seen is not None:
            found.append(Subagent(matched.group(1), str(seen[0]), seen[1].st_size))
    return tuple(found[:SUBAGENTS])


def _entry(path: Path) -> dict[str, object] | None:
    try:
        with opened(path) as file:
            data = json.loads(file.read(_REGISTRY_ENTRY) or b"")
    except (TranscriptUnreadable, ValueError, RecursionError):
        return None  # it is being written, or none that is known here
    return data if isinstance(data, dict) else None


def _names(directory: Path) -> Iterator[str]:
    """The names in a directory, at most `PROJECTS`; none where it cannot be listed."""
    try:
        with os.scandir(directory) as entries:
            for _, entry in zip(range(PROJECTS), entries, strict=False):
                yield entry.name
    except OSError:
        return


def _regular(within: Path, relative: str) -> tuple[Path, os.stat_result] | None:
    """A regular file below a directory, by its real path, if no link on the way leads out of it."""
    try:
        root = os.path.realpath(within, strict=True)
        real = os.path.realpath(os.path.join(root, relative), strict=True)
        found = os.lstat(real)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode) or os.path.commonpath([root, real]) != root:
        return None
    return Path(real), found


def _written(found: tuple[Path, os.stat_result]) -> float:
    return found[1].st_mtime
