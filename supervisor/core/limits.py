"""What a command or a worker may use of the machine, and as whom it runs."""

from __future__ import annotations

import math

import attrs

from .errors import BadCombination, InvalidField, is_count
from .value import Value

_WHERE = "limits"
_LEAST_SHARE = 0.01
_MOST_SHARE = 10_000
_LARGEST = 2**63 - 1
_LEAST_DESCRIPTORS = 4
_LAST_ID = 2**32 - 2


@attrs.frozen(repr=False, eq=False, kw_only=True)
class Limits(Value):
    """Resources and rights of one command or worker and all its descendants; None everywhere means: as we ourselves.

    The first four hold for the whole tree together, through its cgroup; the others are inherited by each process for itself. There is
    no limit of address space: runtimes such as V8 reserve far more of it than they use.

    Attributes:
        memory_max: Bytes beyond which the kernel kills in the tree (``memory.max``; version 1: ``memory.limit_in_bytes``).
        memory_high: Bytes beyond which it is slowed down and reclaimed from (``memory.high``; version 1: ``memory.soft_limit_in_bytes``,
            which only counts when the host is short of memory).
        cpu_quota: Processor time per time: 1.5 is one and a half processors.
        pids_max: Processes and threads; beyond that a fork fails.
        nofile: Open descriptors of a process, at least 4; as soft and as hard limit.
        core: Bytes of a core file, ``math.inf`` for any; as soft and as hard limit. A shell, which takes the place of a missing launch
            helper, rounds it down to 512.
        oom_score_adj: -1000 to 1000; whoever has more is killed first when the host is out of memory. The default is ours plus 100, so
            that a leaf goes before its supervisor.
        nice: -20 to 19; not relative to ours.
        umask: The bits that new files do not get, 0 to 0o777.
        user: Name or id. Groups other than `group` are dropped, and no privileges can be gained any more. Only root may; the
            environment stays what it is, so set ``HOME`` and the like with ``env``.
        group: Name or id; the user's own group by default.
        required: Whether a start fails when this host cannot give one of the first four. If not, it runs without, and `ungranted` of
            its handle says which and why.

    Raises:
        InvalidField: An illegal value.
        BadCombination: `memory_high` beyond `memory_max`.
    """

    memory_max: int | None = None
    memory_high: int | None = None
    cpu_quota: float | None = None
    pids_max: int | None = None
    nofile: int | None = None
    core: float | None = None
    oom_score_adj: int | None = None
    nice: int | None = None
    umask: int | None = None
    user: str | int | None = None
    group: str | int | None = None
    required: bool = True

    def __attrs_post_init__(self) -> None:
        for name, least, most, expected in (
            ("memory_max", 4096, _LARGEST, "a size in bytes of at least a page, 4096, and below 2**63"),
            ("memory_high", 4096, _LARGEST, "a size in bytes of at least a page, 4096, and below 2**63"),
            ("pids_max", 1, _LARGEST, "a number of processes >= 1, and below 2**63"),
            ("nofile", _LEAST_DESCRIPTORS, 2**31 - 1, "a number of descriptors >= 4"),
            ("oom_score_adj", -1000, 1000, "an integer from -1000 to 1000"),
            ("nice", -20, 19, "an integer from -20 to 19"),
            ("umask", 0, 0o777, "bits from 0 to 0o777"),
        ):
            value = getattr(self, name)
            if value is not None and not (is_count(value, least=least) and value <= most):
                raise InvalidField(name, value, expected, where=_WHERE)
        if self.core is not None and self.core != math.inf and not (is_count(self.core) and self.core <= _LARGEST):
            raise InvalidField("core", self.core, "a size in bytes from 0 to below 2**63, or math.inf", where=_WHERE)
        if self.cpu_quota is not None and not _is_share(self.cpu_quota):
            raise InvalidField("cpu_quota", self.cpu_quota, "processors, as a number from 0.01 to 10,000 such as 1.5", where=_WHERE)
        for name in ("user", "group"):
            value = getattr(self, name)
            legal = bool(value) and "\0" not in value if isinstance(value, str) else is_count(value) and value <= _LAST_ID
            if value is not None and not legal:
                raise InvalidField(name, value, "a name, or an id >= 0", where=_WHERE)
        if not isinstance(self.required, bool):
            raise InvalidField("required", self.required, "True or False", where=_WHERE)
        if self.memory_max is not None and self.memory_high is not None and self.memory_high > self.memory_max:
            fields = {"memory_high": self.memory_high, "memory_max": self.memory_max}
            raise BadCombination(fields, "memory_high must not be beyond memory_max", where=_WHERE)

    @property
    def needs_cgroup(self) -> bool:
        """Whether one of them holds for the whole tree together."""
        return any(limit is not None for limit in (self.memory_max, self.memory_high, self.cpu_quota, self.pids_max))


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _LEAST_SHARE <= value <= _MOST_SHARE
