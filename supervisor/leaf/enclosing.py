"""A command's process is started within a cgroup of its own, with its limits; or without one, where the host has none."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ..core.event import CgroupUnavailable
from ..host.cgroup.group import Group, Made, make
from ..host.cgroup.offer import withdraw
from ..host.cgroup.quota import all_fields
from ..host.settings import Settings, settings_for
from ..host.spawn import SettingFailed, Spawned

if TYPE_CHECKING:
    from ..core.limits import Limits
    from ..core.ports import Ticket

_PASSING: Final = (errno.ENOENT, errno.ENODEV)
"""Somebody has removed that one cgroup meanwhile."""


class Enclosed(NamedTuple):
    """A process that was started.

    Attributes:
        spawned: The process.
        group: Its cgroup, if it has one.
        ungranted: The limits that it could not be given, each with the reason.
        trouble: Why it has no cgroup although this host has them; empty when all is well.
    """

    spawned: Spawned
    group: Group | None
    ungranted: dict[str, str]
    trouble: str = ""


def enclose(marker: str, limits: Limits | None, cgroup: str, start: Callable[[Settings], Spawned]) -> Enclosed:
    """Make the cgroup, start the process in it, and remove it again if that fails.

    Args:
        marker: The mark of the life.
        limits: What it may use.
        cgroup: ``auto`` for one of its own, if the host has one for it; ``memory`` for one that counts its memory as well; or ``never``.
        start: Starts the process.

    Raises:
        OSError: The start failed, or a limit that is required cannot be had.
    """
    group, ungranted, trouble = Made(None, {}) if cgroup == "never" else make(marker, limits, memory=cgroup == "memory")
    try:
        return Enclosed(start(settings_for(limits, group)), group, ungranted, trouble)
    except SettingFailed as error:
        _remove(group)
        if group is None or error.setting != "cgroup" or (limits is not None and limits.needs_cgroup and limits.required):
            raise
        trouble = _refused(error)
    except BaseException:
        _remove(group)
        raise
    return Enclosed(start(settings_for(limits, None)), None, dict.fromkeys(all_fields(limits), trouble), trouble)


def say(ticket: Ticket, ungranted: Mapping[str, str], trouble: str) -> None:
    """Have it known that a leaf runs with less than it asked for."""
    if trouble or ungranted:
        reason = trouble or "; ".join(dict.fromkeys(ungranted.values()))
        ticket.emit(CgroupUnavailable(ticket.path, reason, tuple(ungranted), generation=ticket.generation))


def _refused(error: OSError) -> str:
    """The kernel did not let a process into its cgroup: the next ones are not even tried, unless it was removed meanwhile."""
    reason = f"no process can be put into a cgroup below ours: {error.strerror}"
    if error.errno not in _PASSING:
        withdraw(reason)
    return reason


def _remove(group: Group | None) -> None:
    if group is not None:
        group.remove()
