"""What leaves of this process get of cgroups, for people and for `doctor`."""

from __future__ import annotations

import os
from contextlib import suppress

import attrs

from ...core.value import Value
from . import files
from .offer import CONTROLLERS, DELEGATE, is_alone, offer


@attrs.frozen(repr=False, eq=False)
class CgroupSupport(Value):
    """What leaves get of cgroups on this host, for `doctor`.

    Attributes:
        layout: ``v2``, ``v1``, ``hybrid`` or ``none``.
        tracking: The hierarchy whose cgroups say who belongs to a leaf: ``v2``, a controller of version 1, or None.
        directory: Below which cgroup of ours those of the leaves are made; None without any.
        kill: Whether the kernel ends a leaf's whole tree at once (cgroup.kill).
        freeze: Whether a leaf's whole tree can be frozen.
        memory: Whether `Limits.memory_max` and `Limits.memory_high` can be had.
        cpu: Whether `Limits.cpu_quota` can be had.
        pids: Whether `Limits.pids_max` can be had.
        reason: What is missing, and why; empty when nothing is.
        remedy: What would help; None where nothing is known to, or need be.
    """

    layout: str
    tracking: str | None
    directory: str | None
    kill: bool
    freeze: bool
    memory: bool
    cpu: bool
    pids: bool
    reason: str
    remedy: str | None = None


def cgroup_support() -> CgroupSupport:
    """What leaves of this process get of cgroups. It is tried out: a cgroup is made, looked at and removed."""
    found = offer()
    hierarchy = found.tracking
    missing = dict(found.missing)
    can_kill = can_freeze = False
    if hierarchy is not None:
        run = found.run_directory(hierarchy)
        try:
            made = not os.path.isdir(run)
            if made:
                os.mkdir(run)
            try:
                can_kill, can_freeze = files.can_kill(run), files.can_freeze(run)
                handed = frozenset(name for name, each in found.controllers.items() if each is hierarchy and each.version == 2)
                for name in sorted(handed):
                    reason = _cannot_hand_down(hierarchy.directory, name)
                    if reason:
                        missing[name] = reason
            finally:
                if made:
                    with suppress(OSError):
                        os.rmdir(run)
        except OSError as error:
            missing[""] = f"no cgroup can be made in {hierarchy.directory}: {error.strerror}; {DELEGATE}"
            hierarchy = None
            missing.update(dict.fromkeys(CONTROLLERS, missing[""]))
        else:
            if not can_kill:
                missing["kill"] = "this kernel's cgroups cannot be killed at once (cgroup.kill, version 2, Linux 5.14)"
    helps = f"; {DELEGATE}"
    has = {name: name in found.controllers and name not in missing for name in CONTROLLERS}
    return CgroupSupport(
        found.layout.value,
        None if hierarchy is None else "v2" if hierarchy.version == 2 else "+".join(sorted(hierarchy.controllers)),
        None if hierarchy is None else hierarchy.directory,
        can_kill,
        can_freeze,
        has["memory"],
        has["cpu"],
        has["pids"],
        "; ".join(dict.fromkeys(text.removesuffix(helps) for text in missing.values())),
        DELEGATE if any(text.endswith(helps) for text in missing.values()) else None,
    )


def _cannot_hand_down(directory: str, controller: str) -> str:
    """Why a controller of version 2 cannot be handed down from our own cgroup; empty when it can, as far as a look can tell."""
    if controller in (files.read(directory, "cgroup.subtree_control") or "").split() or _is_root(directory) or is_alone(directory):
        return ""
    return f"other processes share our cgroup {directory}, so that it cannot hand down its {controller} controller; {DELEGATE}"


def _is_root(directory: str) -> bool:
    return not os.path.exists(f"{directory}/cgroup.type")
