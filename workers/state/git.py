"""What git knows of a directory, asked without running anything of the user's and without waiting long."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

import anyio
import attrs

from supervisor import Value

LIMIT: Final = 2.0
DIRTY_FILES: Final = 1000

_KEPT: Final = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES"})
_COMMAND: Final = (
    # a file system monitor and hooks are programs that the repository names
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    "status",
    "--porcelain=v2",
    "--branch",
    "-z",
    "--untracked-files=normal",
    "--ignore-submodules=dirty",
)


@attrs.frozen(repr=False, eq=False)
class GitStatus(Value):
    """The work tree's state: `head` is a commit, None before the first; `branch` is None when detached."""

    head: str | None
    branch: str | None
    dirty_files: tuple[str, ...]
    dirty_count: int


async def git_status(directory: str, limit: float = LIMIT) -> GitStatus | None:
    """Ask git about a directory; None where there is no git, no work tree, or no answer within `limit` seconds.

    **Cancellation:** ends git and leaves.
    """
    program = shutil.which("git")
    if program is None:
        return None
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    environ |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    with anyio.move_on_after(limit):
        try:
            finished = await anyio.run_process(
                [program, "-C", directory, *_COMMAND],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                env=environ,  # in our session: in one of its own it would be taken for a stray of the leaf, and killed
            )
        except OSError:
            return None
        return parse_status(finished.stdout) if finished.returncode == 0 else None
    return None


def parse_status(output: bytes) -> GitStatus:
    """The status that ``git status --porcelain=v2 --branch -z`` describes."""
    head: str | None = None
    branch: str | None = None
    files: list[str] = []
    count = 0
    entries = iter(output.split(b"\0"))
    for entry in entries:
        kind, _, rest = entry.partition(b" ")
        if kind == b"#":
            key, _, value = rest.partition(b" ")
            if key == b"branch.oid" and value != b"(initial)":
                head = os.fsdecode(value)
            elif key == b"branch.head" and value != b"(detached)":
                branch = os.fsdecode(value)
            continue
        blanks = {b"1": 7, b"2": 8, b"u": 9, b"?": 0}.get(kind)
        if blanks is None:
            continue
        if kind == b"2":
            next(entries, None)  # where it was renamed from
        count += 1
        if len(files) < DIRTY_FILES:
            files.append(os.fsdecode(rest.split(b" ", blanks)[-1]))
    return GitStatus(head, branch, tuple(files), count)
