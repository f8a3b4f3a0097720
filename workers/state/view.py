"""Captured states as a person reads them, and as JSON data."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from supervisor import block, duration, format_bytes

from .index import StateEntry
from .model import CompleteState
from .restore import Restoration
from .retention import Pruned

HEADINGS: Final = ("state", "captured", "agent", "level", "size", "reason")
SHOWN: Final = 12
"""Items of a list that are shown before the rest is only counted."""
LINE: Final = 120
"""Bytes of a text of which the beginning is shown."""

_UNTOLD: Final = ("metadata.checksum", "metadata.state_id", "metadata.time")


def entry_data(entry: StateEntry) -> dict[str, Any]:
    """An entry as JSON data."""
    return {
        "state_id": entry.state_id,
        "time": entry.time,
        "agent": entry.agent,
        "working_directory": entry.working_directory,
        "reason": entry.reason,
        "level": entry.level,
        "session_id": entry.session_id,
        "size_bytes": entry.size_bytes,
        "file": str(entry.path),
        "fault": entry.fault,
    }


def entry_rows(entries: Iterable[StateEntry], *, projects: bool) -> list[tuple[str, ...]]:
    """Entries as rows of a table, with headings; with `projects` each says of which it is."""
    rows = [(*HEADINGS, *(("project",) if projects else ()))]
    for entry in entries:
        said = entry.reason or "-" if entry.fault is None else f"cannot be used: {entry.fault}"
        row = (entry.state_id, moment(entry.time), entry.agent or "-", entry.level or "-", format_bytes(entry.size_bytes), said)
        rows.append((*row, *((entry.working_directory or entry.key,) if projects else ())))
    return rows


def shown(state: CompleteState, path: str, size_bytes: int, now: float) -> str:
    """All that matters of a state."""
    process, project, restart, metadata = state.process, state.project, state.restart, state.metadata
    host = f" on {metadata.host}" if metadata.host else ""
    rows: list[tuple[str, str | None]] = [
        ("captured", f"{moment(metadata.time)}, {_ago(now - metadata.time)}{host}"),
        ("agent", f"{metadata.agent} ({'/'.join(metadata.path)})" if metadata.path else metadata.agent),
        ("reason", restart.reason if restart.attempt is None else f"{restart.reason} (attempt {restart.attempt})"),
        ("memory", _memory(state)),
        ("process", _process(state, now)),
        ("command", _command(process.argv)),
        ("working directory", process.cwd),
        ("project", project.working_directory),
        ("git", _git(state)),
        *((("", line) for line in _some(project.dirty_files, project.dirty_count)) if project.dirty_files else ()),
        ("environment", _environment(process.environment)),
        ("restarts before", str(len(restart.history))),
        *(("", f"{moment(past.time)}  {past.reason} ({past.outcome})") for past in restart.history[-SHOWN:]),
        ("conversation", _conversation(state)),
        *(("", line) for line in _said(state.conversation)),
        ("written by", ", ".join(f"{name} {version}" for name, version in metadata.versions.items()) or None),
        ("file", f"{path}, {format_bytes(size_bytes)}"),
    ]
    return block(metadata.state_id, rows)


def differences(before: CompleteState, after: CompleteState) -> list[dict[str, Any]]:
    """Where two states differ, as JSON data: `path`, and `before` and `after`; a part that one of them lacks is None there."""
    old, new = (dict(_parts(state.to_dict())) for state in (before, after))
    return [
        {"path": path, "before": old.get(path), "after": new.get(path)}
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path) and path not in _UNTOLD
    ]


def differing(before: CompleteState, after: CompleteState, found: Sequence[Mapping[str, Any]]) -> str:
    """Where two states differ, in words."""
    later = after.metadata.time - before.metadata.time
    when = f"{_span(abs(later))} {'later' if later >= 0 else 'earlier'}"
    lines = [
        f"{before.metadata.state_id}  {moment(before.metadata.time)}",
        f"{after.metadata.state_id}  {moment(after.metadata.time)}, {when}",
    ]
    rows: list[tuple[str, str | None]] = []
    for row in found:
        old, new = row["before"], row["after"]
        if (
            isinstance(old, list | None)
            and isinstance(new, list | None)
            and all(isinstance(one, str) for one in (*(old or ()), *(new or ())))
        ):
            gone, come = ([one for one in left or () if one not in (right or ())] for left, right in ((old, new), (new, old)))
            told = [*(f"- {one}" for one in gone), *(f"+ {one}" for one in come)] or ["in another order"]
            rows += [(row["path"] if number == 0 else "", line) for number, line in enumerate(_some(told))]
        elif isinstance(old, list) and isinstance(new, list):
            rows.append(
                (row["path"], f"{len(old)} -> {len(new)} items" if len(old) != len(new) else f"{len(new)} items, not the same ones")
            )
        else:
            rows.append((row["path"], f"{_worded(row['path'], old)} -> {_worded(row['path'], new)}"))
    return "\n".join([lines[0], block(lines[1], rows)] if rows else [*lines, "nothing differs but the time"])


def restored(restoration: Restoration) -> str:
    """What would be restored, in words."""
    rows: list[tuple[str, str | None]] = [("working directory", restoration.working_directory)]
    rows += [
        ("environment" if number == 0 else "", f"{name}={value}") for number, (name, value) in enumerate(restoration.environment.items())
    ]
    rows += [
        ("withheld" if number == 0 else "", f"{name}: set it again where it is needed") for number, name in enumerate(restoration.withheld)
    ]
    conversation = restoration.conversation
    rows += [
        ("terminal title", restoration.title),
        ("command", _command(restoration.argv)),
        ("conversation", "none was captured" if conversation is None else conversation.session_id),
    ]
    if conversation is not None and conversation.transcript_path is not None:
        rows.append(("transcript", conversation.transcript_path))
    return block(f"{restoration.state_id} can be restored:", rows)


def restored_data(restoration: Restoration) -> dict[str, Any]:
    """What would be restored, as JSON data."""
    conversation = restoration.conversation
    return {
        "state_id": restoration.state_id,
        "agent": restoration.agent,
        "argv": list(restoration.argv),
        "working_directory": restoration.working_directory,
        "environment": dict(restoration.environment),
        "withheld": list(restoration.withheld),
        "title": restoration.title,
        "session_id": None if conversation is None else conversation.session_id,
        "transcript": None if conversation is None else conversation.transcript_path,
    }


def shell(restoration: Restoration) -> str:
    """Lines that a POSIX shell evaluates to restore working directory, environment and terminal title; all or nothing."""
    from shlex import quote

    change, directory = _in_shell(restoration.working_directory)
    lines = [*change, f"cd -- {directory} && {{"]
    for name, value in restoration.environment.items():
        spell, word = _in_shell(value)
        lines += [*spell, f"export {name}={word}"]
    lines += [f"(printf '\\033]0;%s\\007' {quote(restoration.title)} >/dev/tty) 2>/dev/null || :", "}"]
    return "\n".join(lines)


def _in_shell(text: str) -> tuple[list[str], str]:
    """What makes a shell spell a text, and the word for it then: what cannot be shown is told by its bytes, the last newlines too."""
    from shlex import quote

    if text.isprintable():
        return [], quote(text)
    octal = "".join(f"\\{byte:03o}" for byte in os.fsencode(text))
    return [f"MEMORY_GUARDIAN_WORD=$(printf '{octal}x')"], '"${MEMORY_GUARDIAN_WORD%x}"'


def pruned(all_pruned: Sequence[Pruned], *, dry_run: bool) -> str:
    """What was removed, in words."""
    removed = [found for one in all_pruned for found in one.removed]
    kept = sum(len(one.kept) for one in all_pruned)
    leftovers = [path for one in all_pruned for path in one.leftovers]
    verb = "would be removed" if dry_run else "removed"
    lines = [f"{verb}: {entry.state_id} ({why.value}), {format_bytes(entry.size_bytes)}" for entry, why in removed]
    lines += [f"{verb}: {path.name}, left behind by a writer that was killed" for path in leftovers]
    freed = format_bytes(sum(one.freed_bytes for one in all_pruned))
    count = f"{len(removed)} {'state' if len(removed) == 1 else 'states'}"
    return "\n".join([*lines, f"{count} {verb}, {freed}; {kept} kept"])


def pruned_data(all_pruned: Sequence[Pruned], *, dry_run: bool) -> dict[str, Any]:
    """What was removed, as JSON data."""
    return {
        "dry_run": dry_run,
        "removed": [{**entry_data(entry), "why": why.value} for one in all_pruned for entry, why in one.removed],
        "kept": [entry_data(entry) for one in all_pruned for entry in one.kept],
        "freed_bytes": sum(one.freed_bytes for one in all_pruned),
        "leftovers": [str(path) for one in all_pruned for path in one.leftovers],
        "failed": [str(error) for one in all_pruned for error in one.failed],
    }


def moment(time: float) -> str:
    """A time for a person, in the zone of this machine."""
    try:
        return clock.strftime("%Y-%m-%d %H:%M:%S", clock.localtime(time))
    except (OverflowError, OSError, ValueError):
        return f"{time:.0f} s since 1970"


def _ago(seconds: float) -> str:
    return f"{_span(seconds)} ago" if seconds >= 0 else f"in {_span(-seconds)}"


def _span(seconds: float) -> str:
    return duration(seconds)


def _memory(state: CompleteState) -> str | None:
    total, peak, level = state.restart.total_bytes, state.process.peak_bytes, state.restart.level
    said = [] if total is None else [format_bytes(total)]
    said += [] if peak is None else [f"peak {format_bytes(peak)}"]
    said += [] if level is None else [f"level {level}"]
    return ", ".join(said) or None


def _process(state: CompleteState, now: float) -> str | None:
    process = state.process
    said = [] if process.pid is None else [f"pid {process.pid}"]
    said += [] if process.generation is None else [f"life {process.generation}"]
    said += [] if process.uptime is None else [f"up {_span(process.uptime)}"]
    return ", ".join(said) or None


def _git(state: CompleteState) -> str | None:
    project = state.project
    if project.git_head is None and project.git_branch is None:
        return None
    count = project.dirty_count
    changes = "unknown changes" if count is None else "no changes" if count == 0 else f"{count} changed {'file' if count == 1 else 'files'}"
    return f"{project.git_branch or 'no branch'} at {(project.git_head or 'no commit')[:12]}, {changes}"


def _environment(environment: Mapping[str, str]) -> str:
    hidden = sum("[redacted:" in value for value in environment.values())
    return f"{len(environment)} variables, {hidden} of them redacted" if hidden else f"{len(environment)} variables"


def _conversation(state: CompleteState) -> str:
    told = state.conversation
    if told is None:
        return "none was captured"
    path = told.get("transcript")
    journalled = "" if state.journal is None else ", journalled"
    return f"{told.get('session_id')}" + (f" in {path}{journalled}" if path else "")


def _said(told: Mapping[str, Any] | None) -> list[str]:
    """What a conversation came to, in two lines at most; none where that is not known."""
    from .conversation import understood
    from .excerpt import line

    talk = understood(told)
    if talk is None:
        return []
    digest = talk.digest
    counts = [f"{digest.turns} {'question' if digest.turns == 1 else 'questions'}", format_bytes(talk.size)]
    counts += [f"{len(digest.open_calls)} calls without a result"] if digest.open_calls else []
    return [", ".join(counts), *([f"last asked: {line(digest.last_prompt, LINE)}"] if digest.last_prompt else [])]


def _command(argv: Sequence[str]) -> str | None:
    from shlex import quote

    words = [word if word.startswith("[redacted:") else quote(word) for word in argv]
    return " ".join(words) or None


def _some(items: Sequence[str] | None, count: int | None = None) -> list[str]:
    items = items or ()
    more = (len(items) if count is None else count) - SHOWN
    return [*items[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _parts(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested tables, by their paths; lists are whole."""
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _parts(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", list(value) if isinstance(value, tuple) else value


def _worded(path: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | dict):
        return f"{len(value)} items" if value else "none"
    if path.endswith("_bytes") and isinstance(value, int):
        return format_bytes(value)
    return value if isinstance(value, str) and value else repr(value)
