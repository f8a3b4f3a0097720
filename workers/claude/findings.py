"""What ``doctor`` finds of Claude Code on this host: builds, settings, and how much there is of what it keeps.

Names, sizes and a few small files are read; nothing is started or changed, and nothing is said of what is in conversations.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from supervisor import Finding, ProcessId, Value, format_bytes, is_alive

from ..state.sessions import SUFFIX, config_directory
from .limits import LARGE_SETTINGS, LARGE_TOTAL, LARGE_TRANSCRIPT
from .settings import managed_files, off_switch

BUILDS, HOOKS, FILES, SESSIONS = "claude-code", "claude-code-hooks", "claude-code-files", "claude-code-sessions"

LOOKED_AT: Final = 200_000
"""Files that are counted at most."""

_SMALL: Final = 64 << 10
_STUB: Final = 1 << 20
"""Bytes below which the program is none: the native one has hundreds of millions."""


def checks(environ: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Finding]]]:
    """The names of the findings, and how each is found."""
    return (
        (BUILDS, partial(builds, environ)),
        (HOOKS, partial(hooks, environ)),
        (FILES, partial(files, environ)),
        (SESSIONS, partial(sessions, environ)),
    )


@attrs.frozen(repr=False, eq=False)
class Build(Value):
    """A Claude Code that is installed.

    Attributes:
        path: How it is called.
        kind: ``native``, ``wrapper``, ``node``, ``stub`` for what npm leaves where it runs no scripts, or ``other``.
        version: Its version; None where no file says it.
    """

    path: str
    kind: str
    version: str | None

    @property
    def says(self) -> str:
        """It, for a person."""
        kind = {
            "native": "native",
            "wrapper": "wrapper around the native build",
            "node": "on Node",
            "stub": "no program, but what npm leaves in its place where it runs no scripts of packages",
            "other": "of no build that is known here",
        }
        return f"{self.path} ({kind[self.kind]}, {self.version or 'version unknown'})"


def builds(environ: Mapping[str, str]) -> Finding:
    """Which builds of Claude Code the path has, the one first that ``claude`` starts."""
    found = found_builds(environ.get("PATH", os.defpath))
    if not found:
        return Finding(BUILDS, "ok", "none on the path")
    says = "; behind it ".join(build.says for build in found)
    if found[0].kind == "stub":
        remedy = "start its cli-wrapper.cjs with node; or install it again and let npm run its scripts"
        return Finding(BUILDS, "limited", says, remedy)
    if found[0].kind in ("node", "wrapper") and shutil.which("node", path=environ.get("PATH")) is None:
        return Finding(BUILDS, "limited", f"{says}; there is no node on the path", "install node")
    return Finding(BUILDS, "ok", says)


def found_builds(path: str) -> list[Build]:
    """The builds on a path, in its order; several names of one are one. Blocks."""
    found: dict[str, Build] = {}
    for directory in path.split(os.pathsep):
        named = shutil.which("claude", path=directory) if directory else None
        if named is not None and (real := os.path.realpath(named)) not in found:
            found[real] = Build(named, _kind(real), _version(real))
    return list(found.values())


def _kind(real: str) -> str:
    name = os.path.basename(real)
    if name == "cli-wrapper.cjs":
        return "wrapper"
    if name in ("cli.js", "cli.mjs"):
        return "node"
    try:
        with open(real, "rb") as file:
            begins, size = file.read(4), os.fstat(file.fileno()).st_size
    except OSError:
        return "other"
    if begins[:2] == b"MZ" or begins in (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        return "native" if size >= _STUB else "other"
    return "stub" if name == "claude.exe" else "other"


def _version(real: str) -> str | None:
    for directory in Path(real).parents[:2]:
        told = _read(directory / "package.json")
        if told is not None and str(told.get("name", "")).startswith("@anthropic-ai/claude-code"):
            version = told.get("version")
            return version[:40] if isinstance(version, str) else None
    name = os.path.basename(real)  # its own installer keeps each version in a file that is called after it
    return name if name[:1].isdigit() and name.replace(".", "").isalnum() else None


def hooks(environ: Mapping[str, str]) -> Finding:
    """Whether settings keep our hooks from running, for a session in the present directory."""
    config = config_directory(environ)
    own = () if config is None else (config / "settings.json",)
    project = Path(os.getcwd(), ".claude")
    managed = managed_files()
    off = off_switch((*managed, *own, project / "settings.json", project / "settings.local.json"), managed[0].parent)
    if off is None:
        return Finding(HOOKS, "ok", "no settings turn hooks off")
    says = f"{off}: turns are not known, and no mode restricts a session"
    return Finding(HOOKS, "limited", says, "take that out of the settings, or have a restart only on request")


def files(environ: Mapping[str, str]) -> Finding:
    """How large what it keeps has grown."""
    config = config_directory(environ)
    if config is None:
        return Finding(FILES, "ok", "no home, and so none")
    own = config if environ.get("CLAUDE_CONFIG_DIR") else config.parent
    settings = own / ".claude.json"
    size = _size(settings)
    kept = kept_transcripts(config / "projects")
    says = [f"{settings} {format_bytes(size)}" if size is not None else f"no {settings}"]
    says.append(f"{kept.count} transcripts, {format_bytes(kept.total_bytes)}" if kept.count else "no transcripts")
    remedies = []
    if size is not None and size > LARGE_SETTINGS:
        remedies.append(f"end all sessions, keep a copy of {settings}, and take the history of its projects out")
    large = [f"{path} {format_bytes(bytes)}" for bytes, path in kept.largest if bytes > LARGE_TRANSCRIPT]
    if large:
        says.append(f"beyond {format_bytes(LARGE_TRANSCRIPT)}: {', '.join(large)}")
        remedies.append("go on with those conversations no more: /clear begins a new one; thresholds must leave room for what they take")
    if kept.total_bytes > LARGE_TOTAL:
        remedies.append("remove transcripts that are not needed; cleanupPeriodDays in its settings does by age")
    if not remedies:
        return Finding(FILES, "ok", "; ".join(says))
    return Finding(FILES, "limited", "; ".join(says), "; ".join(remedies))


@attrs.frozen(repr=False, eq=False)
class Kept(Value):
    """The transcripts that there are.

    Attributes:
        count: How many.
        total_bytes: Of all.
        largest: The three largest, the largest first, each with its bytes.
    """

    count: int
    total_bytes: int
    largest: tuple[tuple[int, str], ...]


def kept_transcripts(projects: Path) -> Kept:
    """Count the transcripts of all projects, those of subagents among them; nothing of them is read, no link is followed. Blocks."""
    count = total = 0
    largest: list[tuple[int, str]] = []
    for _, (path, size) in zip(range(LOOKED_AT), _transcripts(os.fspath(projects), 3), strict=False):
        count, total = count + 1, total + size
        heapq.heappush(largest, (size, path))
        if len(largest) > 3:
            heapq.heappop(largest)
    return Kept(count, total, tuple(sorted(largest, reverse=True)))


def _transcripts(directory: str, depth: int) -> Iterator[tuple[str, int]]:
    below = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    yield entry.path, entry.stat(follow_symlinks=False).st_size
    except OSError:
        return  # gone meanwhile, or somebody else's
    for path in below if depth else ():
        yield from _transcripts(path, depth - 1)


def sessions(environ: Mapping[str, str]) -> Finding:
    """Whether the program's registry has sessions that are long over."""
    config = config_directory(environ)
    alive, stale = 0, []
    for path in () if config is None else sorted((config / "sessions").glob("*.json"))[:LOOKED_AT]:
        if runs(path):
            alive += 1
        else:
            stale.append(path.name)
    says = f"{alive} running" if alive else "none running"
    if not stale or config is None:
        return Finding(SESSIONS, "ok", says)
    names = ", ".join(stale[:3]) + (", ..." if len(stale) > 3 else "")
    says += f"; {len(stale)} in its registry that are over: {names} in {config / 'sessions'}"
    return Finding(SESSIONS, "limited", says, "remove those files; the program itself lists such sessions as running")


def runs(entry: Path) -> bool:
    """Whether the session of an entry of the registry runs: the process that made it, and not a later one of its number."""
    told = _read(entry)
    try:
        pid, created = int(entry.stem), int(str((told or {}).get("procStart")))
    except ValueError:
        return sys.platform != "linux"  # elsewhere nobody knows what it means
    return is_alive(ProcessId(pid, created)) if sys.platform == "linux" else True


def _read(path: Path) -> dict[str, Any] | None:
    """A small JSON object; None where there is none."""
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_SMALL))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
