"""What this host offers: in which hierarchy leaves can have cgroups of their own, and which limits can be set there. Found out once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

import attrs

from ...core.value import Entity
from ..marker import run_token
from ..procstat import read_bytes
from . import files
from .layout import Hierarchy, Layout, layout_of, read_layout
from .run import PREFIX, make_run, tidy

CONTROLLERS: Final = ("memory", "cpu", "pids")
"""The controllers that limits need."""

_OURSELVES: Final = "supervisor"
"""The cgroup to which we move ourselves when ours has to be empty for its controllers to be handed down."""

_TRACKERS: Final = ("freezer", "pids", "memory", "cpu", "cpuacct", "blkio", "devices", "perf_event", "net_cls")
"""The hierarchies of version 1 that can say who belongs to a leaf, best first."""

DELEGATE: Final = "start it in a cgroup of its own: systemd-run --user --scope -p Delegate=yes COMMAND"


@attrs.define(repr=False, eq=False)
class Offer(Entity):
    """Where cgroups of leaves are made.

    Attributes:
        layout: Which versions are mounted.
        tracking: The hierarchy whose cgroups say who belongs to a leaf; None without one.
        controllers: The hierarchy through which each controller can be used.
        missing: Why a controller, or the tracking (as the empty name), is not to be had.
    """

    layout: Layout
    tracking: Hierarchy | None
    controllers: dict[str, Hierarchy]
    missing: dict[str, str]
    _enabled: set[str] = attrs.field(factory=set)
    _handed_down: frozenset[str] | None = None
    _tidied: set[str] = attrs.field(factory=set)

    @property
    def counts_kills(self) -> bool:
        """Whether every leaf's cgroup counts out-of-memory kills for nothing: the memory controller is handed down to us already."""
        hierarchy = self.tracking
        if self._handed_down is None:
            self._handed_down = frozenset()
            if hierarchy is not None and hierarchy.version == 2:
                self._handed_down = frozenset((files.read(hierarchy.directory, "cgroup.subtree_control") or "").split())
        return "memory" in self._handed_down

    def begin(self, hierarchy: Hierarchy) -> None:
        """Make the cgroup of the run; the first time, also tidy up after other runs.

        Raises:
            OSError: It cannot be made.
        """
        run = self.run_directory(hierarchy)
        make_run(run)
        if hierarchy is self.tracking:
            self._enabled.clear()
        if hierarchy.directory not in self._tidied:
            self._tidied.add(hierarchy.directory)
            tidy(hierarchy.directory, run)

    def run_directory(self, hierarchy: Hierarchy) -> str:
        """The cgroup of this run in a hierarchy, in which those of its leaves are."""
        return f"{hierarchy.directory.rstrip('/')}/{PREFIX}{run_token()}"

    def enable(self, controller: str) -> None:
        """Hand a controller of version 2 down to the cgroups of leaves; the cgroup of the run is there.

        Raises:
            OSError: The kernel refuses; the text says why, and what helps.
        """
        hierarchy = self.tracking
        if controller in self._enabled or hierarchy is None or hierarchy.version != 2:
            return
        if controller not in (files.read(hierarchy.directory, "cgroup.subtree_control") or "").split():
            try:
                files.write(hierarchy.directory, "cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                if not _step_aside(hierarchy.directory):
                    text = f"{hierarchy.directory} cannot hand down its {controller} controller: {error.strerror}; {DELEGATE}"
                    raise OSError(error.errno, text) from None
                files.write(hierarchy.directory, "cgroup.subtree_control", f"+{controller}")
        files.write(self.run_directory(hierarchy), "cgroup.subtree_control", f"+{controller}")
        self._enabled.add(controller)


def offer() -> Offer:
    """What this host offers; looked at once in each process."""
    global _offer
    pid = os.getpid()
    if _offer is None or _offer[0] != pid:  # a fork of ours may have been moved
        _offer = (pid, look())
    return _offer[1]


def withdraw(reason: str) -> None:
    """Make no more cgroups in this process: it turned out that they cannot be used."""
    global _offer
    found = offer()
    _offer = (os.getpid(), Offer(found.layout, None, {}, dict.fromkeys(("", *CONTROLLERS), reason)))


def look(tracking: str | None = None) -> Offer:
    """Look at this host.

    Args:
        tracking: Use this hierarchy for tracking, ``v2`` or a controller of version 1, and no other; None for the best there is.
    """
    if sys.platform != "linux":
        return Offer(Layout.NONE, None, {}, dict.fromkeys(("", *CONTROLLERS), "cgroups are Linux's"))
    hierarchies = read_layout(*(_text(f"/proc/self/{name}") for name in ("mountinfo", "cgroup")))
    layout = layout_of(hierarchies)
    usable = {name: hierarchy for hierarchy in hierarchies if _usable(hierarchy) for name in hierarchy.controllers or ("v2",)}
    chosen = next((usable[name] for name in ("v2", *_TRACKERS) if name in usable and tracking in (None, name)), None)
    missing: dict[str, str] = {}
    if chosen is None:
        missing[""] = _why_not(hierarchies)
    controllers: dict[str, Hierarchy] = {}
    unified = usable.get("v2")
    available = (files.read(unified.directory, "cgroup.controllers") or "").split() if unified is not None else []
    for name in CONTROLLERS:
        if unified is not None and chosen is unified and name in available:
            controllers[name] = unified
        elif name in usable and chosen is not None:
            controllers[name] = usable[name]
        elif chosen is None:
            missing[name] = missing[""]
        elif any(name in hierarchy.controllers for hierarchy in hierarchies):
            missing[name] = f"the cgroups of the {name} controller may not be written"
        else:
            missing[name] = f"{chosen.directory} has no {name} controller; {DELEGATE}"
    return Offer(layout, chosen, controllers, missing)


_offer: tuple[int, Offer] | None = None


def _usable(hierarchy: Hierarchy) -> bool:
    """Whether we may make cgroups below ours, and put processes into them; the latter needs write access to our own as well."""
    directory = hierarchy.directory
    return hierarchy.writable and os.access(directory, os.W_OK | os.X_OK) and os.access(f"{directory}/{files.PROCESSES}", os.W_OK)


def _why_not(hierarchies: tuple[Hierarchy, ...]) -> str:
    if not hierarchies:
        return "no cgroup file system shows our own cgroup"
    best = hierarchies[0].directory
    if not any(hierarchy.writable for hierarchy in hierarchies):
        return f"the cgroup file systems are mounted for reading only ({best})"
    return f"our own cgroup may not be written ({best}); {DELEGATE}"


def is_alone(directory: str) -> bool:
    """Whether only we, and what we started, are in a cgroup."""
    from ..proctree import walk

    ours = {process.pid for process in walk(os.getpid())}
    pids = (files.read(directory, files.PROCESSES) or "").split()
    return bool(pids) and all(int(pid) in ours for pid in pids)


def _step_aside(directory: str) -> bool:
    """Move ourselves, and what we started here, into a cgroup below ours: one that hands controllers down must be empty itself.

    As a service of systemd's does to which a cgroup is delegated. Not done while others are in it: they are not ours to move.
    """
    if not is_alone(directory):
        return False
    aside = f"{directory}/{_OURSELVES}"
    try:
        os.makedirs(aside, exist_ok=True)
        for pid in (files.read(directory, files.PROCESSES) or "").split():
            with suppress(ProcessLookupError):
                files.write(aside, files.PROCESSES, pid)
    except OSError:
        return False
    return True


def _text(path: str) -> str:
    return (read_bytes(path) or b"").decode(errors="surrogateescape")
