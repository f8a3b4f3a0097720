"""Captured states on disk: saving, reading back with all checks, listing, pruning; beside the calls that cannot be left out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from workers.state.index import NAME, listing
from workers.state.keys import Keys
from workers.state.model import (
    CompleteState,
    MemoryPoint,
    ProcessSnapshot,
    ProjectState,
    RestartState,
    StateMetadata,
)
from workers.state.restore import restoration
from workers.state.retention import Retention, prune
from workers.state.store import StateStore, new_state_id

from .figures import Effort, Figure, Peer, Summary, at_most, interleaved

SIZES = {"small": 0, "with 64 KiB of conversation": 64 << 10, "with 1 MiB of conversation": 1 << 20}
WORDS = ("the", "guardian", "reads", "what", "a", "tree", "takes", "and", "restarts", "one", "that", "is", "about", "to", "run", "out")


def measure(effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    rounds = effort.pick(200, 60, 2)
    with TemporaryDirectory(prefix="states-") as folder:
        for name, size in SIZES.items():
            figures += one_state(Path(folder, name.replace(" ", "-")).resolve(), name, size, rounds)
        figures += many_states(Path(folder, "many").resolve(), effort.pick(200, 200, 5), effort.pick(30, 10, 1))
    return figures


def one_state(folder: Path, name: str, size: int, rounds: int) -> list[Figure]:
    """Save and restore of one state, in milliseconds."""
    project = folder / "project"
    project.mkdir(parents=True)
    store = StateStore(folder / "states")
    state = captured(project, size)
    path = store.save(project, state)
    data = path.read_bytes()

    def save() -> None:
        metadata = attrs.evolve(state.metadata, state_id=new_state_id())
        store.save(project, attrs.evolve(state, metadata=metadata))

    calls: dict[str, tuple[Callable[[], object], int]] = {
        "save": (save, 1),
        "floor": (lambda: written(folder, data), 1),
        "restore": (lambda: restoration(store.load(path), path.parent.name), 1),
        "read": (path.read_bytes, 1),
    }
    sealed = with_a_key(folder / "sealed")
    if sealed is not None:
        closed = sealed.save(project, state)
        calls["sealed"] = (lambda: restoration(sealed.load(closed), closed.parent.name), 1)
    taken = {key: milliseconds(value) for key, value in interleaved(calls, rounds).items()}
    kib = path.stat().st_size / 1024
    floor, read = Peer(f"write {kib:.0f} KiB, fsync, rename, fsync", taken["floor"]), Peer("read its bytes", taken["read"])
    figures = [
        Figure(f"save, {name}", "ms", taken["save"], (floor,)),
        Figure(f"restore, {name}", "ms", taken["restore"], (read,), at_most(20, "ms")),
    ]
    if "sealed" in taken:
        figures.append(Figure(f"restore, {name}, encrypted", "ms", taken["sealed"], (read,), at_most(20, "ms")))
    return figures


def many_states(folder: Path, count: int, rounds: int) -> list[Figure]:
    """Listing and pruning a project of many states, in milliseconds."""
    project = folder / "project"
    project.mkdir(parents=True)
    store = StateStore(folder / "states")
    path = None
    for _ in range(count):
        path = store.save(project, captured(project, 16 << 10))
    assert path is not None
    key = path.parent.name
    listing(store, key)

    def anew() -> None:
        (path.parent / NAME).unlink()
        listing(store, key)

    taken = interleaved(
        {
            "indexed": (lambda: listing(store, key), 1),
            "anew": (anew, 1),
            "prune": (lambda: prune(store, key, Retention()), 1),
            "stat": (lambda: [os.lstat(one) for one in store.files(key)], 1),
        },
        rounds,
    )
    floor = Peer("listdir and lstat of each", milliseconds(taken["stat"]))
    return [
        Figure(f"list {count} states by the index", "ms", milliseconds(taken["indexed"]), (floor,)),
        Figure(f"list {count} states and make the index", "ms", milliseconds(taken["anew"]), (floor,)),
        Figure(f"prune {count} states, nothing to remove", "ms", milliseconds(taken["prune"]), (floor,)),
    ]


def captured(project: Path, size: int) -> CompleteState:
    """A state as it would be captured, with about so many bytes of conversation."""
    messages: list[dict[str, Any]] = []
    taken = 0
    while taken < size:
        text = " ".join(WORDS[(len(messages) * 7 + at * at) % len(WORDS)] for at in range(150))
        messages.append({"role": "user" if len(messages) % 2 else "assistant", "uuid": os.urandom(16).hex(), "text": text})
        taken += len(text)
    talk = {"session_id": "0b5e2f2a-1111-4222-8333-123456789abc", "transcript": "/t.jsonl", "recent": messages} if messages else None
    now = time.time()
    return CompleteState(
        ProcessSnapshot(
            42,
            4711,
            ("claude", "--print"),
            {f"VARIABLE_{number}": "/usr/local/bin:/usr/bin" for number in range(60)},
            str(project),
            memory=tuple(MemoryPoint(float(number), number << 20) for number in range(60)),
        ),
        ProjectState(str(project), "0123456789abcdef", "main", tuple(f"src/file{number}.py" for number in range(40)), 40),
        RestartState("memory is critical", "critical", 15 << 30),
        StateMetadata(new_state_id(now), now, "claude", ("guardian", "agents", "claude", "leaf")),
        talk,
    )


def with_a_key(folder: Path) -> StateStore | None:
    """A store that encrypts; None where the extra is not installed."""
    try:
        import cryptography  # noqa: F401  # only whether it is there
    except ImportError:
        return None
    from workers.state.seal import KeySeal

    return StateStore(folder, KeySeal(Keys((os.urandom(32),))))


def written(folder: Path, data: bytes) -> None:
    """The calls that a crash-safe write cannot do without."""
    new, old = folder / "new", folder / "old"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(new, old)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def milliseconds(taken: Summary) -> Summary:
    """Microseconds as milliseconds."""
    return Summary(taken.median / 1000, taken.p99 / 1000, taken.low / 1000, taken.high / 1000, taken.count)
