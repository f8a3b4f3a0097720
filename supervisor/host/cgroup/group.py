"""The cgroup of one life: made before its process, left by it only in death, removed after it."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ...core.value import Entity
from ..identity import ProcessId
from ..procstat import read_bytes
from ..spare import with_reserve
from . import files
from .layout import Hierarchy
from .offer import Offer, offer
from .quota import all_fields, controllers_for, fields_of, files_of
from .run import remove_runs

if TYPE_CHECKING:
    from ...core.limits import Limits
    from .memory import OomKillWatch

_PAUSES: Final = (0.0005, 0.001, 0.002, 0.004, 0.008)
"""Seconds for which the last one waits for the dying to be dead, as those are of a life that was given up."""


@attrs.define(repr=False, eq=False)
class Group(Entity):
    """The cgroups of one life.

    Attributes:
        directory: The one that says who belongs to it.
        memory: The one in which the memory controller counts for it; None without.
        is_frozen: Whether `freeze` was called, and not `thaw` since.
        clone_into: The directory of a version 2 cgroup in which its process is to begin; None for version 1.
        tasks: Files of version 1 cgroups that its process writes 0 to.
    """

    directory: str
    clone_into: str | None
    tasks: tuple[str, ...]
    _path: bytes
    _others: tuple[str, ...]
    memory: str | None
    is_frozen: bool = False

    def members(self) -> list[ProcessId]:
        """Who is in it now.

        Raises:
            OSError: Out of descriptors.
        """
        return files.members(self.directory)

    def is_empty(self) -> bool:
        """Whether nothing runs in it."""
        return files.is_empty(self.directory)

    def holds(self, pid: int) -> bool:
        """Whether the process of that id is in it, or was when it died."""
        return _holder(pid) is self

    def kill(self) -> list[ProcessId] | None:
        """Kill all in it at once; None where the kernel cannot.

        Returns:
            Who was seen in it just before and just after.

        Raises:
            OSError: Out of descriptors.
        """
        found = dict.fromkeys(self.members())
        if not files.kill(self.directory):
            return None
        found.update(dict.fromkeys(self.members()))  # who was forked in between: it is dying, but listed until it is dead
        return list(found)

    @property
    def can_freeze(self) -> bool:
        """Whether the kernel can freeze it."""
        return files.can_freeze(self.directory)

    def freeze(self) -> bool:
        """Let nothing in it run any further, where the kernel can; whether it can. Who is in it can still be killed."""
        self.is_frozen = files.freeze(self.directory)
        return self.is_frozen

    def thaw(self) -> None:
        """Undo `freeze`; only then do those of version 1 die of their signals."""
        files.thaw(self.directory)
        self.is_frozen = False

    def let_act(self) -> None:
        """Undo a `freeze` of ours, if there is one: whoever is asked to end must be able to."""
        if self.is_frozen:
            with suppress(OSError):  # what stays frozen is killed when its time is over
                with_reserve(self.thaw)()

    def oom_kills(self) -> int | None:
        """How many in it the out-of-memory killer has killed; None when no memory controller counts them."""
        if self.memory is None:
            return None
        return files.oom_kills(self.memory)

    def watch_kills(self) -> OomKillWatch | None:
        """Be told of every kill for want of memory in it; None where its memory is not limited, or the kernel does not tell.

        Raises:
            OSError: Out of descriptors.
        """
        from .memory import OomKillWatch  # here: few leaves have a limit

        return None if self.memory is None else OomKillWatch.open(self.memory)

    def remove(self) -> None:
        """Remove it, and all of the run's when it was the last.

        What still runs in it keeps it; that is tried again with every later one.
        """
        _groups.pop(self._path, None)
        _leftover.extend(reversed((self.directory, *self._others)))
        for pause in (0.0, *_PAUSES):
            time.sleep(pause)
            _leftover[:] = [directory for directory in _leftover if not files.remove(directory)]
            if not _leftover or _groups:
                break  # while there are others, there is a later time
        if not _groups:
            remove_runs()


class Made(NamedTuple):
    """What came of making a cgroup.

    Attributes:
        group: None where there is none to be had.
        ungranted: The limits that it could not give, each with the reason.
        trouble: Why there is none, although this host has them; empty when all is well.
    """

    group: Group | None
    ungranted: dict[str, str]
    trouble: str = ""


def make(marker: str, limits: Limits | None = None, *, memory: bool = False) -> Made:
    """Make the cgroup of a life.

    Args:
        marker: The life's, see `marker.new_marker`.
        limits: What its tree may use together.
        memory: Have its memory counted, limited or not, where this host can.

    Raises:
        OSError: A limit that is required cannot be given; the text says which, and why not.
    """
    found = offer()
    wanted = controllers_for(limits)
    ungranted = _missing(found, wanted, limits)
    tracking = found.tracking
    if tracking is None:
        return Made(None, ungranted)
    name = _name(marker)
    needed: dict[str, Hierarchy] = {each: found.controllers[each] for each in wanted if each in found.controllers}
    required = {id(each) for each in (tracking, *needed.values())}
    if found.counts_kills:
        needed.setdefault("memory", tracking)
    elif memory and "memory" in found.controllers:
        needed.setdefault("memory", found.controllers["memory"])
    hierarchies = list({id(each): each for each in (tracking, *needed.values())}.values())
    made: dict[int, str] = {}
    try:
        for hierarchy in hierarchies:
            try:
                made[id(hierarchy)] = _make(found, hierarchy, name)
            except OSError:
                if id(hierarchy) in required:
                    raise  # else it is only not counted
                needed = {controller: each for controller, each in needed.items() if each is not hierarchy}
    except OSError as error:
        _unmake(made)
        trouble = f"no cgroup can be made: {error.strerror}"
        if wanted and limits is not None and limits.required:
            raise _refused(error, all_fields(limits), trouble) from None
        return Made(None, dict.fromkeys(all_fields(limits), trouble), trouble)
    try:
        for controller, hierarchy in needed.items():
            ungranted |= _limit(found, controller, hierarchy, made[id(hierarchy)], limits)
    except OSError:
        _unmake(made)
        raise
    global _prefix
    _prefix = f"{tracking.path.rstrip('/')}/{os.path.basename(found.run_directory(tracking))}/".encode()
    path = _prefix + name.encode()
    counting = made[id(needed["memory"])] if "memory" in needed else None
    directory, *others = made.values()
    group = Group(
        directory,
        directory if tracking.version == 2 else None,
        tuple(f"{made[id(each)]}/tasks" for each in hierarchies if each.version == 1 and id(each) in made),
        path,
        tuple(others),
        counting if counting is not None and files.counts_memory(counting) else None,
    )
    _groups[path] = group
    return Made(group, ungranted)


def _missing(found: Offer, wanted: list[str], limits: Limits | None) -> dict[str, str]:
    """The limits that this host has no controller for, each with the reason."""
    if limits is None:
        return {}
    missing = {
        name: found.missing.get(controller, "")
        for controller in wanted
        if controller not in found.controllers
        for name in fields_of(limits, controller)
    }
    if missing and limits.required:
        name, reason = next(iter(missing.items()))
        raise OSError(errno.ENOTSUP, f"{name} cannot be had on this host: {reason}")
    return missing


def _limit(found: Offer, controller: str, hierarchy: Hierarchy, directory: str, limits: Limits | None) -> dict[str, str]:
    """Set what is limited through one controller; what could not be, with the reason."""
    try:
        if hierarchy is found.tracking:
            found.enable(controller)
        for file, value in files_of(limits, controller, hierarchy.version) if limits is not None else ():
            files.write(directory, file, value)
    except OSError as error:
        fields = fields_of(limits, controller) if limits is not None else []
        reason = error.strerror or str(error)
        if fields and limits is not None and limits.required:
            raise _refused(error, fields, reason) from None
        return dict.fromkeys(fields, reason)
    return {}


def _refused(error: OSError, fields: list[str], reason: str) -> OSError:
    return OSError(error.errno, f"{' and '.join(fields)} cannot be had: {reason}", error.filename)


def is_held(pid: int) -> bool:
    """Whether a process is in the cgroup of a life of this process, or was when it died."""
    return _holder(pid) is not None


def cgroup_directories() -> tuple[str, ...]:
    """The cgroups of this run, whether they have been made yet or not; what a later start looks into when we are killed."""
    found = offer()
    hierarchies = {id(each): each for each in (found.tracking, *found.controllers.values()) if each is not None}
    return tuple(found.run_directory(hierarchy) for hierarchy in hierarchies.values())


_groups: dict[bytes, Group] = {}
_leftover: list[str] = []
_prefix = b"\0"
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_groups.clear)
    os.register_at_fork(after_in_child=_leftover.clear)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


def _name(marker: str) -> str:
    """A directory's name for a life: its number first, which is unique within the run; the rest is for people."""
    return _UNSAFE.sub("-", marker.partition(":")[2])


def _make(found: Offer, hierarchy: Hierarchy, name: str) -> str:
    directory = f"{found.run_directory(hierarchy)}/{name}"
    try:
        os.mkdir(directory)
    except FileNotFoundError:
        found.begin(hierarchy)
        os.mkdir(directory)
    return directory


def _unmake(made: Mapping[int, str]) -> None:
    for directory in made.values():
        files.remove(directory)
    if not _groups:
        remove_runs()


def _holder(pid: int) -> Group | None:
    if not _groups:
        return None
    for line in (read_bytes(f"/proc/{pid}/cgroup") or b"").splitlines():
        path = line.split(b":", 2)[2].removesuffix(b" (deleted)")
        if path.startswith(_prefix):
            name = path[len(_prefix) :].partition(b"/")[0]  # it may have gone on to a cgroup of its own below
            if (group := _groups.get(_prefix + name)) is not None:
                return group
    return None
