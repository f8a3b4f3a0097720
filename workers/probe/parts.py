"""Looks at the parts of one leaf's tree: walks it, asks each process where it comes from and what it holds, and keeps account of growth.

A look is not what a sample is: it costs some 30 us for each process, so it is taken while memory is above normal, when a turn begins or
ends, and when somebody asks; never as often as to take more than a twentieth of the time, but for those on which something is decided.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from supervisor import ProcessId, lineage

from ..policy import account as accounts
from ..policy import attribution
from ..policy.account import Account
from ..policy.attribution import Attribution, Member, Server
from .reader import MemorySample

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST: Final = 2000
"""Processes of one tree that are looked at."""
SHARE: Final = 20
"""A look is followed by this many times its own duration without one."""
SHELLS: Final = frozenset({"Bash", "PowerShell", "Monitor"})
"""The tools that run commands, each in a session of its own."""


class Tree(Protocol):
    """The handle of a life."""

    @property
    def process_id(self) -> ProcessId:
        """The root process."""

    def members(self) -> tuple[ProcessId, ...]:
        """The live processes, parents before their children."""


class Knowledge(Protocol):
    """What is known of a leaf's program."""

    def servers(self) -> tuple[Server, ...]:
        """The MCP servers that it may have started. Blocks for some reads."""

    def is_program(self, words: tuple[str, ...]) -> bool:
        """Whether a command line is the program's own."""


class LeafParts:
    """What is known of the parts of one leaf's tree. It outlives the leaf's lives.

    Args:
        knowledge: Of the program.

    Attributes:
        account: What it grew by, in turns and tools.
        latest: The latest look; None before the first of this life.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._servers: tuple[Server, ...] | None = None
        self._known: dict[ProcessId, Member] = {}
        self._before: dict[ProcessId, int] | None = None
        self._shell = ""
        self._next = -math.inf
        self.account = Account()
        self.latest: Attribution | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a look is wanted although memory is normal, because a turn has begun or ended."""
        return self.account.is_waiting

    def used(self, tool: str) -> None:
        """A hook says that a tool is called."""
        self.account = accounts.used(self.account, tool)
        if tool in SHELLS:
            self._shell = tool

    def prompted(self, now: float) -> None:
        """A prompt is answered from now on: a turn of its own, also where the last one has just ended."""
        self.account = accounts.began(self.account, now)

    def turned(self, busy: bool, now: float) -> None:
        """Whether a turn is under way now; said again, it changes nothing."""
        known = self.account.again is not None or (self.account.began is not None and self.account.closing is None)
        if busy is not known:
            self.account = accounts.began(self.account, now) if busy else accounts.ended(self.account, now)

    def renewed(self) -> None:
        """A new life begins: its settings may name other servers, and nothing of it has grown yet."""
        self.account = accounts.renewed(self.account)
        self._servers, self._known, self._before, self._shell, self._next = None, {}, None, "", -math.inf
        self.latest = None

    def look(
        self,
        tree: Tree,
        now: float,
        *,
        sample: MemorySample,
        earlier: MemorySample | None = None,
        was_normal: bool = False,
        at_once: bool = False,
        exact: bool = False,
    ) -> Attribution:
        """Look at the parts; the latest look where that was a moment ago.

        Args:
            tree: The handle of the present life.
            now: Monotonic seconds.
            sample: What has just been read; its sizes count where the system tells no others.
            earlier: The sample before that.
            was_normal: Whether memory was normal at that time: then growth is measured from there, until it is normal again.
            at_once: Whether a look of a moment ago will not do, because much depends on it.
            exact: The same, and the parts have to hold what the sample says, which was read for this: together what its total is.

        Raises:
            OSError: Out of descriptors.
        """
        if now < self._next and self.latest is not None and not (self.is_waiting or at_once or exact):
            return self.latest
        began = time.perf_counter()
        if was_normal or self._before is None:
            self._before = {} if earlier is None else {one.process: one.bytes for one in earlier.processes}
        found = self._seen(tree)
        if tree.process_id not in found:  # it has just ended
            return Attribution() if exact or self.latest is None else self.latest
        sizes = {one.process: one.bytes for one in sample.processes} if exact else sizes_of(found, sample)
        parts = attribution.parts(found, sizes, self._before)
        # of a life that was sampled before it is known what it held then; else the first look is what there is
        before = attribution.by_role(parts, grown=False) if self.account.first is None and tree.process_id in self._before else None
        self.account = accounts.looked(self.account, attribution.by_role(parts), before)
        self._known = found
        self.latest = Attribution(parts, accounts.in_words(self.account))
        self._next = now + SHARE * (time.perf_counter() - began)
        return self.latest

    def _seen(self, tree: Tree) -> dict[ProcessId, Member]:
        if self._servers is None:
            self._servers = self._knowledge.servers()
        lines = [line for process in tree.members()[:LARGEST] if (line := lineage(process)) is not None]
        return attribution.members(
            lines, tree.process_id, self._known, servers=self._servers, is_program=self._knowledge.is_program, tool=self._shell
        )


def sizes_of(processes: Iterable[ProcessId], sample: MemorySample) -> Mapping[ProcessId, int]:
    """The bytes that each process holds now: read where that is cheap, else those of the sample."""
    if sys.platform != "linux":
        return {one.process: one.bytes for one in sample.processes}
    return {process: size for process in processes if (size := private_bytes(process.pid)) is not None}


def private_bytes(pid: int) -> int | None:
    """Resident less shared bytes of a process, as the reader of /proc counts them; None when it is gone.

    Raises:
        OSError: Out of descriptors.
    """
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            fields = file.read(256).split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return max(0, int(fields[1]) - int(fields[2])) * _page() if len(fields) > 2 else None


def _page() -> int:
    if sys.platform != "win32":
        return os.sysconf("SC_PAGE_SIZE")
    return 4096
