"""A leaf's process is started within a cgroup of its own, with its limits; or without one, where the host has none."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ..core.errors import BadCombination, InvalidField
from ..core.event import CgroupUnavailable, jsonable
from ..host.cgroup.group import Group, Made, make
from ..host.cgroup.offer import offer, withdraw
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


def check_limits(limits: object, cgroup: object, choices: tuple[str, ...], *, where: str) -> None:
    """Refuse what cannot be meant.

    Raises:
        InvalidField: No limits, or no choice.
        BadCombination: Limits that take a cgroup, and none is to be had.
    """
    if cgroup not in choices:
        *most, last = (f'"{choice}"' for choice in choices)
        raise InvalidField("cgroup", cgroup, f"{', '.join(most)} or {last}", where=where)
    if limits is not None:
        from ..core.limits import Limits  # here: most leaves have none

        if not isinstance(limits, Limits):
            raise InvalidField("limits", limits, "Limits(...)", where=where)
        if cgroup == "never" and limits.needs_cgroup:
            fields = {"cgroup": cgroup, "limits": limits}
            raise BadCombination(fields, 'limits of memory, processor and processes take cgroup = "auto"', where=where)


def described(limits: Limits | None) -> dict[str, object]:
    """Limits as JSON data, in short."""
    fields = {} if limits is None else attrs.asdict(limits)
    return {name: jsonable(value) for name, value in fields.items() if value is not None and name != "required"}


def enclose(marker: str, limits: Limits | None, cgroup: str, start: Callable[[Settings], Spawned]) -> Enclosed:
    """Make the cgroup, start the process in it, and remove it again if that fails.

    Args:
        marker: The mark of the life.
        limits: What it may use.
        cgroup: ``auto`` for one of its own, if the host has one for it; ``memory`` for one that counts its memory as well;
            ``always`` for one without which it must not run; or ``never``.
        start: Starts the process.

    Raises:
        OSError: The start failed, or the cgroup or a limit that is required cannot be had.
    """
    insist = cgroup == "always"
    group, ungranted, trouble = Made(None, {}) if cgroup == "never" else _make(marker, limits, insist, memory=cgroup == "memory")
    try:
        return Enclosed(start(_settings(limits, group, insist)), group, ungranted, trouble)
    except SettingFailed as error:
        remove(group)
        if group is None or error.setting != "cgroup" or insist or is_required(limits):
            raise
        trouble = _refused(error)
    except BaseException:  # also an interrupt: the process is not there, and nobody else knows of its cgroup
        remove(group)
        raise
    return Enclosed(start(settings_for(limits, None)), None, dict.fromkeys(all_fields(limits), trouble), trouble)


def prepare_fork(marker: str, limits: Limits | None, cgroup: str, *, supervises: bool = False) -> tuple[Made, Settings | None]:
    """What a fork takes itself, which is nothing in most cases: to be moved takes it longer than its whole start.

    A supervisor is moved all the same: what is below it, and hides, has nobody else once it is dead.

    Args:
        marker: The mark of the life.
        limits: What it may use.
        cgroup: ``"auto"`` for a cgroup if a limit takes one or it supervises, ``"always"`` or ``"never"``.
        supervises: Whether it is a supervisor.

    Returns:
        Its cgroup, to be removed by the caller, and the settings that it is to take; None for none.

    Raises:
        OSError: The cgroup or a limit that is required cannot be had.
    """
    insist = cgroup == "always"
    encloses = insist or (supervises and cgroup == "auto")
    if limits is None and not encloses:
        return Made(None, {}), None
    made = Made(None, {})
    if encloses or (limits is not None and limits.needs_cgroup):
        made = _make(marker, limits, insist)
    try:
        return made, _settings(limits, made.group, insist)
    except BaseException:
        remove(made.group)
        raise


def is_required(limits: Limits | None) -> bool:
    """Whether a leaf with these limits must not run without a cgroup."""
    return limits is not None and limits.needs_cgroup and limits.required


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


def remove(group: Group | None) -> None:
    """Remove the cgroup of a process that did not start."""
    if group is not None:
        group.remove()


def _make(marker: str, limits: Limits | None, insist: bool, *, memory: bool = False) -> Made:
    made = make(marker, limits, memory=memory)
    if made.group is None and insist:
        raise OSError(errno.ENOTSUP, f"a cgroup cannot be had on this host: {made.trouble or offer().missing.get('', '')}")
    return made


def _settings(limits: Limits | None, group: Group | None, insist: bool) -> Settings:
    settings = settings_for(limits, group)
    return settings._replace(required=True) if insist else settings
